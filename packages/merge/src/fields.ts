/**
 * Named fields, each merged in its own way: their product. Update: some of the fields, `{"hp": {"add": -5}, "name": {"value": "Ada"}}`.
 * State: the fields that were ever written.
 */
import { type Json, objectAt, StateProblem, join as pathOf } from "./json.ts";
import type { MergeFunction } from "./merge-function.ts";

type FieldsState = ReadonlyMap<string, unknown>;

/** A function of fields. Each keeps the state of its own kind, so what is read by a field's function is never given to another. */
export function fields(functions: ReadonlyMap<string, MergeFunction<unknown>>): MergeFunction<FieldsState> {
  const names = [...functions.keys()];
  const functionOf = (name: string): MergeFunction<unknown> => {
    const found = functions.get(name);
    if (found === undefined) throw new StateProblem(name, `is no field here; there is ${names.join(", ")}`);
    return found;
  };
  return {
    empty: new Map(),
    read: (value, path) => new Map([...objectAt(value, path, names)].map(([name, part]) => [name, functionOf(name).read(part, pathOf(path, name))])),
    write: (state) => new Map([...state].map(([name, part]): [string, Json] => [name, functionOf(name).write(part)])),
    check(update, path) {
      const parts = objectAt(update, path, names);
      if (parts.size === 0) throw new StateProblem(path, "must write at least one field");
      for (const [name, part] of parts) functionOf(name).check(part, pathOf(path, name));
    },
    apply(state, update, origin) {
      const after = new Map(state);
      for (const [name, part] of objectAt(update, "", names)) {
        const own = functionOf(name);
        after.set(name, own.apply(state.has(name) ? state.get(name) : own.empty, part, origin));
      }
      return after;
    },
    join(a, b) {
      const after = new Map(a);
      for (const [name, part] of b) after.set(name, after.has(name) ? functionOf(name).join(after.get(name), part) : part);
      return after;
    },
  };
}
