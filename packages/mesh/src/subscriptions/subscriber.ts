import type { DeliveredEvent, Entity, EventualValue, Region, VectorClock } from "@statemesh/contract";
import type { PlacedChange } from "./change-ring.ts";
import type { Crowd } from "./crowd.ts";
import type { FeedMember } from "./region-feed.ts";
import type { GroupCursor } from "./resume-token.ts";
import type { Area } from "./scope.ts";
import type { Wishes } from "./wishes.ts";

/** Never written to. */
const NO_ITEMS: never[] = [];

/** A first-in first-out queue. */
class Queue<T> {
  // None until something waits: most queues of most readers never hold anything.
  #items: T[] = NO_ITEMS;
  #head = 0;

  get length(): number {
    return this.#items.length - this.#head;
  }

  push(item: T): void {
    if (this.#items === NO_ITEMS) this.#items = [item];
    else this.#items.push(item);
  }

  shift(): T | undefined {
    if (this.#items === NO_ITEMS) return undefined;
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
    this.#items = NO_ITEMS;
    this.#head = 0;
  }
}

/** No number of a change. */
export const NOWHERE = -1;

/** One reader. */
export interface Subscriber {
  readonly id: number;
  wishes: Wishes;
  /** Those that want the same of the same regions; undefined where it may move. */
  crowd: Crowd | undefined;
  /** Hash of what it wants, and of its regions where it does not move. */
  readonly scope: number;
  /** Of a reader that may move: where it wants to be. */
  area: Area | undefined;
  /** Its area has moved since `next` was worked out. */
  isTurned: boolean;
  /** What it reads. */
  regions: readonly Region[];
  /** What it is to read, where its area has reached other regions; taken up once it has read what came before. */
  next: readonly Region[] | undefined;
  /** What it knows of: until all parts of a move are read, that is less than it reads. */
  told: readonly Region[];
  /** What it was told of in part. */
  partial: readonly Region[];
  /** Groups of its regions; none where it wants no strong changes. */
  groups: readonly number[];
  /**
   * - `lagged`: changes are dropped; the reader is told, and gets a snapshot.
   * - `snapshot`: parts of the snapshot go out, changes wait.
   * - `moving`: parts of what came into reach go out, changes wait.
   * - `live`: changes go out.
   */
  phase: "lagged" | "snapshot" | "moving" | "live";
  /** What the first part of a move says. */
  moved: { readonly entered: readonly Region[]; readonly left: readonly Region[] } | undefined;
  /** Where it stands, by group. */
  readonly cursors: Map<number, GroupCursor>;
  /** Causal events that it has, or that are not for it. */
  clock: VectorClock;
  readonly changes: Queue<PlacedChange>;
  readonly events: Queue<DeliveredEvent>;
  /** Regions with eventual values that it has not read. */
  dirty: FeedMember[];
  members: FeedMember[];
  /** From one round of eventual values to the next, milliseconds. */
  readonly intervalMs: number;
  /** When the next round may begin, monotonic. */
  roundAtMs: number;
  /** Changes of the round that is under way, or was last: up to this number. */
  roundThrough: number;
  /** It has the latest of all values that changed up to this number; `NOWHERE`: it is in the middle of them. */
  readThrough: number;
  /** The round found no room in one message, and goes on with the next. */
  isInRound: boolean;
  /** What is left of the snapshot, or of what came into reach. */
  readonly entities: Queue<Entity>;
  /** The same, or of the values that are sent again on resuming. */
  readonly values: Queue<EventualValue>;
  /** Dropped since the last `lagged`. */
  dropped: number;
  /** It was told that there is something to read, and has not yet read all. */
  signalled: boolean;
}

/** A reader that reads nothing yet. */
export function newSubscriber(parts: Pick<Subscriber, "id" | "wishes" | "area" | "scope" | "intervalMs" | "clock">): Subscriber {
  return {
    ...parts,
    crowd: undefined,
    regions: [],
    told: [],
    partial: [],
    next: undefined,
    isTurned: false,
    moved: undefined,
    groups: [],
    phase: "live",
    cursors: new Map(),
    changes: new Queue(),
    events: new Queue(),
    dirty: [],
    members: [],
    roundAtMs: 0,
    roundThrough: 0,
    readThrough: NOWHERE,
    isInRound: false,
    entities: new Queue(),
    values: new Queue(),
    dropped: 0,
    signalled: false,
  };
}

/** It reads on, and has read all that came so far but for eventual values, of which it gets the latest whenever. */
export function isCaughtUp({ phase, changes, events, values }: Subscriber): boolean {
  return phase === "live" && changes.length + events.length + values.length === 0;
}

/** All parts of its snapshot, or of what came into reach, are on their way. */
export function hasNoParts({ entities, values }: Subscriber): boolean {
  return entities.length + values.length === 0;
}
