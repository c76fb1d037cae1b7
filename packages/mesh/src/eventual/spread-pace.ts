/** From one spreading of what was published to the next, on a node that keeps up; milliseconds. */
const GAP_MIN_MS = 10;
/** How much sooner it comes again after one that was in time. */
const SOONER_MS = 1;

/**
 * When what was published goes to the other nodes between two ticks: at once after a pause, and then as often as the node keeps up with. Each time costs a
 * message to each peer, and one from there to each reader, so a node that comes to it late, because it or its machine is busy, lets more come together: up to a tick.
 */
export class SpreadPace {
  readonly #gapMaxMs: number;
  #gapMs = GAP_MIN_MS;
  #lastMs = Number.NEGATIVE_INFINITY;
  #dueMs = Number.NEGATIVE_INFINITY;

  constructor(tickMs: number) {
    this.#gapMaxMs = Math.max(tickMs, GAP_MIN_MS);
  }

  /** Something is to go. Returns in how many milliseconds; 0: now. `nowMs`: monotonic. */
  due(nowMs: number): number {
    this.#dueMs = Math.max(nowMs, this.#lastMs + this.#gapMs);
    return this.#dueMs - nowMs;
  }

  /** It goes now, with or without its turn. */
  goes(nowMs: number, isTurn: boolean): void {
    this.#lastMs = nowMs;
    if (!isTurn) return;
    const lateMs = nowMs - this.#dueMs;
    this.#gapMs = lateMs > GAP_MIN_MS ? Math.min(this.#gapMaxMs, this.#gapMs + lateMs) : Math.max(GAP_MIN_MS, this.#gapMs - SOONER_MS);
  }
}
