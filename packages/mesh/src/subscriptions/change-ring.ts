import type { EntityChange } from "@statemesh/contract";

/** A strong change and its place. */
export interface PlacedChange {
  readonly groupId: number;
  readonly term: number;
  readonly index: number;
  /** Place among the changes at the index, from 0: the same on every node. */
  readonly ordinal: number;
  readonly change: EntityChange;
}

/** The newest strong changes of one group, for readers that resume. */
export class ChangeRing {
  readonly #capacity: number;
  #changes: PlacedChange[] = [];
  // Where the oldest change is once the ring is full.
  #start = 0;
  #completeAfter: number;
  #index: number;
  #term: number;

  /** `position`: where the group stands; changes from there on follow. */
  constructor(capacity: number, position: { readonly term: number; readonly index: number }) {
    this.#capacity = capacity;
    this.#completeAfter = position.index;
    this.#index = position.index;
    this.#term = position.term;
  }

  /** The last log index of which all changes are known to have come. */
  get index(): number {
    return this.#index;
  }

  get term(): number {
    return this.#term;
  }

  /** Moves the position on; after all changes of the index were pushed. */
  advance(index: number, term: number): void {
    this.#index = index;
    this.#term = term;
  }

  push(change: PlacedChange): void {
    if (this.#changes.length < this.#capacity) {
      this.#changes.push(change);
      return;
    }
    this.#completeAfter = (this.#changes[this.#start] as PlacedChange).index;
    this.#changes[this.#start] = change;
    this.#start = (this.#start + 1) % this.#capacity;
  }

  /** Changes after a cursor, in order; undefined where the ring does not go back that far. */
  after(index: number, partial: number): PlacedChange[] | undefined {
    if (index < this.#completeAfter || (index === this.#completeAfter && partial > 0)) return undefined;
    const found: PlacedChange[] = [];
    // From the newest back: most readers resume a short way back.
    for (let i = this.#changes.length - 1; i >= 0; i -= 1) {
      const change = this.#changes[(this.#start + i) % this.#changes.length] as PlacedChange;
      if (isPassed(change, index, partial)) break;
      found.push(change);
    }
    return found.reverse();
  }
}

/** Whether a reader that stands at a cursor has the change. */
export function isPassed(change: PlacedChange, index: number, partial: number): boolean {
  return change.index < index || (change.index === index && (partial === 0 || change.ordinal < partial));
}
