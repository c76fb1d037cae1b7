import type { Configuration } from "./configuration.ts";
import type { ProgressState } from "./progress.ts";

/**
 * - `follower`: takes entries from a leader, or waits for one.
 * - `pre_candidate`: asks whether it could win, without disturbing anyone.
 * - `candidate`: asks for votes in a term of its own.
 * - `leader`: appends and replicates.
 */
export type Role = "follower" | "pre_candidate" | "candidate" | "leader";

/** Kinds of log entries. */
export const EntryKind = { COMMAND: 0, EMPTY: 1, CONFIGURATION: 2 } as const;

export interface PeerStatus {
  match: number;
  next: number;
  state: ProgressState;
  recentActive: boolean;
}

export interface RaftStatus {
  groupId: number;
  nodeId: number;
  role: Role;
  leader: number;
  term: number;
  vote: number;
  commitIndex: number;
  appliedIndex: number;
  firstIndex: number;
  lastIndex: number;
  durableIndex: number;
  snapshotIndex: number;
  uncommittedBytes: number;
  waitingReads: number;
  /** Messages that no correct peer sends; each was ignored. */
  malformedMessages: number;
  /** Ticks for which the leader may answer reads by itself; 0 where leases are off or none holds. */
  leaseTicks: number;
  /** The replica sleeps until something comes. */
  quiescent: boolean;
  /** Whom leadership is on the way to; 0: nobody. */
  transferee: number;
  /** What the leader knows of itself and of each other member; empty on others. */
  progress: Map<number, PeerStatus>;
  /** Everybody who votes; in a joint configuration those of both halves. */
  voters: readonly number[];
  learners: readonly number[];
  /** The latest in the log, committed or not. */
  configuration: Configuration;
  /** Where it stands in the log. */
  configurationIndex: number;
}
