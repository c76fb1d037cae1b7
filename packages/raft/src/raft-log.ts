import type { LogEntry, SnapshotMeta } from "@statemesh/contract";
import { invariant } from "./invariant.ts";
import { entryBytes } from "./message.ts";
import type { RestoredState } from "./options.ts";

/** The term of an index that the log does not hold. No entry has it. */
export const UNKNOWN_TERM = -1;

const NO_ENTRIES: LogEntry[] = [];

/** Bytes of a larger buffer that an entry may keep from being freed, beside as many as it has itself. */
const PINNED_BYTES = 256;

/**
 * An entry stays for long. Its data is often a small piece of what it came in with, a pool of 64 KiB or what was read off a connection at once, and would keep
 * all of that: the log's limits, which count its own bytes, would say nothing.
 */
function withOwnData(entry: LogEntry): LogEntry {
  const { data } = entry;
  if (data.buffer.byteLength <= 2 * data.byteLength + PINNED_BYTES) return entry;
  const own = Buffer.allocUnsafeSlow(data.byteLength);
  own.set(data);
  return { ...entry, data: own };
}

interface Write {
  sequence: number;
  /** Highest index that this write makes durable and that is still part of the log. */
  lastIndex: number;
}

/**
 * One group's log: what is compacted away, what is in memory, what was handed to storage, what is durable.
 * Always `purged <= snapshot <= applied <= committed <= last`, and `applied <= handed to apply <= committed`.
 */
export class RaftLog {
  /** Index and term of the entry before the first in memory. */
  #purged = 0;
  #purgedTerm = 0;
  #entries: LogEntry[] = [];
  /** The first index that was not handed to storage. */
  #unstored = 1;
  /** Everything up to here is durable. */
  #durable = 0;
  #committed = 0;
  /** Handed out to be applied through here. */
  #handed = 0;
  #applied = 0;
  /** The latest snapshot that the application has. */
  #snapshot: SnapshotMeta | undefined;
  /** A snapshot that storage and application must take over before anything else. */
  #installing: SnapshotMeta | undefined;
  /** The application has not loaded the last installed snapshot. */
  #loading = false;
  readonly #writes: Write[] = [];

  constructor(restored?: RestoredState) {
    if (restored === undefined) return;
    const { snapshot, entries, hardState, applied } = restored;
    this.#snapshot = snapshot;
    this.#restoreEntries(snapshot, entries);
    const floor = snapshot === undefined ? 0 : snapshot.index;
    invariant(applied >= floor, "the application's state holds at least its snapshot");
    this.#applied = applied;
    this.#handed = applied;
    this.#committed = Math.max(hardState.commit, applied);
    this.#unstored = this.last + 1;
    this.#durable = this.last;
    this.checkInvariants();
  }

  /** Index of the last entry. */
  get last(): number {
    return this.#purged + this.#entries.length;
  }

  get lastTerm(): number {
    const count = this.#entries.length;
    return count === 0 ? this.#purgedTerm : this.#entries[count - 1]!.term;
  }

  /** Index of the first entry in memory (one past the last where there is none). */
  get first(): number {
    return this.#purged + 1;
  }

  get purged(): number {
    return this.#purged;
  }

  get durable(): number {
    return this.#durable;
  }

  get committed(): number {
    return this.#committed;
  }

  get applied(): number {
    return this.#applied;
  }

  get snapshot(): SnapshotMeta | undefined {
    return this.#snapshot;
  }

  get installing(): boolean {
    return this.#loading || this.#installing !== undefined;
  }

  get hasUnstored(): boolean {
    return this.#installing !== undefined || this.last >= this.#unstored;
  }

  get hasUnhanded(): boolean {
    return this.#committed > this.#handed && !this.installing;
  }

  get hasWrites(): boolean {
    return this.#writes.length > 0;
  }

