/** Conflicts by region, in bounded memory. */
import type { Region } from "@statemesh/contract";
import { formatRegion } from "@statemesh/world";

/** Regions told of in an answer. */
export const BUSIEST_REGIONS = 1024;
/** Regions counted at a time. Where more have conflicts the less busy half is forgotten, so small counts may be too low. */
const REGIONS_COUNTED_MAX = 16_384;

export class BusiestRegions {
  readonly #limit: number;
  #counts = new Map<string, number>();

  constructor(limit: number = REGIONS_COUNTED_MAX) {
    this.#limit = limit;
  }

  count(region: Region): void {
    const text = formatRegion(region);
    const before = this.#counts.get(text);
    if (before === undefined && this.#counts.size >= this.#limit) this.#counts = new Map(this.#ranked().slice(0, this.#limit >> 1));
    this.#counts.set(text, (before ?? 0) + 1);
  }

  /** The 1,024 busiest by their text, busiest first. */
  busiest(): Map<string, number> {
    return new Map(this.#ranked().slice(0, BUSIEST_REGIONS));
  }

  #ranked(): [string, number][] {
    return [...this.#counts].sort(([a, countA], [b, countB]) => countB - countA || (a < b ? -1 : 1));
  }
}
