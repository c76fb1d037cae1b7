/**
 * Checks of single fields. Each throws INVALID_FIELD that names the path and the rule. The path is only put together
 * where a check fails, and values are checked for their kind too, so that an object of any shape gets a clear answer.
 */
import { type Bounds, MeshError, type Position, type Region } from "@statemesh/contract";
import { isPositionCoordinate, isRegionCoordinate, POSITION_END_M, POSITION_MIN_M, REGION_MAX, REGION_MIN } from "./region.ts";
import { fitsUtf8, nameProblem } from "./text.ts";

/** Most bytes of an id. */
export const ID_BYTES_MAX = 64;
/** Most items of one kind, anywhere: the highest whole number that every language's double holds. */
export const QUANTITY_MAX = Number.MAX_SAFE_INTEGER;

const BOUNDS_SIDES = [
  ["minX", "maxX", "min_x", "max_x"],
  ["minY", "maxY", "min_y", "max_y"],
  ["minZ", "maxZ", "min_z", "max_z"],
] as const;

/** A field's path; an empty `path` is the request itself. */
function pathOf(path: string, field: string): string {
  return path === "" ? field : `${path}.${field}`;
}

/** A name of `minBytes`..`maxBytes` bytes of UTF-8 without control characters. */
export function checkName(value: unknown, minBytes: 0 | 1, maxBytes: number, path: string, field: string): asserts value is string {
  if (typeof value !== "string" || value.length < minBytes) {
    throw MeshError.field(pathOf(path, field), `must be text of ${minBytes}..${maxBytes} bytes`);
  }
  const problem = nameProblem(value, maxBytes);
  if (problem === undefined) return;
  if (problem === "too_long") throw MeshError.field(pathOf(path, field), `must be ${minBytes}..${maxBytes} bytes`);
  throw MeshError.field(pathOf(path, field), problem === "control" ? "must not contain control characters" : "must be valid Unicode text");
}

/** Text of any content. */
export function checkText(value: unknown, maxBytes: number, path: string, field: string): asserts value is string {
  if (typeof value !== "string" || !fitsUtf8(value, maxBytes)) throw MeshError.field(pathOf(path, field), `must be at most ${maxBytes} bytes`);
}

/** A whole number, both ends inclusive. */
export function checkInteger(value: unknown, min: number, max: number, path: string, field: string): asserts value is number {
  if (typeof value !== "number" || !(value >= min && value <= max) || !Number.isInteger(value)) {
    throw MeshError.field(pathOf(path, field), `must be a whole number in ${min}..${max}`);
  }
}

/** Bytes. */
export function checkBytes(value: unknown, maxBytes: number, path: string, field: string): asserts value is Uint8Array {
  if (!(value instanceof Uint8Array) || value.length > maxBytes) throw MeshError.field(pathOf(path, field), `must be at most ${maxBytes} bytes`);
}

/** A list. */
export function checkList(value: unknown, max: number, path: string, field: string): asserts value is unknown[] {
  if (!Array.isArray(value) || value.length > max) throw MeshError.field(pathOf(path, field), `must be a list of at most ${max}`);
}

/** A message that is there. */
export function isMessage(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

/**
 * A region inside the world.
 *
 * @throws MeshError INVALID_FIELD
 */
export function checkRegion(value: Region | undefined, path: string): asserts value is Region {
  if (!isMessage(value)) throw MeshError.field(path, "is required");
  if (isRegionCoordinate(value.x) && isRegionCoordinate(value.y) && isRegionCoordinate(value.z)) return;
  const axis = !isRegionCoordinate(value.x) ? "x" : isRegionCoordinate(value.y) ? "z" : "y";
  throw MeshError.field(`${path}.${axis}`, `must be a whole number in ${REGION_MIN}..${REGION_MAX}`);
}

/**
 * A position inside the world.
 *
 * @throws MeshError INVALID_FIELD
 */
export function checkPosition(value: Position | undefined, path: string): asserts value is Position {
  if (!isMessage(value)) throw MeshError.field(path, "is required");
  if (isPositionCoordinate(value.x) && isPositionCoordinate(value.y) && isPositionCoordinate(value.z)) return;
  const axis = !isPositionCoordinate(value.x) ? "x" : isPositionCoordinate(value.y) ? "z" : "y";
  throw MeshError.field(`${path}.${axis}`, `must be finite and in ${POSITION_MIN_M}..${POSITION_END_M}, the end excluded`);
}

/**
 * A box inside the world, ordered on every axis. Its upper corner may be the end of the world.
 *
 * @throws MeshError INVALID_FIELD
 */
export function checkBounds(value: Bounds | undefined, path: string): asserts value is Bounds {
  if (!isMessage(value)) throw MeshError.field(path, "is required");
  const { minX, minY, minZ, maxX, maxY, maxZ } = value;
  if (
    typeof minX === "number" && typeof maxX === "number" && minX >= POSITION_MIN_M && minX <= maxX && maxX <= POSITION_END_M &&
    typeof minY === "number" && typeof maxY === "number" && minY >= POSITION_MIN_M && minY <= maxY && maxY <= POSITION_END_M &&
    typeof minZ === "number" && typeof maxZ === "number" && minZ >= POSITION_MIN_M && minZ <= maxZ && maxZ <= POSITION_END_M
  ) return;
  throw boundsProblem(value, path);
}

function boundsProblem(value: Bounds, path: string): MeshError {
  for (const [min, max, minField, maxField] of BOUNDS_SIDES) {
    for (const [key, field] of [[min, minField], [max, maxField]] as const) {
      const metres: unknown = value[key];
      if (typeof metres !== "number" || !(metres >= POSITION_MIN_M && metres <= POSITION_END_M)) {
        return MeshError.field(`${path}.${field}`, `must be finite and in ${POSITION_MIN_M}..${POSITION_END_M}`);
      }
    }
    if (value[min] > value[max]) return MeshError.field(`${path}.${minField}`, `must not be above ${maxField}`);
  }
  return MeshError.field(path, "must be a box");
}
