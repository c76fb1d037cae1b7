import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compareTimestamps, HybridClock } from "../src/index.ts";

const wall = fc.oneof(fc.integer({ min: 0, max: 50 }), fc.integer({ min: 0, max: 2 ** 40 }));
const step = fc.oneof(
  fc.record({ kind: fc.constant("now" as const), wallMs: wall }),
  fc.record({
    kind: fc.constant("observe" as const),
    wallMs: wall,
    reading: fc.record({ physicalMs: wall, logical: fc.oneof(fc.nat(5), fc.constantFrom(0xffff_fffe, 0xffff_ffff)) }),
  }),
);

describe("hybrid logical clock", () => {
  it("only ever grows, however the wall clock jumps", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60, size: "max" }), (steps) => {
        const clock = new HybridClock({ maxOffsetMs: 100 });
        let previous = clock.last;
        for (const s of steps) {
          if (s.kind === "now") {
            const reading = clock.now(s.wallMs);
            expect(compareTimestamps(reading, previous)).toBeGreaterThan(0);
            expect(reading.physicalMs).toBeGreaterThanOrEqual(s.wallMs);
            expect(reading.logical).toBeLessThanOrEqual(0xffff_ffff);
            previous = reading;
          } else {
            const taken = clock.observe(s.reading, s.wallMs);
            expect(taken).toBe(s.reading.physicalMs <= s.wallMs + 100);
            expect(compareTimestamps(clock.last, previous)).toBeGreaterThanOrEqual(0);
            if (taken) expect(compareTimestamps(clock.last, s.reading)).toBeGreaterThanOrEqual(0);
            else expect(clock.last).toEqual(previous);
            previous = clock.last;
          }
        }
      }),
    );
  });

  it("borrows the next millisecond when the logical part is used up", () => {
    const clock = new HybridClock();
    expect(clock.observe({ physicalMs: 10, logical: 0xffff_ffff }, 10)).toBe(true);
    expect(clock.now(10)).toEqual({ physicalMs: 11, logical: 0 });
  });

  it("starts after what the node had handed out before", () => {
    const clock = new HybridClock({ startAfter: { physicalMs: 1000, logical: 7 } });
    expect(clock.now(3)).toEqual({ physicalMs: 1000, logical: 8 });
  });

  it("refuses readings and wall times that are no times", () => {
    const clock = new HybridClock();
    expect(() => clock.now(Number.NaN)).toThrow(RangeError);
    expect(() => clock.now(-1)).toThrow(RangeError);
    expect(() => clock.observe({ physicalMs: -1, logical: 0 }, 0)).toThrow(RangeError);
    expect(() => clock.observe({ physicalMs: 0, logical: 2 ** 32 }, 0)).toThrow(RangeError);
  });
});
