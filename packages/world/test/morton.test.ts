import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { mortonKey, mortonRanges, REGION_MAX, REGION_MIN, regionOfMortonKey } from "../src/index.ts";
import { regionArbitrary } from "./operations.ts";

const box = (edge: number) => fc.tuple(regionArbitrary, fc.nat(edge), fc.nat(edge), fc.nat(edge)).map(([min, dx, dy, dz]) => ({
  min, max: { x: Math.min(REGION_MAX, min.x + dx), y: Math.min(REGION_MAX, min.y + dy), z: Math.min(REGION_MAX, min.z + dz) },
}));

describe("mortonKey", () => {
  it("is 63 bits, not negative, and gives the region back", () => {
    fc.assert(fc.property(regionArbitrary, (region) => {
      const key = mortonKey(region);
      expect(key >= 0n && key < 1n << 63n).toBe(true);
      expect(regionOfMortonKey(key)).toEqual(region);
    }));
    expect(mortonKey({ x: REGION_MIN, y: REGION_MIN, z: REGION_MIN })).toBe(0n);
    expect(mortonKey({ x: REGION_MAX, y: REGION_MAX, z: REGION_MAX })).toBe((1n << 63n) - 1n);
  });

  it("grows with every axis, so that a box lies between the keys of its corners", () => {
    fc.assert(fc.property(box(1000), fc.constantFrom("x", "y", "z"), ({ min, max }, axis) => {
      expect(mortonKey(min) <= mortonKey(max)).toBe(true);
      if (min[axis] < REGION_MAX) expect(mortonKey({ ...min, [axis]: min[axis] + 1 }) > mortonKey(min)).toBe(true);
    }));
  });
});

describe("mortonRanges", () => {
  it("covers every region of a box with no more ranges than asked for", () => {
    fc.assert(fc.property(box(6), fc.integer({ min: 1, max: 32 }), ({ min, max }, count) => {
      const ranges = mortonRanges(min, max, count);
      expect(ranges.length).toBeGreaterThan(0);
      expect(ranges.length).toBeLessThanOrEqual(count);
      for (let x = min.x; x <= max.x; x++) {
        for (let y = min.y; y <= max.y; y++) {
          for (let z = min.z; z <= max.z; z++) {
            const key = mortonKey({ x, y, z });
            expect(ranges.some((range) => key >= range.first && key <= range.last)).toBe(true);
          }
        }
      }
    }), { numRuns: 40 });
  });

  it("covers the corners of boxes of any size with ordered, disjoint, separate ranges", () => {
    fc.assert(fc.property(box(2_097_151), fc.integer({ min: 1, max: 64 }), ({ min, max }, count) => {
      const ranges = mortonRanges(min, max, count);
      expect(ranges.length).toBeLessThanOrEqual(count);
      ranges.forEach((range, at) => {
        expect(range.first <= range.last).toBe(true);
        const before = ranges[at - 1];
        if (before !== undefined) expect(before.last + 1n < range.first).toBe(true);
      });
      for (const x of [min.x, max.x]) {
        for (const y of [min.y, max.y]) {
          for (const z of [min.z, max.z]) expect(ranges.some((r) => mortonKey({ x, y, z }) >= r.first && mortonKey({ x, y, z }) <= r.last)).toBe(true);
        }
      }
    }), { numRuns: 40 });
  });

  it("is exact where there are ranges enough", () => {
    const min = { x: -2, y: -2, z: -2 };
    const max = { x: 1, y: 2, z: 1 };
    const covered = mortonRanges(min, max, 256).reduce((sum, range) => sum + range.last - range.first + 1n, 0n);
    expect(covered).toBe(80n);
    expect(mortonRanges({ x: REGION_MIN, y: REGION_MIN, z: REGION_MIN }, { x: REGION_MAX, y: REGION_MAX, z: REGION_MAX }, 8)).toEqual([{ first: 0n, last: (1n << 63n) - 1n }]);
  });

  it("refuses boxes that are empty or outside of the world, and counts out of range", () => {
    const origin = { x: 0, y: 0, z: 0 };
    expect(() => mortonRanges(origin, { x: -1, y: 0, z: 0 }, 8)).toThrow(RangeError);
    expect(() => mortonRanges(origin, { x: 0, y: REGION_MAX + 1, z: 0 }, 8)).toThrow(RangeError);
    expect(() => mortonRanges(origin, origin, 0)).toThrow(RangeError);
  });
});
