import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { groupOf, sectorOf } from "../src/index.ts";
import { regionArbitrary } from "./operations.ts";

describe("groupOf", () => {
  it("gives all regions of a sector one group, and never the directory's", () => {
    fc.assert(fc.property(regionArbitrary, fc.integer({ min: 1, max: 64 }), (region, groups) => {
      const sector = sectorOf(region);
      const group = groupOf(region, groups);
      expect(group).toBeGreaterThanOrEqual(1);
      expect(group).toBeLessThanOrEqual(groups);
      expect(groupOf({ x: sector.x * 8, y: sector.y * 8, z: sector.z * 8 }, groups)).toBe(group);
      expect(groupOf({ x: sector.x * 8 + 7, y: sector.y * 8 + 7, z: sector.z * 8 + 7 }, groups)).toBe(group);
    }));
  });

  it("spreads neighbouring sectors evenly", () => {
    for (const groups of [3, 4, 16]) {
      const counts = new Array<number>(groups + 1).fill(0);
      for (let x = -16; x < 16; x++) {
        for (let y = -4; y < 4; y++) {
          for (let z = -16; z < 16; z++) {
            const group = groupOf({ x: x * 8, y: y * 8, z: z * 8 }, groups);
            counts[group] = (counts[group] ?? 0) + 1;
          }
        }
      }
      const mean = 8192 / groups;
      for (const count of counts.slice(1)) expect(Math.abs(count - mean) / mean).toBeLessThan(0.15);
    }
  });

  it("never changes, for the logs of clusters depend on it", () => {
    const region = (x: number, y: number, z: number) => groupOf({ x, y, z }, 16);
    expect([region(0, 0, 0), region(8, 0, 0), region(0, 8, 0), region(0, 0, 8), region(-1, -1, -1), region(1_048_575, 0, -1_048_576)]).toMatchInlineSnapshot(`
      [
        1,
        15,
        14,
        1,
        9,
        3,
      ]
    `);
  });
});
