// Which regions' values are wanted where. Every node holds every region, but most are read on few nodes: a node gets at once what is read there,
// and of the rest the latest a key now and then. Nodes tell each other what is read; who says nothing, such as an older build, gets everything.
import type { Region, RegionInterest } from "@statemesh/contract";
import { RegionMap } from "./region-map.ts";

/** Regions that a node names; with more it says that it wants everything. */
const NAMED_MAX = 4_096;
/** A region that somebody has read from, without a subscription, counts as read for so long, milliseconds. */
const READ_MS = 10_000;
/** All is said again this often: what was said may have been lost. Milliseconds. */
const AGAIN_MS = 5_000;

/** What is read on this node. */
export class OwnInterest {
  /** By region: subscriptions that read it. */
  readonly #held = new RegionMap<number>();
  /** By region: until when a read counts, in elapsed time. */
  readonly #reads = new RegionMap<number>();
  #added: Region[] = [];
  #elapsedMs = 0;
  #saidMs = Number.NEGATIVE_INFINITY;

  /** A subscription reads the region from now on. */
  hold(region: Region): void {
    const before = this.#held.get(region) ?? 0;
    if (before === 0 && this.#reads.get(region) === undefined) this.#add(region);
    this.#held.set(region, before + 1);
  }

  /** One reads it no more. The others hear of that with the next time that all is said. */
  release(region: Region): void {
    const left = (this.#held.get(region) ?? 0) - 1;
    if (left > 0) this.#held.set(region, left);
    else this.#held.delete(region);
  }

  /** Somebody has read from the region once. Beyond the most that are named, not all reads are remembered. */
  read(region: Region): void {
    if (this.#reads.get(region) === undefined) {
      if (this.#reads.size >= NAMED_MAX) return;
      if (this.#held.get(region) === undefined) this.#add(region);
    }
    this.#reads.set(region, this.#elapsedMs + READ_MS);
  }

  /** What to tell a peer that was told before in this tick; `fresh` with what to tell one that was not. */
  tick(elapsedMs: number): { readonly news: RegionInterest | undefined; readonly whole: () => RegionInterest } {
    this.#elapsedMs = elapsedMs;
    const added = this.#added;
    this.#added = [];
    let made: RegionInterest | undefined;
    const whole = (): RegionInterest => (made ??= this.#whole());
    if (elapsedMs - this.#saidMs >= AGAIN_MS || added.length > NAMED_MAX) {
      this.#saidMs = elapsedMs;
      return { news: whole(), whole };
    }
    return { news: added.length === 0 ? undefined : { whole: false, everything: false, regions: added }, whole };
  }

  #add(region: Region): void {
    if (this.#added.length <= NAMED_MAX) this.#added.push({ x: region.x, y: region.y, z: region.z });
  }

  #whole(): RegionInterest {
    const regions: Region[] = [];
    for (const [region, untilMs] of [...this.#reads.entries()]) {
      if (untilMs <= this.#elapsedMs) this.#reads.delete(region);
      else if (this.#held.get(region) === undefined) regions.push(region);
    }
    if (regions.length + this.#held.size > NAMED_MAX) return { whole: true, everything: true, regions: [] };
    for (const [region] of this.#held.entries()) regions.push(region);
    return { whole: true, everything: false, regions };
  }
}

/** What a peer has said of what is read there. */
export class PeerInterest {
  #regions: RegionMap<true> | undefined;

  /** It has said nothing yet, or that it wants everything. */
  get isAll(): boolean {
    return this.#regions === undefined;
  }

  wants(region: Region): boolean {
    return this.#regions === undefined || this.#regions.get(region) === true;
  }

  hear({ whole, everything, regions }: RegionInterest): void {
    if (everything || regions.length > NAMED_MAX) {
      this.#regions = undefined;
      return;
    }
    if (whole) this.#regions = new RegionMap();
    // What is added to what is not known does not say what else is wanted.
    for (const region of regions) this.#regions?.set(region, true);
  }
}
