/** What the players of a load asked and were told, as a history for the checker: accounts, items on the ground, claims, structures. */
import { accountKey, type Call, checkLinearizability, History, type Items, itemsOf, keyCallsOf, type KeyOperation, type ResultOf } from "@statemesh/checker";
import { expect } from "vitest";
import type { Entry } from "./load-entry.ts";

/** One account, read at one time. */
export interface BalanceRead {
  readonly account: string;
  readonly itemKind: string;
  readonly quantity: number;
  /** Log index up to which it was read. */
  readonly position: number | undefined;
  readonly beganMs: number;
  readonly endedMs: number;
}

/** A call and its end, for a recorder that wants them in the order of time. */
interface Recorded {
  readonly process: string;
  readonly operation: KeyOperation;
  readonly beganMs: number;
  /** undefined: open. */
  readonly endedMs: number | undefined;
  readonly result: ResultOf<KeyOperation> | undefined;
  readonly position: number | undefined;
}

/** Every entry that touches a key, and every read. An entry without a decision is open. */
export function historyOf(entries: readonly Entry[], reads: readonly BalanceRead[]): History {
  const items = itemsOf(entries.map(({ operation }) => operation));
  const recorded = [...entries.flatMap((entry) => callsOf(entry, items)), ...reads.map(readOf)];
  const events = recorded.flatMap((each) => [
    { atMs: each.beganMs, ends: false, each },
    ...(each.endedMs === undefined ? [] : [{ atMs: each.endedMs, ends: true, each }]),
  ]);
  // Of one moment the beginnings come first: what may have overlapped did.
  events.sort((a, b) => a.atMs - b.atMs || Number(a.ends) - Number(b.ends));
  const history = new History();
  const calls = new Map<Recorded, Call<KeyOperation>>();
  for (const { atMs, ends, each } of events) {
    const call = calls.get(each);
    if (!ends || call === undefined) calls.set(each, history.invoke(each.process, atMs, each.operation));
    else if (each.result !== undefined) history.ok(call, atMs, each.result, each.position);
  }
  return history;
}

/** Every account and item is linearizable. */
export function expectLinearizable(history: History): void {
  const report = checkLinearizability(history);
  expect(report.holds, report.text).toBe(true);
  expect(report.calls).toBeGreaterThan(0);
}

function callsOf({ operation, decision, beganMs, endedMs }: Entry, items: Items): Recorded[] {
  const told = { process: `server-${operation.serverId}`, beganMs, endedMs: decision === undefined ? undefined : endedMs, position: decision?.position?.index };
  // Every account and item of a load belongs to one region, so to one group.
  return keyCallsOf(0, { operation, decision, inTransaction: false }, items).map((call) => ({ ...told, ...call }));
}

function readOf({ account, itemKind, quantity, position, beganMs, endedMs }: BalanceRead): Recorded {
  return { process: "reader", operation: { model: "balance", key: accountKey(0, account, itemKind), action: "read" }, beganMs, endedMs, result: { quantity }, position };
}
