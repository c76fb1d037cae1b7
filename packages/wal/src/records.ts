import type { LogEntry, SnapshotMeta } from "@statemesh/contract";
import type { HardState, LogEnd, Loss } from "@statemesh/raft";
import type { ByteReader } from "./byte-reader.ts";
import type { ByteWriter } from "./byte-writer.ts";
import { readSnapshotMeta, snapshotMetaBytes, writeSnapshotMeta } from "./snapshot-meta.ts";

/**
 * What one group stores at once: term, vote and commit, a snapshot's mark, entries. One record, so that
 * a crash keeps all of it or nothing: no entry without its term, no vote apart from its term.
 */
export interface GroupUpdate {
  groupId: number;
  /** Nothing that the log holds of the group counts any more; what else the update says comes after that. */
  reset?: boolean | undefined;
  hardState?: HardState | undefined;
  /** The application has a snapshot: its own, or one from the leader that replaces the log. */
  snapshot?: SnapshotMeta | undefined;
  /** Ascending without gaps. A first index at or below an earlier one voids that entry and all behind it. */
  entries?: readonly LogEntry[] | undefined;
  /** What the log lacks; `repaired` once it lacks nothing any more. */
  loss?: Loss | "repaired" | undefined;
}

/** Everything that is in force of a group but its entries. Repeats what records said: it never changes anything. */
export interface GroupMark {
  readonly groupId: number;
  readonly hardState: HardState | undefined;
  readonly snapshot: SnapshotMeta | undefined;
  readonly loss: Loss | undefined;
  /** Number of the group's last record. */
  readonly number: number;
  readonly end: LogEnd;
}

/**
 * Records of a group are numbered from 1: where one is missing, the next one shows it. Those of format 1 have no number.
 * `restate` is format 1's mark: it repeats what is in force and never voids entries.
 */
export type WalRecord =
  | { kind: "update" | "restate"; groupId: number; number: number | undefined; reset: boolean; hardState: HardState | undefined; snapshot: SnapshotMeta | undefined; entries: LogEntry[]; loss: Loss | "repaired" | undefined }
  | ({ kind: "mark" } & GroupMark);

// Record: type u8, flags u8, zero u16, group u32, number u32 (not in format 1), body length u32, body.
const RECORD_HEADER_BYTES = 16;
const RECORD_UPDATE = 1;
const RECORD_MARK = 3;
const FLAG_HARD_STATE = 1;
const FLAG_SNAPSHOT = 2;
const FLAG_RESTATE = 4;
const FLAG_LOSS = 8;
const FLAG_RESET = 16;
const HARD_STATE_BYTES = 8 + 4 + 8;
const END_BYTES = 8 + 8;
// Kind of loss u8 (0: repaired), end.
const LOSS_BYTES = 1 + END_BYTES;
const LOSS_PRESENT = 1;
const LOSS_END_UNKNOWN = 2;
const LOSS_VOTE_UNKNOWN = 4;
// Entry: term u64, kind u8, length u32, data. Indexes follow from the first.
const ENTRY_HEADER_BYTES = 13;

/** Bytes of an entry in a record. */
export function entryBytes(entry: LogEntry): number {
  return ENTRY_HEADER_BYTES + entry.data.length;
}

/** Bytes of the record for `update`. */
export function updateBytes(update: GroupUpdate): number {
  let bytes = RECORD_HEADER_BYTES + headBytes(update) + 12;
  if (update.entries !== undefined) for (const entry of update.entries) bytes += entryBytes(entry);
  return bytes;
}

export function markBytes(mark: Pick<GroupMark, "hardState" | "snapshot" | "loss">): number {
  return RECORD_HEADER_BYTES + headBytes(mark) + END_BYTES;
}

function headBytes({ hardState, snapshot, loss }: Pick<GroupUpdate, "hardState" | "snapshot" | "loss">): number {
  return (hardState === undefined ? 0 : HARD_STATE_BYTES) + (snapshot === undefined ? 0 : snapshotMetaBytes(snapshot)) + (loss === undefined ? 0 : LOSS_BYTES);
}

