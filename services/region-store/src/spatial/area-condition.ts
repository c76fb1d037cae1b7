import { int8Array } from "../sql/array-literal.ts";
import type { KeyRange, SearchArea } from "./search-area.ts";

/** An impossible box to lie in: nothing is left out. */
const NOWHERE = { minX: 0, minY: 0, minZ: 0, maxX: -1, maxY: -1, maxZ: -1 };

/** First and last keys of ranges, for `unnest`. */
export function rangeValues(ranges: readonly KeyRange[]): [string, string] {
  return [int8Array(ranges.map((range) => range.first)), int8Array(ranges.map((range) => range.last))];
}

/** Box, exception and sphere: the 17 values of `areaCondition`. */
export function areaValues(area: SearchArea): unknown[] {
  const { box, sphere } = area;
  const except = area.except ?? NOWHERE;
  return [
    box.minX, box.minY, box.minZ, box.maxX, box.maxY, box.maxZ,
    except.minX, except.minY, except.minZ, except.maxX, except.maxY, except.maxZ,
    sphere !== undefined,
    sphere?.x ?? 0, sphere?.y ?? 0, sphere?.z ?? 0,
    sphere === undefined ? 0 : sphere.radius * sphere.radius,
  ];
}

/** How a row says where its box is: six expressions of SQL in centimetres. */
export interface BoxColumns {
  readonly min: readonly [string, string, string];
  readonly max: readonly [string, string, string];
}

/**
 * The exact condition on a row, with parameters from `$first` on as `areaValues` gives them. Half-open boxes overlap where each begins before the other ends.
 */
export function areaCondition(first: number, { min, max }: BoxColumns): string {
  const parameter = (at: number): string => `$${first + at}::INT8`;
  const axes = [0, 1, 2] as const;
  const overlap = axes.map((axis) => `${min[axis]} < ${parameter(3 + axis)} AND ${parameter(axis)} < ${max[axis]}`).join(" AND ");
  const inside = axes.map((axis) => `${min[axis]} >= ${parameter(6 + axis)} AND ${max[axis]} <= ${parameter(9 + axis)}`).join(" AND ");
  const distance = axes.map((axis) => {
    const center = `$${first + 13 + axis}::FLOAT8`;
    const gap = `greatest((${min[axis]})::FLOAT8 - ${center}, 0::FLOAT8, ${center} - (${max[axis]})::FLOAT8)`;
    return `${gap} * ${gap}`;
  });
  return `${overlap} AND NOT (${inside}) AND (NOT $${first + 12}::BOOL OR ${distance.join(" + ")} <= $${first + 16}::FLOAT8)`;
}