  /** Term of the entry at `index`, UNKNOWN_TERM where the log does not hold it. */
  term(index: number): number {
    if (index === this.#purged) return this.#purgedTerm;
    const at = index - this.#purged - 1;
    return at >= 0 && at < this.#entries.length ? this.#entries[at]!.term : UNKNOWN_TERM;
  }

  matches(index: number, term: number): boolean {
    return this.term(index) === term;
  }

  /** Whether a log that ends in (index, term) is at least as new as this one. */
  isUpToDate(index: number, term: number): boolean {
    const lastTerm = this.lastTerm;
    return term > lastTerm || (term === lastTerm && index >= this.last);
  }

  /** Adds the leader's own entry. */
  push(entry: LogEntry): void {
    invariant(entry.index === this.last + 1, "a new entry follows the last");
    this.#entries.push(withOwnData(entry));
  }

  /**
   * Takes a leader's entries behind (previous, previousTerm), which this log holds. What agrees is kept, what differs is
   * cut off with everything behind it. Returns the index of the first that was added; 0: none was.
   */
  merge(entries: readonly LogEntry[]): number {
    let at = 0;
    while (at < entries.length && this.term(entries[at]!.index) === entries[at]!.term) at++;
    if (at === entries.length) return 0;
    const index = entries[at]!.index;
    if (index <= this.last) this.#truncateFrom(index);
    for (; at < entries.length; at++) this.push(entries[at]!);
    return index;
  }

  /** The highest index at or below `index` whose term is at most `term`; where the log's terms start above, its first known index. */
  findConflict(index: number, term: number): number {
    let at = Math.min(index, this.last);
    while (at > this.#purged && this.term(at) > term) at--;
    return at;
  }

  commitTo(index: number): void {
    if (index <= this.#committed) return;
    invariant(index <= this.last, "only entries that the log holds are committed");
    this.#committed = index;
  }

  /** Entries from `from` to `to`, both included, at most `maxBytes` but at least one. */
  slice(from: number, to: number, maxBytes: number): LogEntry[] {
    const end = Math.min(to, this.last);
    if (from > end) return NO_ENTRIES;
    invariant(from > this.#purged, "entries that were compacted away are not read");
    const start = from - this.#purged - 1;
    const stop = end - this.#purged;
    let bytes = 0;
    let at = start;
    for (; at < stop; at++) {
      bytes += entryBytes(this.#entries[at]!);
      if (bytes > maxBytes && at > start) break;
    }
    return this.#entries.slice(start, at);
  }

  /** The first index from which on all entries in memory have at most `maxBytes` together; one past the last where even that has more. */
  firstWithin(maxBytes: number): number {
    let bytes = 0;
    let at = this.#entries.length;
    while (at > 0 && (bytes += entryBytes(this.#entries[at - 1]!)) <= maxBytes) at--;
    return this.#purged + 1 + at;
  }

  /** Bytes of entries from `from` to `to`, both included. */
  bytes(from: number, to: number): number {
    let bytes = 0;
    for (let at = from - this.#purged - 1; at < to - this.#purged; at++) bytes += entryBytes(this.#entries[at]!);
    return bytes;
  }

  /** Hands entries to storage as part of Ready `sequence`. */
  takeUnstored(sequence: number): { snapshot: SnapshotMeta | undefined; entries: LogEntry[] } {
    const snapshot = this.#installing;
    const entries = this.slice(this.#unstored, this.last, Infinity);
    this.#installing = undefined;
    this.#unstored = this.last + 1;
    this.#writes.push({ sequence, lastIndex: this.last });
    return { snapshot, entries };
  }

  /** Hands the next committed entries to the application. */
  takeCommitted(maxBytes: number): LogEntry[] {
    if (!this.hasUnhanded) return NO_ENTRIES;
    const entries = this.slice(this.#handed + 1, this.#committed, maxBytes);
    this.#handed += entries.length;
    return entries;
  }

  /** Writes up to Ready `sequence` are durable. */
  persisted(sequence: number): void {
    let done = 0;
    for (; done < this.#writes.length && this.#writes[done]!.sequence <= sequence; done++) {
      this.#durable = Math.max(this.#durable, this.#writes[done]!.lastIndex);
    }
    if (done > 0) this.#writes.splice(0, done);
  }

  appliedTo(index: number): void {
    if (index <= this.#applied) return;
    invariant(index <= this.#handed, "only entries that were handed out are applied");
    this.#applied = index;
    if (this.#snapshot !== undefined && index >= this.#snapshot.index) this.#loading = false;
  }

  /** Replaces the log by a snapshot from the leader. */
  install(meta: SnapshotMeta): void {
    invariant(meta.index > this.#committed, "a snapshot never takes the log back");
    this.#entries = [];
    this.#purged = meta.index;
    this.#purgedTerm = meta.term;
    this.#snapshot = meta;
    this.#installing = meta;
    this.#loading = true;
    this.#committed = meta.index;
    this.#handed = meta.index;
    this.#unstored = meta.index + 1;
    // The old log is void and the snapshot's mark is not yet durable.
    this.#durable = 0;
    for (const write of this.#writes) write.lastIndex = 0;
  }

  /** The application has a snapshot: forgets entries up to `through`. */
  compact(through: number, meta: SnapshotMeta): void {
    invariant(through <= meta.index, "entries behind the snapshot are kept");
    invariant(meta.index <= this.#applied, "a snapshot holds only what was applied");
    if (this.#snapshot === undefined || meta.index > this.#snapshot.index) {
      const term = this.term(meta.index);
      invariant(term === UNKNOWN_TERM || term === meta.term, "a snapshot's term is that of its last entry");
      this.#snapshot = meta;
    }
    if (through <= this.#purged) return;
    const term = this.term(through);
    this.#entries.splice(0, through - this.#purged);
    this.#purged = through;
    this.#purgedTerm = term;
  }

  checkInvariants(): void {
    const snapshot = this.#snapshot === undefined ? this.#purged : this.#snapshot.index;
    invariant(this.#purged <= snapshot, "purged <= snapshot");
    invariant(this.#loading || snapshot <= this.#applied, "snapshot <= applied");
    invariant(this.#applied <= this.#handed, "applied <= handed to apply");
    invariant(this.#handed <= this.#committed, "handed to apply <= committed");
    invariant(this.#committed <= this.last, "committed <= last");
    invariant(this.#durable < this.#unstored && this.#unstored <= this.last + 1, "durable < first unstored <= last + 1");
  }

  #truncateFrom(index: number): void {
    invariant(index > this.#committed, "a committed entry is never cut off");
    this.#entries.length = index - this.#purged - 1;
    this.#unstored = Math.min(this.#unstored, index);
    this.#durable = Math.min(this.#durable, index - 1);
    // Writes under way still make what is left of them durable.
    for (const write of this.#writes) write.lastIndex = Math.min(write.lastIndex, index - 1);
  }

  #restoreEntries(snapshot: SnapshotMeta | undefined, entries: LogEntry[]): void {
    for (let at = 1; at < entries.length; at++) {
      invariant(entries[at]!.index === entries[at - 1]!.index + 1, "stored entries have no gap");
      invariant(entries[at]!.term >= entries[at - 1]!.term, "stored terms never fall");
    }
    const first = entries[0];
    if (snapshot === undefined) {
      invariant(first === undefined || first.index === 1, "a log without a snapshot starts at index 1");
      this.#entries = entries.slice();
      return;
    }
    if (first !== undefined && first.index <= snapshot.index) {
      const at = snapshot.index - first.index;
      if (at < entries.length && entries[at]!.term === snapshot.term) {
        // The first entry becomes the one before the first: only its term is needed.
        this.#purged = first.index;
        this.#purgedTerm = first.term;
        this.#entries = entries.slice(1);
        return;
      }
    }
    this.#purged = snapshot.index;
    this.#purgedTerm = snapshot.term;
    if (first !== undefined && first.index === snapshot.index + 1) this.#entries = entries.slice();
    else invariant(first === undefined || first.index <= snapshot.index, "no gap between the snapshot and the stored log");
  }
}
