// No effect before its cause: every node delivers an origin's events in order, and each after all that it depends on.
import type { VectorClockEntry } from "@statemesh/contract";
import type { NodeRuntime } from "@statemesh/node";
import type { Recorder } from "../recorder.ts";

export class CausalObserver {
  readonly #recorder: Recorder;
  delivered = 0;
  /** What each event follows, itself included: the highest sequence by origin. */
  readonly #pasts = new Map<string, ReadonlyMap<number, number>>();

  constructor(recorder: Recorder) {
    this.#recorder = recorder;
  }

  /** From the start of a node's process. */
  watch(nodeId: number, { mesh }: NodeRuntime): void {
    const heard = new Map<number, number>();
    mesh.causal.listen((event) => {
      const { id, dependencies } = event;
      if (id !== undefined) {
        this.#remember(id, dependencies?.entries ?? []);
        const before = heard.get(id.origin) ?? 0;
        if (before !== 0 && id.sequence !== before + 1) this.#fail(`node ${nodeId} delivers event ${id.sequence} of ${id.origin} after ${before}`);
        heard.set(id.origin, id.sequence);
        for (const { origin, sequence } of dependencies?.entries ?? []) {
          if (origin !== id.origin && (heard.get(origin) ?? Number.POSITIVE_INFINITY) < sequence) {
            this.#fail(`node ${nodeId} delivers event ${id.sequence} of ${id.origin} before ${sequence} of ${origin}, on which it depends`);
          }
        }
        this.delivered++;
      }
      mesh.subscriptions.onCausal(event);
    });
  }

  /** What an event follows, itself included, by origin. */
  pastOf(name: string): ReadonlyMap<number, number> {
    return this.#pasts.get(name) ?? new Map<number, number>();
  }

  #remember({ origin, sequence }: VectorClockEntry, dependencies: readonly VectorClockEntry[]): void {
    const name = `${origin}/${sequence}`;
    if (this.#pasts.has(name)) return;
    const past = new Map(this.#pasts.get(`${origin}/${sequence - 1}`));
    for (const each of dependencies) for (const [of, at] of this.#pasts.get(`${each.origin}/${each.sequence}`) ?? []) past.set(of, Math.max(at, past.get(of) ?? 0));
    past.set(origin, sequence);
    this.#pasts.set(name, past);
  }

  #fail(message: string): void {
    this.#recorder.violation("causal order", message);
  }
}
