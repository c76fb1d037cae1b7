// Is there an order of the calls on one key, one at a time, that every answer agrees with and real time too?
// The search of Wing and Gong (1993) with Lowe's two ideas (2017): a call is taken as late as possible, when its end forces it, and what was
// tried once is not tried again. Beyond that: what changes nothing is taken at once; a configuration is dropped where one that
// leaves more choices was tried; calls that are alike are taken in one order only.
import { hasTaken, isUnseen, type Layout, layoutOf, forget, markUnseen, Seen, take } from "./configuration.ts";
import type { KeyCall, KeyHistory } from "./key-history.ts";
import type { Model } from "./model.ts";
import type { KeyOperation } from "./operations.ts";

/** States that are kept to explain a failure. */
const STATES_MAX = 32;

export interface Searched {
  /** `undecided`: the budget ran out first. */
  readonly verdict: "linearizable" | "not_linearizable" | "undecided";
  /** Configurations looked at. */
  readonly configurations: number;
  /** The furthest event that was reached: the end of the call that has no place, or where the search stood. */
  readonly event: number;
  /** Distinct states in which the key can have been just before the end of that call, at most 32. */
  readonly states: readonly string[];
}

interface Frame {
  readonly event: number;
  readonly state: number;
  readonly bits: Uint32Array;
  /** Calls to take from here, the one that must be taken first. */
  readonly candidates: KeyCall[];
  candidate: number;
  /** States that the current candidate leads to. */
  next: readonly number[];
  nextAt: number;
  /** The call that must be taken, where it may have come earlier, unseen; tried first. */
  unseen: KeyCall | undefined;
}

/** Searches one key; looks at no more than `budget` configurations. */
export function search<O extends KeyOperation, R, S>(history: KeyHistory, model: Model<O, R, S>, budget: number): Searched {
  return new Search(history, model, budget).run();
}

class Search<O extends KeyOperation, R, S> {
  readonly #history: KeyHistory;
  readonly #model: Model<O, R, S>;
  readonly #layout: Layout;
  readonly #budget: number;
  readonly #states: S[] = [];
  readonly #stateIds = new Map<string, number>();
  /** By event, then state. */
  readonly #seen: (Map<number, Seen> | undefined)[] = [];
  /** Calls in flight at `#at`, by kind and slot. */
  readonly #inFlight: Record<KeyCall["kind"], (KeyCall | undefined)[]> = { open: [], idle: [], update: [] };
  #at = 0;
  #configurations = 0;
  #deepest = -1;
  #deepestStates = new Set<number>();

  constructor(history: KeyHistory, model: Model<O, R, S>, budget: number) {
    this.#history = history;
    this.#model = model;
    this.#layout = layoutOf(history.slots);
    this.#budget = budget;
  }

