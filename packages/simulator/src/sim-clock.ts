import type { Cancel, Clock, Timers } from "@statemesh/ports";
import type { Simulation } from "./simulation.ts";

/** Wall time at the start of every simulation: 2026-01-01T00:00:00Z. */
export const START_WALL_MS = 1_767_225_600_000;

/** A node's clocks on virtual time. The wall clock may be set wrong, and jump; both may run fast or slow. */
export class SimClock implements Clock {
  readonly #simulation: Simulation;
  /** Milliseconds that the wall clock is ahead (or behind, negative). */
  skewMs = 0;
  #rate = 1;
  /** Where the monotonic clock stood when its rate was last set, and when that was. */
  #baseMs = 0;
  #sinceMs = 0;

  constructor(simulation: Simulation) {
    this.#simulation = simulation;
  }

  /** How fast both clocks run: 1.01 gains ten milliseconds a second. */
  get rate(): number {
    return this.#rate;
  }

  set rate(rate: number) {
    this.#baseMs = this.monotonicMs();
    this.#sinceMs = this.#simulation.nowMs;
    this.#rate = rate;
  }

  wallMs(): number {
    return Math.floor(START_WALL_MS + this.monotonicMs() + this.skewMs);
  }

  monotonicMs(): number {
    return this.#baseMs + (this.#simulation.nowMs - this.#sinceMs) * this.#rate;
  }
}

/** A process's timers on virtual time; they end with it. */
export class SimTimers implements Timers {
  readonly #simulation: Simulation;
  readonly #deliver: (run: () => void) => void;
  #live = new Set<Cancel>();

  /** `deliver` hands a timer that has come due to the process: a process that is paused takes it later. */
  constructor(simulation: Simulation, deliver: (run: () => void) => void = (run) => run()) {
    this.#simulation = simulation;
    this.#deliver = deliver;
  }

  after(delayMs: number, run: () => void): Cancel {
    const stop = this.#simulation.after(delayMs, () => {
      this.#deliver(() => {
        // It may have been cancelled while the process was paused.
        if (!this.#live.delete(cancel)) return;
        run();
      });
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
