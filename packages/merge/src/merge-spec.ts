/** How a type's states merge, as the policy file names it, and what that does to bytes. */
import { addRemoveSet } from "./add-remove-set.ts";
import { counter } from "./counter.ts";
import { fields } from "./fields.ts";
import { canonicalBytes, MergeLimitError, parseJson } from "./json.ts";
import { lastWrite } from "./last-write.ts";
import type { MergeFunction } from "./merge-function.ts";
import type { Origin } from "./origin.ts";
import { terrain } from "./terrain.ts";
import { tree } from "./tree.ts";

/** The merge functions that have a name. */
export const MERGE_KINDS = ["counter", "set", "last_write_wins", "terrain", "tree"] as const;
export type MergeKind = (typeof MERGE_KINDS)[number];
/** One function, or one for each named field. */
export type MergeSpec = MergeKind | ReadonlyMap<string, MergeSpec>;

/** The function keeps to itself what its states are: whoever holds one through this type can only hand it back. */
function opaque<S>(it: MergeFunction<S>): MergeFunction<unknown> {
  return it as MergeFunction<unknown>;
}

const KINDS: Record<MergeKind, MergeFunction<unknown>> = {
  counter: opaque(counter), set: opaque(addRemoveSet), last_write_wins: opaque(lastWrite), terrain: opaque(terrain), tree: opaque(tree),
};

export function mergeFunctionOf(spec: MergeSpec): MergeFunction<unknown> {
  if (typeof spec === "string") return KINDS[spec];
  return opaque(fields(new Map([...spec].map(([name, part]) => [name, mergeFunctionOf(part)]))));
}

/** A merge of stored states. */
export class StateMerge {
  readonly spec: MergeSpec;
  readonly #function: MergeFunction<unknown>;

  constructor(spec: MergeSpec) {
    this.spec = spec;
    this.#function = mergeFunctionOf(spec);
  }

  /** @throws StateProblem where the bytes are no update */
  check(update: Uint8Array): void {
    this.#function.check(parseJson(update), "");
  }

  /**
   * The state with an update in it, in canonical form.
   *
   * @param state undefined: nothing was written yet
   * @throws StateProblem where the state was written by other rules, MergeLimitError where a number passes its limit or the
   * state would be longer than `bytesMax`
   */
  apply(state: Uint8Array | undefined, update: Uint8Array, origin: Origin, bytesMax: number): Uint8Array {
    const own = this.#function;
    const before = state === undefined ? own.empty : own.read(parseJson(state), "");
    return this.#limited(own.apply(before, parseJson(update), origin), bytesMax);
  }

  /**
   * Two states joined, in canonical form.
   *
   * @throws StateProblem, MergeLimitError as `apply`
   */
  join(a: Uint8Array, b: Uint8Array, bytesMax: number): Uint8Array {
    const own = this.#function;
    return this.#limited(own.join(own.read(parseJson(a), ""), own.read(parseJson(b), "")), bytesMax);
  }

  #limited(state: unknown, bytesMax: number): Uint8Array {
    const bytes = canonicalBytes(this.#function.write(state));
    if (bytes.length > bytesMax) throw new MergeLimitError(`the merged state would have ${bytes.length} bytes, and ${bytesMax} are the limit`);
    return bytes;
  }
}
