import type { LogEntry, SnapshotMeta } from "@statemesh/contract";
import type { HardState } from "@statemesh/raft";
import type { ByteReader } from "./byte-reader.ts";
import type { ByteWriter } from "./byte-writer.ts";
import { readSnapshotMeta, snapshotMetaBytes, writeSnapshotMeta } from "./snapshot-meta.ts";

/**
 * What one group stores at once: term, vote and commit, a snapshot's mark, entries. One record, so that
 * a crash keeps all of it or nothing: no entry without its term, no vote apart from its term.
 */
export interface GroupUpdate {
  groupId: number;
  hardState?: HardState | undefined;
  /** The application has a snapshot: its own, or one from the leader that replaces the log. */
  snapshot?: SnapshotMeta | undefined;
  /** Ascending without gaps. A first index at or below an earlier one voids that entry and all behind it. */
  entries?: readonly LogEntry[] | undefined;
}

/** `restate` repeats what is in force, before the segment that held it goes: it never voids entries. */
export type WalRecord =
  | { kind: "update" | "restate"; groupId: number; hardState: HardState | undefined; snapshot: SnapshotMeta | undefined; entries: LogEntry[] }
  | { kind: "remove"; groupId: number };

// Record: type u8, flags u8, zero u16, group u32, body length u32, body.
const RECORD_HEADER_BYTES = 12;
const RECORD_UPDATE = 1;
const RECORD_REMOVE = 2;
const FLAG_HARD_STATE = 1;
const FLAG_SNAPSHOT = 2;
const FLAG_RESTATE = 4;
const HARD_STATE_BYTES = 8 + 4 + 8;
// Entry: term u64, kind u8, length u32, data. Indexes follow from the first.
const ENTRY_HEADER_BYTES = 13;

/** Bytes of the record for `update`. */
export function updateBytes(update: GroupUpdate): number {
  let bytes = RECORD_HEADER_BYTES + 12;
  if (update.hardState !== undefined) bytes += HARD_STATE_BYTES;
  if (update.snapshot !== undefined) bytes += snapshotMetaBytes(update.snapshot);
  if (update.entries !== undefined) for (const entry of update.entries) bytes += ENTRY_HEADER_BYTES + entry.data.length;
  return bytes;
}

/** Appends the record. The only copy that entries' data goes through. */
export function writeUpdate(out: ByteWriter, update: GroupUpdate, restate: boolean): void {
  const { hardState, snapshot, entries } = update;
  const bytes = updateBytes(update);
  out.reserve(bytes);
  out.u8(RECORD_UPDATE);
  out.u8((hardState === undefined ? 0 : FLAG_HARD_STATE) | (snapshot === undefined ? 0 : FLAG_SNAPSHOT) | (restate ? FLAG_RESTATE : 0));
  out.u16(0);
  out.u32(update.groupId);
  out.u32(bytes - RECORD_HEADER_BYTES);
  if (hardState !== undefined) {
    out.u64(hardState.term);
    out.u32(hardState.vote);
    out.u64(hardState.commit);
  }
  if (snapshot !== undefined) writeSnapshotMeta(out, snapshot);
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

export function writeRemove(out: ByteWriter, groupId: number): void {
  out.reserve(RECORD_HEADER_BYTES);
  out.u8(RECORD_REMOVE);
  out.u8(0);
  out.u16(0);
  out.u32(groupId);
  out.u32(0);
}

/** Reads one record; entries' data are views. Throws a RangeError with the reason where the bytes are no record. */
export function readRecord(from: ByteReader): WalRecord {
  const type = from.u8();
  const flags = from.u8();
  from.u16();
  const groupId = from.u32();
  const end = from.at + 4 + from.u32();
  if (type === RECORD_REMOVE) return { kind: "remove", groupId };
  if (type !== RECORD_UPDATE) throw new RangeError(`a record of unknown type ${type}`);
  const hardState = (flags & FLAG_HARD_STATE) === 0 ? undefined : { term: from.u64(), vote: from.u32(), commit: from.u64() };
  const snapshot = (flags & FLAG_SNAPSHOT) === 0 ? undefined : readSnapshotMeta(from);
  const count = from.u32();
  const first = from.u64();
  const entries: LogEntry[] = [];
  for (let n = 0; n < count; n++) {
    const term = from.u64();
    const kind = from.u8();
    entries.push({ term, index: first + n, kind, data: from.raw(from.u32()) });
  }
  if (from.at !== end) throw new RangeError("a record's length is not that of its content");
  return { kind: (flags & FLAG_RESTATE) === 0 ? "update" : "restate", groupId, hardState, snapshot, entries };
}
