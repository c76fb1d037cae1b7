/** After this many failures in a row calls are refused without trying. */
const FAILURES_MAX = 5;
/** For how long, before one call may try again. */
const OPEN_MS = 1_000;

/** Keeps a dead dependency from costing every call its timeout. */
export class CircuitBreaker {
  readonly #nowMs: () => number;
  #failures = 0;
  #openUntilMs = 0;

  /** @param nowMs monotonic time, milliseconds */
  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** Whether a call may be made. While open, one call a second may, as a probe. */
  allows(): boolean {
    if (this.#failures < FAILURES_MAX) return true;
    const now = this.#nowMs();
    if (now < this.#openUntilMs) return false;
    this.#openUntilMs = now + OPEN_MS;
    return true;
  }

  succeeded(): void {
    this.#failures = 0;
  }

  failed(): void {
    this.#failures += 1;
    if (this.#failures >= FAILURES_MAX) this.#openUntilMs = this.#nowMs() + OPEN_MS;
  }
}
