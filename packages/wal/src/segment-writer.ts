import { DiskError } from "@statemesh/ports";
import type { Disk, DiskFile } from "@statemesh/ports";
import type { FrameWriter } from "./frame.ts";
import { MAX_SEGMENT_SEQUENCE, SEGMENT_HEADER_BYTES, segmentHeader, segmentName } from "./segment.ts";
import type { OpenSegment, Segment } from "./segment.ts";
import { WalError } from "./wal-error.ts";

/**
 * The files of the log: appends frames to the last segment, begins new ones, removes the oldest. One call at a time. Each call
 * returns undefined, a `NO_SPACE` with nothing of the frame left in the log, or a `POISONED` after which nothing more may be written.
 */
export class SegmentWriter {
  readonly #disk: Disk;
  readonly #segmentBytes: number;
  readonly #segments: Segment[];
  #current: OpenSegment;
  #syncs = 0;

  private constructor(disk: Disk, segmentBytes: number, segments: Segment[], current: OpenSegment) {
    this.#disk = disk;
    this.#segmentBytes = segmentBytes;
    this.#segments = segments;
    this.#current = current;
  }

  /** Opens the last of the segments that were read, or makes the first. Fails with a DiskError. */
  static async open(disk: Disk, segmentBytes: number, segments: Segment[]): Promise<SegmentWriter> {
    let last = segments.at(-1);
    if (last === undefined) {
      last = { sequence: 1, name: segmentName(1), bytes: 0, lastIndex: new Map() };
      segments.push(last);
    }
    const file = await disk.openAppend(last.name);
    try {
      // Also where a crash cut short the making of the segment.
      if (last.bytes === 0) await startSegment(disk, file, last);
      else {
        // A killed process leaves writes, and names, that are read back and not durable: nothing may be built on them before they are.
        await file.sync();
        await disk.syncDirectory();
      }
    } catch (error) {
      await file.close();
      throw error;
    }
    return new SegmentWriter(disk, segmentBytes, segments, Object.assign(last, { file }));
  }

  /** Oldest first; the last one is written to. */
  get segments(): readonly Segment[] {
    return this.#segments;
  }

  get current(): Segment {
    return this.#current;
  }

  /** Frames written so far, each with one sync. */
  get syncs(): number {
    return this.#syncs;
  }

  get sizeBytes(): number {
    let bytes = 0;
    for (const segment of this.#segments) bytes += segment.bytes;
    return bytes;
  }

  /** Appends the frame and syncs. */
  async write(writer: FrameWriter): Promise<WalError | undefined> {
    const start = this.#current;
    if (start.bytes > SEGMENT_HEADER_BYTES && start.bytes + writer.length > this.#segmentBytes) {
      const problem = await this.#rotate();
      if (problem !== undefined) return problem;
    }
    const segment = this.#current;
    try {
      await segment.file.append([writer.seal(segment.sequence, segment.bytes)]);
    } catch (error) {
      if (!isNoSpace(error)) return poisoned(`append to ${segment.name} failed`, error);
      try {
        await segment.file.truncate(segment.bytes);
        await segment.file.sync();
      } catch (cutError) {
        return poisoned(`cutting ${segment.name} back after a failed append failed`, cutError);
      }
      return new WalError("NO_SPACE", `no space for ${writer.length} bytes of log`, error);
    }
    try {
      await segment.file.sync();
    } catch (error) {
      return poisoned(`sync of ${segment.name} failed`, error);
    }
    segment.bytes += writer.length;
    this.#syncs++;
    return undefined;
  }

  async #rotate(): Promise<WalError | undefined> {
    const previous = this.#current;
    const sequence = previous.sequence + 1;
    if (sequence > MAX_SEGMENT_SEQUENCE) return poisoned("the log has no segment numbers left", undefined);
    const segment: Segment = { sequence, name: segmentName(sequence), bytes: 0, lastIndex: new Map() };
    let file: DiskFile;
    try {
      file = await this.#disk.openAppend(segment.name);
    } catch (error) {
      if (isNoSpace(error)) return new WalError("NO_SPACE", "no space for a new segment", error);
      return poisoned(`making ${segment.name} failed`, error);
    }
    try {
      await startSegment(this.#disk, file, segment);
    } catch (error) {
      try {
        await file.close();
        await this.#disk.remove(segment.name);
        await this.#disk.syncDirectory();
      } catch (removeError) {
        return poisoned(`removing ${segment.name} failed`, removeError);
      }
      if (isNoSpace(error)) return new WalError("NO_SPACE", "no space for a new segment", error);
      return poisoned(`making ${segment.name} failed`, error);
    }
    this.#current = Object.assign(segment, { file });
    this.#segments.push(this.#current);
    try {
      await previous.file.close();
    } catch (error) {
      return poisoned(`closing ${previous.name} failed`, error);
    }
    return undefined;
  }

  /** Removes the oldest segment. */
  async removeOldest(): Promise<WalError | undefined> {
    const segment = this.#segments[0]!;
    try {
      await this.#disk.remove(segment.name);
      // One by one, so that a crash never leaves a hole.
      await this.#disk.syncDirectory();
    } catch (error) {
      return poisoned(`removing ${segment.name} failed`, error);
    }
    this.#segments.shift();
    return undefined;
  }

  close(): Promise<void> {
    return this.#current.file.close();
  }
}

/** Makes an empty segment durable, its name included. */
async function startSegment(disk: Disk, file: DiskFile, segment: Segment): Promise<void> {
  if (file.size > 0) await file.truncate(0);
  await file.append([segmentHeader(segment.sequence)]);
  await file.sync();
  await disk.syncDirectory();
  segment.bytes = SEGMENT_HEADER_BYTES;
}

function isNoSpace(error: unknown): boolean {
  return error instanceof DiskError && (error.code === "ENOSPC" || error.code === "EDQUOT");
}

function poisoned(what: string, cause: unknown): WalError {
  return new WalError("POISONED", `${what}: what is durable is unknown, the node must stop`, cause);
}
