import type { DeliveredEvent, Entity, EventualValue, Region, VectorClock } from "@statemesh/contract";
import type { PlacedChange } from "./change-ring.ts";
import type { FeedMember } from "./region-feed.ts";
import type { GroupCursor } from "./resume-token.ts";

/** A first-in first-out queue. */
export class Queue<T> {
  #items: T[] = [];
  #head = 0;

  get length(): number {
    return this.#items.length - this.#head;
  }

  push(item: T): void {
    this.#items.push(item);
  }

  shift(): T | undefined {
    const item = this.#items[this.#head];
    if (item === undefined) return undefined;
    this.#head += 1;
    if (this.#head === this.#items.length) this.clear();
    else if (this.#head >= 1_024 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }

  clear(): void {
    this.#items = [];
    this.#head = 0;
  }
}

/** One reader. */
export interface Subscriber {
  readonly id: number;
  readonly regions: readonly Region[];
  readonly strong: boolean;
  readonly eventual: boolean;
  readonly causal: boolean;
  /** Hash of regions and classes. */
  readonly scope: number;
  /** Groups of its regions; none where it wants no strong changes. */
  readonly groups: readonly number[];
  /**
   * - `lagged`: changes are dropped; the reader is told, and gets a snapshot.
   * - `snapshot`: parts of the snapshot go out, changes wait.
   * - `live`: changes go out.
   */
  phase: "lagged" | "snapshot" | "live";
  /** Where it stands, by group. */
  readonly cursors: Map<number, GroupCursor>;
  /** Causal events that it has, or that are not for it. */
  clock: VectorClock;
  readonly changes: Queue<PlacedChange>;
  readonly events: Queue<DeliveredEvent>;
  /** Regions with eventual values that it has not read. */
  dirty: FeedMember[];
  readonly members: FeedMember[];
  /** What is left of the snapshot. */
  readonly entities: Queue<Entity>;
  /** What is left of the snapshot, or of the values that are sent again on resuming. */
  readonly values: Queue<EventualValue>;
  /** Dropped since the last `lagged`. */
  dropped: number;
  /** It was told that there is something to read, and has not yet read all. */
  signalled: boolean;
}
