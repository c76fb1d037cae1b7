/** Conflicts by region, and how long the batches with them took, in bounded memory. */
import type { Region } from "@statemesh/contract";
import type { LatencyHistogram } from "@statemesh/service";
import { formatRegion } from "@statemesh/world";
import { batchHistogram } from "./latency-buckets.ts";

/** Regions told of in an answer. */
export const BUSIEST_REGIONS = 1024;
/** Regions counted at a time. Where more have conflicts the less busy half is forgotten, so small counts may be too low. */
const REGIONS_COUNTED_MAX = 16_384;

/** One region. */
export interface CountedRegion {
  conflicts: number;
  readonly latency: LatencyHistogram;
}

export class BusiestRegions {
  readonly #limit: number;
  #counts = new Map<string, CountedRegion>();

  constructor(limit: number = REGIONS_COUNTED_MAX) {
    this.#limit = limit;
  }

  /** Counts a conflict; `durationMs` once a batch and region. */
  count(region: Region, durationMs: number | undefined): void {
    const text = formatRegion(region);
    let counted = this.#counts.get(text);
    if (counted === undefined) {
      if (this.#counts.size >= this.#limit) this.#counts = new Map(this.#ranked().slice(0, this.#limit >> 1));
      counted = { conflicts: 0, latency: batchHistogram() };
      this.#counts.set(text, counted);
    }
    counted.conflicts += 1;
    if (durationMs !== undefined) counted.latency.observe(durationMs);
  }

  /** The 1,024 busiest by their text, busiest first. */
  busiest(): Map<string, CountedRegion> {
    return new Map(this.#ranked().slice(0, BUSIEST_REGIONS));
  }

  #ranked(): [string, CountedRegion][] {
    return [...this.#counts].sort(([a, left], [b, right]) => right.conflicts - left.conflicts || (a < b ? -1 : 1));
  }
}
