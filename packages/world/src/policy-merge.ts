/** Reads how states of an operator's own type merge, from its `merge` field in the policy file. */
import { MERGE_KINDS, type MergeSpec } from "@statemesh/merge";

/** Most fields of one level. */
export const MERGE_FIELDS_MAX = 64;
/** Levels of fields in fields. */
const LEVELS_MAX = 4;
const FIELD_PATTERN = /^[a-z][a-z0-9_]{0,63}$/;

type Path = readonly PropertyKey[];

/** Tells what is wrong and where. */
export type Complain = (path: Path, rule: string) => void;

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The functions that `value` names; undefined where something is wrong, which is then told. */
export function mergeSpecOf(value: unknown, path: Path, complain: Complain, level = 0): MergeSpec | undefined {
  const named = MERGE_KINDS.find((kind) => kind === value);
  if (named !== undefined) return named;
  if (!isObject(value)) {
    complain(path, `must be ${level === 0 ? "true, false, " : ""}${MERGE_KINDS.join(", ")}, or fields with one of these each`);
    return undefined;
  }
  for (const key of Object.keys(value)) if (key !== "fields") complain([...path, key], "is no field here; there is fields");
  const { fields } = value;
  if (!isObject(fields) || Object.keys(fields).length === 0) {
    complain(path, "fields must name at least one field and how it merges");
    return undefined;
  }
  if (level >= LEVELS_MAX) {
    complain(path, `fields must be nested at most ${LEVELS_MAX} deep`);
    return undefined;
  }
  const names = Object.keys(fields);
  if (names.length > MERGE_FIELDS_MAX) complain([...path, "fields"], `at most ${MERGE_FIELDS_MAX} fields`);
  const spec = new Map<string, MergeSpec>();
  for (const name of names) {
    const own = [...path, "fields", name];
    if (!FIELD_PATTERN.test(name)) complain(own, "the name must be 1..64 characters of a-z, 0-9 and _, a letter first");
    const part = mergeSpecOf(fields[name], own, complain, level + 1);
    if (part !== undefined) spec.set(name, part);
  }
  return spec;
}
