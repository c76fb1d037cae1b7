import type { SnapshotMeta } from "@statemesh/contract";
import type { Disk } from "@statemesh/ports";
import type { HardState, LogEnd, Loss } from "@statemesh/raft";
import { FrameWriter } from "./frame.ts";
import { PendingFrame } from "./pending-frame.ts";
import type { Touch } from "./pending-frame.ts";
import { updateBytes, writeMark, writeUpdate } from "./records.ts";
import type { GroupUpdate } from "./records.ts";
import { noteEntries, replay } from "./recovery.ts";
import type { RecoveredGroup } from "./replayed-group.ts";
import { salvage } from "./salvage.ts";
import { SEGMENT_HEADER_BYTES, segmentName } from "./segment.ts";
import { SegmentWriter } from "./segment-writer.ts";
import { TermRuns } from "./term-runs.ts";
import { CorruptionError, WalError } from "./wal-error.ts";
import type { Damage } from "./wal-error.ts";

export interface WalOptions {
  /** A segment is closed before it grows past this. Bytes, default 64 MiB, at most 1 GiB. One frame always fits. */
  segmentBytes?: number;
  /** Bytes of batches that wait for the disk; above that appends are refused (`QUEUE_FULL`). Default 64 MiB. One batch always fits. */
  maxQueueBytes?: number;
  /**
   * What to do about a damaged log. Undefined: opening fails with a CorruptionError. Else what is whole is kept, and groups that lost
   * something come with a `loss`; these are the groups that there may be.
   */
  salvage?: readonly number[];
  /** There has been a log: that there is none is damage. Default false. */
  mustExist?: boolean;
}

export interface OpenedWal {
  wal: WriteAheadLog;
  groups: Map<number, RecoveredGroup>;
  /** Bytes of an unfinished write that were cut off the end. */
  tornBytes: number;
  /** Damage that was found, and is not part of the log any more. */
  damage: readonly Damage[];
}

const DEFAULT_SEGMENT_BYTES = 64 * 1024 * 1024;
const MAX_SEGMENT_BYTES = 1024 * 1024 * 1024;
const DEFAULT_QUEUE_BYTES = 64 * 1024 * 1024;
/** A frame buffer above this is not kept for the next frame. */
const KEPT_BUFFER_BYTES = 4 * 1024 * 1024;

const EMPTY: LogEnd = { index: 0, term: 0 };

/** What is in force of a group. */
class GroupState {
  /** The last entry with everything that was accepted: what the next entries must follow. */
  acceptedEnd: LogEnd;
  acceptedNumber: number;
  /** The last entry with everything that is durable. */
  end: LogEnd;
  /** Number of the last durable record. */
  number: number;
  /** Entries up to here may go. */
  released = 0;
  hardState: HardState | undefined;
  snapshot: SnapshotMeta | undefined;
  loss: Loss | undefined;
  readonly terms = new TermRuns();

  constructor(end: LogEnd, number: number) {
    this.end = this.acceptedEnd = end;
    this.number = this.acceptedNumber = number;
  }

  /** What was accepted and is not durable will not be. */
  fallBack(): void {
    this.acceptedEnd = this.end;
    this.acceptedNumber = this.number;
  }
}

