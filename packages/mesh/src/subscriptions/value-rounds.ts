import type { Subscriber } from "./subscriber.ts";

/** When readers that asked for an interval get eventual values: in rounds, each key at most once a round. */
export class ValueRounds {
  readonly #monotonicMs: () => number;
  /** Readers with news that wait for their next round. */
  readonly #held = new Set<Subscriber>();

  constructor(monotonicMs: () => number) {
    this.#monotonicMs = monotonicMs;
  }

  /** Whether the reader gets eventual values now: then of changes up to `number`. Where not, `tick` names it in time. */
  begins(subscriber: Subscriber, number: number): boolean {
    if (subscriber.intervalMs > 0) {
      if (subscriber.isInRound) return true;
      const nowMs = this.#monotonicMs();
      if (nowMs < subscriber.roundAtMs) {
        this.#held.add(subscriber);
        return false;
      }
      subscriber.roundAtMs = nowMs + subscriber.intervalMs;
    }
    subscriber.roundThrough = number;
    return true;
  }

  /** `due` hears of each reader whose round may begin. */
  tick(due: (subscriber: Subscriber) => void): void {
    if (this.#held.size === 0) return;
    const nowMs = this.#monotonicMs();
    for (const subscriber of this.#held) {
      if (nowMs < subscriber.roundAtMs) continue;
      this.#held.delete(subscriber);
      due(subscriber);
    }
  }

  forget(subscriber: Subscriber): void {
    this.#held.delete(subscriber);
  }
}