/** Appends the record. The only copy that entries' data goes through. */
export function writeUpdate(out: ByteWriter, update: GroupUpdate, number: number): void {
  const { entries } = update;
  const bytes = updateBytes(update);
  writeHead(out, RECORD_UPDATE, update, number, bytes);
  const count = entries === undefined ? 0 : entries.length;
  out.u32(count);
  out.u64(count === 0 ? 0 : entries![0]!.index);
  for (let at = 0; at < count; at++) {
    const entry = entries![at]!;
    out.u64(entry.term);
    out.u8(entry.kind);
    out.u32(entry.data.length);
    out.raw(entry.data);
  }
}

export function writeMark(out: ByteWriter, mark: GroupMark): void {
  writeHead(out, RECORD_MARK, mark, mark.number, markBytes(mark));
  out.u64(mark.end.index);
  out.u64(mark.end.term);
}

function writeHead(out: ByteWriter, type: number, record: Pick<GroupUpdate, "groupId" | "reset" | "hardState" | "snapshot" | "loss">, number: number, bytes: number): void {
  const { hardState, snapshot, loss } = record;
  out.reserve(bytes);
  out.u8(type);
  out.u8((hardState === undefined ? 0 : FLAG_HARD_STATE) | (snapshot === undefined ? 0 : FLAG_SNAPSHOT) | (loss === undefined ? 0 : FLAG_LOSS) | (record.reset === true ? FLAG_RESET : 0));
  out.u16(0);
  out.u32(record.groupId);
  out.u32(number);
  out.u32(bytes - RECORD_HEADER_BYTES);
  if (hardState !== undefined) {
    out.u64(hardState.term);
    out.u32(hardState.vote);
    out.u64(hardState.commit);
  }
  if (snapshot !== undefined) writeSnapshotMeta(out, snapshot);
  if (loss === undefined) return;
  const { index, term } = loss === "repaired" ? { index: 0, term: 0 } : loss.end;
  out.u8(loss === "repaired" ? 0 : LOSS_PRESENT | (loss.isEndKnown ? 0 : LOSS_END_UNKNOWN) | (loss.isVoteKnown ? 0 : LOSS_VOTE_UNKNOWN));
  out.u64(index);
  out.u64(term);
}

/** Reads one record of a format; entries' data are views. Throws a RangeError with the reason where the bytes are no record. */
export function readRecord(from: ByteReader, format: 1 | 2): WalRecord {
  const type = from.u8();
  const flags = from.u8();
  from.u16();
  const groupId = from.u32();
  const number = format === 1 ? undefined : from.u32();
  const end = from.at + 4 + from.u32();
  if (type !== RECORD_UPDATE && (type !== RECORD_MARK || number === undefined)) throw new RangeError(`a record of unknown type ${type}`);
  const hardState = (flags & FLAG_HARD_STATE) === 0 ? undefined : { term: from.u64(), vote: from.u32(), commit: from.u64() };
  const snapshot = (flags & FLAG_SNAPSHOT) === 0 ? undefined : readSnapshotMeta(from);
  const loss = (flags & FLAG_LOSS) === 0 ? undefined : readLoss(from);
  let record: WalRecord;
  if (type === RECORD_MARK && number !== undefined) {
    record = { kind: "mark", groupId, number, hardState, snapshot, loss: loss === "repaired" ? undefined : loss, end: { index: from.u64(), term: from.u64() } };
  } else {
    record = { kind: (flags & FLAG_RESTATE) === 0 ? "update" : "restate", groupId, number, reset: (flags & FLAG_RESET) !== 0, hardState, snapshot, entries: readEntries(from), loss };
  }
  if (from.at !== end) throw new RangeError("a record's length is not that of its content");
  return record;
}

function readEntries(from: ByteReader): LogEntry[] {
  const count = from.u32();
  const first = from.u64();
  const entries: LogEntry[] = [];
  for (let n = 0; n < count; n++) {
    const term = from.u64();
    const kind = from.u8();
    entries.push({ term, index: first + n, kind, data: from.raw(from.u32()) });
  }
  return entries;
}

function readLoss(from: ByteReader): Loss | "repaired" {
  const flags = from.u8();
  const end = { index: from.u64(), term: from.u64() };
  return flags === 0 ? "repaired" : { end, isEndKnown: (flags & LOSS_END_UNKNOWN) === 0, isVoteKnown: (flags & LOSS_VOTE_UNKNOWN) === 0 };
}
