import { describe, expect, it } from "vitest";
import { ballReaches, POSITION_MIN_M, REGION_MIN, regionOf, regionsOfBall } from "../src/index.ts";

const at = (x: number, y = 1_000, z = 1_000): { x: number; y: number; z: number } => ({ x, y, z });

describe("the regions that a ball reaches", () => {
  it("are its own where it stays inside, and the neighbour's from the border on", () => {
    expect(regionsOfBall(at(1_000), 999)).toEqual([{ x: 0, y: 0, z: 0 }]);
    expect(regionsOfBall(at(1_500), 500)).toEqual([{ x: 0, y: 0, z: 0 }, { x: 1, y: 0, z: 0 }]);
    expect(regionsOfBall(at(500), 500)).toEqual([{ x: -1, y: 0, z: 0 }, { x: 0, y: 0, z: 0 }]);
  });

  it("leave out a corner that is further away than the sides", () => {
    const corner = { x: 1_900, y: 1_900, z: 1_000 };
    expect(ballReaches(corner, 120, { x: 1, y: 0, z: 0 })).toBe(true);
    expect(ballReaches(corner, 120, { x: 1, y: 1, z: 0 })).toBe(false);
    expect(regionsOfBall(corner, 120)).toHaveLength(3);
    expect(regionsOfBall(corner, 142)).toHaveLength(4);
  });

  it("are at most 343 with 6,000 m, wherever the centre is", () => {
    for (const x of [0, 1, 999, 1_000, 1_001, 1_999]) {
      for (const y of [0, 700, 1_000]) expect(regionsOfBall(at(x, y, x), 6_000).length).toBeLessThanOrEqual(343);
    }
  });

  it("hold the centre's own, and end with the world", () => {
    const edge = { x: POSITION_MIN_M, y: POSITION_MIN_M, z: POSITION_MIN_M };
    const regions = regionsOfBall(edge, 5_000);
    expect(regions[0]).toEqual(regionOf(edge));
    expect(regions.every(({ x, y, z }) => Math.min(x, y, z) >= REGION_MIN)).toBe(true);
  });
});
