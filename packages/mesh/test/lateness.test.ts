// A node whose processor has too much to do.
import { describe, expect, it } from "vitest";
import { Lateness } from "../src/flow/lateness.ts";

const LIMITS = { targetMs: 250, intervalMs: 500 };

/** Rounds that each come so late; milliseconds at their end. */
function rounds(lateness: Lateness, fromMs: number, lateMs: number, count: number): number {
  let nowMs = fromMs;
  for (let n = 0; n < count; n++) {
    lateness.asked(nowMs);
    nowMs += Math.max(1, lateMs);
    lateness.ran(nowMs);
  }
  return nowMs;
}

describe("updates and events on a node that is late with all it does", () => {
  it("are refused with a delay once it has been so for a while, and taken as soon as it is not", () => {
    const lateness = new Lateness(LIMITS);
    let nowMs = rounds(lateness, 0, 10, 100);
    expect(lateness.refusal(64)).toBeUndefined();
    nowMs = rounds(lateness, nowMs, 300, 3);
    const refusal = lateness.refusal(64);
    expect([refusal?.reason, refusal?.retryDelayMs, lateness.refused]).toEqual(["OVERLOADED", 600, 64]);
    rounds(lateness, nowMs, 10, 1);
    expect(lateness.refusal(64)).toBeUndefined();
  });

  it("are not refused for one round that takes long: a pause of the process is no load", () => {
    const lateness = new Lateness(LIMITS);
    rounds(lateness, rounds(lateness, 0, 10, 10), 2_000, 1);
    expect(lateness.refusal(1)).toBeUndefined();
  });
});
