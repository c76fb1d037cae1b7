import { crc32c } from "@node-rs/crc32";
import type { DiskFile } from "@statemesh/ports";

/** Header of a segment: magic, format version, sequence, base, CRC-32C of those. */
export const SEGMENT_HEADER_BYTES = 24;
const MAGIC = "SMESHWAL";
/** Format 1 had no base, no numbers on records and no marks at the beginning of a segment. It is read, and never written. */
const FORMAT = 2;
const FIRST_FORMAT_HEADER_BYTES = 20;
const NAME = /^wal-(\d{10})\.log$/;
/** Frames name their segment in 32 bits. */
export const MAX_SEGMENT_SEQUENCE = 0xffff_ffff;

/** What is known of one file of the log. */
export interface Segment {
  readonly sequence: number;
  readonly name: string;
  bytes: number;
  /** By group: the highest index of an entry in this segment that is still part of the group's log. */
  readonly lastIndex: Map<number, number>;
}

/** The segment that is written to. */
export interface OpenSegment extends Segment {
  readonly file: DiskFile;
  /** Bytes that it began with: nothing of its own is in it. */
  readonly startBytes: number;
}

/** The last write that a log holds. Where the sync behind it failed, or never came, it is read back and may be on no disk. */
export interface LastWrite {
  /** In the last segment, which ends behind it. */
  readonly at: number;
  /** A frame; with the segment's header where it is the first: they are one write. */
  readonly bytes: Uint8Array;
  /** What the frame holds. */
  readonly payload: Uint8Array;
}

export interface SegmentHeader {
  readonly format: 1 | 2;
  readonly bytes: number;
  /** The log begins with this segment or a later one: earlier files are leftovers. */
  readonly base: number;
}

/** What the header of a segment says that cannot be read. */
export const UNKNOWN_HEADER: SegmentHeader = { format: FORMAT, bytes: SEGMENT_HEADER_BYTES, base: 0 };

export function segmentName(sequence: number): string {
  return `wal-${String(sequence).padStart(10, "0")}.log`;
}

/** The sequence in a segment's name, undefined for other files. */
export function sequenceOf(name: string): number | undefined {
  const match = NAME.exec(name);
  return match === null ? undefined : Number(match[1]);
}

export function segmentHeader(sequence: number, base: number): Uint8Array {
  const header = Buffer.alloc(SEGMENT_HEADER_BYTES);
  header.write(MAGIC, 0, "latin1");
  header.writeUInt32LE(FORMAT, 8);
  header.writeUInt32LE(sequence, 12);
  header.writeUInt32LE(base, 16);
  header.writeUInt32LE(crc32c(header.subarray(0, 20)), 20);
  return header;
}

/** The header, or what is wrong with it. */
export function readSegmentHeader(content: Uint8Array, sequence: number): SegmentHeader | string {
  if (content.length < FIRST_FORMAT_HEADER_BYTES) return "the segment's header is cut off";
  const view = new DataView(content.buffer, content.byteOffset, content.length);
  const format = view.getUint32(8, true);
  if (format !== 1 && format !== FORMAT) return "the segment's header is not that of this log and format";
  const bytes = format === 1 ? FIRST_FORMAT_HEADER_BYTES : SEGMENT_HEADER_BYTES;
  if (content.length < bytes) return "the segment's header is cut off";
  const isWhole =
    Buffer.from(content.buffer, content.byteOffset, 8).toString("latin1") === MAGIC &&
    view.getUint32(bytes - 4, true) === crc32c(content.subarray(0, bytes - 4)) &&
    view.getUint32(12, true) === sequence;
  if (!isWhole) return "the segment's header is not that of this log and format";
  return { format, bytes, base: format === 1 ? 0 : view.getUint32(16, true) };
}
