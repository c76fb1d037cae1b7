import type { VectorClock } from "@statemesh/contract";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compare, dominates, emptyClock, fromEntries, increment, merge, sequenceOf, toEntries, violationOf } from "../src/index.ts";

const clocks: fc.Arbitrary<VectorClock> = fc
  .array(fc.record({ origin: fc.integer({ min: 1, max: 6 }), sequence: fc.nat(4) }), { maxLength: 8 })
  .map(fromEntries);

describe("sparse vector clock", () => {
  it("merges associatively, commutatively and idempotently, with the empty clock as neutral element", () => {
    fc.assert(
      fc.property(clocks, clocks, clocks, (a, b, c) => {
        expect(merge(a, merge(b, c))).toEqual(merge(merge(a, b), c));
        expect(merge(a, b)).toEqual(merge(b, a));
        expect(merge(a, a)).toEqual(a);
        expect(merge(a, emptyClock())).toEqual(a);
        expect(violationOf(merge(a, b))).toBeUndefined();
      }),
    );
  });

  it("compares as a partial order that agrees with merge and dominates", () => {
    fc.assert(
      fc.property(clocks, clocks, clocks, (a, b, c) => {
        const order = compare(a, b);
        const mirrored = { before: "after", after: "before", equal: "equal", concurrent: "concurrent" } as const;
        expect(compare(b, a)).toBe(mirrored[order]);
        expect(order === "equal").toBe(JSON.stringify(a) === JSON.stringify(b));
        expect(dominates(a, b)).toBe(order === "after" || order === "equal");
        expect(dominates(a, b)).toBe(compare(merge(a, b), a) === "equal");
        expect(dominates(merge(a, b), a)).toBe(true);
        if (dominates(c, a) && dominates(c, b)) expect(dominates(c, merge(a, b))).toBe(true);
        if (dominates(a, b) && dominates(b, c)) expect(dominates(a, c)).toBe(true);
      }),
    );
  });

  it("moves strictly forward with every event of an origin", () => {
    fc.assert(
      fc.property(clocks, fc.integer({ min: 1, max: 7 }), (clock, origin) => {
        const next = increment(clock, origin);
        expect(compare(clock, next)).toBe("before");
        expect(sequenceOf(next, origin)).toBe(sequenceOf(clock, origin) + 1);
      }),
    );
  });

  it("has one form for one meaning", () => {
    const sequences = new Map([[9, 1], [2, 3], [5, 0]]);
    expect(toEntries(sequences)).toEqual([{ origin: 2, sequence: 3 }, { origin: 9, sequence: 1 }]);
    expect(fromEntries([{ origin: 2, sequence: 1 }, { origin: 1, sequence: 1 }, { origin: 2, sequence: 4 }])).toEqual({
      entries: [{ origin: 1, sequence: 1 }, { origin: 2, sequence: 4 }],
    });
  });

  it("says which entry of a foreign clock breaks which rule", () => {
    expect(violationOf({ entries: [{ origin: 0, sequence: 1 }] })?.path).toBe("entries[0].origin");
    expect(violationOf({ entries: [{ origin: 2, sequence: 1 }, { origin: 1, sequence: 1 }] })?.path).toBe("entries[1].origin");
    expect(violationOf({ entries: [{ origin: 2, sequence: 0 }] })?.path).toBe("entries[0].sequence");
    expect(violationOf({ entries: [{ origin: 2, sequence: 1.5 }] })?.path).toBe("entries[0].sequence");
    expect(violationOf({ entries: Array.from({ length: 65 }, (_, i) => ({ origin: i + 1, sequence: 1 })) })?.path).toBe("entries");
  });
});
