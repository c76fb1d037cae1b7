import type { Region } from "@statemesh/contract";
import type { Place } from "./operation-builder.ts";

/**
 * The right to write a region, as long as `held` says so. A lease counts from before the call that took or renewed it was
 * sent, so that the holder always gives up before the directory gives the region away. Ask before each use, also after
 * every await: a process that slept through its lease finds out there.
 */
export class HeldLease implements Place {
  /** The region that may be written. */
  readonly region: Region;
  /** Its epoch: what operations carry. */
  readonly epoch: number;
  /** Players in the region, 0..1,000,000: told to the directory with the next renewal, what is outside as the nearest inside. */
  players = 0;
  #endMs: number;
  #over = false;

  constructor(region: Region, epoch: number, endMs: number) {
    this.region = region;
    this.epoch = epoch;
    this.#endMs = endMs;
  }

  /** Whether the lease runs, by this process's monotonic clock. */
  get held(): boolean {
    return this.remainingMs > 0;
  }

  /** What is left of it, ms; 0 once it is over. */
  get remainingMs(): number {
    return this.#over ? 0 : Math.max(0, this.#endMs - performance.now());
  }

  /** For the keeper: the directory extended it. False: it was over before, and stays so: its holder may have acted on that. */
  extend(endMs: number): boolean {
    if (!this.held) return false;
    this.#endMs = Math.max(this.#endMs, endMs);
    return true;
  }

  /** For the keeper: it was released, handed over, taken or ran out. */
  end(): void {
    this.#over = true;
  }
}
