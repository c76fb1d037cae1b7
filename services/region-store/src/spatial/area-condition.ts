import { int8Array } from "../sql/array-literal.ts";
import type { KeyRange, SearchArea } from "./search-area.ts";

/** How many parameters `areaValues` gives, after those of the caller. */
export const AREA_PARAMETERS = 19;

/** An impossible box to lie in: nothing is left out. */
const NOWHERE = { minX: 0, minY: 0, minZ: 0, maxX: -1, maxY: -1, maxZ: -1 };

/** Ranges, then box, exception and sphere: the values of `$first`... of `areaCondition` and `$first`, `$first+1` of the ranges. */
export function areaValues(area: SearchArea, ranges: readonly KeyRange[]): unknown[] {
  const { box, sphere } = area;
  const except = area.except ?? NOWHERE;
  return [
    int8Array(ranges.map((range) => range.first)),
    int8Array(ranges.map((range) => range.last)),
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
 * The exact condition on a row, with parameters from `$first` on as `areaValues` gives them (the ranges are the
 * first two). Half-open boxes overlap where each begins before the other ends.
 */
export function areaCondition(first: number, { min, max }: BoxColumns): string {
  const parameter = (at: number): string => `$${first + at}::INT8`;
  const axes = [0, 1, 2] as const;
  const overlap = axes.map((axis) => `${min[axis]} < ${parameter(5 + axis)} AND ${parameter(2 + axis)} < ${max[axis]}`).join(" AND ");
  const inside = axes.map((axis) => `${min[axis]} >= ${parameter(8 + axis)} AND ${max[axis]} <= ${parameter(11 + axis)}`).join(" AND ");
  const distance = axes.map((axis) => {
    const center = `$${first + 15 + axis}::FLOAT8`;
    const gap = `greatest((${min[axis]})::FLOAT8 - ${center}, 0::FLOAT8, ${center} - (${max[axis]})::FLOAT8)`;
    return `${gap} * ${gap}`;
  });
  return `${overlap} AND NOT (${inside}) AND (NOT $${first + 14}::BOOL OR ${distance.join(" + ")} <= $${first + 18}::FLOAT8)`;
}
