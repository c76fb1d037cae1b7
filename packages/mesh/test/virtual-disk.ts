import type { LogEntry, SnapshotMeta, TentativeOperation } from "@statemesh/contract";
import type { EscrowLogRecord } from "@statemesh/contract/log";
import type { GroupWrite } from "@statemesh/mesh";
import type { HardState, Loss } from "@statemesh/raft";

export interface StoredGroup {
  hardState: HardState;
  snapshot: SnapshotMeta | undefined;
  entries: LogEntry[];
  loss?: Loss;
}

export interface StoredSnapshot {
  meta: SnapshotMeta;
  chunks: Uint8Array[];
}

/** What survives a crash of its node. */
export class Disk {
  readonly groups = new Map<number, StoredGroup>();
  readonly snapshots = new Map<number, StoredSnapshot>();
  /** What the node noted of the escrows that it keeps. */
  readonly escrows: EscrowLogRecord[] = [];
  /** Operations that are kept during a partition, by id. */
  readonly tentative = new Map<string, TentativeOperation>();

  write({ groupId, hardState, entries, snapshot, loss }: GroupWrite): void {
    const stored = this.groups.get(groupId) ?? { hardState: { term: 0, vote: 0, commit: 0 }, snapshot: undefined, entries: [] };
    this.groups.set(groupId, stored);
    if (hardState !== undefined) stored.hardState = hardState;
    if (loss === "repaired") delete stored.loss;
    if (snapshot !== undefined) {
      stored.snapshot = snapshot;
      stored.entries = [];
    }
    const first = entries?.[0];
    if (entries === undefined || first === undefined) return;
    stored.entries = stored.entries.filter((entry) => entry.index < first.index).concat(entries);
  }
}
