/**
 * A set to add to and remove from (an observed-remove set): every addition leaves a tag, the id of its operation, and a removal
 * names the tags that its player saw. So an addition that the removal did not see survives it. Update:
 * `{"add": ["sword"], "remove": {"bow": ["op-17"]}}`. State: `{"in": {"sword": ["op-18"]}, "out": {"bow": ["op-17"]}}`.
 */
import { type Json, listAt, objectAt, StateProblem, textAt, join as pathOf } from "./json.ts";
import type { MergeFunction } from "./merge-function.ts";
import { compareUtf8 } from "./utf8-order.ts";

/** Ids of operations, by member. */
type Tags = ReadonlyMap<string, ReadonlySet<string>>;

export interface SetState {
  /** Tags in force; none is in `out`, and no member is without one. */
  readonly in: Tags;
  /** Tags taken away. */
  readonly out: Tags;
}

const NONE: Tags = new Map();

function sorted(values: Iterable<string>): string[] {
  return [...values].sort(compareUtf8);
}

function texts(value: Json | undefined, path: string): string[] {
  return listAt(value, path).map((item, at) => textAt(item, `${path}[${at}]`));
}

function tagsAt(value: Json | undefined, path: string): Tags {
  if (value === undefined) return NONE;
  return new Map([...objectAt(value, path)].map(([member, ids]) => {
    const seen = texts(ids, pathOf(path, member));
    if (seen.length === 0) throw new StateProblem(pathOf(path, member), "must name the tags that were seen");
    return [member, new Set(seen)];
  }));
}

function union(a: Tags, b: Tags): Tags {
  const both = new Map(a);
  for (const [member, ids] of b) both.set(member, new Set([...(both.get(member) ?? []), ...ids]));
  return both;
}

/** Members whose tags are all gone are gone. */
function without(tags: Tags, out: Tags): Tags {
  const left = new Map<string, ReadonlySet<string>>();
  for (const [member, own] of tags) {
    const gone = out.get(member);
    const kept = gone === undefined ? own : new Set([...own].filter((id) => !gone.has(id)));
    if (kept.size > 0) left.set(member, kept);
  }
  return left;
}

function written(tags: Tags): Json {
  return new Map([...tags].map(([member, ids]) => [member, sorted(ids)]));
}

export const addRemoveSet: MergeFunction<SetState> = {
  empty: { in: NONE, out: NONE },
  read(value, path) {
    const parts = objectAt(value, path, ["in", "out"]);
    const out = tagsAt(parts.get("out"), pathOf(path, "out"));
    return { in: without(tagsAt(parts.get("in"), pathOf(path, "in")), out), out };
  },
  write: (state) => new Map([["in", written(state.in)], ["out", written(state.out)]]),
  check(update, path) {
    const parts = objectAt(update, path, ["add", "remove"]);
    if (parts.size === 0) throw new StateProblem(path, "must add or remove something");
    if (parts.has("add")) texts(parts.get("add"), pathOf(path, "add"));
    tagsAt(parts.get("remove"), pathOf(path, "remove"));
  },
  apply(state, update, { operationId }) {
    const parts = objectAt(update, "");
    const added = new Map(texts(parts.get("add") ?? [], "").map((member) => [member, new Set([operationId])]));
    return addRemoveSet.join(state, { in: added, out: tagsAt(parts.get("remove"), "") });
  },
  join(a, b) {
    const out = union(a.out, b.out);
    return { in: without(union(a.in, b.in), out), out };
  },
};

/** The members, ordered by their UTF-8 bytes. */
export function setMembers(state: SetState): string[] {
  return sorted(state.in.keys());
}
