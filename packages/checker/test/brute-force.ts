// The definition itself, tried out: every order of the calls of one key. For small histories only.
import type { Call, History, KeyOperation, Value } from "../src/index.ts";

/** What a key does, told a second time and apart from the models under test: registers and balances. */
type State = Value;

function step(state: State, call: Call, known: boolean): State[] {
  const { operation, result } = call;
  const told = (known ? result : undefined) as { value?: Value; swapped?: boolean; quantity?: number; decision?: string } | undefined;
  if (operation.model === "register") {
    if (operation.action === "read") return told === undefined || told.value === state ? [state] : [];
    if (operation.action === "write") return [operation.value];
    const swapped = state === operation.from;
    if (told !== undefined && told.swapped !== swapped) return [];
    return [swapped ? operation.to : state];
  }
  if (operation.model === "balance") {
    const quantity = typeof state === "number" ? state : 0;
    if (operation.action === "read") return told === undefined || told.quantity === quantity ? [quantity] : [];
    const good = quantity + operation.delta >= 0;
    if (told !== undefined && (told.decision === "accepted") !== good) return [];
    return [good ? quantity + operation.delta : quantity];
  }
  throw new TypeError(`no brute force for ${operation.model}`);
}

/** Whether some order of the calls explains all answers. Open calls may be anywhere after they began, or nowhere. */
export function isLinearizableByForce(history: History): boolean {
  const keys = new Map<string, Call[]>();
  for (const call of history.calls) {
    if (call.outcome === "fail") continue;
    const { key } = call.operation as KeyOperation;
    keys.set(key, [...(keys.get(key) ?? []), call]);
  }
  return [...keys.values()].every((calls) => hasOrder(calls, null));
}

function hasOrder(left: readonly Call[], state: State): boolean {
  if (left.every((call) => call.outcome === "open")) return true;
  return left.some((call) => {
    // Nothing that is left may have ended before this one began.
    if (left.some((other) => other.outcome === "ok" && (other.endedAt ?? Infinity) < call.invokedAt)) return false;
    const rest = left.filter((other) => other !== call);
    return step(state, call, call.outcome === "ok").some((after) => hasOrder(rest, after));
  });
}
