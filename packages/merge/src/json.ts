// States and updates are JSON: a studio can write and read them in any language. What is stored is in the canonical form of
// RFC 8785 (no spaces, names in the order of their UTF-16 units), so that equal states are equal bytes.

/** A JSON value as this package holds it. Objects are maps: a name such as `__proto__` is a name like any other. */
export type Json = null | boolean | number | string | readonly Json[] | ReadonlyMap<string, Json>;

/** Levels of lists and objects inside one another. */
export const DEPTH_MAX = 16;

/** Why bytes are no state or update. */
export class StateProblem extends Error {
  override readonly name = "StateProblem";
  /** Where in the JSON, such as `hp.add`; empty for the whole. */
  readonly path: string;
  /** What must hold. */
  readonly rule: string;

  constructor(path: string, rule: string) {
    super(path === "" ? rule : `${path}: ${rule}`);
    this.path = path;
    this.rule = rule;
  }
}

/** The numbers and the size that a state may have were reached: the update is fine, but there is no room for it. */
export class MergeLimitError extends Error {
  override readonly name = "MergeLimitError";
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

function fromValue(value: unknown, depth: number): Json {
  if (value === null || typeof value === "boolean" || typeof value === "string") return value;
  if (typeof value === "number") return value === 0 ? 0 : value;
  if (depth >= DEPTH_MAX) throw new StateProblem("", `must be nested at most ${DEPTH_MAX} deep`);
  if (Array.isArray(value)) return value.map((item) => fromValue(item, depth + 1));
  return new Map(Object.entries(value ?? {}).map(([name, item]) => [name, fromValue(item, depth + 1)]));
}

/**
 * Reads bytes as JSON.
 *
 * @throws StateProblem where they are none, or nested too deep
 */
export function parseJson(bytes: Uint8Array): Json {
  let value: unknown;
  try {
    value = JSON.parse(decoder.decode(bytes));
  } catch {
    throw new StateProblem("", "must be JSON in UTF-8");
  }
  return fromValue(value, 0);
}

function byUnits(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value);
}

/** The canonical text of a value. */
export function canonicalText(value: Json): string {
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  if (isList(value)) return `[${value.map(canonicalText).join(",")}]`;
  const names = [...value.keys()].sort(byUnits);
  return `{${names.map((name) => `${JSON.stringify(name)}:${canonicalText(value.get(name) ?? null)}`).join(",")}}`;
}

/** The canonical bytes of a value. */
export function canonicalBytes(value: Json): Uint8Array {
  return encoder.encode(canonicalText(value));
}

/** @throws StateProblem where the value is no object, or has a field that is not in `names` */
export function objectAt(value: Json | undefined, path: string, names?: readonly string[]): ReadonlyMap<string, Json> {
  if (!(value instanceof Map)) throw new StateProblem(path, "must be an object");
  for (const name of names === undefined ? [] : value.keys()) {
    if (names?.includes(String(name)) === false) throw new StateProblem(join(path, String(name)), `is no field here; there is ${names.join(", ")}`);
  }
  return value;
}

/** @throws StateProblem where the value is no list */
export function listAt(value: Json | undefined, path: string): readonly Json[] {
  if (value === undefined || value === null || typeof value !== "object" || !isList(value)) throw new StateProblem(path, "must be a list");
  return value;
}

/** @throws StateProblem where the value is no text */
export function textAt(value: Json | undefined, path: string): string {
  if (typeof value !== "string") throw new StateProblem(path, "must be text");
  return value;
}

/** @throws StateProblem where the value is no whole number of the range, both ends inclusive */
export function wholeAt(value: Json | undefined, path: string, min: number, max: number): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < min || value > max) throw new StateProblem(path, `must be a whole number in ${min}..${max}`);
  return value;
}

/** The path of a field of a field. */
export function join(path: string, name: string): string {
  return path === "" ? name : `${path}.${name}`;
}
