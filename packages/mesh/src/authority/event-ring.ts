// The newest changes of the directory, for those who watch it.
import type { AuthorityEvent } from "@statemesh/contract";

/** A change and its place in the log of group 0, the same on every node. */
export interface PlacedEvent {
  readonly index: number;
  /** Place among the changes of its entry, from 0. */
  readonly ordinal: number;
  readonly event: AuthorityEvent;
}

/** Where a reader stands: it has what is before it. */
export interface EventPlace {
  readonly index: number;
  /** Changes at `index` that it has; `ALL_OF_ENTRY`: all. */
  readonly ordinal: number;
}

/** More changes than an entry can make. */
export const ALL_OF_ENTRY = 2 ** 32 - 1;

/** Changes are numbered from the node's start on; the ring keeps the last of them. */
export class EventRing {
  readonly #capacity: number;
  #events: PlacedEvent[] = [];
  /** Number of the first that is kept. */
  #first = 0;
  /** Everything behind this index is kept. */
  #completeAfter: number;

  constructor(capacity: number, index: number) {
    this.#capacity = capacity;
    this.#completeAfter = index;
  }

  /** Number of the next change. */
  get end(): number {
    return this.#first + this.#events.length;
  }

  push(event: PlacedEvent): void {
    this.#events.push(event);
    // Half of it goes at a time, so that the rest is moved seldom.
    if (this.#events.length <= 2 * this.#capacity) return;
    this.#completeAfter = this.#events[this.#capacity]?.index ?? event.index;
    this.#events = this.#events.slice(this.#capacity + 1);
    this.#first += this.#capacity + 1;
  }

  /** The change of a number; undefined where it is not kept any more, or has not come yet. */
  at(number: number): PlacedEvent | undefined {
    return this.#events[number - this.#first];
  }

  isKept(number: number): boolean {
    return number >= this.#first;
  }

  /** The number at which a reader goes on; undefined where what it misses is not kept. */
  after({ index, ordinal }: EventPlace): number | undefined {
    if (index < this.#completeAfter || (index === this.#completeAfter && ordinal < ALL_OF_ENTRY)) return undefined;
    let low = 0;
    let high = this.#events.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const event = this.#events[middle];
      const isPassed = event !== undefined && (event.index < index || (event.index === index && event.ordinal < ordinal));
      if (isPassed) low = middle + 1;
      else high = middle;
    }
    return this.#first + low;
  }

  /** Nothing of before is known any more: the state was replaced by one at `index`. Numbers go on. */
  reset(index: number): void {
    this.#first = this.end + 1;
    this.#events = [];
    this.#completeAfter = index;
  }
}
