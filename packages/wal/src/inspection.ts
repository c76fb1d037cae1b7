import type { LogEntry, SnapshotMeta } from "@statemesh/contract";
import { DiskError } from "@statemesh/ports";
import type { Disk } from "@statemesh/ports";
import type { HardState, LogEnd, Loss } from "@statemesh/raft";
import { replay } from "./recovery.ts";
import type { WalRecord } from "./records.ts";
import { DAMAGED_PREFIX } from "./salvage.ts";
import { SnapshotStore, snapshotName } from "./snapshot-store.ts";
import { CorruptionError } from "./wal-error.ts";
import type { Damage } from "./wal-error.ts";

/** One file of the log. */
export interface SegmentReport {
  readonly file: string;
  readonly format: number;
  readonly bytes: number;
  frames: number;
  records: number;
  /** By group: the entries that it holds of the group, whether they are part of its log still or not. */
  readonly groups: Map<number, { first: number; last: number }>;
}

/** A group as a node would find it. */
export interface GroupReport {
  readonly groupId: number;
  readonly hardState: HardState;
  readonly snapshot: SnapshotMeta | undefined;
  /** Index of the first entry in the log; 0 where it has none. */
  readonly first: number;
  readonly end: LogEnd;
  readonly entries: number;
  readonly bytes: number;
  readonly loss: Loss | undefined;
}

export interface SnapshotReport {
  readonly file: string;
  readonly groupId: number;
  readonly index: number;
  /** Undefined where the file cannot be read. */
  readonly meta: SnapshotMeta | undefined;
  /** The log says that the group begins here. */
  readonly inUse: boolean;
}

/** An entry of a group's log. */
export interface EntryReport {
  readonly index: number;
  readonly term: number;
  readonly kind: number;
  readonly bytes: number;
}

export interface LogReport {
  readonly segments: readonly SegmentReport[];
  readonly groups: readonly GroupReport[];
  readonly snapshots: readonly SnapshotReport[];
  /** Of the log in its order, then of snapshots. */
  readonly damage: readonly Damage[];
  /** Bytes of an unfinished write at the end, which the next start cuts off. */
  readonly tornBytes: number;
  /** Files that earlier damage was found in, kept for a person to look at. */
  readonly setAside: readonly string[];
  /** Entries of the group that was asked for. */
  readonly entries: readonly EntryReport[];
}

export interface InspectOptions {
  /** List the entries of this group. */
  readonly groupId?: number | undefined;
  /** From this index on. */
  readonly from?: number | undefined;
  /** So many entries at most. */
  readonly limit?: number | undefined;
}

/** Reads a node's log and snapshots whole, and changes nothing. */
export async function inspect(disks: { readonly wal: Disk; readonly snapshots: Disk }, options: InspectOptions = {}): Promise<LogReport> {
  const segments: SegmentReport[] = [];
  const { recovered, damage, tornBytes } = await replay(disks.wal, {
    segment({ name }, { header, parts }, bytes) {
      segments.push({ file: name, format: header.format, bytes, frames: parts.filter(({ kind }) => kind === "frame").length, records: 0, groups: new Map() });
    },
    record(_, record) {
      note(segments.at(-1)!, record);
    },
  });
  const groups: GroupReport[] = [];
  const inUse = new Map<number, SnapshotMeta>();
  for (const [groupId, { hardState, snapshot, entries, loss }] of [...recovered].sort(([a], [b]) => a - b)) {
    const { index, term } = entries.at(-1) ?? snapshot ?? { index: 0, term: 0 };
    const bytes = entries.reduce((sum, entry) => sum + entry.data.length, 0);
    groups.push({ groupId, hardState, snapshot, first: entries[0]?.index ?? 0, end: { index, term }, entries: entries.length, bytes, loss });
    if (snapshot !== undefined) inUse.set(groupId, snapshot);
  }
  const snapshots = await inspectSnapshots(disks.snapshots, inUse);
  const wanted = options.groupId === undefined ? [] : (recovered.get(options.groupId)?.entries ?? []);
  return {
    segments, groups, snapshots: snapshots.reports, damage: [...damage, ...snapshots.damage], tornBytes,
    setAside: [...(await disks.wal.list()), ...(await disks.snapshots.list())].filter((name) => name.startsWith(DAMAGED_PREFIX)),
    entries: wanted.filter(({ index }) => index >= (options.from ?? 0)).slice(0, options.limit).map(reportOf),
  };
}

function reportOf({ index, term, kind, data }: LogEntry): EntryReport {
  return { index, term, kind, bytes: data.length };
}

function note(segment: SegmentReport, record: WalRecord): void {
  segment.records++;
  const first = record.kind === "mark" ? undefined : record.entries[0]?.index;
  if (record.kind === "mark" || first === undefined) return;
  const last = record.entries.at(-1)!.index;
  const held = segment.groups.get(record.groupId);
  segment.groups.set(record.groupId, held === undefined ? { first, last } : { first: Math.min(held.first, first), last: Math.max(held.last, last) });
}

async function inspectSnapshots(disk: Disk, inUse: ReadonlyMap<number, SnapshotMeta>): Promise<{ reports: SnapshotReport[]; damage: Damage[] }> {
  const store = SnapshotStore.view(disk);
  const reports: SnapshotReport[] = [];
  const damage: Damage[] = [];
  for (const { groupId, index } of await store.all()) {
    const file = snapshotName(groupId, index);
    let meta: SnapshotMeta | undefined;
    try {
      const reader = await store.read(groupId, index);
      await reader.verify();
      meta = reader.meta;
    } catch (error) {
      damage.push(snapshotDamage(file, error));
    }
    reports.push({ file, groupId, index, meta, inUse: inUse.get(groupId)?.index === index });
  }
  for (const [groupId, { index }] of inUse) {
    if (reports.some((report) => report.groupId === groupId && report.index === index)) continue;
    damage.push({ kind: "snapshot", file: snapshotName(groupId, index), offset: 0, bytes: 0, reason: "the file is missing" });
  }
  return { reports, damage };
}

function snapshotDamage(file: string, error: unknown): Damage {
  if (error instanceof CorruptionError) return { kind: "snapshot", file, offset: error.offset, bytes: 0, reason: error.reason };
  if (error instanceof DiskError && error.code === "EIO") return { kind: "snapshot", file, offset: 0, bytes: 0, reason: "the disk could not read it" };
  throw error;
}
