/** Who owns regions, remembered for a moment. */
import type { Region, RegionAuthority } from "@statemesh/contract";
import { formatRegion } from "@statemesh/world";

/** Regions that are remembered; beyond that the one that was asked for longest ago is forgotten. */
const REGIONS_MAX = 4_096;
/** How long an answer is given again, ms; shorter where the lease ends before. */
const FRESH_MS = 1_000;

interface Known {
  readonly authority: Promise<RegionAuthority>;
  untilMs: number;
}

/** Asks once for callers that ask together, and not again for a second. */
export class OwnerTable {
  readonly #ask: (region: Region) => Promise<RegionAuthority>;
  readonly #regions = new Map<string, Known>();

  constructor(ask: (region: Region) => Promise<RegionAuthority>) {
    this.#ask = ask;
  }

  /** Who owns a region. */
  async of(region: Region): Promise<RegionAuthority> {
    const key = formatRegion(region);
    const known = this.#regions.get(key);
    if (known !== undefined && performance.now() < known.untilMs) return await known.authority;
    const asked: Known = { authority: this.#ask(region), untilMs: Number.POSITIVE_INFINITY };
    this.#regions.delete(key);
    this.#regions.set(key, asked);
    if (this.#regions.size > REGIONS_MAX) {
      for (const oldest of this.#regions.keys()) {
        this.#regions.delete(oldest);
        break;
      }
    }
    try {
      const authority = await asked.authority;
      const fresh = authority.owner === undefined ? FRESH_MS : Math.min(FRESH_MS, authority.leaseRemainingMs);
      asked.untilMs = performance.now() + fresh;
      return authority;
    } catch (error) {
      if (this.#regions.get(key) === asked) this.#regions.delete(key);
      throw error;
    }
  }

  /** Somebody else owns it: what was remembered is over. */
  forget(region: Region): void {
    this.#regions.delete(formatRegion(region));
  }
}
