import { crc32c } from "@node-rs/crc32";
import type { DiskFile } from "@statemesh/ports";

/** Header of a segment: magic, format version, sequence, CRC-32C of those. */
export const SEGMENT_HEADER_BYTES = 20;
const MAGIC = "SMESHWAL";
const FORMAT = 1;
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
}

export function segmentName(sequence: number): string {
  return `wal-${String(sequence).padStart(10, "0")}.log`;
}

/** The sequence in a segment's name, undefined for other files. */
export function sequenceOf(name: string): number | undefined {
  const match = NAME.exec(name);
  return match === null ? undefined : Number(match[1]);
}

export function segmentHeader(sequence: number): Uint8Array {
  const header = Buffer.alloc(SEGMENT_HEADER_BYTES);
  header.write(MAGIC, 0, "latin1");
  header.writeUInt32LE(FORMAT, 8);
  header.writeUInt32LE(sequence, 12);
  header.writeUInt32LE(crc32c(header.subarray(0, 16)), 16);
  return header;
}

/** Undefined where the header is whole, else what is wrong. */
export function checkSegmentHeader(content: Uint8Array, sequence: number): string | undefined {
  if (content.length < SEGMENT_HEADER_BYTES) return "the segment's header is cut off";
  return Buffer.compare(content.subarray(0, SEGMENT_HEADER_BYTES), segmentHeader(sequence)) === 0 ? undefined : "the segment's header is not that of this log and format";
}
