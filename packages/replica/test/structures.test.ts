import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SpatialIndex, TouchLog } from "@statemesh/replica";
import { overlaps } from "@statemesh/world";
import { TwoGenerations } from "../src/two-generations.ts";

const box = fc
  .tuple(fc.integer({ min: -200_000, max: 200_000 }), fc.integer({ min: -200_000, max: 200_000 }), fc.integer({ min: 0, max: 51_200 }))
  .map(([x, z, side]) => ({ minX: x, minY: 0, minZ: z, maxX: x + side, maxY: side, maxZ: z + side }));

describe("the spatial index", () => {
  it("finds exactly what overlaps, after any insertions and removals", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(box, fc.boolean()), { maxLength: 40 }), box, (placed, query) => {
        const index = new SpatialIndex<number>();
        for (const [i, [bounds]] of placed.entries()) index.insert(bounds, i);
        for (const [i, [bounds, removed]] of placed.entries()) if (removed) index.remove(bounds, i);
        const found = new Set<number>();
        index.visitOverlapping(query, (item) => {
          found.add(item);
        });
        const expected = placed.flatMap(([bounds, removed], i) => (!removed && overlaps(bounds, query) ? [i] : []));
        expect([...found].sort((a, b) => a - b)).toEqual(expected);
        expect(index.size).toBe(placed.filter(([, removed]) => !removed).length);
      }),
    );
  });
});

describe("a map of two generations", () => {
  it("keeps the newest generation at least, and tells what it forgets", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 8 }), fc.integer({ min: 0, max: 50 }), (generation, count) => {
        const forgotten: number[] = [];
        const map = new TwoGenerations<number>(generation, (value) => forgotten.push(value));
        for (let i = 0; i < count; i++) map.set(`k${i}`, i);
        expect(map.size).toBeLessThanOrEqual(2 * generation);
        for (let i = Math.max(0, count - generation); i < count; i++) expect(map.get(`k${i}`)).toBe(i);
        for (let i = 0; i < count; i++) expect(map.get(`k${i}`) === undefined).toBe(forgotten.includes(i));
      }),
    );
  });
});

describe("the log of touches", () => {
  it("gives everything after an index in order, or says that it no longer can", () => {
    fc.assert(
      fc.property(fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 60, max: 300 })), fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 400, size: "max" }), fc.nat(900), (capacity, steps, after) => {
        const log = new TouchLog(capacity, 0);
        const all: { index: number; itemKind: string }[] = [];
        let index = 0;
        for (const [i, step] of steps.entries()) {
          index += step;
          log.record(index, { kind: "totals", itemKind: `k${i}` });
          all.push({ index, itemKind: `k${i}` });
        }
        const seen: string[] = [];
        const complete = log.since(after, (touch) => {
          if (touch.kind === "totals") seen.push(touch.itemKind);
          return true;
        });
        const wanted = all.filter((touch) => touch.index > after).map((touch) => touch.itemKind);
        if (complete) expect(seen).toEqual(wanted);
        else expect(wanted.length).toBeGreaterThan(capacity - 1);
      }),
    );
  });
});
