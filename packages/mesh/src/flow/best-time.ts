// How long work takes where nothing keeps it waiting: far peers and slow disks are no load. Only what is done while there is little else says that: the
// best of a load that stands would rise for as long as it does.

export class BestTime {
  readonly #windowMs: number;
  /** Of this time and of the one before. */
  #bestMs = Number.POSITIVE_INFINITY;
  #beforeMs = Number.POSITIVE_INFINITY;
  #sinceMs: number;
  #notedAtMs: number;

  /** @param windowMs how long the best counts, at least; twice as long at most, and in any case until there is another */
  constructor(windowMs: number, nowMs: number) {
    this.#windowMs = windowMs;
    this.#sinceMs = this.#notedAtMs = nowMs;
  }

  /** 0 where nothing is known. */
  get ms(): number {
    const best = Math.min(this.#bestMs, this.#beforeMs);
    return Number.isFinite(best) ? best : 0;
  }

  /** When something was noted last. */
  get notedAtMs(): number {
    return this.#notedAtMs;
  }

  note(tookMs: number, nowMs: number): void {
    this.#notedAtMs = nowMs;
    if (nowMs - this.#sinceMs >= this.#windowMs) {
      this.#beforeMs = this.#bestMs;
      this.#bestMs = tookMs;
      this.#sinceMs = nowMs;
    } else this.#bestMs = Math.min(this.#bestMs, tookMs);
  }

  /** What was known counts no more: the next that is noted does. */
  forget(nowMs: number): void {
    this.#beforeMs = this.#bestMs = Number.POSITIVE_INFINITY;
    this.#sinceMs = nowMs;
  }
}
