// How much is decided in each region, for operators. Every replica applies everything, so each node sees all of it.
import type { DecidedOperation } from "@statemesh/contract/log";
import { formatRegion } from "@statemesh/world";

/** Every so manieth operation is counted: the count must not cost what it counts. */
const SAMPLE = 16;
const WINDOW_MS = 10_000;
/** Regions counted in one window; those that come later in it are not. */
const REGIONS_MAX = 65_536;

export class RegionHeat {
  #skip = 0;
  #beganMs: number;
  #counts = new Map<string, number>();
  #before = new Map<string, number>();
  /** Whether `#before` is the window right before this one. */
  #hasBefore = false;

  constructor(nowMs: number) {
    this.#beganMs = nowMs;
  }

  /** Operations were decided at monotonic `nowMs`. */
  note(decided: readonly DecidedOperation[], nowMs: number): void {
    this.#turn(nowMs);
    let at = this.#skip;
    for (; at < decided.length; at += SAMPLE) {
      const region = decided[at]?.region;
      if (region === undefined) continue;
      const text = formatRegion(region);
      const count = this.#counts.get(text);
      if (count !== undefined || this.#counts.size < REGIONS_MAX) this.#counts.set(text, (count ?? 0) + SAMPLE);
    }
    this.#skip = at - decided.length;
  }

  #turn(nowMs: number): void {
    const passed = Math.floor((nowMs - this.#beganMs) / WINDOW_MS);
    if (passed < 1) return;
    this.#before = passed === 1 ? this.#counts : new Map();
    this.#counts = new Map();
    this.#hasBefore = true;
    this.#beganMs += passed * WINDOW_MS;
  }

  /** Operations a second by region text, over this window and the one before. */
  rates(nowMs: number): Map<string, number> {
    this.#turn(nowMs);
    const seconds = Math.max(1, (nowMs - this.#beganMs + (this.#hasBefore ? WINDOW_MS : 0)) / 1_000);
    const rates = new Map<string, number>();
    for (const counts of [this.#before, this.#counts]) for (const [text, count] of counts) rates.set(text, (rates.get(text) ?? 0) + count / seconds);
    return rates;
  }
}
