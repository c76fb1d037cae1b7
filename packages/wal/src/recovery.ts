import { DiskError } from "@statemesh/ports";
import type { Disk } from "@statemesh/ports";
import { ByteReader } from "./byte-reader.ts";
import { FRAME_HEADER_BYTES } from "./frame.ts";
import { markBytes, readRecord } from "./records.ts";
import type { WalRecord } from "./records.ts";
import { ReplayedGroup } from "./replayed-group.ts";
import type { RecoveredGroup } from "./replayed-group.ts";
import { SEGMENT_HEADER_BYTES, segmentName, sequenceOf, readSegmentHeader } from "./segment.ts";
import type { LastWrite, Segment } from "./segment.ts";
import { scanSegment } from "./segment-scan.ts";
import type { ByteRange, ScannedSegment } from "./segment-scan.ts";
import type { Damage, DamageKind } from "./wal-error.ts";

/** Bytes around an unreadable place that are given up with it. */
const UNREADABLE_BYTES = 4096;

export interface Replay {
  readonly groups: ReadonlyMap<number, ReplayedGroup>;
  readonly recovered: Map<number, RecoveredGroup>;
  /** Oldest first. */
  readonly segments: Segment[];
  /** Files of segments that are not part of the log any more. */
  readonly leftovers: readonly string[];
  /** In the order of the log. Empty for a log that is whole. */
  readonly damage: readonly Damage[];
  /** False: a damaged place may have held the only records of a group that is not among `groups`. */
  readonly areGroupsKnown: boolean;
  /** Bytes that a crash left behind the last whole frame. */
  readonly tornBytes: number;
  /** Undefined where the last segment has no frame. */
  readonly lastWrite: LastWrite | undefined;
  /** The last segment is of this format. */
  readonly isCurrentFormat: boolean;
}

/** What follows the reading of a log; for who wants to see more than the outcome. */
export interface ReplayObserver {
  segment(segment: Segment, scanned: ScannedSegment, contentBytes: number): void;
  record(segment: Segment, record: WalRecord): void;
}

/** Reads all segments and changes nothing. Fails with a DiskError where the disk fails other than with EIO in the middle of a file. */
export async function replay(disk: Disk, observer?: ReplayObserver): Promise<Replay> {
  const names = (await disk.list()).filter((name) => sequenceOf(name) !== undefined);
  const base = await baseOf(disk, names);
  const reader = new LogReader(observer);
  const leftovers = names.filter((name) => sequenceOf(name)! < base);
  const current = names.slice(leftovers.length);
  for (const [at, name] of current.entries()) {
    const { content, unreadable } = await readAll(disk, name);
    reader.read(name, content, unreadable, at === current.length - 1);
  }
  return reader.finish(leftovers);
}

/** The oldest segment that the newest readable header knows of. */
async function baseOf(disk: Disk, names: readonly string[]): Promise<number> {
  const last = names.at(-1);
  if (last === undefined) return 0;
  const content = await disk.readRange(last, 0, SEGMENT_HEADER_BYTES).catch((error: unknown) => {
    if (error instanceof DiskError && error.code === "EIO") return new Uint8Array(0);
    throw error;
  });
  const header = readSegmentHeader(content, sequenceOf(last)!);
  return typeof header === "string" ? 0 : header.base;
}

/** A file's content, with zeros where the disk cannot read it. */
async function readAll(disk: Disk, name: string): Promise<{ content: Uint8Array; unreadable: ByteRange[] }> {
  try {
    return { content: await disk.read(name), unreadable: [] };
  } catch (error) {
    if (!(error instanceof DiskError) || error.code !== "EIO") throw error;
  }
  const content = new Uint8Array(await disk.sizeOf(name));
  const unreadable: ByteRange[] = [];
  for (let start = 0; start < content.length; start += UNREADABLE_BYTES) {
    const end = Math.min(start + UNREADABLE_BYTES, content.length);
    try {
      content.set(await disk.readRange(name, start, end - start), start);
    } catch (error) {
      if (!(error instanceof DiskError) || error.code !== "EIO") throw error;
      unreadable.push({ start, end });
    }
  }
  return { content, unreadable };
}

class LogReader {
  readonly #observer: ReplayObserver | undefined;
  readonly #groups = new Map<number, ReplayedGroup>();
  readonly #segments: Segment[] = [];
  readonly #damage: Damage[] = [];
  /** Damaged places that may have held anything. */
  #places = 0;
  /** Of those, the ones before the last marks, which name every group. */
  #placesBeforeMarks = 0;
  #tornBytes = 0;
  #lastWrite: LastWrite | undefined;
  #isCurrentFormat = true;

  constructor(observer: ReplayObserver | undefined) {
    this.#observer = observer;
  }

