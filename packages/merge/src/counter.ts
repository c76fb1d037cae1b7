/**
 * A counter that goes up and down (a PN counter): each server's ups and downs are counted apart, and a join takes the higher
 * of each. Update: `{"add": 3}`, `{"add": -3}`. State: `{"up": {"7": 5}, "down": {"7": 2}}`, by server.
 */
import { type Json, MergeLimitError, objectAt, StateProblem, wholeAt, join as pathOf } from "./json.ts";
import type { MergeFunction } from "./merge-function.ts";

/** By server id. */
type Sums = ReadonlyMap<string, number>;

export interface CounterState {
  readonly up: Sums;
  readonly down: Sums;
}

const MAX = Number.MAX_SAFE_INTEGER;
const NONE: Sums = new Map();
const SERVER = /^[1-9][0-9]{0,9}$/;

function sumsAt(value: Json | undefined, path: string): Sums {
  if (value === undefined) return NONE;
  const sums = new Map<string, number>();
  for (const [server, sum] of objectAt(value, path)) {
    if (!SERVER.test(server)) throw new StateProblem(pathOf(path, server), "must be a server id");
    sums.set(server, wholeAt(sum, pathOf(path, server), 1, MAX));
  }
  return sums;
}

function amountAt(update: Json, path: string): number {
  const amount = objectAt(update, path, ["add"]).get("add");
  return wholeAt(amount, pathOf(path, "add"), -MAX, MAX);
}

function added(sums: Sums, server: string, amount: number): Sums {
  const sum = (sums.get(server) ?? 0) + amount;
  if (!Number.isSafeInteger(sum)) throw new MergeLimitError(`a counter holds at most 2^53-1 of a server in each direction`);
  return new Map(sums).set(server, sum);
}

function higher(a: Sums, b: Sums): Sums {
  const sums = new Map(a);
  for (const [server, sum] of b) sums.set(server, Math.max(sum, sums.get(server) ?? 0));
  return sums;
}

export const counter: MergeFunction<CounterState> = {
  empty: { up: NONE, down: NONE },
  read(value, path) {
    const parts = objectAt(value, path, ["up", "down"]);
    return { up: sumsAt(parts.get("up"), pathOf(path, "up")), down: sumsAt(parts.get("down"), pathOf(path, "down")) };
  },
  write: ({ up, down }) => new Map<string, Json>([["up", up], ["down", down]]),
  check(update, path) {
    amountAt(update, path);
  },
  apply(state, update, { serverId }) {
    const amount = amountAt(update, "");
    if (amount === 0) return state;
    return amount > 0 ? { ...state, up: added(state.up, String(serverId), amount) } : { ...state, down: added(state.down, String(serverId), -amount) };
  },
  join: (a, b) => ({ up: higher(a.up, b.up), down: higher(a.down, b.down) }),
};

/** What the counter stands at. Exact: the sum of many servers may pass 2^53. */
export function counterValue({ up, down }: CounterState): bigint {
  let value = 0n;
  for (const sum of up.values()) value += BigInt(sum);
  for (const sum of down.values()) value -= BigInt(sum);
  return value;
}
