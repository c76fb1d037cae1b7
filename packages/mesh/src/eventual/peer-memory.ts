import type { EventualDelta } from "@statemesh/contract";
import { RegionMap } from "./region-map.ts";

/** What a node knows of one start of a peer, also while it cannot reach it. */
export class PeerMemory {
  #incarnation = 0;
  #number = 0;
  #gaplessFrom = 0;
  /** When the peer's digest of a region was last found equal, milliseconds of elapsed time. What has stood here since then, the peer has had. */
  readonly matchedMs = new RegionMap<number>();

  /** The peer's start; 0: it has not said. */
  get incarnation(): number {
    return this.#incarnation;
  }

  /** The peer counts from 1 again: where its first deltas are lost, the next does not follow what came by an earlier way. */
  wayOpened(): void {
    this.#number = 0;
    this.#gaplessFrom = 0;
  }

  /** Takes note of a delta. */
  heard({ incarnation, number }: EventualDelta): void {
    if (incarnation !== 0 && incarnation !== this.#incarnation) {
      // It began empty: what the earlier start had, this one may not have.
      this.#incarnation = incarnation;
      this.matchedMs.clear();
    }
    if (number <= 1 || number !== this.#number + 1) this.#gaplessFrom = number;
    this.#number = number;
  }

  /** Whether every delta from that number to the newest has come, in order. */
  hasAllFrom(number: number): boolean {
    return number !== 0 && this.#gaplessFrom !== 0 && number >= this.#gaplessFrom && number <= this.#number;
  }
}
