import type { LogEntry, SnapshotMeta } from "@statemesh/contract";
import { MAX_MEMBERS } from "./configuration.ts";
import type { QuorumRule } from "./quorum/rule.ts";

/** Term, vote and commit index: one value, stored as one record. */
export interface HardState {
  term: number;
  /** Whom the node voted for in the term; 0: nobody. */
  vote: number;
  /** Committed through here. May lag behind what was committed; never ahead of the stored log. */
  commit: number;
}

/** What storage holds of a group when its node starts again. */
export interface RestoredState {
  hardState: HardState;
  /** The latest snapshot that the application has durably. */
  snapshot?: SnapshotMeta;
  /** Ascending, without gaps; may begin before the snapshot's index. */
  entries: LogEntry[];
  /** What the application's state already holds: the index of its snapshot. */
  applied: number;
}

export interface RaftOptions {
  groupId: number;
  /** Above 0. */
  nodeId: number;
  /**
   * The bootstrap configuration: who voted before any change, the same on every node for ever. What a snapshot or the log says
   * stands above it.
   */
  voters: readonly number[];
  /**
   * The node joins a group whose configurations it does not know: `voters` is empty, and the node takes part in
   * no election of its own until its log or a snapshot names one. Default false.
   */
  joining?: boolean;
  /** Default `weighted`. May differ between nodes for the time of a rolling change. */
  quorum?: QuorumRule;
  /** Ticks without word from a leader before an election, at least; randomised below twice that. At least 2, and above `heartbeatTicks`. */
  electionTicks: number;
  /** Ticks between heartbeats. At least 1. */
  heartbeatTicks: number;
  /**
   * A leader that heard from no quorum for an election timeout steps down, and who hears a leader votes for nobody else. Default
   * true; the same on all nodes.
   */
  checkQuorum?: boolean;
  /**
   * Answers reads without a round of messages while a lease holds. Default false; the same on all nodes; needs `checkQuorum`.
   * Sound only while clocks run alike: the ticks of one node may fall behind another's by no more than the margin within an
   * election timeout. A host that was held up must tell of the ticks that it missed (`missedTicks`), by monotonic time, before
   * it asks for a read. A node then votes for nobody in its first election timeout.
   */
  leaseReads?: boolean;
  /**
   * Ticks by which a lease is shorter than an election timeout: one for where in a tick a message is sent and received, the
   * rest for clocks that run apart. At least 1. Default: one, and a tenth of the election timeout, rounded up.
   */
  leaseMarginTicks?: number;
  /**
   * A group with nothing outstanding goes to sleep after an election timeout: no heartbeats, no election timers. Default false.
   * The host has to hear of the other nodes on a way of its own, once for all groups, and tell by `nodeSilent` and
   * `nodeHeard`; it need not tick a replica that is quiescent. Replicas with and without it get on.
   */
  quiescence?: boolean;
  /** Unacknowledged append messages a peer. At least 1. */
  maxInflightMessages: number;
  /** Unacknowledged bytes of entries a peer. At least 1. */
  maxInflightBytes: number;
  /** Bytes of entries in one message; an entry above that travels alone. At least 1. */
  maxMessageBytes: number;
  /** Bytes that a leader takes and has not committed; above that proposals are refused. At least 1. */
  maxUncommittedBytes: number;
  /** Bytes of committed entries in one Ready. Default: four times `maxMessageBytes`. */
  maxCommittedBytes?: number;
  /** Reads that wait for a quorum. Default 65,536; above that reads are refused. */
  maxPendingReads?: number;
  /** Uniform in [0, 1); spreads election timeouts. */
  random: () => number;
  restored?: RestoredState;
}

/** What `leaseMarginTicks` is where it is not given. */
export function defaultLeaseMargin(electionTicks: number): number {
  return 1 + Math.ceil(electionTicks / 10);
}

/** What `electionTicks` must be at least for a lease to outlive a heartbeat: else it would never hold. */
export function leastLeaseElectionTicks(electionTicks: number, heartbeatTicks: number, leaseMarginTicks?: number): number {
  return heartbeatTicks + (leaseMarginTicks ?? defaultLeaseMargin(electionTicks)) + 1;
}

/** Throws a RangeError that names the option and the rule. */
export function checkOptions(options: RaftOptions): void {
  const whole = (name: keyof RaftOptions, min: number): void => {
    const value = options[name];
    if (value === undefined) return;
    if (!Number.isSafeInteger(value) || Number(value) < min) throw new RangeError(`raft: ${name} must be a whole number of at least ${min}`);
  };
  whole("groupId", 0);
  whole("nodeId", 1);
  whole("electionTicks", 2);
  whole("heartbeatTicks", 1);
  whole("leaseMarginTicks", 1);
  whole("maxInflightMessages", 1);
  whole("maxInflightBytes", 1);
  whole("maxMessageBytes", 1);
  whole("maxUncommittedBytes", 1);
  whole("maxCommittedBytes", 1);
  whole("maxPendingReads", 1);
  if (options.electionTicks <= options.heartbeatTicks) throw new RangeError("raft: electionTicks must be above heartbeatTicks");
  if (options.leaseReads === true) {
    if (options.checkQuorum === false) throw new RangeError("raft: leaseReads needs checkQuorum");
    const least = leastLeaseElectionTicks(options.electionTicks, options.heartbeatTicks, options.leaseMarginTicks);
    if (options.electionTicks < least) throw new RangeError("raft: leaseReads needs electionTicks above heartbeatTicks and leaseMarginTicks together");
  }
  if (options.joining === true && options.voters.length > 0) throw new RangeError("raft: voters must be empty on a node that is joining");
  if (options.joining !== true && options.voters.length === 0) throw new RangeError("raft: voters must name at least one node");
  if (options.voters.length > MAX_MEMBERS) throw new RangeError(`raft: voters must name at most ${MAX_MEMBERS} nodes`);
  for (const voter of options.voters) {
    if (!Number.isSafeInteger(voter) || voter < 1) throw new RangeError("raft: voters must be whole numbers of at least 1");
  }
}
