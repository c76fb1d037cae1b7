/**
 * Morton (Z-order) keys: one number a region, so that neighbours in space are near each other in an ordered
 * index. 21 biased bits an axis interleave to 63; x has the lowest bit of each triple, then y, then z.
 */
import type { Region } from "@statemesh/contract";
import { REGION_BITS, REGION_MAX, REGION_MIN } from "./region.ts";

/** A run of Morton keys, both ends inclusive. */
export interface MortonRange {
  readonly first: bigint;
  readonly last: bigint;
}

/** Most ranges that `mortonRanges` can be asked for. */
export const MORTON_RANGES_MAX = 1024;
/** Cells examined for each range asked for: enough that merging of adjacent cells pays, and a bound on the work. */
const CELLS_PER_RANGE = 16;

/** 7 bits spread to every third place: the key is put together from three such pieces an axis. */
const SPREAD = Uint32Array.from({ length: 128 }, (_, bits) => {
  let spread = 0;
  for (let bit = 0; bit < 7; bit++) spread |= ((bits >> bit) & 1) << (3 * bit);
  return spread;
});

function piece(x: number, y: number, z: number): number {
  return (SPREAD[x & 127] ?? 0) | ((SPREAD[y & 127] ?? 0) << 1) | ((SPREAD[z & 127] ?? 0) << 2);
}

function interleave(x: number, y: number, z: number): bigint {
  // The upper two pieces are 42 bits together, exact in a number.
  const upper = piece(x >> 14, y >> 14, z >> 14) * 0x200000 + piece(x >> 7, y >> 7, z >> 7);
  return (BigInt(upper) << 21n) | BigInt(piece(x, y, z));
}

/** The key of a region: 63 bits, never negative. */
export function mortonKey(r: Region): bigint {
  return interleave(r.x - REGION_MIN, r.y - REGION_MIN, r.z - REGION_MIN);
}

function gather(key: bigint, axis: number): number {
  let value = 0;
  for (let bit = 0; bit < REGION_BITS; bit++) value |= Number((key >> BigInt(3 * bit + axis)) & 1n) << bit;
  return value;
}

/** The region of a key that `mortonKey` gave. */
export function regionOfMortonKey(key: bigint): Region {
  return { x: gather(key, 0) + REGION_MIN, y: gather(key, 1) + REGION_MIN, z: gather(key, 2) + REGION_MIN };
}

/** An aligned cube of 2^level regions an edge, in biased coordinates. */
interface Cell {
  readonly x: number;
  readonly y: number;
  readonly z: number;
  readonly level: number;
}

interface Box {
  readonly minX: number;
  readonly minY: number;
  readonly minZ: number;
  readonly maxX: number;
  readonly maxY: number;
  readonly maxZ: number;
}

function inside(cell: Cell, box: Box): boolean {
  const edge = 2 ** cell.level - 1;
  return cell.x >= box.minX && cell.x + edge <= box.maxX && cell.y >= box.minY && cell.y + edge <= box.maxY &&
    cell.z >= box.minZ && cell.z + edge <= box.maxZ;
}

function meets(cell: Cell, box: Box): boolean {
  const edge = 2 ** cell.level - 1;
  return cell.x <= box.maxX && cell.x + edge >= box.minX && cell.y <= box.maxY && cell.y + edge >= box.minY &&
    cell.z <= box.maxZ && cell.z + edge >= box.minZ;
}

/** Splits cells that stick out of the box, largest first, until none does or the budget of cells is spent. */
function coverCells(box: Box, budget: number): Cell[] {
  const done: Cell[] = [];
  let open: Cell[] = [{ x: 0, y: 0, z: 0, level: REGION_BITS }];
  while (open.length > 0) {
    const next: Cell[] = [];
    for (let at = 0; at < open.length; at++) {
      const cell = open[at];
      if (cell === undefined) continue;
      if (inside(cell, box)) {
        done.push(cell);
        continue;
      }
      // A split adds at most 7 cells. Where that does not fit the cell is kept whole, an over-cover.
      const pending = done.length + next.length + (open.length - at);
      if (pending + 7 > budget) {
        done.push(cell);
        continue;
      }
      const level = cell.level - 1;
      const half = 2 ** level;
      for (let octant = 0; octant < 8; octant++) {
        const child = { x: cell.x + (octant & 1) * half, y: cell.y + ((octant >> 1) & 1) * half, z: cell.z + (octant >> 2) * half, level };
        if (meets(child, box)) next.push(child);
      }
    }
    open = next;
  }
  return done;
}

/** Closes the smallest gaps until at most `maxRanges` are left. The ranges are ordered and disjoint. */
function closeGaps(ranges: MortonRange[], maxRanges: number): MortonRange[] {
  if (ranges.length <= maxRanges) return ranges;
  const gaps: { at: number; size: bigint }[] = [];
  for (let at = 1; at < ranges.length; at++) {
    gaps.push({ at, size: (ranges[at]?.first ?? 0n) - (ranges[at - 1]?.last ?? 0n) });
  }
  gaps.sort((a, b) => (a.size < b.size ? -1 : a.size > b.size ? 1 : a.at - b.at));
  const closed = new Set(gaps.slice(0, ranges.length - maxRanges).map((gap) => gap.at));
  return mergeRanges(ranges, (_, at) => closed.has(at));
}

function mergeRanges(ranges: readonly MortonRange[], joins: (before: MortonRange, at: number) => boolean): MortonRange[] {
  const merged: MortonRange[] = [];
  ranges.forEach((range, at) => {
    const before = merged.at(-1);
    if (before !== undefined && joins(before, at)) merged[merged.length - 1] = { first: before.first, last: range.last };
    else merged.push(range);
  });
  return merged;
}

/**
 * Covers a box of regions with few ranges of keys, ordered and disjoint. Every region of the box lies in a
 * range; a range may also hold regions outside of the box (an over-cover), so that the reader filters by
 * coordinates. More ranges cover more tightly.
 *
 * @param min lowest corner, inclusive
 * @param max highest corner, inclusive, on no axis below `min`
 * @param maxRanges 1..1,024
 * @throws RangeError where the box is empty, outside of the world, or `maxRanges` is outside of its range
 */
export function mortonRanges(min: Region, max: Region, maxRanges: number): MortonRange[] {
  if (!Number.isInteger(maxRanges) || maxRanges < 1 || maxRanges > MORTON_RANGES_MAX) {
    throw new RangeError(`maxRanges must be 1..${MORTON_RANGES_MAX}`);
  }
  for (const axis of ["x", "y", "z"] as const) {
    if (!(min[axis] >= REGION_MIN && min[axis] <= max[axis] && max[axis] <= REGION_MAX)) {
      throw new RangeError(`${axis}: the box must be ordered and inside the world`);
    }
  }
  const box: Box = {
    minX: min.x - REGION_MIN, minY: min.y - REGION_MIN, minZ: min.z - REGION_MIN,
    maxX: max.x - REGION_MIN, maxY: max.y - REGION_MIN, maxZ: max.z - REGION_MIN,
  };
  const ranges = coverCells(box, Math.max(64, maxRanges * CELLS_PER_RANGE))
    .map((cell): MortonRange => {
      const first = interleave(cell.x, cell.y, cell.z);
      return { first, last: first + (1n << BigInt(3 * cell.level)) - 1n };
    })
    .sort((a, b) => (a.first < b.first ? -1 : 1));
  return closeGaps(mergeRanges(ranges, (before, at) => before.last + 1n === ranges[at]?.first), maxRanges);
}