const DURABLE: Promise<void> = Promise.resolve();

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
  /** Settled as the frame that is on its way to the disk is. */
  #underWay: Promise<void> | undefined;
  #running: Promise<void> | undefined;
  #releases: Release[] = [];
  /** Something was written since the last marks; by an earlier process perhaps. */
  #isUnsealed = true;
  #sealDue = false;
  #failure: WalError | undefined;
  #closed = false;

  private constructor(files: SegmentWriter, maxQueueBytes: number, groups: Map<number, GroupState>) {
    this.#files = files;
    this.#maxQueueBytes = maxQueueBytes;
    this.#groups = groups;
  }

  /**
   * Reads the log, cuts a torn tail, and opens it for appending. Fails with a CorruptionError that names file, offset and reason
   * for damage that no crash leaves; nothing is changed then. With `salvage`, damage costs what it hit.
   */
  static async open(disk: Disk, options: WalOptions = {}): Promise<OpenedWal> {
    const bytes = options.segmentBytes ?? DEFAULT_SEGMENT_BYTES;
    if (!(bytes > SEGMENT_HEADER_BYTES && bytes <= MAX_SEGMENT_BYTES)) throw new RangeError(`wal: segmentBytes must be above ${SEGMENT_HEADER_BYTES} and at most ${MAX_SEGMENT_BYTES}`);
    const log = await replay(disk);
    const { recovered, tornBytes } = log;
    let { segments } = log;
    const isGone = options.mustExist === true && segments.every((segment) => segment.bytes === 0);
    const damage: readonly Damage[] = isGone ? [{ kind: "missing_segment", file: segmentName(1), offset: 0, bytes: 0, reason: "there is no log" }] : log.damage;
    const first = damage[0];
    if (first !== undefined && options.salvage === undefined) throw new CorruptionError(first.file, first.offset, first.reason);
    let numbers: ReadonlyMap<number, number> | undefined;
    if (first !== undefined) {
      for (const groupId of log.areGroupsKnown && !isGone ? [] : (options.salvage ?? [])) {
        if (!recovered.has(groupId)) recovered.set(groupId, { hardState: { term: 0, vote: 0, commit: 0 }, entries: [], loss: { end: EMPTY, isEndKnown: false, isVoteKnown: false } });
      }
    }
    if (first !== undefined && !isGone) {
      const saved = await salvage(disk, log);
      segments = [saved.segment];
      numbers = saved.numbers;
    }
    if (log.leftovers.length > 0) {
      for (const name of log.leftovers) await disk.remove(name);
      await disk.syncDirectory();
    }
    const states = new Map<number, GroupState>();
    for (const [groupId, { hardState, snapshot, entries, loss }] of recovered) {
      const { index, term } = entries.at(-1) ?? snapshot ?? EMPTY;
      const state = new GroupState({ index, term }, numbers?.get(groupId) ?? log.groups.get(groupId)?.number ?? 0);
      // What the group never said stays unsaid.
      state.hardState = first === undefined ? log.groups.get(groupId)?.hardState : hardState;
      state.snapshot = snapshot;
      state.loss = loss;
      state.terms.put(entries);
      states.set(groupId, state);
    }
    const files = await SegmentWriter.open(disk, bytes, segments, () => marksOf(states), first === undefined ? log.lastWrite : undefined, log.isCurrentFormat);
    if (first === undefined && !log.isCurrentFormat) {
      // What is written from now on has numbers; a segment of the old format cannot hold them.
      const problem = await files.rotate();
      if (problem !== undefined) throw problem;
    }
    const wal = new WriteAheadLog(files, options.maxQueueBytes ?? DEFAULT_QUEUE_BYTES, states);
    return { wal, groups: recovered, tornBytes, damage };
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
   * Stores the updates, in order, all or nothing; resolves once they and all earlier ones are durable. Data is copied before this returns.
   * Rejects with a WalError; see its codes for what is in the log then.
   */
  append(batch: readonly GroupUpdate[]): Promise<void> {
    const refused = this.#refusal();
    if (refused !== undefined) return Promise.reject(refused);
    const frame = this.#filling;
    // Nothing to store: durable with what is before it, and no reason for a sync.
    if (batch.length === 0) return frame.isEmpty ? (this.#underWay ?? DURABLE) : frame.durable;
    let bytes = 0;
    for (const update of batch) bytes += updateBytes(update);
    const waiting = this.queuedBytes;
    if (waiting > 0 && waiting + bytes > this.#maxQueueBytes) {
      return Promise.reject(new WalError("QUEUE_FULL", `${waiting} bytes wait for the disk, the limit is ${this.#maxQueueBytes}`));
    }
    const gap = this.#findGap(batch);
    if (gap !== undefined) return Promise.reject(gap);
    for (const update of batch) writeUpdate(frame.writer.out, update, this.#touch(frame, update));
    return this.#enqueue(frame);
  }

  /**
   * Repeats at the end of the log what is in force, where something was written since the last time: later damage before that place
   * is then known to the group, and damage to the last write is told from a crash. For quiet moments. A full disk is no error here.
   */
  seal(): void {
    if (!this.#isUnsealed || this.#refusal() !== undefined) return;
    this.#sealDue = true;
    this.#start();
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
    group.terms.forgetBefore(group.released);
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
    if (this.#failure === undefined) await this.#write(marksOf(this.#groups));
    await this.#files.close();
  }

  #refusal(): WalError | undefined {
    if (this.#failure !== undefined) return this.#failure;
    return this.#closed ? new WalError("CLOSED", "the log is closed") : undefined;
  }

  /** The first place where the batch would leave a gap in a group's log. */
  #findGap(batch: readonly GroupUpdate[]): WalError | undefined {
    const lasts = batch.length > 1 ? new Map<number, number>() : undefined;
    for (const { groupId, reset, snapshot, entries } of batch) {
      let last = reset === true ? 0 : lasts?.get(groupId) ?? this.#groups.get(groupId)?.acceptedEnd.index ?? 0;
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

  /** Returns the number of the update's record. */
  #touch(frame: PendingFrame, update: GroupUpdate): number {
    const { groupId, reset, hardState, snapshot, entries, loss } = update;
    let group = this.#groups.get(groupId);
    if (group === undefined) {
      group = new GroupState(EMPTY, 0);
      this.#groups.set(groupId, group);
    }
    const number = (group.acceptedNumber + 1) >>> 0;
    let touch = frame.touched.get(groupId);
    if (touch === undefined) {
      touch = { reset: false, first: 0, end: group.acceptedEnd, number, hardState: undefined, snapshot: undefined, loss: undefined };
      frame.touched.set(groupId, touch);
    }
    touch.number = number;
    if (reset === true) {
      Object.assign(touch, { reset, first: 0, end: EMPTY, snapshot: undefined });
      group.terms.clear();
    }
    if (hardState !== undefined) touch.hardState = hardState;
    if (loss !== undefined) touch.loss = loss;
    if (snapshot !== undefined) {
      touch.snapshot = snapshot;
      const { index, term } = snapshot;
      // One from the leader that the log does not continue replaces it, however long it was.
      const isVoid = index <= touch.end.index && (group.terms.at(index) ?? term) !== term;
      if (isVoid || index > touch.end.index) {
        touch.end = { index, term };
        group.terms.clear();
      }
    }
    if (entries !== undefined && entries.length > 0) {
      const first = entries[0]!.index;
      touch.first = touch.first === 0 ? first : Math.min(touch.first, first);
      const { index, term } = entries.at(-1)!;
      touch.end = { index, term };
      group.terms.put(entries);
    }
    group.acceptedEnd = touch.end;
    group.acceptedNumber = number;
    return number;
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
      else if (this.#sealDue) await this.#writeMarks();
      else break;
    }
    this.#running = undefined;
  }

  async #writeFilling(): Promise<void> {
    const frame = this.#filling;
    this.#filling = this.#spare ?? new PendingFrame();
    this.#spare = undefined;
    this.#writingBytes = frame.writer.length;
    this.#underWay = frame.durable;
    const problem = await this.#write(frame.writer);
    this.#underWay = undefined;
    this.#writingBytes = 0;
    if (problem === undefined) {
      for (const [groupId, touch] of frame.touched) this.#note(groupId, touch);
      this.#isUnsealed = true;
      frame.resolve();
    } else {
      // What gathered meanwhile was to follow this frame: it cannot stand without it.
      const behind = this.#filling;
      for (const touched of [frame.touched, behind.touched]) {
        for (const groupId of touched.keys()) this.#groups.get(groupId)?.fallBack();
      }
      frame.reject(problem);
      if (!behind.isEmpty) behind.reject(problem);
    }
    if (frame.writer.out.capacity <= KEPT_BUFFER_BYTES) this.#spare = frame;
  }

  /** A frame is durable. */
  #note(groupId: number, touch: Touch): void {
    const group = this.#groups.get(groupId);
    if (group === undefined) return;
    if (touch.reset) {
      for (const segment of this.#files.segments) segment.lastIndex.delete(groupId);
      group.released = 0;
      group.snapshot = undefined;
    }
    if (touch.hardState !== undefined) group.hardState = touch.hardState;
    if (touch.snapshot !== undefined && (group.snapshot === undefined || touch.snapshot.index >= group.snapshot.index)) group.snapshot = touch.snapshot;
    if (touch.loss !== undefined) group.loss = touch.loss === "repaired" ? undefined : touch.loss;
    if (touch.first > 0) noteEntries(this.#files.segments, this.#files.current, groupId, touch.first, touch.end.index);
    group.end = touch.end;
    group.number = touch.number;
  }

  async #writeMarks(): Promise<void> {
    this.#sealDue = false;
    if ((await this.#write(marksOf(this.#groups))) === undefined) this.#isUnsealed = false;
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

  /** Each segment begins with everything that was in force, so that earlier ones can go. */
  async #removeOldest(count: number): Promise<WalError | undefined> {
    for (let n = 0; n < count; n++) {
      const failure = this.#noted(await this.#files.removeOldest());
      if (failure !== undefined) return failure;
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

/** A frame of what is in force of every group. */
function marksOf(groups: ReadonlyMap<number, GroupState>): FrameWriter {
  const writer = new FrameWriter();
  for (const [groupId, { hardState, snapshot, loss, number, end }] of groups) {
    if (hardState === undefined && snapshot === undefined && number === 0 && end.index === 0) continue;
    writeMark(writer.out, { groupId, hardState, snapshot, loss, number, end });
  }
  return writer;
}
