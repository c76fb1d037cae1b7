import type { Cancel, Clock, Random, Timers } from "./clock.ts";

/** The operating system's clocks. */
export class SystemClock implements Clock {
  wallMs(): number {
    return Date.now();
  }

  monotonicMs(): number {
    return performance.now();
  }
}

/** Node's timers. They keep the process alive until cancelled. */
export class SystemTimers implements Timers {
  after(delayMs: number, run: () => void): Cancel {
    const timer = setTimeout(run, delayMs);
    return () => {
      clearTimeout(timer);
    };
  }

  every(periodMs: number, run: () => void): Cancel {
    const timer = setInterval(run, periodMs);
    return () => {
      clearInterval(timer);
    };
  }
}

/** The runtime's generator: not for secrets. */
export class SystemRandom implements Random {
  next(): number {
    return Math.random();
  }
}
