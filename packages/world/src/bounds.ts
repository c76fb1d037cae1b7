/**
 * Axis-aligned boxes in whole centimetres. Integers, so that every process finds the same boxes to overlap.
 */
import type { Bounds, Region } from "@statemesh/contract";
import { REGION_EDGE_M } from "./region.ts";

/** A box in whole centimetres. Each minimum is below or at its maximum. */
export interface QuantizedBounds {
  readonly minX: number;
  readonly minY: number;
  readonly minZ: number;
  readonly maxX: number;
  readonly maxY: number;
  readonly maxZ: number;
}

/** Centimetres in a metre: the grain of all bounds. */
export const CENTIMETRES_PER_METRE = 100;
/** Longest side of a structure or a terrain edit, centimetres. */
export const SIDE_MAX_CM = 51_200;

const REGION_EDGE_CM = REGION_EDGE_M * CENTIMETRES_PER_METRE;

function quantize(metres: number): number {
  // Math.round takes halves towards positive infinity, as the contract says; adding 0 turns -0 into 0.
  return Math.round(metres * CENTIMETRES_PER_METRE) + 0;
}

/** A box of metres in whole centimetres; halves go towards positive infinity. */
export function quantizeBounds(b: Bounds): QuantizedBounds {
  return {
    minX: quantize(b.minX), minY: quantize(b.minY), minZ: quantize(b.minZ),
    maxX: quantize(b.maxX), maxY: quantize(b.maxY), maxZ: quantize(b.maxZ),
  };
}

/** A box of centimetres in metres. `quantizeBounds` gives back the same box. */
export function boundsOf(q: QuantizedBounds): Bounds {
  return {
    minX: q.minX / CENTIMETRES_PER_METRE, minY: q.minY / CENTIMETRES_PER_METRE, minZ: q.minZ / CENTIMETRES_PER_METRE,
    maxX: q.maxX / CENTIMETRES_PER_METRE, maxY: q.maxY / CENTIMETRES_PER_METRE, maxZ: q.maxZ / CENTIMETRES_PER_METRE,
  };
}

/** Whether two boxes share more than a face, an edge or a corner. Two flat boxes in one plane only touch. */
export function overlaps(a: QuantizedBounds, b: QuantizedBounds): boolean {
  return a.minX < b.maxX && b.minX < a.maxX && a.minY < b.maxY && b.minY < a.maxY && a.minZ < b.maxZ && b.minZ < a.maxZ;
}

/** The box of a region. */
export function boundsOfRegion(r: Region): QuantizedBounds {
  const minX = r.x * REGION_EDGE_CM;
  const minY = r.y * REGION_EDGE_CM;
  const minZ = r.z * REGION_EDGE_CM;
  return { minX, minY, minZ, maxX: minX + REGION_EDGE_CM, maxY: minY + REGION_EDGE_CM, maxZ: minZ + REGION_EDGE_CM };
}

/** Region coordinate of the low edge of a box, by the rule that a boundary belongs to the higher region. */
export function lowRegion(minCm: number): number {
  return Math.floor(minCm / REGION_EDGE_CM) + 0;
}

/** Region coordinate of the high edge: a box that ends on a boundary does not reach into the region behind it. */
export function highRegion(minCm: number, maxCm: number): number {
  return Math.max(lowRegion(minCm), Math.ceil(maxCm / REGION_EDGE_CM) - 1);
}

/** Whether a box reaches into a region. */
export function reachesRegion(q: QuantizedBounds, r: Region): boolean {
  return r.x >= lowRegion(q.minX) && r.x <= highRegion(q.minX, q.maxX) && r.y >= lowRegion(q.minY) &&
    r.y <= highRegion(q.minY, q.maxY) && r.z >= lowRegion(q.minZ) && r.z <= highRegion(q.minZ, q.maxZ);
}

/** How many regions a box reaches into. */
export function countRegionsOfBounds(q: QuantizedBounds): number {
  return (highRegion(q.minX, q.maxX) - lowRegion(q.minX) + 1) * (highRegion(q.minY, q.maxY) - lowRegion(q.minY) + 1) *
    (highRegion(q.minZ, q.maxZ) - lowRegion(q.minZ) + 1);
}

/** The regions that a box reaches into, ordered by x, y, z; undefined where they are more than `max`. */
export function regionsOfBounds(q: QuantizedBounds, max: number): Region[] | undefined {
  const lowX = lowRegion(q.minX);
  const lowY = lowRegion(q.minY);
  const lowZ = lowRegion(q.minZ);
  const highX = highRegion(q.minX, q.maxX);
  const highY = highRegion(q.minY, q.maxY);
  const highZ = highRegion(q.minZ, q.maxZ);
  if ((highX - lowX + 1) * (highY - lowY + 1) * (highZ - lowZ + 1) > max) return undefined;
  const regions: Region[] = [];
  for (let x = lowX; x <= highX; x++) {
    for (let y = lowY; y <= highY; y++) {
      for (let z = lowZ; z <= highZ; z++) regions.push({ x, y, z });
    }
  }
  return regions;
}
