import { MeshError, type Position, type Region, type SubscriptionArea } from "@statemesh/contract";
import { ballReaches, checkPosition, OVERLAP_M, regionsOfBall } from "@statemesh/world";
import { RegionMap } from "../eventual/region-map.ts";
import { validateRegion } from "../eventual/validate-update.ts";

/** A ball, in metres. The regions that it reaches are wanted. */
export interface Area {
  readonly center: Position;
  readonly radius: number;
}

/** How far a ball has to be away from a region before that is out of reach, metres: who walks along a border stays on both sides. */
const LEAVE_M = OVERLAP_M;
/** With what is not yet left a ball of this radius reaches at most 343 regions. */
const RADIUS_MAX_M = 6_000 - LEAVE_M;

/** Throws INVALID_FIELD where the ball is not one. */
export function areaOf({ center, radius }: SubscriptionArea, path: string): Area {
  checkPosition(center, `${path}.center`);
  if (!(radius > 0 && radius <= RADIUS_MAX_M)) throw MeshError.field(`${path}.radius`, `above 0 and at most ${RADIUS_MAX_M} m`);
  return { center, radius };
}

/** The regions in reach; of those that were until now also what is only just out of it. */
export function regionsOfArea({ center, radius }: Area, until: readonly Region[]): Region[] {
  const kept = until.filter((region) => ballReaches(center, radius + LEAVE_M, region));
  const known = setOfRegions(kept);
  return [...kept, ...regionsOfBall(center, radius).filter((region) => known.get(region) === undefined)];
}

/** The regions, each once. Throws INVALID_FIELD where there are none, too many, or malformed ones. */
export function distinctRegions(regions: readonly Region[], max: number): Region[] {
  if (regions.length === 0 || regions.length > max) throw MeshError.field("regions", `1..${max} regions`);
  const seen = new RegionMap<true>();
  const kept: Region[] = [];
  for (const [index, region] of regions.entries()) {
    validateRegion(region, () => `regions[${index}]`);
    if (seen.get(region) === true) continue;
    seen.set(region, true);
    kept.push(region);
  }
  return kept;
}

/** For looking regions up. */
export function setOfRegions(regions: readonly Region[]): RegionMap<true> {
  const set = new RegionMap<true>();
  for (const region of regions) set.set(region, true);
  return set;
}

/** Those of the one list that are not in the other. */
export function without(regions: readonly Region[], others: readonly Region[]): Region[] {
  const known = setOfRegions(others);
  return regions.filter((region) => known.get(region) === undefined);
}

/** Hash of regions, in any order, and of what is wanted of them. */
export function scopeOf(regions: readonly Region[], wishes: number): number {
  let hash = wishes;
  for (const { x, y, z } of regions) {
    let one = Math.imul(Math.imul(Math.imul(x ^ 0x811c9dc5, 0x01000193) ^ y, 0x01000193) ^ z, 0x01000193);
    one = Math.imul(one ^ (one >>> 15), 0x85ebca6b);
    hash = (hash + (one ^ (one >>> 13))) | 0;
  }
  return hash >>> 0;
}

/** What stands for a scope in the token of a reader that has not got all of its snapshot yet. */
export function unfinished(scope: number): number {
  return ~scope >>> 0;
}
