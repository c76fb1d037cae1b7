/** Quantiles of durations in a fixed number of buckets: each power of two is cut into 16, so a quantile is at most 6.25 % too high. */

const STEPS = 16;
/** Up to 2^40 ns, 18 minutes; what is longer counts as that. */
const POWERS = 40;

export class LatencyQuantiles {
  readonly #counts = new Float64Array(POWERS * STEPS);
  #total = 0;

  /** @param durationMs as differences of `performance.now()` are */
  record(durationMs: number): void {
    const ns = Math.max(1, durationMs * 1e6);
    const power = Math.min(POWERS - 1, Math.floor(Math.log2(ns)));
    const step = Math.min(STEPS - 1, Math.floor((ns / 2 ** power - 1) * STEPS));
    const bucket = power * STEPS + step;
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1;
    this.#total += 1;
  }

  /**
   * The duration that a share of all recorded ones does not exceed, microseconds; 0 where nothing was recorded.
   *
   * @param share above 0, at most 1
   */
  quantileUs(share: number): number {
    const wanted = Math.ceil(this.#total * share);
    let seen = 0;
    for (let bucket = 0; bucket < this.#counts.length; bucket++) {
      seen += this.#counts[bucket] ?? 0;
      if (seen > 0 && seen >= wanted) return (2 ** Math.floor(bucket / STEPS) * (1 + ((bucket % STEPS) + 1) / STEPS)) / 1000;
    }
    return 0;
  }
}
