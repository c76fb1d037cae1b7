import { expect, test } from "vitest";
import { SystemClock, SystemRandom, SystemTimers } from "../src/index.ts";

test("monotonic time never goes back", () => {
  const clock = new SystemClock();
  let last = clock.monotonicMs();
  for (let n = 0; n < 1000; n++) {
    const now = clock.monotonicMs();
    expect(now).toBeGreaterThanOrEqual(last);
    last = now;
  }
  expect(clock.wallMs()).toBeGreaterThan(0);
});

test("a timer runs once, a cancelled one never", async () => {
  const timers = new SystemTimers();
  let cancelledRan = false;
  const cancel = timers.after(0, () => {
    cancelledRan = true;
  });
  cancel();
  cancel();
  await new Promise<void>((resolve) => {
    timers.after(5, resolve);
  });
  expect(cancelledRan).toBe(false);
});

test("a periodic timer runs until cancelled", async () => {
  const timers = new SystemTimers();
  await new Promise<void>((resolve) => {
    let runs = 0;
    const cancel = timers.every(1, () => {
      if (++runs < 3) return;
      cancel();
      resolve();
    });
  });
});

test("random numbers are in [0, 1)", () => {
  const random = new SystemRandom();
  for (let n = 0; n < 1000; n++) {
    const value = random.next();
    expect(value).toBeGreaterThanOrEqual(0);
    expect(value).toBeLessThan(1);
  }
});
