/**
 * Regions: the cubes of 2,000 m that the world is cut into. A boundary belongs to the higher region,
 * negative coordinates included.
 */
import type { Position, Region } from "@statemesh/contract";

/** Edge of a region, metres. */
export const REGION_EDGE_M = 2000;
/** Depth of the zone in which a region also concerns its neighbours, metres. */
export const OVERLAP_M = 100;
/** Bits of a region coordinate, sign included. */
export const REGION_BITS = 21;
/** Lowest region coordinate of an axis. */
export const REGION_MIN = -1_048_576;
/** Highest region coordinate of an axis. */
export const REGION_MAX = 1_048_575;
/** Lowest coordinate of a position, metres, inclusive. */
export const POSITION_MIN_M = REGION_MIN * REGION_EDGE_M;
/** End of the world on every axis, metres, exclusive: the boundary would belong to a region that does not exist. */
export const POSITION_END_M = (REGION_MAX + 1) * REGION_EDGE_M;
/** Most rings that `neighboursOf` walks: a cube of 17 regions an axis. */
export const RINGS_MAX = 8;

/** Longest canonical text: `region_` and three coordinates of up to 8 characters with two underscores. */
const REGION_TEXT_LENGTH_MAX = 33;

/**
 * Region coordinate of one axis. The division never rounds up to a boundary (2000 is 1.95 * 2^10, so the
 * distance to it stays above half a unit in the last place); only the underflow just below 0 needs care.
 */
function regionCoordinate(metres: number): number {
  const coordinate = Math.floor(metres / REGION_EDGE_M);
  if (coordinate !== 0) return coordinate;
  return metres < 0 ? -1 : 0;
}

/** The region that contains a position: `floor(position / 2000)` an axis. The position must be inside the world. */
export function regionOf(p: Position): Region {
  return { x: regionCoordinate(p.x), y: regionCoordinate(p.y), z: regionCoordinate(p.z) };
}

/** Whether a coordinate of a position is finite and inside the world. */
export function isPositionCoordinate(metres: unknown): metres is number {
  return typeof metres === "number" && metres >= POSITION_MIN_M && metres < POSITION_END_M;
}

/** Whether a coordinate is a whole number that a region can have. */
export function isRegionCoordinate(value: unknown): value is number {
  return typeof value === "number" && value >= REGION_MIN && value <= REGION_MAX && Number.isInteger(value);
}

/** Whether every coordinate is one that a region can have. */
export function isRegion(r: Region): boolean {
  return isRegionCoordinate(r.x) && isRegionCoordinate(r.y) && isRegionCoordinate(r.z);
}

export function sameRegion(a: Region, b: Region): boolean {
  return a.x === b.x && a.y === b.y && a.z === b.z;
}

/** Total order of regions: by x, then y, then z. */
export function compareRegions(a: Region, b: Region): number {
  return a.x - b.x || a.y - b.y || a.z - b.z;
}

/** Canonical text, such as `region_-1_0_3`. */
export function formatRegion(r: Region): string {
  return `region_${r.x}_${r.y}_${r.z}`;
}

/** The region of a canonical text; undefined for anything that `formatRegion` does not write. */
export function parseRegion(text: string): Region | undefined {
  if (text.length > REGION_TEXT_LENGTH_MAX || !text.startsWith("region_")) return undefined;
  const parts = text.slice("region_".length).split("_");
  if (parts.length !== 3) return undefined;
  const region: Region = { x: Number(parts[0]), y: Number(parts[1]), z: Number(parts[2]) };
  // What reads back as itself is canonical; this refuses `+1`, `01`, `-0`, `1e3`, `0x1` and spaces at once.
  return isRegion(region) && formatRegion(region) === text ? region : undefined;
}

/**
 * Every region of the cube of `rings` rings around a region, without the region itself, ordered by x, y, z.
 * Regions beyond the end of the world are left out.
 *
 * @param rings 0..8
 * @throws RangeError where `rings` is outside of that
 */
export function neighboursOf(r: Region, rings: number): Region[] {
  if (!Number.isInteger(rings) || rings < 0 || rings > RINGS_MAX) throw new RangeError(`rings must be 0..${RINGS_MAX}`);
  const found: Region[] = [];
  for (let x = Math.max(REGION_MIN, r.x - rings); x <= Math.min(REGION_MAX, r.x + rings); x++) {
    for (let y = Math.max(REGION_MIN, r.y - rings); y <= Math.min(REGION_MAX, r.y + rings); y++) {
      for (let z = Math.max(REGION_MIN, r.z - rings); z <= Math.min(REGION_MAX, r.z + rings); z++) {
        if (x !== r.x || y !== r.y || z !== r.z) found.push({ x, y, z });
      }
    }
  }
  return found;
}

/** Which neighbours of an axis reach a coordinate with their overlap zone, besides the region itself. */
function overlapSteps(metres: number, coordinate: number): readonly number[] {
  const low = coordinate * REGION_EDGE_M;
  if (metres < low + OVERLAP_M) return coordinate > REGION_MIN ? [-1, 0] : [0];
  if (metres >= low + REGION_EDGE_M - OVERLAP_M) return coordinate < REGION_MAX ? [0, 1] : [0];
  return [0];
}

/**
 * The neighbours whose 100 m overlap zone contains the position, ordered by x, y, z; at most 7. The zone of a
 * region runs from 100 m below its lowest corner (inclusive) to 100 m above its highest (exclusive).
 */
export function overlappingNeighbours(p: Position): Region[] {
  const own = regionOf(p);
  const found: Region[] = [];
  for (const dx of overlapSteps(p.x, own.x)) {
    for (const dy of overlapSteps(p.y, own.y)) {
      for (const dz of overlapSteps(p.z, own.z)) {
        if (dx !== 0 || dy !== 0 || dz !== 0) found.push({ x: own.x + dx, y: own.y + dy, z: own.z + dz });
      }
    }
  }
  return found;
}
