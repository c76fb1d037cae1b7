/** Most that one step counts, milliseconds: a clock that jumps further has not lived through it. */
const STEP_MAX_MS = 1_000;

/** Milliseconds that have passed, from readings of a clock that may jump either way: never goes back. */
export class ElapsedTime {
  #elapsedMs = 0;
  #lastMs: number | undefined;

  get ms(): number {
    return this.#elapsedMs;
  }

  /** Takes a reading; returns the time passed since the first one. */
  advance(nowMs: number): number {
    const step = nowMs - (this.#lastMs ?? nowMs);
    this.#lastMs = nowMs;
    this.#elapsedMs += Math.min(Math.max(step, 0), STEP_MAX_MS);
    return this.#elapsedMs;
  }
}
