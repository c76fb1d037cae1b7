import { overlaps, type QuantizedBounds } from "@statemesh/world";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BoxIndex, LINEAR_MAX } from "../src/box-index.ts";
import { Contender } from "../src/contender.ts";
import { Search } from "../src/search.ts";
import { typeOrdersOf } from "../src/type-order.ts";
import { candidate, POLICY } from "./candidates.ts";

const ORDERS = typeOrdersOf(POLICY);

/** Boxes from a hand's breadth to many kilometres, around the origin and at the end of the world. */
const box = fc.tuple(
  fc.constantFrom(0, 0, 0, -2_097_151_000, 2_097_000_000),
  fc.integer({ min: -400, max: 400 }), fc.integer({ min: -40, max: 40 }), fc.integer({ min: -400, max: 400 }),
  fc.constantFrom(0, 0.01, 1, 2.56, 10, 41, 170, 700, 40_000),
  fc.constantFrom(0.1, 1, 30, 512),
).map(([origin, x, y, z, long, short]) => ({ minX: origin + x, minY: y, minZ: z, maxX: origin + x + long, maxY: y + short, maxZ: z + short }));

const boxes = (count: number) => fc.array(box, { minLength: count, maxLength: count }).map((list) => list.map((bounds, at) => new Contender(candidate(`op-${at}`, { bounds }), false, ORDERS)));

function idsOf(list: readonly Contender[]): string[] {
  return list.map((it) => it.candidate.operationId).sort();
}

describe("the index of boxes", () => {
  it.each([5, LINEAR_MAX, LINEAR_MAX + 1, 3 * LINEAR_MAX])("of %i boxes finds exactly those that overlap, each once, also while it grows", (count) => {
    fc.assert(fc.property(boxes(count), (contenders) => {
      const index = new BoxIndex();
      const search = new Search();
      contenders.forEach((it, at) => {
        const bounds = it.bounds as QuantizedBounds;
        search.begin(it, "all");
        index.find(bounds, search);
        expect(idsOf(search.found)).toEqual(idsOf(contenders.slice(0, at).filter((other) => overlaps(other.bounds as QuantizedBounds, bounds))));
        index.add(it);
      });
    }), { numRuns: 12 });
  });
});
