/** Balls: what is near a point. */
import type { Position, Region } from "@statemesh/contract";
import { compareRegions, REGION_EDGE_M, REGION_MAX, REGION_MIN } from "./region.ts";

/** Metres from a coordinate to a region's side of an axis; 0 inside of it, or on its edge. */
function distanceToSide(metres: number, region: number): number {
  const low = region * REGION_EDGE_M;
  return Math.max(low - metres, metres - low - REGION_EDGE_M, 0);
}

/** Whether a ball reaches into a region, or touches it. `radius` in metres. */
export function ballReaches(center: Position, radius: number, { x, y, z }: Region): boolean {
  return distanceToSide(center.x, x) ** 2 + distanceToSide(center.y, y) ** 2 + distanceToSide(center.z, z) ** 2 <= radius ** 2;
}

/** The regions that a ball reaches into or touches, ordered by x, y, z. A radius of up to 6,000 m reaches at most 343. The centre must be inside the world. */
export function regionsOfBall(center: Position, radius: number): Region[] {
  const found: Region[] = [];
  const [xs, ys, zs] = [reachOf(center.x, radius), reachOf(center.y, radius), reachOf(center.z, radius)];
  for (const x of xs) {
    for (const y of ys) {
      for (const z of zs) {
        const region = { x, y, z };
        if (ballReaches(center, radius, region)) found.push(region);
      }
    }
  }
  return found.sort(compareRegions);
}

/** Region coordinates of an axis that are in reach. A ball that ends on a boundary touches the region below it too. */
function reachOf(metres: number, radius: number): number[] {
  const low = Math.max(Math.ceil((metres - radius) / REGION_EDGE_M) - 1, REGION_MIN);
  const high = Math.min(Math.floor((metres + radius) / REGION_EDGE_M), REGION_MAX);
  return Array.from({ length: high - low + 1 }, (_, at) => low + at);
}
