// What a node keeps on its disk: the write-ahead log of all groups, and a snapshot file a group.
import type { SnapshotMeta } from "@statemesh/contract";
import type { GroupWrite, Log, RestoredGroup } from "@statemesh/mesh";
import { DiskError, type Timers } from "@statemesh/ports";
import { isLater } from "@statemesh/raft";
import { GroupState, type GroupStateOptions, SnapshotLoader } from "@statemesh/replica";
import { CorruptionError, type RecoveredGroup, type SnapshotReader, SnapshotStore, WalError, type WalOptions, WriteAheadLog } from "@statemesh/wal";
import type { NodePorts } from "./node-ports.ts";

/** How long a full disk is left alone before the same writes are tried again. */
const FULL_DISK_RETRY_MS = 500;

interface WaitingWrite {
  readonly writes: readonly GroupWrite[];
  readonly done: (error: unknown) => void;
}

export class Storage {
  readonly snapshots: SnapshotStore;
  readonly #wal: WriteAheadLog;
  readonly #timers: Timers;
  readonly #log: Log;
  /** Writes that the full disk refused, in order, and all that came after them. */
  #refused: WaitingWrite[] = [];
  #inFlight = 0;

  private constructor(wal: WriteAheadLog, snapshots: SnapshotStore, timers: Timers, log: Log) {
    this.#wal = wal;
    this.snapshots = snapshots;
    this.#timers = timers;
    this.#log = log;
  }

  /**
   * Opens the folders and reads everything that they hold. Where there are peers to repair from, damage costs only the groups that it
   * hit: these come with what is left of them, and what they lost. `groups`: how many there are besides group 0; undefined in a cluster
   * of one, which has nobody to repair from: it fails with a CorruptionError. `wasUsed`: there has been a log, so that none at all is damage too.
   */
  static async open(
    { disks, timers, log }: Pick<NodePorts, "disks" | "timers" | "log">,
    stateOptions: (groupId: number) => GroupStateOptions,
    groups: number | undefined,
    wasUsed: boolean,
    options: WalOptions = {},
  ): Promise<{ storage: Storage; restored: Map<number, RestoredGroup> }> {
    const salvage = groups === undefined ? { ...options, mustExist: wasUsed } : { ...options, mustExist: wasUsed, salvage: Array.from({ length: groups + 1 }, (_, groupId) => groupId) };
    const { wal, groups: recovered, tornBytes, damage } = await WriteAheadLog.open(disks.wal, salvage);
    const snapshots = await SnapshotStore.open(disks.snapshots);
    if (tornBytes > 0) log.warn("cut an unfinished write off the end of the log", { bytes: tornBytes });
    for (const { file, offset, bytes, reason } of damage) log.error("the log was damaged: what is missing is fetched from the other nodes", { file, offset, bytes, reason });
    const storage = new Storage(wal, snapshots, timers, log);
    const restored = new Map<number, RestoredGroup>();
    for (const [groupId, group] of recovered) {
      const whole = await storage.#load(groupId, group, stateOptions(groupId), groups !== undefined);
      if (whole.loss !== undefined) log.error("a group's log lacks what it once held: it is repaired from the other nodes", { group: groupId, loss: whole.loss });
      restored.set(groupId, whole);
    }
    return { storage, restored };
  }

