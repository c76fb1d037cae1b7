import type { SnapshotMeta } from "@statemesh/contract";
import type { Disk } from "@statemesh/ports";
import type { HardState } from "@statemesh/raft";
import { FRAME_HEADER_BYTES, FrameWriter } from "./frame.ts";
import { PendingFrame } from "./pending-frame.ts";
import type { Touch } from "./pending-frame.ts";
import { updateBytes, writeRemove, writeUpdate } from "./records.ts";
import type { GroupUpdate } from "./records.ts";
import { noteEntries, replay } from "./recovery.ts";
import type { RecoveredGroup } from "./recovery.ts";
import { SEGMENT_HEADER_BYTES } from "./segment.ts";
import { SegmentWriter } from "./segment-writer.ts";
import { WalError } from "./wal-error.ts";

export interface WalOptions {
  /** A segment is closed before it grows past this. Bytes, default 64 MiB, at most 1 GiB. One frame always fits. */
  segmentBytes?: number;
  /** Bytes of batches that wait for the disk; above that appends are refused (`QUEUE_FULL`). Default 64 MiB. One batch always fits. */
  maxQueueBytes?: number;
}

export interface OpenedWal {
  wal: WriteAheadLog;
  groups: Map<number, RecoveredGroup>;
  /** Bytes of an unfinished write that were cut off the end. */
  tornBytes: number;
}

const DEFAULT_SEGMENT_BYTES = 64 * 1024 * 1024;
const MAX_SEGMENT_BYTES = 1024 * 1024 * 1024;
const DEFAULT_QUEUE_BYTES = 64 * 1024 * 1024;
/** A frame buffer above this is not kept for the next frame. */
const KEPT_BUFFER_BYTES = 4 * 1024 * 1024;

/** What is in force of a group. */
interface GroupState {
  /** Last index with everything that was accepted; what the next entries must follow. */
  accepted: number;
  /** Last index with everything that is durable. */
  last: number;
  /** Entries up to here may go. */
  released: number;
  hardState: HardState | undefined;
  hardStateSegment: number;
  snapshot: SnapshotMeta | undefined;
  snapshotSegment: number;
}

interface Release {
  resolve: () => void;
  reject: (cause: Error) => void;
}

/**
 * The log of all groups of a node. One writer: while a sync runs, batches gather, and all of them leave in the next single
 * append and sync (group commit without timers). Only one such write is under way at a time.
 */
export class WriteAheadLog {
  readonly #files: SegmentWriter;
  readonly #maxQueueBytes: number;
  readonly #groups: Map<number, GroupState>;
  #filling = new PendingFrame();
  #spare: PendingFrame | undefined;
  #writingBytes = 0;
  #running: Promise<void> | undefined;
  #releases: Release[] = [];
  #failure: WalError | undefined;
  #closed = false;

  private constructor(files: SegmentWriter, maxQueueBytes: number, groups: Map<number, GroupState>) {
    this.#files = files;
    this.#maxQueueBytes = maxQueueBytes;
    this.#groups = groups;
  }

  /**
   * Reads the log, cuts a torn tail, and opens it for appending. Fails with a CorruptionError that names file, offset and reason
   * for damage that no crash leaves; nothing is cut then.
   */
  static async open(disk: Disk, options: WalOptions = {}): Promise<OpenedWal> {
    const bytes = options.segmentBytes ?? DEFAULT_SEGMENT_BYTES;
    if (!(bytes > SEGMENT_HEADER_BYTES && bytes <= MAX_SEGMENT_BYTES)) throw new RangeError(`wal: segmentBytes must be above ${SEGMENT_HEADER_BYTES} and at most ${MAX_SEGMENT_BYTES}`);
    const { groups: replayed, segments, tornBytes } = await replay(disk);
    const files = await SegmentWriter.open(disk, bytes, segments);
    const groups = new Map<number, RecoveredGroup>();
    const states = new Map<number, GroupState>();
    for (const [groupId, { hardState, hardStateSegment, snapshot, snapshotSegment, entries }] of replayed) {
      const lastIndex = entries.at(-1)?.index ?? snapshot?.index ?? 0;
      states.set(groupId, { accepted: lastIndex, last: lastIndex, released: 0, hardState, hardStateSegment, snapshot, snapshotSegment });
      const group: RecoveredGroup = { hardState: hardState ?? { term: 0, vote: 0, commit: 0 }, entries };
      if (snapshot !== undefined) group.snapshot = snapshot;
      groups.set(groupId, group);
    }
    return { wal: new WriteAheadLog(files, options.maxQueueBytes ?? DEFAULT_QUEUE_BYTES, states), groups, tornBytes };
  }

