/** Time as a node sees it. Only adapters read the operating system's clock. */
export interface Clock {
  /** Wall time, milliseconds since the Unix epoch. May jump either way. */
  wallMs(): number;
  /** Monotonic time in milliseconds from an arbitrary start, with fractions. Never goes back. */
  monotonicMs(): number;
}

/** Cancels a timer; a second call does nothing. */
export type Cancel = () => void;

/** Timers on monotonic time. */
export interface Timers {
  /** Calls `run` once, `delayMs` from now at the earliest. */
  after(delayMs: number, run: () => void): Cancel;
  /** Calls `run` every `periodMs` until cancelled; missed periods are not made up. */
  every(periodMs: number, run: () => void): Cancel;
}

/** A source of random numbers. */
export interface Random {
  /** Uniform in [0, 1). */
  next(): number;
}
