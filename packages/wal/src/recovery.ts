import type { LogEntry, SnapshotMeta } from "@statemesh/contract";
import type { Disk } from "@statemesh/ports";
import type { HardState } from "@statemesh/raft";
import { ByteReader } from "./byte-reader.ts";
import { checkFrame, findFrame, FRAME_HEADER_BYTES } from "./frame.ts";
import { readRecord } from "./records.ts";
import type { WalRecord } from "./records.ts";
import { checkSegmentHeader, SEGMENT_HEADER_BYTES, segmentName, sequenceOf } from "./segment.ts";
import type { Segment } from "./segment.ts";
import { CorruptionError } from "./wal-error.ts";

/** What the log holds of a group. */
export interface RecoveredGroup {
  hardState: HardState;
  snapshot?: SnapshotMeta;
  /** Ascending without gaps; begins at or below the snapshot's index + 1 (at 1 without a snapshot). */
  entries: LogEntry[];
}

/** A group's part of the log while segments are read, and which segments its marks are in. */
export interface ReplayedGroup {
  hardState: HardState | undefined;
  hardStateSegment: number;
  snapshot: SnapshotMeta | undefined;
  snapshotSegment: number;
  entries: LogEntry[];
}

export interface Replay {
  groups: Map<number, ReplayedGroup>;
  segments: Segment[];
  /** Bytes that a crash left behind the last whole frame; they were cut off. */
  tornBytes: number;
}

/** Reads all segments and cuts a torn tail. Throws a CorruptionError, before anything is changed, for damage that no crash leaves. */
export async function replay(disk: Disk): Promise<Replay> {
  const groups = new Map<number, ReplayedGroup>();
  const segments: Segment[] = [];
  const names = (await disk.list()).filter((name) => sequenceOf(name) !== undefined);
  let tornBytes = 0;
  for (const [at, name] of names.entries()) {
    const sequence = sequenceOf(name)!;
    const expected = at === 0 ? sequence : segments[at - 1]!.sequence + 1;
    if (sequence !== expected) throw new CorruptionError(segmentName(expected), 0, "the segment is missing");
    const content = await disk.read(name);
    const segment: Segment = { sequence, name, bytes: content.length, lastIndex: new Map() };
    segments.push(segment);
    const valid = replaySegment(content, segment, segments, groups, at === names.length - 1);
    for (const group of groups.values()) ownEntries(group, content);
    tornBytes += content.length - valid;
    segment.bytes = valid;
  }
  for (const [groupId, group] of groups) checkGroup(groupId, group, segments);
  const last = segments.at(-1);
  if (last !== undefined && tornBytes > 0) await cut(disk, last);
  return { groups, segments, tornBytes };
}

/** Returns the length of the valid part: all of it, or for the last segment up to a torn tail. */
function replaySegment(content: Uint8Array, segment: Segment, segments: Segment[], groups: Map<number, ReplayedGroup>, isLast: boolean): number {
  const { name, sequence } = segment;
  const badHeader = checkSegmentHeader(content, sequence);
  if (badHeader !== undefined) {
    // A crash while the segment was made leaves a header that is cut off or blank, and no frame.
    if (isLast && findFrame(content, sequence, 0) < 0 && content.length <= SEGMENT_HEADER_BYTES) return 0;
    throw new CorruptionError(name, 0, badHeader);
  }
  let offset = SEGMENT_HEADER_BYTES;
  while (offset < content.length) {
    const end = checkFrame(content, sequence, offset);
    if (typeof end === "string") {
      if (!isLast) throw new CorruptionError(name, offset, `${end}, and later segments exist`);
      const valid = findFrame(content, sequence, offset + 1);
      if (valid >= 0) throw new CorruptionError(name, offset, `${end}, and a whole frame follows at byte ${valid}`);
      return offset;
    }
    replayFrame(content, offset, end, segment, segments, groups);
    offset = end;
  }
  return offset;
}

