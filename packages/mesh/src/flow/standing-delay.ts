// Whether a queue stands: what leaves it has waited too long, and goes on doing so. A queue that fills and empties again within an
// interval is a burst and harms nobody; one that stands only makes everybody late. After Nichols and Jacobson, "Controlling Queue
// Delay" (2012), as servers use it: what may not wait is refused at once, while the caller can still do something else.

export interface DelayLimits {
  /** Milliseconds that work may wait. */
  readonly targetMs: number;
  /** Milliseconds for which the wait may be above that before work is refused. */
  readonly intervalMs: number;
}

/** A loaded server is asked again between these, ms. */
export const RETRY_MIN_MS = 50;
export const RETRY_MAX_MS = 2_000;

export class StandingDelay {
  readonly #limits: DelayLimits;
  /** Since when the wait has been above the target; since when below it. */
  #aboveSinceMs: number | undefined;
  #belowSinceMs: number | undefined;
  #stands = false;

  constructor(limits: DelayLimits) {
    this.#limits = limits;
  }

  /** The queue was too long for an interval, and was not short for an interval since. */
  get stands(): boolean {
    return this.#stands;
  }

  /** Something left the queue after `waitedMs`, or the oldest in it has waited that long; 0 where it is empty. */
  note(waitedMs: number, nowMs: number): void {
    if (waitedMs < this.#limits.targetMs) {
      this.#aboveSinceMs = undefined;
      this.#belowSinceMs ??= nowMs;
      // Refusing makes the wait short: that alone does not mean that the load is gone.
      if (nowMs - this.#belowSinceMs >= this.#limits.intervalMs) this.#stands = false;
      return;
    }
    this.#belowSinceMs = undefined;
    this.#aboveSinceMs ??= nowMs;
    if (nowMs - this.#aboveSinceMs >= this.#limits.intervalMs) this.#stands = true;
  }

  /** More must not come behind something that has waited this long. */
  refuses(oldestMs: number): boolean {
    return this.#stands && oldestMs >= this.#limits.targetMs;
  }

  /** What has waited this long is not worth doing any more: who asked has better things to do. */
  isStale(waitedMs: number): boolean {
    return this.#stands && waitedMs > 2 * this.#limits.targetMs;
  }
}

/** When to ask again, ms: once what is before it is done. */
export function retryAfterMs(oldestMs: number): number {
  return Math.min(RETRY_MAX_MS, Math.max(RETRY_MIN_MS, Math.ceil(oldestMs)));
}