  /** Bytes of all segments. */
  get sizeBytes(): number {
    return this.#files.sizeBytes;
  }

  /** Bytes that wait for the disk or are on their way to it. */
  get queuedBytes(): number {
    return this.#writingBytes + (this.#filling.isEmpty ? 0 : this.#filling.writer.length);
  }

  /** Writes with a sync so far: with appends, shows how many share one. */
  get syncs(): number {
    return this.#files.syncs;
  }

  get segmentCount(): number {
    return this.#files.segments.length;
  }

  /** Why the log is poisoned; undefined while it works. */
  get failure(): WalError | undefined {
    return this.#failure;
  }

  /** Groups whose entries keep the oldest segment: to make the log smaller, these need a snapshot and a compaction. */
  get oldestSegmentGroups(): number[] {
    const ids: number[] = [];
    const oldest = this.#files.segments[0]!;
    for (const [groupId, index] of oldest.lastIndex) {
      const group = this.#groups.get(groupId);
      if (group !== undefined && index > releasable(group)) ids.push(groupId);
    }
    return ids;
  }

  /**
   * Stores the updates, in order, all or nothing; resolves once they are durable. Data is copied before this returns.
   * Rejects with a WalError; see its codes for what is in the log then.
   */
  append(batch: readonly GroupUpdate[]): Promise<void> {
    const refused = this.#refusal();
    if (refused !== undefined) return Promise.reject(refused);
    const frame = this.#filling;
    let bytes = 0;
    for (const update of batch) bytes += updateBytes(update);
    const waiting = this.queuedBytes;
    if (waiting > 0 && waiting + bytes > this.#maxQueueBytes) {
      return Promise.reject(new WalError("QUEUE_FULL", `${waiting} bytes wait for the disk, the limit is ${this.#maxQueueBytes}`));
    }
    const gap = this.#findGap(batch);
    if (gap !== undefined) return Promise.reject(gap);
    for (const update of batch) {
      writeUpdate(frame.writer.out, update, false);
      this.#touch(frame, update);
    }
    return this.#enqueue(frame);
  }

  /** Forgets a group; it may start again at index 1. */
  remove(groupId: number): Promise<void> {
    const refused = this.#refusal();
    if (refused !== undefined) return Promise.reject(refused);
    const frame = this.#filling;
    writeRemove(frame.writer.out, groupId);
    frame.touched.set(groupId, { removed: true, first: 0, last: 0, hardState: undefined, snapshot: undefined });
    const group = this.#groups.get(groupId);
    if (group !== undefined) group.accepted = 0;
    return this.#enqueue(frame);
  }

  /**
   * Entries of the group up to `throughIndex` are not needed: its snapshot, stored by an earlier append, covers them. Old segments
   * that no group needs go. Resolves when that is done (also where nothing could go).
   */
  compact(groupId: number, throughIndex: number): Promise<void> {
    const refused = this.#refusal();
    if (refused !== undefined) return Promise.reject(refused);
    const group = this.#groups.get(groupId);
    const snapshot = this.#filling.touched.get(groupId)?.snapshot ?? group?.snapshot;
    if (group === undefined || snapshot === undefined || snapshot.index < throughIndex) {
      return Promise.reject(new WalError("NO_SNAPSHOT", `group ${groupId}: no snapshot in the log covers entry ${throughIndex}`));
    }
    group.released = Math.max(group.released, throughIndex);
    return new Promise<void>((resolve, reject) => {
      this.#releases.push({ resolve, reject });
      this.#start();
    });
  }