  read(name: string, content: Uint8Array, unreadable: readonly ByteRange[], isLast: boolean): void {
    const sequence = sequenceOf(name)!;
    const previous = this.#segments.at(-1);
    for (let missing = (previous?.sequence ?? sequence - 1) + 1; missing < sequence; missing++) {
      this.#lose({ kind: "missing_segment", file: segmentName(missing), offset: 0, bytes: 0, reason: "the segment is missing" });
    }
    const segment: Segment = { sequence, name, bytes: content.length, lastIndex: new Map() };
    this.#segments.push(segment);
    const scanned = scanSegment(content, name, sequence, { isLast, startBytes: this.#startBytes(), unreadable });
    this.#isCurrentFormat = scanned.header.format > 1;
    this.#observer?.segment(segment, scanned, content.length);
    let last: ByteRange | undefined;
    for (const part of scanned.parts) {
      if (part.kind === "frame") {
        this.#readFrame(content, part.start, part.end, segment, scanned.header.format);
        last = part;
      } else if (part.kind === "damage") this.#lose(part.damage);
      else {
        this.#tornBytes += content.length - part.start;
        segment.bytes = part.start;
      }
    }
    for (const group of this.#groups.values()) group.own(content);
    this.#lastWrite = last === undefined ? undefined : lastWriteOf(content, last, scanned.header.bytes);
  }

  #lose(damage: Damage): void {
    this.#damage.push(damage);
    this.#places++;
  }

  /** Bytes that the next segment begins with. */
  #startBytes(): number {
    let bytes = SEGMENT_HEADER_BYTES + FRAME_HEADER_BYTES;
    for (const group of this.#groups.values()) bytes += markBytes(group);
    return bytes;
  }

  #readFrame(content: Uint8Array, start: number, end: number, segment: Segment, format: 1 | 2): void {
    const reader = new ByteReader(content, start + FRAME_HEADER_BYTES, end);
    if (reader.left === 0) this.#placesBeforeMarks = this.#places;
    while (reader.left > 0) {
      const at = reader.at;
      const damage = (kind: DamageKind, reason: string): Damage => ({ kind, file: segment.name, offset: at, bytes: end - at, reason });
      let record: WalRecord;
      try {
        record = readRecord(reader, format);
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        return this.#lose(damage("record", `the record cannot be read: ${error.message}`));
      }
      if (record.kind === "mark") this.#placesBeforeMarks = this.#places;
      this.#observer?.record(segment, record);
      if (this.#take(record, segment)) this.#damage.push(damage("missing_records", `records of group ${record.groupId} before this one are missing`));
    }
  }

  /** True where records of the group are missing and nothing had told so. */
  #take(record: WalRecord, segment: Segment): boolean {
    const { groupId } = record;
    let group = this.#groups.get(groupId);
    if (group === undefined && record.kind === "mark" && this.#segments.length === 1 && this.#places === 0) {
      this.#groups.set(groupId, ReplayedGroup.from(record, 0));
      return false;
    }
    if (group === undefined) {
      // Its first record may have been in any of the damaged places.
      group = new ReplayedGroup(groupId, 0);
      this.#groups.set(groupId, group);
    }
    const isSurprise = group.take(record, this.#places);
    const entries = record.kind === "mark" ? [] : record.entries;
    if (record.kind !== "mark" && record.reset) for (const earlier of this.#segments) earlier.lastIndex.delete(groupId);
    if (entries.length > 0) noteEntries(this.#segments, segment, groupId, entries[0]!.index, entries.at(-1)!.index);
    return isSurprise;
  }

  finish(leftovers: readonly string[]): Replay {
    const recovered = new Map<number, RecoveredGroup>();
    for (const [groupId, group] of this.#groups) {
      recovered.set(groupId, group.finish(this.#places));
      const { missing } = group;
      if (missing !== undefined) this.#damage.push({ kind: "missing_records", file: this.#segments[0]!.name, offset: 0, bytes: 0, reason: missing });
    }
    return {
      areGroupsKnown: this.#placesBeforeMarks === this.#places,
      groups: this.#groups, recovered, segments: this.#segments, leftovers, damage: this.#damage, tornBytes: this.#tornBytes,
      lastWrite: this.#lastWrite, isCurrentFormat: this.#isCurrentFormat,
    };
  }
}

/** A copy: the file's whole content is not kept for it. */
function lastWriteOf(content: Uint8Array, { start, end }: ByteRange, headerBytes: number): LastWrite {
  const at = start === headerBytes ? 0 : start;
  const bytes = new Uint8Array(content.subarray(at, end));
  return { at, bytes, payload: bytes.subarray(start - at + FRAME_HEADER_BYTES) };
}

/** Entries `first` to `last` of a group are now in `segment`: earlier segments no longer hold them. */
export function noteEntries(segments: readonly Segment[], segment: Segment, groupId: number, first: number, last: number): void {
  for (const earlier of segments) {
    const highest = earlier.lastIndex.get(groupId);
    if (highest !== undefined && highest >= first) earlier.lastIndex.set(groupId, first - 1);
  }
  segment.lastIndex.set(groupId, last);
}
