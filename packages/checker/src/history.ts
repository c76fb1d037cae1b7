import { Fields } from "./fields.ts";
import { HistoryError } from "./history-error.ts";
import { readResult } from "./history-fields.ts";
import type { Operation, ResultOf } from "./operations.ts";

/** Calls that one history may hold. */
export const CALLS_MAX = 4_000_000;

/**
 * What became of a call. `ok`: done, and the caller was told the result. `fail`: surely not done, now and later. `open`: nobody knows;
 * it may take effect at any later time, or never. Every call is open until it ends.
 */
export type Outcome = "ok" | "fail" | "open";

/** One call, from the caller's side. */
export interface Call<O extends Operation = Operation> {
  /** From 1, in the order of invocation. */
  readonly id: number;
  /** Who called. One process may have several calls in flight. */
  readonly process: string;
  readonly operation: O;
  /** Monotonic, the same clock for all processes of a history. */
  readonly invokedMs: number;
  /** Place among all events of the history, from 0. */
  readonly invokedAt: number;
  outcome: Outcome;
  /** When the caller was told; undefined where it never was. */
  endedMs: number | undefined;
  /** Place among all events; undefined where the caller was never told. */
  endedAt: number | undefined;
  result: ResultOf<O> | undefined;
  /** Log position of what an `ok` call did or saw, where the store tells: calls on one key take effect in this order. */
  position: number | undefined;
}

/** Calls and their ends, in the order in which they were recorded, which is the order of real time. */
export class History {
  readonly calls: Call[] = [];
  #events = 0;
  #lastMs = 0;
  #line = 0;

  /** Events so far. */
  get events(): number {
    return this.#events;
  }

  invoke<O extends Operation>(process: string, atMs: number, operation: O): Call<O> {
    if (this.calls.length >= CALLS_MAX) throw new HistoryError(this.#line, "", `a history holds at most ${CALLS_MAX} calls`);
    const call: Call<O> = {
      id: this.calls.length + 1,
      process,
      operation,
      invokedMs: this.#at(atMs),
      invokedAt: this.#events++,
      outcome: "open",
      endedMs: undefined,
      endedAt: undefined,
      result: undefined,
      position: undefined,
    };
    this.calls.push(call);
    return call;
  }

  /** The call was done. `position`: see `Call.position`. */
  ok<O extends Operation>(call: Call<O>, atMs: number, result: ResultOf<O>, position?: number): void {
    const fields = new Fields(result, this.#line, "result");
    readResult(call.operation, fields);
    fields.end();
    if (position !== undefined && (!Number.isSafeInteger(position) || position < 0)) throw new HistoryError(this.#line, "position", "must be a whole number, 0 or more");
    this.#end(call, atMs, "ok");
    call.result = result;
    call.position = position;
  }

  /** The call was surely not done, and will not be. */
  fail(call: Call, atMs: number): void {
    this.#end(call, atMs, "fail");
  }

  /** The caller was told that nobody knows, or gave up. */
  open(call: Call, atMs: number): void {
    this.#end(call, atMs, "open");
  }

  /** What follows came from this line of a text. */
  atLine(line: number): void {
    this.#line = line;
  }

  #end(call: Call, atMs: number, outcome: Outcome): void {
    if (call.endedAt !== undefined) throw new HistoryError(this.#line, "call", `call ${call.id} has ended already`);
    call.endedMs = this.#at(atMs);
    call.endedAt = this.#events++;
    call.outcome = outcome;
  }

  #at(atMs: number): number {
    if (!(atMs >= this.#lastMs)) throw new HistoryError(this.#line, "atMs", `must not go back behind ${this.#lastMs}`);
    this.#lastMs = atMs;
    return atMs;
  }
}

/**
 * One history of what several recorders saw by the same monotonic clock. Of events of one moment the beginnings come first: calls that may have overlapped count as
 * having overlapped.
 */
export function mergeHistories(parts: readonly History[]): History {
  interface Event {
    readonly atMs: number;
    readonly ends: boolean;
    readonly call: Call;
  }
  const events: Event[] = [];
  for (const { calls } of parts) {
    for (const call of calls) {
      events.push({ atMs: call.invokedMs, ends: false, call });
      if (call.endedMs !== undefined) events.push({ atMs: call.endedMs, ends: true, call });
    }
  }
  events.sort((a, b) => a.atMs - b.atMs || Number(a.ends) - Number(b.ends));
  const merged = new History();
  const copies = new Map<Call, Call>();
  for (const { atMs, ends, call } of events) {
    if (!ends) {
      copies.set(call, merged.invoke(call.process, atMs, call.operation));
      continue;
    }
    const copy = copies.get(call);
    if (copy === undefined) throw new HistoryError(0, "call", `call ${call.id} of ${call.process} ends before it begins`);
    if (call.outcome === "ok" && call.result !== undefined) merged.ok(copy, atMs, call.result, call.position);
    else if (call.outcome === "fail") merged.fail(copy, atMs);
    else merged.open(copy, atMs);
  }
  return merged;
}
