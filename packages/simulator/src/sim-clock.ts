import type { Cancel, Clock, Timers } from "@statemesh/ports";
import type { Simulation } from "./simulation.ts";

/** Wall time at the start of every simulation: 2026-01-01T00:00:00Z. */
const START_WALL_MS = 1_767_225_600_000;

/** A node's clocks on virtual time. The wall clock may be set wrong, and jump. */
export class SimClock implements Clock {
  readonly #simulation: Simulation;
  /** Milliseconds that the wall clock is ahead (or behind, negative). */
  skewMs = 0;

  constructor(simulation: Simulation) {
    this.#simulation = simulation;
  }

  wallMs(): number {
    return Math.floor(START_WALL_MS + this.#simulation.nowMs + this.skewMs);
  }

  monotonicMs(): number {
    return this.#simulation.nowMs;
  }
}

/** A process's timers on virtual time; they end with it. */
export class SimTimers implements Timers {
  readonly #simulation: Simulation;
  #live = new Set<Cancel>();

  constructor(simulation: Simulation) {
    this.#simulation = simulation;
  }

  after(delayMs: number, run: () => void): Cancel {
    const stop = this.#simulation.after(delayMs, () => {
      this.#live.delete(cancel);
      run();
    });
    const cancel = (): void => {
      this.#live.delete(cancel);
      stop();
    };
    this.#live.add(cancel);
    return cancel;
  }

  every(periodMs: number, run: () => void): Cancel {
    let cancelNext: Cancel;
    let stopped = false;
    const again = (): void => {
      cancelNext = this.after(periodMs, () => {
        run();
        if (!stopped) again();
      });
    };
    again();
    return () => {
      stopped = true;
      cancelNext();
    };
  }

  /** The process is gone: nothing that it waited for happens. */
  cancelAll(): void {
    for (const cancel of [...this.#live]) cancel();
  }
}