  /** Waits for what is queued, seals the end, so that later damage to the last write is told from a torn one, and closes. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#running;
    if (this.#failure === undefined) await this.#write(new FrameWriter());
    await this.#files.close();
  }

  #refusal(): WalError | undefined {
    if (this.#failure !== undefined) return this.#failure;
    return this.#closed ? new WalError("CLOSED", "the log is closed") : undefined;
  }

  /** The first place where the batch would leave a gap in a group's log. */
  #findGap(batch: readonly GroupUpdate[]): WalError | undefined {
    const lasts = batch.length > 1 ? new Map<number, number>() : undefined;
    for (const { groupId, snapshot, entries } of batch) {
      let last = lasts?.get(groupId) ?? this.#groups.get(groupId)?.accepted ?? 0;
      if (snapshot !== undefined && snapshot.index > last) last = snapshot.index;
      if (entries !== undefined && entries.length > 0) {
        const first = entries[0]!.index;
        if (first > last + 1 || first < 1) return new WalError("OUT_OF_ORDER", `group ${groupId}: entry ${first} cannot follow entry ${last}`);
        for (let at = 1; at < entries.length; at++) {
          if (entries[at]!.index !== first + at) return new WalError("OUT_OF_ORDER", `group ${groupId}: entry ${entries[at]!.index} cannot follow entry ${first + at - 1}`);
        }
        last = first + entries.length - 1;
      }
      lasts?.set(groupId, last);
    }
    return undefined;
  }

  #touch(frame: PendingFrame, update: GroupUpdate): void {
    const { groupId, hardState, snapshot, entries } = update;
    let group = this.#groups.get(groupId);
    if (group === undefined) {
      group = { accepted: 0, last: 0, released: 0, hardState: undefined, hardStateSegment: 0, snapshot: undefined, snapshotSegment: 0 };
      this.#groups.set(groupId, group);
    }
    let touch = frame.touched.get(groupId);
    if (touch === undefined) {
      touch = { removed: false, first: 0, last: group.accepted, hardState: undefined, snapshot: undefined };
      frame.touched.set(groupId, touch);
    }
    if (hardState !== undefined) touch.hardState = hardState;
    if (snapshot !== undefined) {
      touch.snapshot = snapshot;
      if (snapshot.index > touch.last) touch.last = snapshot.index;
    }
    if (entries !== undefined && entries.length > 0) {
      const first = entries[0]!.index;
      touch.first = touch.first === 0 ? first : Math.min(touch.first, first);
      touch.last = first + entries.length - 1;
    }
    group.accepted = touch.last;
  }

  #enqueue(frame: PendingFrame): Promise<void> {
    frame.appends++;
    const { durable } = frame;
    this.#start();
    return durable;
  }

  #start(): void {
    this.#running ??= this.#run();
  }

  async #run(): Promise<void> {
    // Let everything that is appended in this turn leave together.
    await Promise.resolve();
    while (this.#failure === undefined) {
      if (!this.#filling.isEmpty) await this.#writeFilling();
      else if (this.#releases.length > 0) await this.#release();
      else break;
    }
    this.#running = undefined;
  }

  async #writeFilling(): Promise<void> {
    const frame = this.#filling;
    this.#filling = this.#spare ?? new PendingFrame();
    this.#spare = undefined;
    this.#writingBytes = frame.writer.length;
    const problem = await this.#write(frame.writer);
    this.#writingBytes = 0;
    if (problem === undefined) {
      for (const [groupId, touch] of frame.touched) this.#note(groupId, touch);
      frame.resolve();
    } else {
      // What gathered meanwhile was to follow this frame: it cannot stand without it.
      const behind = this.#filling;
      for (const touched of [frame.touched, behind.touched]) {
        for (const groupId of touched.keys()) {
          const group = this.#groups.get(groupId);
          if (group !== undefined) group.accepted = group.last;
        }
      }
      frame.reject(problem);
      if (!behind.isEmpty) behind.reject(problem);
    }
    if (frame.writer.out.capacity <= KEPT_BUFFER_BYTES) this.#spare = frame;
  }

  /** A frame is durable. */
  #note(groupId: number, touch: Touch): void {
    const { sequence } = this.#files.current;
    if (touch.removed) {
      for (const segment of this.#files.segments) segment.lastIndex.delete(groupId);
      const removed = this.#groups.get(groupId);
      if (removed !== undefined) {
        removed.last = 0;
        removed.released = 0;
        removed.hardState = undefined;
        removed.snapshot = undefined;
      }
    }
    const group = this.#groups.get(groupId);
    if (group === undefined) return;
    if (touch.hardState !== undefined) {
      group.hardState = touch.hardState;
      group.hardStateSegment = sequence;
    }
    if (touch.snapshot !== undefined && (group.snapshot === undefined || touch.snapshot.index >= group.snapshot.index)) {
      group.snapshot = touch.snapshot;
      group.snapshotSegment = sequence;
    }
    if (touch.first > 0) noteEntries(this.#files.segments, this.#files.current, groupId, touch.first, touch.last);
    group.last = touch.last;
  }

  /** Writes a frame; a failure that poisons the log is taken note of. */
  async #write(writer: FrameWriter): Promise<WalError | undefined> {
    return this.#noted(await this.#files.write(writer));
  }

  /** Removes the oldest segments that nothing in force is in. */
  async #release(): Promise<void> {
    const releases = this.#releases;
    this.#releases = [];
    const problem = await this.#removeOldest(this.#countReleasable());
    for (const { resolve, reject } of releases) {
      if (problem === undefined) resolve();
      else reject(problem);
    }
  }

  #countReleasable(): number {
    let count = 0;
    for (; count < this.#files.segments.length - 1; count++) {
      for (const [groupId, index] of this.#files.segments[count]!.lastIndex) {
        const group = this.#groups.get(groupId);
        if (group !== undefined && index > releasable(group)) return count;
      }
    }
    return count;
  }

  async #removeOldest(count: number): Promise<WalError | undefined> {
    if (count === 0) return undefined;
    const problem = await this.#restate(this.#files.segments[count - 1]!.sequence);
    if (problem !== undefined) return problem;
    for (let n = 0; n < count; n++) {
      const failure = this.#noted(await this.#files.removeOldest());
      if (failure !== undefined) return failure;
    }
    return undefined;
  }

  /** Writes again, at the end, the marks in force that segments up to `sequence` hold. */
  async #restate(sequence: number): Promise<WalError | undefined> {
    const writer = new FrameWriter();
    const restated: GroupState[] = [];
    for (const [groupId, group] of this.#groups) {
      const hardState = group.hardStateSegment <= sequence ? group.hardState : undefined;
      const snapshot = group.snapshotSegment <= sequence ? group.snapshot : undefined;
      if (hardState === undefined && snapshot === undefined) continue;
      writeUpdate(writer.out, { groupId, hardState, snapshot }, true);
      restated.push(group);
    }
    if (writer.length === FRAME_HEADER_BYTES) return undefined;
    const problem = await this.#write(writer);
    if (problem !== undefined) return problem;
    for (const group of restated) {
      if (group.hardStateSegment <= sequence) group.hardStateSegment = this.#files.current.sequence;
      if (group.snapshotSegment <= sequence) group.snapshotSegment = this.#files.current.sequence;
    }
    return undefined;
  }

  /** A poisoned log fails everything that waits, and all that comes, with the first cause. */
  #noted(problem: WalError | undefined): WalError | undefined {
    if (problem?.code !== "POISONED") return problem;
    this.#failure ??= problem;
    const failure = this.#failure;
    if (!this.#filling.isEmpty) this.#filling.reject(failure);
    for (const { reject } of this.#releases) reject(failure);
    this.#releases = [];
    return failure;
  }
}

/** Entries up to here may go: released, and covered by a durable snapshot. */
function releasable(group: GroupState): number {
  return Math.min(group.released, group.snapshot?.index ?? 0);
}
