import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SequenceSet } from "../src/index.ts";

const steps = fc.array(
  fc.record({ kind: fc.constantFrom("add", "add", "add", "remove", "skip"), sequence: fc.integer({ min: 1, max: 90 }) }),
  { maxLength: 60, size: "max" },
);

describe("prefix and bitmap of sequences", () => {
  it("says the same as a plain set, within its window", () => {
    fc.assert(
      fc.property(steps, (list) => {
        const set = new SequenceSet(32);
        const model = new Set<number>();
        let prefix = 0;
        for (const { kind, sequence } of list) {
          if (kind === "add") {
            const expected = model.has(sequence) ? "duplicate" : sequence > prefix + 32 ? "beyond_window" : "added";
            expect(set.add(sequence)).toBe(expected);
            if (expected === "added") model.add(sequence);
          } else if (kind === "remove") {
            const removable = model.has(sequence) && sequence > prefix;
            expect(set.remove(sequence)).toBe(removable);
            if (removable) model.delete(sequence);
          } else {
            let skipped = 0;
            for (let s = prefix + 1; s <= sequence; s += 1) {
              if (!model.has(s)) skipped += 1;
              model.add(s);
            }
            expect(set.skipTo(sequence)).toBe(skipped);
          }
          while (model.has(prefix + 1)) prefix += 1;
          expect(set.prefix).toBe(prefix);
          expect(set.sparse).toBe(model.size - prefix);
          expect(set.highest).toBe(Math.max(0, ...model));
          for (let s = 1; s <= 95; s += 1) expect(set.has(s)).toBe(model.has(s));
          const missing = set.missing(95, 100).flatMap(({ first, last }) => Array.from({ length: last - first + 1 }, (_, i) => first + i));
          expect(missing).toEqual(Array.from({ length: 95 }, (_, i) => i + 1).filter((s) => !model.has(s)));
        }
      }),
    );
  });

  it("names at most as many missing ranges as asked for", () => {
    const set = new SequenceSet(64);
    for (const sequence of [2, 4, 6]) set.add(sequence);
    expect(set.missing(7, 2)).toEqual([{ first: 1, last: 1 }, { first: 3, last: 3 }]);
    expect(set.missing(3, 9)).toEqual([{ first: 1, last: 1 }, { first: 3, last: 3 }]);
  });
});