  run(): Searched {
    const stack: Frame[] = [];
    const first = this.#advance(this.#stateId(this.#model.initial), new Uint32Array(this.#layout.words), 0);
    if (first === "end") return this.#answer("linearizable");
    if (first !== undefined) stack.push(first);
    for (let frame = stack.at(-1); frame !== undefined; frame = stack.at(-1)) {
      if (this.#configurations >= this.#budget) return this.#answer("undecided");
      const after = this.#child(frame);
      if (after === "end") return this.#answer("linearizable");
      if (after === "none") stack.pop();
      else if (after !== undefined) stack.push(after);
    }
    return this.#answer("not_linearizable");
  }

  #answer(verdict: Searched["verdict"]): Searched {
    const states = [...this.#deepestStates].slice(0, STATES_MAX).map((id) => this.#textOf(id));
    return { verdict, configurations: this.#configurations, event: Math.max(this.#deepest, 0), states };
  }

  /** Takes the next call from a frame; `none` where all were tried. */
  #child(frame: Frame): Frame | "end" | "none" | undefined {
    this.#moveTo(frame.event);
    if (frame.unseen !== undefined) {
      const bits = frame.bits.slice();
      take(this.#layout, bits, frame.unseen);
      frame.unseen = undefined;
      return this.#advance(frame.state, bits, frame.event);
    }
    if (frame.nextAt >= frame.next.length && !this.#nextCandidate(frame)) return "none";
    const call = frame.candidates[frame.candidate - 1];
    const state = frame.next[frame.nextAt++];
    return call === undefined || state === undefined ? undefined : this.#advance(state, this.#taken(frame, call, state), frame.event);
  }

  /** Passes events until one needs a choice. `bits` are this search's own. Undefined where this was tried before. */
  #advance(state: number, bits: Uint32Array, from: number): Frame | "end" | undefined {
    const { events } = this.#history;
    for (let at = from; ; at++) {
      this.#moveTo(at);
      const event = events[at];
      if (event === undefined) return "end";
      const { call } = event;
      if (!event.ends) {
        this.#inFlight[call.kind][call.slot] = call;
        this.#at = at + 1;
        if (call.kind === "idle") this.#absorb(state, bits);
        continue;
      }
      if (hasTaken(this.#layout, bits, call)) {
        forget(this.#layout, bits, call);
        continue;
      }
      if (!this.#isNew(at, state, bits)) return undefined;
      this.#configurations++;
      if (at > this.#deepest) {
        this.#deepest = at;
        this.#deepestStates = new Set();
      }
      if (at === this.#deepest && at > from) this.#deepestStates.add(state);
      return { event: at, state, bits, candidates: this.#candidates(call, state, bits), candidate: 0, next: [], nextAt: 0, unseen: isUnseen(this.#layout, bits, call) ? call : undefined };
    }
  }

  #isNew(at: number, state: number, bits: Uint32Array): boolean {
    const byState = (this.#seen[at] ??= new Map());
    let seen = byState.get(state);
    if (seen === undefined) byState.set(state, (seen = new Seen()));
    return seen.add(this.#layout, bits);
  }

  /** The next candidate that can be taken; its states are in `frame.next`. */
  #nextCandidate(frame: Frame): boolean {
    for (;;) {
      const call = frame.candidates[frame.candidate++];
      if (call === undefined) return false;
      frame.next = this.#nextStates(frame.state, call);
      frame.nextAt = 0;
      if (frame.next.length > 0) return true;
    }
  }

  /** The call that must be taken, and those that may come before it where that can make a difference. */
  #candidates(must: KeyCall, state: number, bits: Uint32Array): KeyCall[] {
    const others: KeyCall[] = [];
    const alike = new Map<number, number>();
    let moves = false;
    for (const kind of ["update", "idle", "open"] as const) {
      for (const call of this.#inFlight[kind]) {
        if (call === undefined || call === must || hasTaken(this.#layout, bits, call)) continue;
        moves ||= kind === "idle" || must.kind === "idle" || !this.#model.commute(operationOf<O>(must), operationOf<O>(call));
        if (!this.#isFree(call, bits)) continue;
        // Of calls that are alike the one that ends first goes first.
        const known = isUnseen(this.#layout, bits, call) ? undefined : alike.get(call.likeness);
        if (known !== undefined) {
          if (goesFirst(call, others[known]!)) others[known] = call;
          continue;
        }
        if (!isUnseen(this.#layout, bits, call)) alike.set(call.likeness, others.length);
        others.push(call);
      }
    }
    if (!this.#isFree(must, bits)) return others;
    if (!moves && this.#nextStates(state, must).length > 0) return [must];
    return [must, ...others];
  }

  /** Whether log positions allow that the call comes next. */
  #isFree(call: KeyCall, bits: Uint32Array): boolean {
    if (call.outOfOrder !== undefined) return false;
    for (const other of call.before) {
      if (other.endsAt < this.#at) continue;
      // Invoked later, or in flight and not taken.
      if (this.#inFlight[other.kind][other.slot] !== other || !hasTaken(this.#layout, bits, other)) return false;
    }
    return true;
  }

  /** The bits after a call is taken, with everything that follows by itself. */
  #taken(frame: Frame, call: KeyCall, state: number): Uint32Array {
    const bits = frame.bits.slice();
    take(this.#layout, bits, call);
    if (call.blind) {
      for (const other of this.#inFlight.update) {
        if (other !== undefined && other.blind && other.call.position === undefined && !hasTaken(this.#layout, bits, other)) markUnseen(this.#layout, bits, other);
      }
    }
    this.#absorb(state, bits);
    return bits;
  }

  /** Takes the idle calls in flight that change nothing here. One may set another free. */
  #absorb(state: number, bits: Uint32Array): void {
    for (let again = true; again; ) {
      again = false;
      for (const call of this.#inFlight.idle) {
        if (call === undefined || hasTaken(this.#layout, bits, call) || !this.#isFree(call, bits)) continue;
        const next = this.#nextStates(state, call);
        if (next.length !== 1 || next[0] !== state) continue;
        take(this.#layout, bits, call);
        again ||= call.call.position !== undefined;
      }
    }
  }

  #nextStates(state: number, call: KeyCall): number[] {
    const before = this.#states[state];
    if (before === undefined) throw new RangeError(`state ${state} is not known`);
    const next: number[] = [];
    for (const after of this.#model.next(before, operationOf<O>(call), call.call.result as R | undefined)) next.push(after === before ? state : this.#stateId(after));
    // An open call that changes nothing is as good as never.
    return call.kind === "open" ? next.filter((id) => id !== state) : next;
  }

  #stateId(state: S): number {
    const text = this.#model.textOf(state);
    let id = this.#stateIds.get(text);
    if (id === undefined) {
      id = this.#states.length;
      this.#states.push(state);
      this.#stateIds.set(text, id);
    }
    return id;
  }

  #textOf(id: number): string {
    const state = this.#states[id];
    return state === undefined ? "" : this.#model.textOf(state);
  }

  /** Brings the calls in flight to where they are before the event. */
  #moveTo(event: number): void {
    const { events } = this.#history;
    while (this.#at < event) {
      const { call, ends } = events[this.#at++]!;
      this.#inFlight[call.kind][call.slot] = ends ? undefined : call;
    }
    while (this.#at > event) {
      const { call, ends } = events[--this.#at]!;
      this.#inFlight[call.kind][call.slot] = ends ? call : undefined;
    }
  }
}

function operationOf<O extends KeyOperation>(call: KeyCall): O {
  return call.call.operation as O;
}

function goesFirst(a: KeyCall, b: KeyCall): boolean {
  return a.endsAt < b.endsAt || (a.endsAt === b.endsAt && a.call.id < b.call.id);
}
