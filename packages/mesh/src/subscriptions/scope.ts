import { MeshError, type Region } from "@statemesh/contract";
import { RegionMap } from "../eventual/region-map.ts";
import { validateRegion } from "../eventual/validate-update.ts";

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

/** Hash of regions, in any order, and classes. */
export function scopeOf(regions: readonly Region[], strong: boolean, eventual: boolean, causal: boolean): number {
  let hash = (strong ? 1 : 0) + (eventual ? 2 : 0) + (causal ? 4 : 0);
  for (const { x, y, z } of regions) {
    let one = Math.imul(Math.imul(Math.imul(x ^ 0x811c9dc5, 0x01000193) ^ y, 0x01000193) ^ z, 0x01000193);
    one = Math.imul(one ^ (one >>> 15), 0x85ebca6b);
    hash = (hash + (one ^ (one >>> 13))) | 0;
  }
  return hash >>> 0;
}
