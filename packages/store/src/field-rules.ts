import { type Bounds, MeshError, type Position, type Region } from "@statemesh/contract";
import { checkBounds, checkPosition, checkRegion, fitsUtf8, nameProblem, parseRegion } from "@statemesh/world";

/** A name without control characters. Throws INVALID_FIELD. */
export function checkText(value: string, minBytes: number, maxBytes: number, field: string): void {
  if (value.length < minBytes) throw MeshError.field(field, `must be ${minBytes}..${maxBytes} bytes`);
  const problem = nameProblem(value, maxBytes);
  if (problem === undefined) return;
  if (problem === "too_long") throw MeshError.field(field, `must be ${minBytes}..${maxBytes} bytes`);
  throw MeshError.field(field, problem === "control" ? "must not contain control characters" : "must be valid Unicode text");
}

/** Text of any content but U+0000, which SQL cannot store. Throws INVALID_FIELD. */
export function checkContent(value: string, maxBytes: number, field: string): void {
  if (!fitsUtf8(value, maxBytes)) throw MeshError.field(field, `must be at most ${maxBytes} bytes`);
  if (value.includes("\0")) throw MeshError.field(field, "must not contain U+0000");
  if (!value.isWellFormed()) throw MeshError.field(field, "must be valid Unicode text");
}

/** Throws INVALID_FIELD. */
export function requireRegion(value: Region | undefined, field: string): Region {
  checkRegion(value, field);
  return value;
}

/** A region given as message or as canonical text, one of the two. Throws INVALID_FIELD. */
export function regionOrText(value: Region | undefined, text: string, field: string, textField: string): Region {
  if (text === "") return requireRegion(value, field);
  if (value !== undefined) throw MeshError.field(textField, `must be empty where ${field} is set`);
  const region = parseRegion(text);
  if (region === undefined) throw MeshError.field(textField, "must be canonical, such as region_-1_0_3, and inside the world");
  return region;
}

/** Throws INVALID_FIELD. */
export function requirePosition(value: Position | undefined, field: string): Position {
  checkPosition(value, field);
  return value;
}

/** Throws INVALID_FIELD. */
export function requireBounds(value: Bounds | undefined, field: string): Bounds {
  checkBounds(value, field);
  return value;
}

/** A count that SQL and JavaScript both hold. Throws INVALID_FIELD. */
export function checkCount(value: number, field: string): void {
  if (!Number.isSafeInteger(value) || value < 0) throw MeshError.field(field, "must be a whole number in 0..9007199254740991");
}
