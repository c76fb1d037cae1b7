/**
 * One value of which the last write stands. Update: `{"value": "red"}`, any JSON. State: the value and its origin,
 * `{"value": "red", "at": [1700000000000, 0, 7, "op-1"]}`; never written: `{}`.
 */
import { canonicalText, type Json, objectAt, StateProblem, join as pathOf } from "./json.ts";
import type { MergeFunction } from "./merge-function.ts";
import { compareOrigins, type Origin, originAt, originJson } from "./origin.ts";
import { compareUtf8 } from "./utf8-order.ts";

/** Undefined: never written. */
export type LastWriteState = { readonly value: Json; readonly at: Origin } | undefined;

export const lastWrite: MergeFunction<LastWriteState> = {
  empty: undefined,
  read(value, path) {
    const parts = objectAt(value, path, ["value", "at"]);
    if (parts.size === 0) return undefined;
    return { value: parts.get("value") ?? null, at: originAt(parts.get("at"), pathOf(path, "at")) };
  },
  write: (state) => (state === undefined ? new Map() : new Map<string, Json>([["value", state.value], ["at", originJson(state.at)]])),
  check(update, path) {
    if (!objectAt(update, path, ["value"]).has("value")) throw new StateProblem(pathOf(path, "value"), "is required");
  },
  apply: (state, update, origin) => lastWrite.join(state, { value: objectAt(update, "").get("value") ?? null, at: origin }),
  join(a, b) {
    if (a === undefined || b === undefined) return a ?? b;
    // Two values of one operation are a fault; even then both sides choose the same.
    const order = compareOrigins(a.at, b.at) || compareUtf8(canonicalText(a.value), canonicalText(b.value));
    return order >= 0 ? a : b;
  },
};
