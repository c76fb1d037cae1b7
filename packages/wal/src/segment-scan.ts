import { checkFrame, findFrame, frameEnd } from "./frame.ts";
import { readSegmentHeader, UNKNOWN_HEADER } from "./segment.ts";
import type { SegmentHeader } from "./segment.ts";
import type { Damage, DamageKind } from "./wal-error.ts";

/** Bytes of a file, from `start` up to `end`. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** What the bytes of a segment are, in their order. `torn` is the last and goes to the end of the file. */
export type ScannedPart = { kind: "frame"; start: number; end: number } | { kind: "damage"; damage: Damage } | { kind: "torn"; start: number };

export interface ScannedSegment {
  readonly header: SegmentHeader;
  readonly parts: readonly ScannedPart[];
}

export interface ScanOptions {
  /** Nothing was written behind this segment: it may end in an unfinished write. */
  readonly isLast: boolean;
  /** A segment that a crash kept from beginning has at most so many bytes. */
  readonly startBytes: number;
  /** What the disk could not read, filled with zeros. */
  readonly unreadable: readonly ByteRange[];
}

/**
 * Tells frames, damage and an unfinished write apart. A frame is written only when the one before it is durable. So a crash leaves
 * one invalid frame, at the very end of the log. Whatever is invalid and followed by something is damage.
 */
export function scanSegment(content: Uint8Array, name: string, sequence: number, options: ScanOptions): ScannedSegment {
  const { isLast, startBytes, unreadable } = options;
  const parts: ScannedPart[] = [];
  const mayBeTorn = (from: number): boolean => isLast && unreadable.every(({ end }) => end <= from);
  const damaged = (from: number, next: number, kind: DamageKind, reason: string): number => {
    const end = next < 0 ? content.length : next;
    const isUnreadable = unreadable.some((range) => range.start < end && range.end > from);
    const why = isUnreadable ? "the disk could not read it" : reason;
    parts.push({ kind: "damage", damage: { kind: isUnreadable ? "unreadable" : kind, file: name, offset: from, bytes: end - from, reason: next < 0 ? why : `${why}, and a whole frame follows at byte ${next}` } });
    return end;
  };
  const read = readSegmentHeader(content, sequence);
  const header = typeof read === "string" ? UNKNOWN_HEADER : read;
  let offset = header.bytes;
  if (typeof read === "string") {
    const next = findFrame(content, sequence, 0);
    if (next < 0 && mayBeTorn(0) && content.length <= startBytes) return { header, parts: [{ kind: "torn", start: 0 }] };
    offset = damaged(0, next, "header", read);
  }
  if (header.format > 1 && offset === content.length) {
    // A full disk can take the header of the write that a segment begins with, and nothing else.
    if (mayBeTorn(0)) return { header, parts: [{ kind: "torn", start: 0 }] };
    damaged(offset, -1, "frame", "the segment has no first frame");
  }
  while (offset < content.length) {
    const end = checkFrame(content, sequence, offset);
    if (typeof end === "number") {
      parts.push({ kind: "frame", start: offset, end });
      offset = end;
      continue;
    }
    const next = findFrame(content, sequence, offset + 1);
    if (next < 0 && mayBeTorn(offset)) {
      // The header and the first frame of a segment are one write.
      const isStart = header.format > 1 && offset === header.bytes;
      if (isStart && content.length <= startBytes) return { header, parts: [{ kind: "torn", start: 0 }] };
      // Bytes behind a frame's end were written when it was whole.
      if (!isStart && frameEnd(content, sequence, offset) >= content.length) {
        parts.push({ kind: "torn", start: offset });
        break;
      }
    }
    offset = damaged(offset, next, "frame", next < 0 && !isLast ? `${end}, and later segments exist` : end);
  }
  return { header, parts };
}
