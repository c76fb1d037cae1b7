import { balanceModel } from "./balance-model.ts";
import { counterexampleOf } from "./counterexample.ts";
import { entityModel } from "./entity-model.ts";
import type { Call, History } from "./history.ts";
import { type KeyHistory, keyHistoryOf } from "./key-history.ts";
import { leaseModel } from "./lease-model.ts";
import type { KeyOperation } from "./operations.ts";
import { registerModel } from "./register-model.ts";
import { search, type Searched } from "./search.ts";

/** Configurations that are looked at for one key, unless told otherwise. About 200 bytes each. */
export const DEFAULT_BUDGET = 500_000;

/** What one key shows. */
export interface KeyVerdict {
  /** Model and key, such as `balance player:ada ore`. */
  readonly name: string;
  readonly verdict: Searched["verdict"];
  readonly calls: number;
  readonly configurations: number;
  /** For a key that is not linearizable, or undecided: the history as far as the search came, for people to read. */
  readonly explanation: string;
  /** The calls that cannot be explained: those of the smallest failing prefix. Empty where there is none. */
  readonly prefix: readonly Call<KeyOperation>[];
}

export interface LinearizabilityOptions {
  /** Configurations for one key, 1 or more; default 500,000. */
  readonly budget?: number;
}

export interface LinearizabilityReport {
  /** True only where every key was decided, and is linearizable. */
  readonly holds: boolean;
  readonly keys: number;
  readonly calls: number;
  readonly configurations: number;
  /** Keys whose history no order explains. */
  readonly violations: readonly KeyVerdict[];
  /** Keys for which the budget ran out: nothing is known of them, and `holds` is false. */
  readonly undecided: readonly KeyVerdict[];
  /** For people to read; one line where everything holds. */
  readonly text: string;
}

/** Holds every key of the history against its model. Transactions are not looked at: see checkStrictSerializability. */
export function checkLinearizability(history: History, options: LinearizabilityOptions = {}): LinearizabilityReport {
  const budget = options.budget ?? DEFAULT_BUDGET;
  if (!Number.isInteger(budget) || budget < 1) throw new RangeError("budget must be a whole number, 1 or more");
  const keys = callsByKey(history);
  let calls = 0;
  let configurations = 0;
  const violations: KeyVerdict[] = [];
  const undecided: KeyVerdict[] = [];
  for (const [name, ofKey] of keys) {
    const verdict = checkKey(name, ofKey, budget);
    calls += verdict.calls;
    configurations += verdict.configurations;
    if (verdict.verdict === "not_linearizable") violations.push(verdict);
    if (verdict.verdict === "undecided") undecided.push(verdict);
  }
  const counts = `${calls} calls on ${keys.size} keys, ${configurations} configurations`;
  const holds = violations.length === 0 && undecided.length === 0;
  const text = holds ? `linearizable: ${counts}` : [`not shown to be linearizable: ${violations.length} keys violate, ${undecided.length} are undecided; ${counts}`, ...[...violations, ...undecided].map((each) => each.explanation)].join("\n\n");
  return { holds, keys: keys.size, calls, configurations, violations, undecided, text };
}

function callsByKey(history: History): Map<string, Call<KeyOperation>[]> {
  const keys = new Map<string, Call<KeyOperation>[]>();
  for (const call of history.calls) {
    const { operation } = call;
    if (operation.model === "transaction") continue;
    const name = `${operation.model} ${operation.key}`;
    const list = keys.get(name);
    if (list === undefined) keys.set(name, [call as Call<KeyOperation>]);
    else list.push(call as Call<KeyOperation>);
  }
  return keys;
}

function checkKey(name: string, calls: readonly Call<KeyOperation>[], budget: number): KeyVerdict {
  const [history, searched] = searchKey(calls, budget);
  const { verdict, configurations } = searched;
  if (verdict === "linearizable") return { name, verdict, calls: calls.length, configurations, explanation: "", prefix: [] };
  return { name, verdict, calls: calls.length, configurations, ...counterexampleOf(name, history, searched) };
}

/** The name of a key begins with its model, so that all of `calls` have one. */
function searchKey(calls: readonly Call<KeyOperation>[], budget: number): [KeyHistory, Searched] {
  switch (calls[0]?.operation.model) {
    case "register": {
      const history = keyHistoryOf(calls as readonly Call<Extract<KeyOperation, { model: "register" }>>[], registerModel);
      return [history, search(history, registerModel, budget)];
    }
    case "entity": {
      const history = keyHistoryOf(calls as readonly Call<Extract<KeyOperation, { model: "entity" }>>[], entityModel);
      return [history, search(history, entityModel, budget)];
    }
    case "balance": {
      const history = keyHistoryOf(calls as readonly Call<Extract<KeyOperation, { model: "balance" }>>[], balanceModel);
      return [history, search(history, balanceModel, budget)];
    }
    case "lease": {
      const history = keyHistoryOf(calls as readonly Call<Extract<KeyOperation, { model: "lease" }>>[], leaseModel);
      return [history, search(history, leaseModel, budget)];
    }
    case undefined:
      throw new RangeError("a key without calls");
  }
}
