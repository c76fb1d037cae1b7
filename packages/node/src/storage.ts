// What a node keeps on its disk: the write-ahead log of all groups, and a snapshot file a group.
import type { SnapshotMeta } from "@statemesh/contract";
import type { GroupWrite, Log, RestoredGroup } from "@statemesh/mesh";
import type { Timers } from "@statemesh/ports";
import { GroupState, type GroupStateOptions, SnapshotLoader } from "@statemesh/replica";
import { SnapshotStore, type SnapshotReader, WalError, WriteAheadLog } from "@statemesh/wal";
import type { NodeDisks } from "./node-ports.ts";

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

  /** Opens the folders and reads everything that it holds. */
  static async open(
    disks: Pick<NodeDisks, "wal" | "snapshots">,
    stateOptions: (groupId: number) => GroupStateOptions,
    timers: Timers,
    log: Log,
  ): Promise<{ storage: Storage; restored: Map<number, RestoredGroup> }> {
    const { wal, groups, tornBytes } = await WriteAheadLog.open(disks.wal);
    const snapshots = await SnapshotStore.open(disks.snapshots);
    if (tornBytes > 0) log.warn("cut an unfinished write off the end of the log", { bytes: tornBytes });
    const restored = new Map<number, RestoredGroup>();
    for (const [groupId, { hardState, snapshot, entries }] of groups) {
      const state = snapshot === undefined ? new GroupState(stateOptions(groupId)) : await loadState(await snapshots.read(groupId, snapshot.index), stateOptions(groupId));
      restored.set(groupId, { hardState, snapshot, entries, state });
    }
    return { storage: new Storage(wal, snapshots, timers, log), restored };
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

  async close(): Promise<void> {
    await this.#wal.close();
  }
}

/** Builds a group's state from a snapshot file. */
async function loadState(reader: SnapshotReader, options: GroupStateOptions): Promise<GroupState> {
  const loader = new SnapshotLoader(options);
  for await (const chunk of reader.chunks()) loader.push(chunk);
  return loader.finish();
}
