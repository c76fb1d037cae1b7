// No effect before its cause: every node delivers an origin's events in order, and each after all that it depends on.
import type { NodeRuntime } from "@statemesh/node";
import type { Recorder } from "../recorder.ts";

export class CausalObserver {
  readonly #recorder: Recorder;
  delivered = 0;

  constructor(recorder: Recorder) {
    this.#recorder = recorder;
  }

  /** From the start of a node's process. */
  watch(nodeId: number, { mesh }: NodeRuntime): void {
    const heard = new Map<number, number>();
    mesh.causal.listen((event) => {
      const { id, dependencies } = event;
      if (id !== undefined) {
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

  #fail(message: string): void {
    this.#recorder.violation("causal order", message);
  }
}
