/** Sectors: cubes of 8x8x8 regions that share a Raft group, so that most multi-region operations stay in one. */
import type { Region } from "@statemesh/contract";

/** Edge of a sector, regions. */
export const SECTOR_EDGE_REGIONS = 8;
/** The group of the directory, membership and views; no region maps to it. */
export const DIRECTORY_GROUP = 0;

/** Finaliser of MurmurHash3 (Austin Appleby, public domain): every input bit reaches every output bit. */
function mix(value: number): number {
  let h = value;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}

/** The sector of a region, in coordinates of sectors. */
export function sectorOf(r: Region): Region {
  return { x: r.x >> 3, y: r.y >> 3, z: r.z >> 3 };
}

/**
 * The Raft group of a region: its sector, hashed to 1..groups. The hash is part of every cluster's stored
 * state: a change would move regions away from their logs.
 *
 * @param groups how many groups hold regions, at least 1; the same on all nodes for ever
 */
export function groupOf(r: Region, groups: number): number {
  const hash = mix(mix(mix((r.x >> 3) + 0x9e3779b9) + (r.y >> 3)) + (r.z >> 3));
  return ((hash >>> 0) % groups) + 1;
}