function replayFrame(content: Uint8Array, start: number, end: number, segment: Segment, segments: Segment[], groups: Map<number, ReplayedGroup>): void {
  const reader = new ByteReader(content, start + FRAME_HEADER_BYTES, end);
  while (reader.left > 0) {
    const at = reader.at;
    let record: WalRecord;
    try {
      record = readRecord(reader);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      throw new CorruptionError(segment.name, at, `the record cannot be read: ${error.message}`);
    }
    const problem = replayRecord(record, segment, segments, groups);
    if (problem !== undefined) throw new CorruptionError(segment.name, at, problem);
  }
}

function replayRecord(record: WalRecord, segment: Segment, segments: Segment[], groups: Map<number, ReplayedGroup>): string | undefined {
  const { groupId } = record;
  if (record.kind === "remove") {
    groups.delete(groupId);
    for (const earlier of segments) earlier.lastIndex.delete(groupId);
    return undefined;
  }
  let group = groups.get(groupId);
  if (group === undefined) {
    group = { hardState: undefined, hardStateSegment: 0, snapshot: undefined, snapshotSegment: 0, entries: [] };
    groups.set(groupId, group);
  }
  const { hardState, snapshot, entries } = record;
  if (hardState !== undefined) {
    group.hardState = hardState;
    group.hardStateSegment = segment.sequence;
  }
  if (snapshot !== undefined && (group.snapshot === undefined || snapshot.index >= group.snapshot.index)) {
    if (record.kind === "update" && voidsLog(group.entries, snapshot)) group.entries = [];
    group.snapshot = snapshot;
    group.snapshotSegment = segment.sequence;
  }
  const first = entries[0]?.index;
  if (first === undefined) return undefined;
  const last = group.entries.at(-1)?.index;
  if (last !== undefined && first > last + 1) return `group ${groupId}: entry ${first} follows entry ${last}`;
  if (last === undefined || first <= group.entries[0]!.index) group.entries = entries;
  else {
    group.entries.length = first - group.entries[0]!.index;
    for (const entry of entries) group.entries.push(entry);
  }
  noteEntries(segments, segment, groupId, first, entries.at(-1)!.index);
  return undefined;
}

/**
 * Whether a snapshot's mark replaces the log: it came from the leader. A group's own snapshot ends in an entry that its
 * log holds, or held (entries before the first are compacted away, so they were committed, and agree).
 */
function voidsLog(entries: readonly LogEntry[], snapshot: SnapshotMeta): boolean {
  const first = entries[0];
  if (first === undefined || snapshot.index < first.index) return false;
  return entries[snapshot.index - first.index]?.term !== snapshot.term;
}

/** Entries `first` to `last` of a group are now in `segment`: earlier segments no longer hold them. */
export function noteEntries(segments: readonly Segment[], segment: Segment, groupId: number, first: number, last: number): void {
  for (const earlier of segments) {
    const highest = earlier.lastIndex.get(groupId);
    if (highest !== undefined && highest >= first) earlier.lastIndex.set(groupId, first - 1);
  }
  segment.lastIndex.set(groupId, last);
}

/** Copies what is still wanted of a segment, so that its whole content is not kept alive by one entry. */
function ownEntries(group: ReplayedGroup, content: Uint8Array): void {
  for (let at = group.entries.length - 1; at >= 0; at--) {
    const entry = group.entries[at]!;
    if (entry.data.buffer !== content.buffer) return;
    // Not `slice`: that of a Buffer is a view.
    entry.data = new Uint8Array(entry.data);
  }
}

function checkGroup(groupId: number, group: ReplayedGroup, segments: readonly Segment[]): void {
  const first = group.entries[0]?.index;
  const floor = group.snapshot === undefined ? 0 : group.snapshot.index;
  if (first !== undefined && first > floor + 1) {
    throw new CorruptionError(segments[0]!.name, 0, `group ${groupId}: entries ${floor + 1} to ${first - 1} are missing`);
  }
}

async function cut(disk: Disk, segment: Segment): Promise<void> {
  const file = await disk.openAppend(segment.name);
  try {
    await file.truncate(segment.bytes);
    await file.sync();
  } finally {
    await file.close();
  }
}
