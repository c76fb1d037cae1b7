import type { Json } from "./json.ts";
import type { Origin } from "./origin.ts";

/**
 * State that several may write at once without losing anything.
 *
 * `join` is associative, commutative and idempotent, and `apply` commutes: whatever the order in which updates are applied,
 * each once, and however states that hold some of them are joined, the outcome is one state. The updates of one server
 * must not be applied on two sides that are joined later (they go through one log).
 */
export interface MergeFunction<S> {
  readonly empty: S;
  /** Reads a state. @throws StateProblem */
  read(value: Json, path: string): S;
  /** The state in canonical form: equal states give equal JSON. */
  write(state: S): Json;
  /** Checks an update. @throws StateProblem */
  check(update: Json, path: string): void;
  /** The state with a checked update in it. @throws MergeLimitError where a number would pass its limit */
  apply(state: S, update: Json, origin: Origin): S;
  join(a: S, b: S): S;
}
