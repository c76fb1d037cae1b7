import type { LogEntry, SnapshotMeta } from "@statemesh/contract";
import { isLater } from "@statemesh/raft";
import type { HardState, LogEnd, Loss } from "@statemesh/raft";
import type { GroupMark, WalRecord } from "./records.ts";

/** What the log holds of a group. */
export interface RecoveredGroup {
  hardState: HardState;
  snapshot?: SnapshotMeta;
  /** Ascending without gaps; begins at or below the snapshot's index + 1 (at 1 without a snapshot). */
  entries: LogEntry[];
  /** A part of the log was damaged and is not there yet; `entries` and `hardState.commit` are what came before it. */
  loss?: Loss;
}

/** The log as it was before the first record that is missing. */
interface Before {
  readonly entries: LogEntry[];
  readonly commit: number;
}

/** Of two numbers that wrap, the one that is less than this behind the other is the earlier one. */
const HALF = 0x8000_0000;
const NOTHING: LogEnd = { index: 0, term: 0 };

/** A group's part of the log while it is read, record by record. */
export class ReplayedGroup {
  readonly groupId: number;
  hardState: HardState | undefined;
  snapshot: SnapshotMeta | undefined;
  loss: Loss | undefined;
  entries: LogEntry[] = [];
  /** Number of the last record; 0 while only records without numbers came. */
  #number = 0;
  /** Undefined: records are missing, and nothing that came behind them said where the log ends. */
  #end: LogEnd | undefined = NOTHING;
  #isVoteKnown = true;
  #before: Before | undefined;
  /** Damaged places of the log before its last record. */
  #damagesSeen: number;

  /** `damages` places of the log were found damaged before the group's first record. */
  constructor(groupId: number, damages: number) {
    this.groupId = groupId;
    this.#damagesSeen = damages;
  }

  /** A group whose first record is a mark: what came before it was released. */
  static from(mark: GroupMark, damages: number): ReplayedGroup {
    const group = new ReplayedGroup(mark.groupId, damages);
    group.#number = mark.number;
    group.#mark(mark);
    return group;
  }

  get end(): LogEnd {
    return this.#end ?? NOTHING;
  }

  get number(): number {
    return this.#number;
  }

