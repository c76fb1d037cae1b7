/** So many a second, and as many again saved up for a burst. */
export class TokenBucket {
  readonly #perSecond: number;
  #tokens: number;
  #filledAtMs: number;

  constructor(perSecond: number, nowMs: number) {
    this.#perSecond = perSecond;
    this.#tokens = perSecond;
    this.#filledAtMs = nowMs;
  }

  /** Takes as many, all or none: 0, or the milliseconds after which there are enough. More than a second's worth is taken on credit. */
  take(count: number, nowMs: number): number {
    this.#tokens = Math.min(this.#perSecond, this.#tokens + (Math.max(0, nowMs - this.#filledAtMs) * this.#perSecond) / 1_000);
    this.#filledAtMs = Math.max(nowMs, this.#filledAtMs);
    const needed = Math.min(count, this.#perSecond);
    if (this.#tokens < needed) return Math.ceil(((needed - this.#tokens) * 1_000) / this.#perSecond);
    this.#tokens -= count;
    return 0;
  }

  /** Nobody took anything for so long that it is full: it need not be remembered. */
  isFull(nowMs: number): boolean {
    return this.#tokens + ((nowMs - this.#filledAtMs) * this.#perSecond) / 1_000 >= this.#perSecond;
  }
}
