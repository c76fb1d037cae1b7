import { DiskError } from "@statemesh/ports";
import type { Disk, DiskFile } from "@statemesh/ports";
import { FrameWriter } from "./frame.ts";
import { MAX_SEGMENT_SEQUENCE, SEGMENT_HEADER_BYTES, segmentHeader, segmentName } from "./segment.ts";
import type { LastWrite, OpenSegment, Segment } from "./segment.ts";
import { WalError } from "./wal-error.ts";

/**
 * The files of the log: appends frames to the last segment, begins new ones, removes the oldest. One call at a time. Each call
 * returns undefined, a `NO_SPACE` with nothing of the frame left in the log, or a `POISONED` after which nothing more may be written.
 */
export class SegmentWriter {
  readonly #disk: Disk;
  readonly #segmentBytes: number;
  readonly #segments: Segment[];
  readonly #marks: () => FrameWriter;
  #current: OpenSegment;
  #syncs = 0;

  private constructor(disk: Disk, segmentBytes: number, segments: Segment[], marks: () => FrameWriter, current: OpenSegment) {
    this.#disk = disk;
    this.#segmentBytes = segmentBytes;
    this.#segments = segments;
    this.#marks = marks;
    this.#current = current;
  }

  /**
   * Opens the last of the segments that were read, or makes the first. `marks` gives the frame that a segment begins with: all that is in
   * force. `lastWrite` is what the last of them ends with; it is repeated where `isCurrentFormat`. Fails with a DiskError.
   */
  static async open(disk: Disk, segmentBytes: number, segments: Segment[], marks: () => FrameWriter, lastWrite: LastWrite | undefined, isCurrentFormat: boolean): Promise<SegmentWriter> {
    let last = segments.at(-1);
    if (last === undefined) {
      last = { sequence: 1, name: segmentName(1), bytes: 0, lastIndex: new Map() };
      segments.push(last);
    }
    const file = await disk.openAppend(last.name);
    let startBytes = SEGMENT_HEADER_BYTES;
    try {
      // Also where a crash cut short the making of the segment.
      if (last.bytes === 0) startBytes = await startSegment(disk, file, last, segments[0]!.sequence, marks());
      else {
        // Debris behind a write that a crash tears in its turn would pass for damage. Also where none is seen: what cut it off may have been lost.
        await file.truncate(last.bytes);
        // A killed process leaves writes, and names, that are read back and not durable: nothing may be built on them before they are. Where its
        // sync had failed, the system counts the last write as clean though the disk may not have it, and no sync would write it: it is made anew, in its
        // place. Never by cutting it off first: it may be on the disk, and acknowledged. A full disk takes it, or the log does not open.
        if (lastWrite !== undefined) await file.rewrite(lastWrite.at, lastWrite.bytes);
        await file.sync();
        // Behind a hole the copy would make damage of a failed sync; so not before the original is durable.
        if (lastWrite !== undefined && isCurrentFormat) {
          last.bytes += await repeatPayload(file, last, lastWrite.payload);
          await file.sync();
        }
        await disk.syncDirectory();
      }
    } catch (error) {
      await file.close();
      throw error;
    }
    return new SegmentWriter(disk, segmentBytes, segments, marks, Object.assign(last, { file, startBytes }));
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
    if (start.bytes > start.startBytes && start.bytes + writer.length > this.#segmentBytes) {
      const problem = await this.rotate();
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

  /** Begins a new segment. */
  async rotate(): Promise<WalError | undefined> {
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
    let startBytes: number;
    try {
      startBytes = await startSegment(this.#disk, file, segment, this.#segments[0]!.sequence, this.#marks());
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
    this.#current = Object.assign(segment, { file, startBytes });
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

/**
 * Appends what the last frame holds once more, so that later damage to it is told from a crash; the bytes that it took. A full disk does without: a
 * node that cannot start makes no space.
 */
async function repeatPayload(file: DiskFile, segment: Segment, payload: Uint8Array): Promise<number> {
  const writer = new FrameWriter();
  writer.repeat(payload);
  try {
    await file.append([writer.seal(segment.sequence, segment.bytes)]);
  } catch (error) {
    if (!isNoSpace(error)) throw error;
    await file.truncate(segment.bytes);
    return 0;
  }
  return writer.length;
}

/** Makes a segment without anything of its own durable, its name included. Returns its bytes. */
async function startSegment(disk: Disk, file: DiskFile, segment: Segment, base: number, marks: FrameWriter): Promise<number> {
  if (file.size > 0) await file.truncate(0);
  await file.append([segmentHeader(segment.sequence, base), marks.seal(segment.sequence, SEGMENT_HEADER_BYTES)]);
  await file.sync();
  await disk.syncDirectory();
  segment.bytes = SEGMENT_HEADER_BYTES + marks.length;
  return segment.bytes;
}

function isNoSpace(error: unknown): boolean {
  return error instanceof DiskError && error.isNoSpace;
}

function poisoned(what: string, cause: unknown): WalError {
  return new WalError("POISONED", `${what}: what is durable is unknown, the node must stop`, cause);
}
