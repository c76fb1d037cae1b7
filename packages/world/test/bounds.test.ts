import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { boundsOf, boundsOfRegion, countRegionsOfBounds, overlaps, POSITION_END_M, POSITION_MIN_M, type QuantizedBounds, quantizeBounds, reachesRegion, regionsOfBounds } from "../src/index.ts";

const metres = fc.oneof(fc.double({ min: POSITION_MIN_M, max: POSITION_END_M, noNaN: true }), fc.integer({ min: -10, max: 10 }).map((k) => k * 2000));
const side = fc.oneof(fc.double({ min: 0, max: 5000, noNaN: true }), fc.constantFrom(0, 2000, 4000));
const box = fc.tuple(metres, metres, metres, side, side, side).map(([x, y, z, dx, dy, dz]) => ({ minX: x, minY: y, minZ: z, maxX: x + dx, maxY: y + dy, maxZ: z + dz }));
const cube = (min: number, max: number): QuantizedBounds => ({ minX: min, minY: min, minZ: min, maxX: max, maxY: max, maxZ: max });

describe("quantizeBounds", () => {
  it("is idempotent: a quantised box stays as it is", () => {
    fc.assert(fc.property(box, (b) => {
      const q = quantizeBounds(b);
      for (const value of Object.values(q)) expect(Number.isSafeInteger(value) && !Object.is(value, -0)).toBe(true);
      expect(quantizeBounds(boundsOf(q))).toEqual(q);
    }));
  });

  it("rounds halves towards positive infinity", () => {
    expect(quantizeBounds({ minX: -0.125, minY: -0.005, minZ: 0.125, maxX: 0.004, maxY: 0.5, maxZ: 1 })).toEqual({ minX: -12, minY: 0, minZ: 13, maxX: 0, maxY: 50, maxZ: 100 });
  });
});

describe("overlaps", () => {
  it("is symmetric", () => {
    fc.assert(fc.property(box, box, (a, b) => {
      expect(overlaps(quantizeBounds(a), quantizeBounds(b))).toBe(overlaps(quantizeBounds(b), quantizeBounds(a)));
    }));
  });

  it("does not count boxes that only touch", () => {
    expect(overlaps(cube(0, 100), cube(100, 200))).toBe(false);
    expect(overlaps(cube(0, 100), cube(99, 200))).toBe(true);
    expect(overlaps(cube(0, 100), { ...cube(0, 100), minX: 100, maxX: 150 })).toBe(false);
  });
});

describe("regionsOfBounds", () => {
  it("names exactly the regions that the box overlaps, where it has a volume", () => {
    fc.assert(fc.property(box, (b) => {
      const q = quantizeBounds(b);
      fc.pre(q.minX < q.maxX && q.minY < q.maxY && q.minZ < q.maxZ);
      const regions = regionsOfBounds(q, 64) ?? [];
      expect(regions).toHaveLength(countRegionsOfBounds(q));
      for (const region of regions) {
        expect(overlaps(boundsOfRegion(region), q)).toBe(true);
        expect(reachesRegion(q, region)).toBe(true);
        const beyond = { x: region.x + 5, y: region.y, z: region.z };
        expect(reachesRegion(q, beyond)).toBe(overlaps(boundsOfRegion(beyond), q));
      }
    }));
  });

  it("puts a flat box on a boundary in the higher region, and stops at a boundary that a box only touches", () => {
    expect(regionsOfBounds(cube(200_000, 200_000), 8)).toEqual([{ x: 1, y: 1, z: 1 }]);
    expect(regionsOfBounds(cube(-200_000, 0), 8)).toEqual([{ x: -1, y: -1, z: -1 }]);
    expect(regionsOfBounds(cube(-1, 1), 8)).toHaveLength(8);
    expect(regionsOfBounds(cube(-1, 1), 7)).toBeUndefined();
  });
});