  /** True where records are missing between the last one and this, for which no damage accounts that was noticed. */
  take(record: WalRecord, damages: number): boolean {
    // The last write of a process is repeated by the next one.
    if (record.kind !== "mark" && record.number !== undefined && (this.#number - record.number) >>> 0 < HALF) return false;
    const isNumbered = record.number !== undefined;
    const expected = record.kind === "mark" ? this.#number : (this.#number + 1) >>> 0;
    const isMissing = this.#leavesGap(record) || (isNumbered ? record.number !== expected : damages > this.#damagesSeen);
    const isSurprise = isMissing && damages === this.#damagesSeen;
    if (isMissing) this.#break();
    this.#damagesSeen = damages;
    if (record.number !== undefined) this.#number = record.number;
    if (record.kind === "mark") this.#mark(record);
    else this.#update(record);
    return isSurprise;
  }

  #leavesGap(record: WalRecord): boolean {
    if (record.kind === "mark" || record.reset || this.#end === undefined) return false;
    // The first entries that a log of format 1 holds may be any.
    if (record.number === undefined && this.entries.length === 0) return false;
    const first = record.entries[0]?.index;
    return first !== undefined && first > Math.max(this.#end.index, record.snapshot?.index ?? 0) + 1;
  }

  /** Records are missing here. The first such place decides what is left of the log; what came behind the last one says what there was. */
  #break(): void {
    this.#before ??= { entries: this.entries, commit: this.hardState?.commit ?? 0 };
    this.entries = [];
    this.#end = undefined;
    this.#isVoteKnown = false;
  }

  #mark(mark: GroupMark): void {
    if (mark.hardState !== undefined) this.hardState = mark.hardState;
    if (mark.snapshot !== undefined && mark.snapshot.index >= (this.snapshot?.index ?? 0)) this.snapshot = mark.snapshot;
    this.loss = mark.loss;
    this.#end = mark.end;
    this.#isVoteKnown = true;
  }

  #update({ kind, reset, hardState, snapshot, entries, loss }: Extract<WalRecord, { kind: "update" | "restate" }>): void {
    if (reset) {
      this.#before = undefined;
      this.entries = [];
      this.snapshot = undefined;
      this.#end = NOTHING;
    }
    if (hardState !== undefined) {
      this.hardState = hardState;
      this.#isVoteKnown = true;
    }
    if (loss !== undefined) this.loss = loss === "repaired" ? undefined : loss;
    if (snapshot !== undefined && snapshot.index >= (this.snapshot?.index ?? 0)) {
      const isVoid = kind === "update" && voidsLog(this.entries, snapshot);
      if (isVoid) this.entries = [];
      this.snapshot = snapshot;
      if (this.#end !== undefined && (isVoid || snapshot.index > this.#end.index)) this.#end = { index: snapshot.index, term: snapshot.term };
    }
    const first = entries[0]?.index;
    if (first === undefined) return;
    if (this.entries.length === 0 || first <= this.entries[0]!.index) this.entries = entries;
    else {
      this.entries.length = first - this.entries[0]!.index;
      for (const entry of entries) this.entries.push(entry);
    }
    const { index, term } = entries.at(-1)!;
    this.#end = { index, term };
  }

  /** Copies what is still wanted of a segment, so that its whole content is not kept alive by one entry. */
  own(content: Uint8Array): void {
    for (const entries of [this.entries, this.#before?.entries ?? []]) {
      for (let at = entries.length - 1; at >= 0; at--) {
        const entry = entries[at]!;
        if (entry.data.buffer !== content.buffer) break;
        // Not `slice`: that of a Buffer is a view.
        entry.data = new Uint8Array(entry.data);
      }
    }
  }

  /** The entries that are missing though nothing else is wrong, as text; undefined where none are. */
  get missing(): string | undefined {
    if (this.#before !== undefined || this.#isConnected()) return undefined;
    const floor = this.snapshot?.index ?? 0;
    return `group ${this.groupId}: entries ${floor + 1} to ${(this.entries[0]?.index ?? this.end.index + 1) - 1} are missing`;
  }

  /** What is left of the group, and what it lost, after `damages` damaged places in the whole log. */
  finish(damages: number): RecoveredGroup {
    const isOpen = this.#damagesSeen < damages;
    const isConnected = this.#end !== undefined && this.#isConnected();
    const hardState = this.hardState ?? { term: 0, vote: 0, commit: 0 };
    const { snapshot } = this;
    const group: RecoveredGroup = { hardState, entries: this.entries };
    if (snapshot !== undefined) group.snapshot = snapshot;
    if (!isConnected) {
      group.entries = this.#rest(this.#before?.entries ?? []);
      const last = group.entries.at(-1)?.index ?? 0;
      group.hardState = { ...hardState, commit: Math.max(snapshot?.index ?? 0, Math.min(this.#before?.commit ?? 0, last)) };
    }
    const isWhole = isConnected && !isOpen && this.#isVoteKnown;
    const loss = isWhole ? this.loss : this.#lost(isOpen);
    if (loss !== undefined) group.loss = loss;
    return group;
  }

  #lost(isOpen: boolean): Loss {
    const known: LogEnd[] = [this.#end ?? NOTHING, this.loss?.end ?? NOTHING];
    for (const entries of [this.entries, this.#before?.entries ?? []]) known.push(entries.at(-1) ?? NOTHING);
    if (this.snapshot !== undefined) known.push(this.snapshot);
    const { index, term } = known.reduce((latest, end) => (isLater(end, latest) ? end : latest));
    return {
      end: { index, term },
      isEndKnown: this.#end !== undefined && !isOpen && this.loss?.isEndKnown !== false,
      isVoteKnown: this.#isVoteKnown && !isOpen && this.loss?.isVoteKnown !== false,
    };
  }

  /** Whether snapshot and entries together are the log from its beginning to its end. */
  #isConnected(): boolean {
    const floor = this.snapshot?.index ?? 0;
    const first = this.entries[0]?.index;
    return first === undefined ? this.end.index <= floor : first <= floor + 1;
  }

  /** Of entries from before the missing records, those that continue the latest snapshot. */
  #rest(entries: LogEntry[]): LogEntry[] {
    const first = entries[0]?.index;
    if (first === undefined) return [];
    const { snapshot } = this;
    if (snapshot === undefined) return first === 1 ? entries : [];
    if (first > snapshot.index) return first === snapshot.index + 1 ? entries : [];
    return entries[snapshot.index - first]?.term === snapshot.term ? entries : [];
  }
}

/**
 * Whether a snapshot's mark replaces the log: it came from the leader. A group's own snapshot ends in an entry that its
 * log holds, or held (entries before the first are compacted away, so they were committed, and agree).
 */
export function voidsLog(entries: readonly LogEntry[], snapshot: SnapshotMeta): boolean {
  const first = entries[0];
  if (first === undefined || snapshot.index < first.index) return false;
  return entries[snapshot.index - first.index]?.term !== snapshot.term;
}