  /** The group with its state. One whose snapshot is damaged is begun anew, with its term and the memory of what it had. */
  async #load(groupId: number, group: RecoveredGroup, options: GroupStateOptions, mayRepair: boolean): Promise<RestoredGroup> {
    const { hardState, snapshot, entries, loss } = group;
    const lost = loss === undefined ? {} : { loss };
    if (snapshot === undefined) return { hardState, snapshot, entries, state: new GroupState(options), ...lost };
    try {
      return { hardState, snapshot, entries, state: await loadState(await this.snapshots.read(groupId, snapshot.index), options), ...lost };
    } catch (error) {
      if (!mayRepair || !isDamage(error)) throw error;
      this.#log.error("the snapshot of a group is damaged", { group: groupId, index: snapshot.index, err: error });
      const { index, term } = entries.at(-1) ?? snapshot;
      const end = loss !== undefined && isLater(loss.end, { index, term }) ? loss.end : { index, term };
      const begun = { hardState: { ...hardState, commit: 0 }, loss: { end, isEndKnown: loss?.isEndKnown ?? true, isVoteKnown: loss?.isVoteKnown ?? true } };
      await this.#wal.append([{ groupId, reset: true, ...begun }]);
      await this.snapshots.setAside(groupId, snapshot.index);
      return { ...begun, snapshot: undefined, entries: [], state: new GroupState(options) };
    }
  }

  get sizeBytes(): number {
    return this.#wal.sizeBytes;
  }

  /** The disk refuses writes: nothing new may be taken. */
  get isFull(): boolean {
    return this.#refused.length > 0;
  }

  /** Groups whose entries keep the oldest segment alive: a snapshot of each lets it go. */
  get oldestGroups(): readonly number[] {
    return this.#wal.oldestSegmentGroups;
  }

  get syncs(): number {
    return this.#wal.syncs;
  }

  /** In order of the calls; `done` once durable. A full disk delays, any other failure is final. */
  persist(writes: readonly GroupWrite[], done: (error: unknown) => void): void {
    if (this.#refused.length > 0) {
      this.#refused.push({ writes, done });
      return;
    }
    this.#append({ writes, done });
  }

  #append(write: WaitingWrite): void {
    this.#inFlight++;
    this.#wal.append(write.writes).then(
      () => {
        this.#inFlight--;
        write.done(undefined);
      },
      (error: unknown) => {
        this.#inFlight--;
        // Appends that were queued behind a refused one are refused with it, or for the gap that it left, in their order.
        const waits = error instanceof WalError && (error.code === "NO_SPACE" || error.code === "QUEUE_FULL" || (error.code === "OUT_OF_ORDER" && this.#refused.length > 0));
        if (!waits) return write.done(error);
        this.#refused.push(write);
        if (this.#refused.length === 1) {
          this.#log.error("the log takes no writes: they wait", { err: error });
          this.#timers.after(FULL_DISK_RETRY_MS, () => this.#retry());
        }
      },
    );
  }

  #retry(): void {
    if (this.#inFlight > 0) {
      this.#timers.after(FULL_DISK_RETRY_MS, () => this.#retry());
      return;
    }
    const waiting = this.#refused;
    this.#refused = [];
    for (const write of waiting) this.#append(write);
  }

  /** Notes a durable snapshot of this node's own in the log, and lets the entries it covers go. */
  async release(meta: SnapshotMeta, throughIndex: number): Promise<void> {
    // In order with everything else: a mark that overtook a refused term or vote would speak of a term that is not stored.
    await new Promise<void>((resolve, reject) => {
      this.persist([{ groupId: meta.groupId, snapshot: meta }], (error) => {
        if (error === undefined) resolve();
        else reject(error instanceof Error ? error : new Error("the mark of a snapshot was not stored", { cause: error }));
      });
    });
    await this.#wal.compact(meta.groupId, throughIndex);
    await this.snapshots.removeOlder(meta.groupId, meta.index);
  }

  /** Seals the log's end where something was written. For quiet moments, now and then. */
  seal(): void {
    this.#wal.seal();
  }

  async close(): Promise<void> {
    await this.#wal.close();
  }
}

/** Whether a file is not what was written, or not there; a disk that fails altogether is another matter. */
function isDamage(error: unknown): boolean {
  return error instanceof CorruptionError || error instanceof SnapshotContentError || (error instanceof DiskError && (error.code === "ENOENT" || error.code === "EIO"));
}

/** The file is as it was written, and yet no state of a group. */
class SnapshotContentError extends Error {
  override readonly name = "SnapshotContentError";
}

/** Builds a group's state from a snapshot file. */
async function loadState(reader: SnapshotReader, options: GroupStateOptions): Promise<GroupState> {
  const loader = new SnapshotLoader(options);
  // A file's checksum is known to fit only at its end: what cannot be read before that is damage too.
  try {
    for await (const chunk of reader.chunks()) loader.push(chunk);
    return loader.finish();
  } catch (error) {
    if (error instanceof CorruptionError || error instanceof DiskError) throw error;
    throw new SnapshotContentError("the snapshot is not the state of a group", { cause: error });
  }
}
