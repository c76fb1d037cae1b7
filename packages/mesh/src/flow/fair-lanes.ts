// Who is next: a lane for each caller, first come first served within it, and turns between them by what they cost. So one that asks
// for much waits for itself, and not the others for it. Deficit round robin after Shreedhar and Varghese (1995).
import { type DelayLimits, StandingDelay } from "./standing-delay.ts";

/** What waits in a lane. */
export interface Waiting {
  /** In the same unit as the quantum, above 0. */
  readonly sizeBytes: number;
  /** When it came, on the monotonic clock. */
  readonly cameMs: number;
}

/** What a lane may take in one turn, bytes: some dozens of plain operations, so that a batch holds those of many. */
export const QUANTUM_BYTES = 8_192;
/** Lanes that are remembered, about, beyond those with something in them. */
const LANES = 1_024;
/** Taken entries before a lane's list is cut: cutting costs its length. */
const CUT_AT = 1_024;

/** What one caller has waiting. */
export class Lane<T extends Waiting> {
  readonly key: number;
  readonly delay: StandingDelay;
  #items: T[] = [];
  #first = 0;
  /** Bytes that it may still take in this turn. */
  deficit = 0;
  /** Entries that it has outside, in the caller's care: taken from here and not done with. */
  outside = 0;

  constructor(key: number, limits: DelayLimits) {
    this.key = key;
    this.delay = new StandingDelay(limits);
  }

  get size(): number {
    return this.#items.length - this.#first;
  }

  get head(): T | undefined {
    return this.#items[this.#first];
  }

  get tail(): T | undefined {
    return this.size === 0 ? undefined : this.#items.at(-1);
  }

  push(item: T): void {
    this.#items.push(item);
  }

  shift(): T | undefined {
    if (this.size === 0) return undefined;
    const item = this.#items[this.#first++];
    if (this.#first === this.#items.length || this.#first >= CUT_AT) {
      this.#items = this.#items.slice(this.#first);
      this.#first = 0;
    }
    return item;
  }

  /** Takes out one that is not at the head. */
  remove(item: T): boolean {
    const place = this.#items.indexOf(item, this.#first);
    if (place < 0) return false;
    this.#items.splice(place, 1);
    return true;
  }

  /** Milliseconds that the oldest has waited; 0 where nothing waits. */
  oldestMs(nowMs: number): number {
    const { head } = this;
    return head === undefined ? 0 : Math.max(0, nowMs - head.cameMs);
  }
}

export class FairLanes<T extends Waiting> {
  readonly #limits: DelayLimits;
  readonly #lanes = new Map<number, Lane<T>>();
  /** Those with something in them, in the order of their turns; the first is at turn. */
  #turns: Lane<T>[] = [];
  #size = 0;

  constructor(limits: DelayLimits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#size;
  }

  /** Callers that have something waiting. */
  get waiting(): number {
    return this.#turns.length;
  }

  /** Lanes that are remembered. */
  get remembered(): number {
    return this.#lanes.size;
  }

  #lane(key: number): Lane<T> {
    let lane = this.#lanes.get(key);
    if (lane !== undefined) return lane;
    if (this.#lanes.size >= LANES) for (const each of this.#lanes.values()) if (each.size + each.outside === 0) this.#lanes.delete(each.key);
    this.#lanes.set(key, (lane = new Lane(key, this.#limits)));
    return lane;
  }

  /** What is known of a caller, if anything. */
  laneOf(key: number): Lane<T> | undefined {
    return this.#lanes.get(key);
  }

  push(key: number, item: T): void {
    const lane = this.#lane(key);
    if (lane.size === 0) {
      lane.deficit = 0;
      this.#turns.push(lane);
    }
    lane.push(item);
    this.#size++;
  }

  /** The longest lane; the one that came to its turn first where several are. */
  longest(): Lane<T> | undefined {
    let longest: Lane<T> | undefined;
    for (const lane of this.#turns) if (lane.size > (longest?.size ?? 0)) longest = lane;
    return longest;
  }

  /** Takes out one that waits. */
  remove(key: number, item: T): boolean {
    const lane = this.#lanes.get(key);
    if (lane === undefined || !lane.remove(item)) return false;
    this.#size--;
    this.settle(lane);
    return true;
  }

  /**
   * The next in turn, of the lanes that `mayTake`; undefined where none of them has anything. Whoever takes it calls `settle` once it is
   * done with the lane. One that does not fit keeps its turn: passed over for smaller ones, a large one would never have any.
   */
  next(mayTake: (lane: Lane<T>) => boolean, fits: (item: T) => boolean = () => true): { readonly lane: Lane<T>; readonly item: T } | "too large" | undefined {
    // A lane that may not take is passed over and keeps its place among the others that wait.
    for (let passed = 0; passed < this.#turns.length; ) {
      const lane = this.#turns[0];
      const head = lane?.head;
      if (lane === undefined || head === undefined || !mayTake(lane)) {
        this.#rotate();
        passed++;
        continue;
      }
      if (lane.deficit < head.sizeBytes) {
        lane.deficit += QUANTUM_BYTES;
        // One that costs more than a turn gives saves up: the others have theirs meanwhile.
        if (lane.deficit < head.sizeBytes || this.#turns.length > 1) this.#rotate();
        passed = 0;
        continue;
      }
      if (!fits(head)) return "too large";
      lane.deficit -= head.sizeBytes;
      lane.shift();
      this.#size--;
      return { lane, item: head };
    }
    return undefined;
  }

  #rotate(): void {
    const lane = this.#turns.shift();
    if (lane !== undefined) this.#turns.push(lane);
  }

  /** A lane with nothing in it has no turn; it is forgotten, unless it has something outside, or kept others waiting until now. */
  settle(lane: Lane<T>): void {
    if (lane.size > 0) return;
    const turn = this.#turns.indexOf(lane);
    if (turn >= 0) this.#turns.splice(turn, 1);
    if (lane.outside === 0 && !lane.delay.stands) this.#lanes.delete(lane.key);
  }

  /** Everything, in no promised order; nothing is left. */
  clear(): void {
    this.#lanes.clear();
    this.#turns = [];
    this.#size = 0;
  }
}
