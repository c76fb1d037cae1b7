import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { formatRegion, isRegion, neighboursOf, overlappingNeighbours, parseRegion, POSITION_END_M, POSITION_MIN_M, REGION_MAX, REGION_MIN, regionOf, sameRegion } from "../src/index.ts";
import { regionArbitrary } from "./operations.ts";

const coordinate = fc.oneof(
  fc.double({ min: POSITION_MIN_M, max: POSITION_END_M, maxExcluded: true, noNaN: true }),
  fc.integer({ min: REGION_MIN, max: REGION_MAX }).map((region) => region * 2000),
);
const position = fc.record({ x: coordinate, y: coordinate, z: coordinate });

describe("regionOf", () => {
  it.each([[0, 0], [1999.999, 0], [2000, 1], [-0.001, -1], [-2000, -1], [-2000.001, -2], [-0, 0], [-5e-324, -1], [POSITION_MIN_M, REGION_MIN], [2_097_151_999.999_999_8, REGION_MAX]])(
    "puts %d m in region %d",
    (metres, expected) => expect(regionOf({ x: metres, y: metres, z: metres })).toEqual({ x: expected, y: expected, z: expected }),
  );

  it("gives a region whose cube contains the position, a boundary belonging to the higher one", () => {
    fc.assert(fc.property(position, (p) => {
      const region = regionOf(p);
      expect(isRegion(region)).toBe(true);
      for (const axis of ["x", "y", "z"] as const) {
        expect(p[axis] >= region[axis] * 2000 && p[axis] < (region[axis] + 1) * 2000).toBe(true);
      }
    }));
  });

  it("never rounds a position just below a boundary into the higher region", () => {
    fc.assert(fc.property(fc.integer({ min: REGION_MIN + 1, max: REGION_MAX }), (edge) => {
      const words = new Float64Array([edge * 2000]);
      const bits = new BigInt64Array(words.buffer);
      bits[0] = (bits[0] ?? 0n) + (edge > 0 ? -1n : 1n);
      fc.pre(edge !== 0);
      expect(regionOf({ x: words[0] ?? 0, y: 0, z: 0 }).x).toBe(edge - 1);
    }));
  });
});

describe("canonical text", () => {
  it("reads back every region", () => {
    fc.assert(fc.property(regionArbitrary, (region) => {
      expect(parseRegion(formatRegion(region))).toEqual(region);
    }));
    expect(formatRegion({ x: -1, y: 0, z: 3 })).toBe("region_-1_0_3");
  });

  it.each(["", "region", "region_1_2", "region_1_2_3_4", "region_01_2_3", "region_-0_0_0", "region_+1_0_0", "region_1.0_0_0", "region_1e3_0_0",
    "region_0x1_0_0", "Region_1_2_3", " region_1_2_3", "region_1_2_3 ", "region_1__3", "region_1048576_0_0", "region_-1048577_0_0", "region_NaN_0_0",
    `region_${"1".repeat(1000)}_0_0`])("refuses %j", (text) => expect(parseRegion(text)).toBeUndefined());

  it("reads nothing that it would not write", () => {
    fc.assert(fc.property(fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom("region_", "-", "0", "1", "9", "_", "+") })), (text) => {
      const region = parseRegion(text);
      expect(region === undefined || formatRegion(region) === text).toBe(true);
    }));
  });
});

describe("neighbours", () => {
  it("are symmetric and never the region itself", () => {
    fc.assert(fc.property(regionArbitrary, fc.integer({ min: 1, max: 2 }), (region, rings) => {
      const found = neighboursOf(region, rings);
      expect(found.some((other) => sameRegion(other, region))).toBe(false);
      for (const other of found) expect(neighboursOf(other, rings).some((back) => sameRegion(back, region))).toBe(true);
    }), { numRuns: 20 });
  });

  it("are 26 with one ring inside the world and 7 in its corner", () => {
    expect(neighboursOf({ x: 0, y: 0, z: 0 }, 1)).toHaveLength(26);
    expect(neighboursOf({ x: REGION_MIN, y: REGION_MAX, z: REGION_MIN }, 1)).toHaveLength(7);
    expect(neighboursOf({ x: 5, y: 5, z: 5 }, 0)).toEqual([]);
    expect(() => neighboursOf({ x: 0, y: 0, z: 0 }, 9)).toThrow(RangeError);
  });

  it("overlap a position only within 100 m of them", () => {
    expect(overlappingNeighbours({ x: 1000, y: 1000, z: 1000 })).toEqual([]);
    expect(overlappingNeighbours({ x: 99.9, y: 1000, z: 1000 })).toEqual([{ x: -1, y: 0, z: 0 }]);
    expect(overlappingNeighbours({ x: 100, y: 1000, z: 1900 })).toEqual([{ x: 0, y: 0, z: 1 }]);
    expect(overlappingNeighbours({ x: 0, y: 0, z: 0 })).toHaveLength(7);
    expect(overlappingNeighbours({ x: POSITION_MIN_M, y: 1000, z: 1000 })).toEqual([]);
  });

  it("contain the position in their widened cube, and no other neighbour does", () => {
    fc.assert(fc.property(position, (p) => {
      const own = regionOf(p);
      const expected = neighboursOf(own, 1).filter((r) => (["x", "y", "z"] as const).every((axis) => p[axis] >= r[axis] * 2000 - 100 && p[axis] < (r[axis] + 1) * 2000 + 100));
      expect(overlappingNeighbours(p)).toEqual(expected);
    }));
  });
});
