import { SequenceSet } from "@statemesh/clocks";
import type { CausalEvent, DeliveredEvent, VectorClockEntry } from "@statemesh/contract";

/** A delivered event and its place in the order in which this node delivered. */
export interface KeptEvent {
  readonly event: DeliveredEvent;
  readonly number: number;
}

/** What the events of an origin, from `from` on, are known to have seen of another origin. */
interface Seen {
  sequence: number;
  from: number;
}

/** Rough bytes of an event in memory and on the wire. */
export function sizeOfEvent(event: DeliveredEvent): number {
  const content = event.event as CausalEvent;
  return content.payload.length + content.key.length + content.type.length + 64;
}

/** What a node knows of one origin: what came, what was delivered, and the newest delivered events. */
export class OriginLog {
  readonly origin: number;
  readonly received: SequenceSet;
  /** Every event up to here was delivered here, or skipped as a gap. */
  delivered = 0;
  /** The highest sequence that anyone was heard to have. */
  known = 0;
  /** Came, and waits for what it depends on. */
  readonly pending = new Map<number, DeliveredEvent>();
  /** Origins whose next event waits for one of this origin. */
  readonly waiters = new Set<OriginLog>();
  /** Bytes of the kept events. */
  keptBytes = 0;
  /** When the first missing event was first missed, and last asked for; 0: nothing is missing. */
  missingSinceMs = 0;
  missingFrom = 0;
  askedMs = 0;
  /** Counts requests, so that they go around the peers. */
  turn = 0;
  #kept: KeptEvent[] = [];
  #head = 0;
  #keptFrom = 1;
  readonly #seen = new Map<number, Seen>();

  constructor(origin: number, window: number) {
    this.origin = origin;
    this.received = new SequenceSet(window);
  }

  /** The first sequence of the kept events; one past `delivered` where none is kept. */
  get keptFrom(): number {
    return this.#keptFrom;
  }

  get keptEvents(): number {
    return this.#kept.length - this.#head;
  }

  /** Keeps the next delivered event. */
  keep(kept: KeptEvent): void {
    if (this.keptEvents === 0) this.#keptFrom = (kept.event.id as VectorClockEntry).sequence;
    this.#kept.push(kept);
    this.keptBytes += sizeOfEvent(kept.event);
  }

  /** Drops the oldest kept events. Returns the bytes. */
  drop(count: number): number {
    const before = this.keptBytes;
    const end = Math.min(this.#kept.length, this.#head + count);
    for (let i = this.#head; i < end; i += 1) this.keptBytes -= sizeOfEvent((this.#kept[i] as KeptEvent).event);
    this.#keptFrom += end - this.#head;
    this.#head = end;
    if (this.#head * 2 > this.#kept.length) {
      this.#kept = this.#kept.slice(this.#head);
      this.#head = 0;
    }
    return before - this.keptBytes;
  }

  /** A kept event, or one that waits. */
  find(sequence: number): DeliveredEvent | undefined {
    const index = sequence - this.#keptFrom;
    if (index >= 0 && index < this.keptEvents) return (this.#kept[this.#head + index] as KeptEvent).event;
    return this.pending.get(sequence);
  }

  /** Kept events after a sequence, in order. */
  after(sequence: number): readonly KeptEvent[] {
    return this.#kept.slice(this.#head + Math.max(0, sequence + 1 - this.#keptFrom));
  }

  /** Passes over sequences up to `through` that are neither delivered nor waiting; kept events before them are dropped, so that the kept are contiguous. */
  passOver(through: number): void {
    this.drop(this.keptEvents);
    this.delivered = through;
    this.#keptFrom = through + 1;
  }

  /** Notes that the event at `sequence` depends on another origin's event, and through it on what that one had seen. */
  sees(sequence: number, other: OriginLog, otherSequence: number): void {
    this.#note(sequence, other.origin, otherSequence);
    for (const [origin, seen] of other.#seen) {
      if (seen.from <= otherSequence && origin !== this.origin) this.#note(sequence, origin, seen.sequence);
    }
  }

  /** Whether the event at `sequence` is known to follow an event of another origin. */
  hasSeen(sequence: number, origin: number, otherSequence: number): boolean {
    const seen = this.#seen.get(origin);
    return seen !== undefined && seen.from <= sequence && seen.sequence >= otherSequence;
  }

  /** The other origin is over and forgotten. */
  forget(origin: number): void {
    this.#seen.delete(origin);
  }

  #note(from: number, origin: number, sequence: number): void {
    const seen = this.#seen.get(origin);
    if (seen === undefined) this.#seen.set(origin, { sequence, from });
    else if (sequence > seen.sequence) {
      seen.sequence = sequence;
      seen.from = from;
    }
  }
}
