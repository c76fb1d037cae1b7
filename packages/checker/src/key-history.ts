import type { Call } from "./history.ts";
import type { Model } from "./model.ts";
import type { KeyOperation } from "./operations.ts";

/** `open` may take effect or not; `idle` see Model.isIdle; `update` everything else. Bits of a configuration are kept apart by kind. */
export type CallKind = "open" | "idle" | "update";

/** A call as the search sees it. */
export interface KeyCall {
  readonly call: Call<KeyOperation>;
  readonly kind: CallKind;
  readonly blind: boolean;
  /** Bit among the calls of its kind that are in flight at one time. */
  readonly slot: number;
  /** Number of the event that ends it; infinite for an open one. */
  readonly endsAt: number;
  /** Calls that overlap with it and whose log position is lower: they come first. */
  readonly before: readonly KeyCall[];
  /** A call that ended before this one began, with a higher log position: then this one has no place. */
  readonly outOfOrder: Call | undefined;
  /** Equal for calls of the same operation and result, without position: they may change places. */
  readonly likeness: number;
}

/** One event of a key: a call begins, or a call that is no open one ends. */
export interface KeyEvent {
  readonly call: KeyCall;
  readonly ends: boolean;
}

/** The calls on one key, prepared for the search. */
export interface KeyHistory {
  readonly events: readonly KeyEvent[];
  /** Slots that calls of each kind need. */
  readonly slots: Readonly<Record<CallKind, number>>;
  /** Calls that ended `ok`. */
  readonly completions: number;
}

interface Draft {
  call: Call<KeyOperation>;
  kind: CallKind;
  blind: boolean;
  slot: number;
  endsAt: number;
  before: Draft[];
  outOfOrder: Call | undefined;
  likeness: number;
}

/** `calls`: those of one key, in the order of invocation. Failed ones, and open ones that could only have looked, tell nothing. */
export function keyHistoryOf<O extends KeyOperation, R, S>(calls: readonly Call<O>[], model: Model<O, R, S>): KeyHistory {
  const drafts = calls.filter((call) => call.outcome !== "fail" && !(call.outcome === "open" && model.isIdle(call.operation, undefined)));
  const events: { call: Call<O>; ends: boolean; at: number }[] = [];
  for (const call of drafts) {
    events.push({ call, ends: false, at: call.invokedAt });
    if (call.outcome === "ok" && call.endedAt !== undefined) events.push({ call, ends: true, at: call.endedAt });
  }
  events.sort((a, b) => a.at - b.at);

  const slots = new Slots();
  const order = new Order();
  const likenesses = new Map<string, number>();
  const byCall = new Map<Call, Draft>();
  const ends = new Map<Call, number>();
  events.forEach((event, at) => {
    if (event.ends) ends.set(event.call, at);
  });
  for (const { call, ends: isEnd } of events) {
    let draft = byCall.get(call);
    if (isEnd && draft !== undefined) {
      slots.free(draft);
      order.end(draft);
      continue;
    }
    const result = call.result as R | undefined;
    const kind: CallKind = call.outcome === "open" ? "open" : model.isIdle(call.operation, result) ? "idle" : "update";
    draft = { call, kind, blind: model.isBlind(call.operation), slot: slots.take(kind), endsAt: ends.get(call) ?? Infinity, before: [], outOfOrder: undefined, likeness: likenessOf(call, likenesses) };
    order.begin(draft);
    byCall.set(call, draft);
  }
  return {
    events: events.flatMap(({ call, ends: isEnd }) => {
      const draft = byCall.get(call);
      return draft === undefined ? [] : [{ call: draft, ends: isEnd }];
    }),
    slots: slots.taken,
    completions: ends.size,
  };
}

function likenessOf(call: Call<KeyOperation>, known: Map<string, number>): number {
  const { operation, result, position, outcome } = call;
  const text = position === undefined ? JSON.stringify([outcome, operation, result]) : `call ${call.id}`;
  const number = known.get(text) ?? known.size;
  known.set(text, number);
  return number;
}

/** The lowest free slot of each kind. Open calls never give theirs back. */
class Slots {
  readonly taken: Record<CallKind, number> = { open: 0, idle: 0, update: 0 };
  readonly #free: Record<CallKind, number[]> = { open: [], idle: [], update: [] };

  take(kind: CallKind): number {
    return this.#free[kind].pop() ?? this.taken[kind]++;
  }

  free({ kind, slot }: Draft): void {
    this.#free[kind].push(slot);
  }
}

/** What log positions say about calls that overlap, and about those that do not. */
class Order {
  readonly #inFlight = new Set<Draft>();
  #highest: Call | undefined;

  begin(draft: Draft): void {
    const { position } = draft.call;
    if (position === undefined) return;
    if (this.#highest?.position !== undefined && position < this.#highest.position) draft.outOfOrder = this.#highest;
    for (const other of this.#inFlight) {
      if (other.call.position === undefined || other.call.position === position) continue;
      if (other.call.position < position) draft.before.push(other);
      else other.before.push(draft);
    }
    this.#inFlight.add(draft);
  }

  end(draft: Draft): void {
    const { position } = draft.call;
    if (position === undefined) return;
    this.#inFlight.delete(draft);
    if (this.#highest?.position === undefined || position > this.#highest.position) this.#highest = draft.call;
  }
}
