import type { HybridTimestamp } from "@statemesh/contract";

/** Largest logical part: the field is a uint32 on the wire. */
const LOGICAL_MAX = 0xffff_ffff;

/** Milliseconds that a remote reading may run ahead of the local wall clock, unless told otherwise. */
export const DEFAULT_MAX_OFFSET_MS = 500;

export interface HybridClockOptions {
  /** Milliseconds that an observed reading may be ahead of the wall clock; 0 or more, default 500. */
  readonly maxOffsetMs?: number;
  /** Readings start after this one: what a restarted node had handed out or stored. */
  readonly startAfter?: HybridTimestamp;
}

/** Orders readings by physical part, then logical: negative, 0 or positive. */
export function compareTimestamps(a: HybridTimestamp, b: HybridTimestamp): number {
  return a.physicalMs - b.physicalMs || a.logical - b.logical;
}

/**
 * A hybrid logical clock (Kulkarni et al., 2014). Wall time is passed in, so it may jump either way:
 * readings only ever grow.
 */
export class HybridClock {
  readonly maxOffsetMs: number;
  #physicalMs = 0;
  #logical = 0;

  constructor(options: HybridClockOptions = {}) {
    this.maxOffsetMs = options.maxOffsetMs ?? DEFAULT_MAX_OFFSET_MS;
    if (!(this.maxOffsetMs >= 0)) throw new RangeError("maxOffsetMs must be 0 or more");
    if (options.startAfter !== undefined) {
      checkReading(options.startAfter);
      this.#physicalMs = options.startAfter.physicalMs;
      this.#logical = options.startAfter.logical;
    }
  }

  /** The last reading handed out or observed, whichever is later. */
  get last(): HybridTimestamp {
    return { physicalMs: this.#physicalMs, logical: this.#logical };
  }

  /** A new reading, later than every earlier one and than everything observed. `wallMs`: milliseconds since the Unix epoch. */
  now(wallMs: number): HybridTimestamp {
    const wall = wholeMs(wallMs);
    if (wall > this.#physicalMs) {
      this.#physicalMs = wall;
      this.#logical = 0;
    } else if (this.#logical < LOGICAL_MAX) {
      this.#logical += 1;
    } else {
      // 2^32 readings in a millisecond that does not pass: borrow the next one.
      this.#physicalMs += 1;
      this.#logical = 0;
    }
    return { physicalMs: this.#physicalMs, logical: this.#logical };
  }

  /**
   * Takes a reading of another node into account, so that later readings follow it. Returns false, and
   * stays where it is, where the reading is further ahead of the wall clock than the maximum offset: one
   * broken clock must not carry the others away.
   */
  observe(reading: HybridTimestamp, wallMs: number): boolean {
    checkReading(reading);
    if (reading.physicalMs > wholeMs(wallMs) + this.maxOffsetMs) return false;
    if (
      reading.physicalMs > this.#physicalMs ||
      (reading.physicalMs === this.#physicalMs && reading.logical > this.#logical)
    ) {
      this.#physicalMs = reading.physicalMs;
      this.#logical = reading.logical;
    }
    return true;
  }
}

function wholeMs(wallMs: number): number {
  const whole = Math.floor(wallMs);
  if (!Number.isSafeInteger(whole) || whole < 0) throw new RangeError("wall time must be a number of milliseconds, 0 or more");
  return whole;
}

function checkReading(reading: HybridTimestamp): void {
  if (!Number.isSafeInteger(reading.physicalMs) || reading.physicalMs < 0) {
    throw new RangeError("physicalMs must be a whole number, 0 or more");
  }
  if (!Number.isInteger(reading.logical) || reading.logical < 0 || reading.logical > LOGICAL_MAX) {
    throw new RangeError("logical must be a whole number, 0..2^32-1");
  }
}
