// What a group is made with, and whom it tells.
import type { EntityChange, LogPosition } from "@statemesh/contract";
import type { DecidedOperation } from "@statemesh/contract/log";
import type { DirectoryChange } from "@statemesh/replica";
import type { Policy } from "@statemesh/world";
import type { StageTimes } from "../flow/stage-times.ts";
import type { DelayLimits } from "../flow/standing-delay.ts";

export interface GroupOptions {
  readonly groupId: number;
  readonly nodeId: number;
  /** Who founded the group; empty on a node that joined it later. */
  readonly voters: readonly number[];
  readonly policy: Policy;
  /** Groups that hold regions. */
  readonly groups: number;
  /** True where a node is a member, and stays. */
  readonly isMember?: (nodeId: number) => boolean;
  /** Ticks of a follower's patience, at least; drawn anew between this and twice this. */
  readonly electionTicks: number;
  readonly heartbeatTicks: number;
  /** Milliseconds from tick to tick. */
  readonly tickMs: number;
  /** A leader with a lease answers reads without asking the others. */
  readonly leaseReads: boolean;
  /** Units that may wait for a decision. Beyond it callers get OVERLOADED. */
  readonly queueCapacity: number;
  /** Milliseconds that operations may wait for their turn before a server that keeps them waiting longer is refused more. Default: 250. */
  readonly queueTargetMs?: number;
  /** Milliseconds for which the wait may be above that. Default: 500. */
  readonly queueIntervalMs?: number;
  /** Where the time of operations is counted. */
  readonly stages?: StageTimes;
  /** Bytes of log since the last snapshot that make the next one due. */
  readonly snapshotLogBytes: number;
  /** Entries kept in memory behind a snapshot, for followers that are a little slow. */
  readonly trailingEntries: number;
  /** Bytes of entries that a leader keeps, at most, for followers that are slower than that but alive. */
  readonly trailingBytes: number;
}

/** What a node does with what its groups learn. */
export interface GroupListener {
  /** Strong state changed: for subscriptions. */
  changed(groupId: number, position: LogPosition, changes: readonly EntityChange[]): void;
  /** Operations were decided, whatever became of them. */
  decided(operations: readonly DecidedOperation[]): void;
  /** The state was replaced by a snapshot of the leader. */
  replaced(groupId: number): void;
  /** The directory changed (group 0 only). */
  directoryChanged(change: DirectoryChange): void;
  /** The members on record, or the cluster's version, may have changed (group 0 only). */
  membershipChanged(): void;
  /** A transaction across groups came further. `key`: as it is on record. */
  transactionStepped(groupId: number, key: string): void;
  /** Role or leader changed. */
  leaderChanged(groupId: number, leader: number): void;
  /** The group has something for `pump`. */
  dirty(groupId: number): void;
}

/** What a decider is made with. */
export type DeciderOptions = Pick<GroupOptions, "queueCapacity" | "queueTargetMs" | "queueIntervalMs" | "groups" | "stages" | "isMember">;

/** An arbiter that does not answer holds a queue up for half a second, and is no load. */
const QUEUE_TARGET_MS = 250;
const QUEUE_INTERVAL_MS = 500;

export function delayLimits({ queueTargetMs, queueIntervalMs }: Pick<DeciderOptions, "queueTargetMs" | "queueIntervalMs">): DelayLimits {
  return { targetMs: queueTargetMs ?? QUEUE_TARGET_MS, intervalMs: queueIntervalMs ?? QUEUE_INTERVAL_MS };
}
