/** Merge functions of the policy file, typed: what an update of each is, and what its state says. */
import {
  addRemoveSet, counter, counterValue, type Json, lastWrite, type MergeKind, setMembers, type SetState, terrain, type TerrainLayer, tree, treeParents,
} from "@statemesh/merge";

/** A merge function. `Update`: what an operation carries; `Value`: what all updates together make. */
export interface Merging<Update, Value> {
  /** As the policy file names it: a kind, or `fields`. */
  readonly kind: MergeKind | "fields";
  /** What an entity's state says. Throws where other rules wrote it. */
  valueOf(state: Json): Value;
  /** For the compiler alone: nothing is here. */
  readonly update?: (update: Update) => void;
}

/** What a merge function's updates are. */
export type UpdateOf<M> = M extends Merging<infer Update, unknown> ? Update : never;
/** What a merge function's states say. */
export type ValueOf<M> = M extends Merging<never, infer Value> ? Value : never;

/** Edits of terrain that count together. */
export interface TerrainUpdate {
  /** 1..64. */
  readonly edits: readonly TerrainEdit[];
}

/** Moves in a tree that count together. */
export interface TreeUpdate {
  /** 1..64. */
  readonly moves: readonly TreeMove[];
}

/** Writes the one value of which the last write stands. */
export interface LastWriteUpdate<Value> {
  /** Anything that JSON can say. */
  readonly value: Value;
}

/** Goes up or down. */
export interface CounterUpdate {
  /** A whole number, negative to go down. */
  readonly add: number;
}

/** Members that come and go. */
export interface SetUpdate {
  /** Members to add. */
  readonly add?: readonly string[];
  /** Members to remove, each with the tags that were seen: `SetValue.removal` makes it. */
  readonly remove?: Readonly<Record<string, readonly string[]>>;
}

/** What a set holds. */
export class SetValue {
  /** Ordered by their UTF-8 bytes. */
  readonly members: readonly string[];
  readonly #state: SetState;

  /** @param state as it was read */
  constructor(state: SetState) {
    this.#state = state;
    this.members = setMembers(state);
  }

  /** Whether the set holds a member. */
  has(member: string): boolean {
    return this.#state.in.has(member);
  }

  /** An update that removes members as they were seen here: what others add meanwhile stays. Those that are not in it are passed over. */
  removal(...members: readonly string[]): SetUpdate {
    // No prototype: a member may have any name.
    const remove: Record<string, readonly string[]> = Object.create(null) as Record<string, readonly string[]>;
    for (const member of members) {
      const tags = this.#state.in.get(member);
      if (tags !== undefined) remove[member] = [...tags];
    }
    return { remove };
  }
}

/** An edit of terrain, in whole numbers of the game's own unit. */
export interface TerrainEdit {
  /** `dig` takes material away; `fill` and `paint` bring `material`. */
  readonly mode: "dig" | "fill" | "paint";
  /** What fills or paints. */
  readonly material?: string;
  /** Lowest corner, inclusive. */
  readonly min: readonly [number, number, number];
  /** Highest corner, exclusive. */
  readonly max: readonly [number, number, number];
  /** Higher layers show. Default: 0. */
  readonly layer?: number;
}

/** Puts a node under another. */
export interface TreeMove {
  /** The node that moves. */
  readonly child: string;
  /** Empty: the root. */
  readonly parent: string;
}

/** A sum. Exact: what many servers added may pass 2^53. */
export const counterMerging: Merging<CounterUpdate, bigint> = { kind: "counter", valueOf: (state) => counterValue(counter.read(state, "")) };

/** A set to add to and remove from. */
export const setMerging: Merging<SetUpdate, SetValue> = { kind: "set", valueOf: (state) => new SetValue(addRemoveSet.read(state, "")) };

/** Edits of terrain over one another; the lowest first. */
export const terrainMerging: Merging<TerrainUpdate, readonly TerrainLayer[]> = { kind: "terrain", valueOf: (state) => terrain.read(state, "") };

/** A tree whose nodes move, without cycles: parent by child. */
export const treeMerging: Merging<TreeUpdate, ReadonlyMap<string, string>> = { kind: "tree", valueOf: (state) => treeParents(tree.read(state, "")) };

/** One value of which the last write stands; undefined: never written. `Value` is anything that JSON can say. */
export function lastWriteMerging<Value>(): Merging<LastWriteUpdate<Value>, Value | undefined> {
  return {
    kind: "last_write_wins",
    valueOf(state) {
      const last = lastWrite.read(state, "");
      return last === undefined ? undefined : (plain(last.value) as Value);
    },
  };
}

type Fields = Readonly<Record<string, Merging<never, unknown>>>;

/** Named fields, each merged by its own function. Fields that were never written are left out of the value. */
export function fieldsMerging<F extends Fields>(functions: F): Merging<{ readonly [K in keyof F]?: UpdateOf<F[K]> }, { readonly [K in keyof F]?: ValueOf<F[K]> }> {
  return {
    kind: "fields",
    valueOf(state) {
      if (!(state instanceof Map)) throw new Error("a state of fields is an object");
      const found: { [K in keyof F]?: ValueOf<F[K]> } = {};
      for (const name of Object.keys(functions) as (keyof F & string)[]) {
        const part = (state as ReadonlyMap<string, Json>).get(name);
        if (part !== undefined) found[name] = functions[name]?.valueOf(part) as ValueOf<F[typeof name]>;
      }
      return found;
    },
  };
}

/** JSON as programs of JavaScript hold it. */
function plain(json: Json): unknown {
  if (json instanceof Map) return Object.fromEntries([...(json as ReadonlyMap<string, Json>)].map(([name, value]) => [name, plain(value)]));
  return Array.isArray(json) ? (json as readonly Json[]).map(plain) : json;
}
