import { RaftMessageType } from "@statemesh/contract";
import type { LogEntry, RaftMessage, SnapshotMeta } from "@statemesh/contract";
import { waitsForDurability } from "./durability.ts";
import {
  configurationOf, decodeConfiguration, encodeConfiguration, isJoint, leaveJoint, membersOf, NO_CONFIGURATION, sameConfiguration, stepTowards,
} from "./configuration.ts";
import type { Configuration, ConfigurationTarget } from "./configuration.ts";
import { ConfigurationHistory } from "./configuration-history.ts";
import { invariant } from "./invariant.ts";
import { Lease } from "./lease.ts";
import { entryBytes, makeMessage } from "./message.ts";
import { checkOptions, defaultLeaseMargin } from "./options.ts";
import type { HardState, RaftOptions } from "./options.ts";
import { Progress } from "./progress.ts";
import type { Quorum } from "./quorum/quorum.ts";
import { quorumOf } from "./quorum/rule.ts";
import type { QuorumRule } from "./quorum/rule.ts";
import { RaftLog, UNKNOWN_TERM } from "./raft-log.ts";
import { ReadQueue } from "./read-queue.ts";
import type { ReadState } from "./read-queue.ts";
import type { ConfigurationResult, ProposeResult, Ready } from "./ready.ts";
import { EntryKind } from "./status.ts";
import type { PeerStatus, RaftStatus, Role } from "./status.ts";

const NOTHING: never[] = [];
const DEFAULT_PENDING_READS = 65_536;
/** Entries that a learner may lag to be promoted: an instant of load, not a snapshot away. */
const DEFAULT_LEARNER_LAG = 100;

/**
 * One replica of one Raft group: a state machine without clock, socket or disk. Inputs are ticks, messages,
 * proposals and completions of storage; all outputs are in `ready()`. After Ongaro's dissertation, with
 * pre-votes (§9.6), a check for a quorum (§6.2), read indexes (§6.4), leadership transfer (§3.10), learners (§4.2.1) and
 * joint configurations (§4.3); shaped after etcd's raft with asynchronous storage.
 *
 * Sections: outside view, inputs, outputs, transitions, configurations, elections, the follower's part, the leader's part.
 */
export class RaftCore {
  readonly groupId: number;
  readonly nodeId: number;
  readonly #options: RaftOptions;
  readonly #log: RaftLog;
  readonly #reads: ReadQueue;

  #term = 0;
  /** Whom this node voted for in its term; 0: nobody. */
  #vote = 0;
  #role: Role = "follower";
  #leader = 0;
  readonly #configurations: ConfigurationHistory;
  /** Undefined only where the node joins and knows of no configuration yet. */
  #quorum: Quorum | undefined;
  /** Every member, and this node in any case. */
  #progress = new Map<number, Progress>();
  /** Every member but this node, ascending. */
  #peers: Progress[] = [];
  /** The leader's configuration is not committed, or joint, or without itself as a voter: something is to be done once it is committed. */
  #configurationOpen = false;

  /** Where leases are in use. */
  readonly #lease: Lease | undefined;
  /** Ticks of this life. */
  #now = 0;
  /** When a leader was last heard, of whatever term. A node that starts may have heard one just before. */
  #heardAt = 0;
  #electionElapsed = 0;
  #heartbeatElapsed = 0;
  #electionTimeout = 0;
  #votes = new Map<number, boolean>();
  /** The Ready whose durability makes the candidate's vote for itself count; 0: not handed out yet. */
  #ownVoteSequence = 0;
  #transferee = 0;
  #uncommittedBytes = 0;
  /** The leader committed an entry of its own term. */
  #ready = false;
  /** The leader has something new for its peers. */
  #sendDue = false;
  #malformed = 0;

  #sequence = 0;
  #storedTerm = 0;
  #storedVote = 0;
  #storedCommit = 0;
  #messages: RaftMessage[] = [];
  #messagesAfterPersist: RaftMessage[] = [];
  #readStates: ReadState[] = [];
  #abortedReads: number[] = [];

  // Kept closures: asked for on every acknowledgement.
  readonly #matchOf = (voter: number): number => this.#progress.get(voter)!.match;
  readonly #readAcknowledgedBy = (voter: number): number =>
    voter === this.nodeId ? this.#reads.counter : this.#progress.get(voter)!.readAcknowledged;
  readonly #isActive = (voter: number): boolean => voter === this.nodeId || this.#progress.get(voter)!.recentActive;
  readonly #isSelf = (voter: number): boolean => voter === this.nodeId;

  /** Throws a RangeError for an option out of its range and a RaftInvariantError for a restored state that cannot be. */
  constructor(options: RaftOptions) {
    checkOptions(options);
    this.#options = options;
    this.groupId = options.groupId;
    this.nodeId = options.nodeId;
    this.#log = new RaftLog(options.restored);
    this.#reads = new ReadQueue(options.maxPendingReads ?? DEFAULT_PENDING_READS);
    if (options.leaseReads === true) this.#lease = new Lease(options.electionTicks - (options.leaseMarginTicks ?? defaultLeaseMargin(options.electionTicks)));
    const snapshot = options.restored?.snapshot;
    this.#configurations = new ConfigurationHistory(snapshot?.index ?? 0, this.#configurationIn(snapshot));
    const firstBehind = Math.max(this.#log.first, (snapshot?.index ?? 0) + 1);
    this.#configurations.replaceFrom(firstBehind, this.#log.slice(firstBehind, this.#log.last, Infinity));
    this.#configure();
    if (options.restored !== undefined) {
      this.#term = options.restored.hardState.term;
      this.#vote = options.restored.hardState.vote;
      invariant(this.#log.lastTerm <= this.#term, "the stored term is at least that of the stored log");
    }
    this.#storedTerm = this.#term;
    this.#storedVote = this.#vote;
    this.#storedCommit = options.restored?.hardState.commit ?? 0;
    this.#becomeFollower(this.#term, 0);
  }

  // --- Outside view ---

  get role(): Role {
    return this.#role;
  }

  /** The term's leader as far as known; 0: none. */
  get leader(): number {
    return this.#leader;
  }

  get term(): number {
    return this.#term;
  }

  get commitIndex(): number {
    return this.#log.committed;
  }

  get appliedIndex(): number {
    return this.#log.applied;
  }

  get lastIndex(): number {
    return this.#log.last;
  }

  get firstIndex(): number {
    return this.#log.first;
  }

  /** Everybody who votes; in a joint configuration those of both halves. */
  get voters(): readonly number[] {
    return this.#quorum?.voters ?? NOTHING;
  }

  /** The latest configuration in the log, committed or not: the one that counts. */
  get configuration(): Configuration {
    return this.#configurations.current;
  }

  /** Where that configuration stands in the log. */
  get configurationIndex(): number {
    return this.#configurations.index;
  }

  /**
   * The configuration that a snapshot at `index` has to carry. Undefined where none can be taken there: the configuration at
   * that index is joint (soon over; try again further on), or not known any more.
   */
  snapshotConfiguration(index: number): Configuration | undefined {
    return this.#configurations.forSnapshot(index);
  }

  /** A leader that committed an entry of its own term: it knows everything that was ever committed. */
  get isReadyToServe(): boolean {
    return this.#role === "leader" && this.#ready;
  }

  status(): RaftStatus {
    const log = this.#log;
    const progress = new Map<number, PeerStatus>();
    if (this.#role === "leader") {
      for (const [id, { match, next, state, recentActive }] of this.#progress) progress.set(id, { match, next, state, recentActive });
    }
    return {
      groupId: this.groupId, nodeId: this.nodeId, role: this.#role, leader: this.#leader, term: this.#term, vote: this.#vote,
      commitIndex: log.committed, appliedIndex: log.applied, firstIndex: log.first, lastIndex: log.last, durableIndex: log.durable,
      snapshotIndex: log.snapshot?.index ?? 0, uncommittedBytes: this.#uncommittedBytes, waitingReads: this.#reads.waiting,
      malformedMessages: this.#malformed, transferee: this.#transferee, leaseTicks: this.#leaseTicks(),
      progress, voters: this.voters, learners: this.configuration.learners,
      configuration: this.configuration, configurationIndex: this.configurationIndex,
    };
  }

  /**
   * Committed entries from `from` to `to`, both included, at most `maxBytes` but at least one. Empty where
   * `from` was compacted away or is not committed.
   */
  entries(from: number, to: number, maxBytes: number): LogEntry[] {
    if (from < this.#log.first) return NOTHING;
    return this.#log.slice(from, Math.min(to, this.#log.committed), maxBytes);
  }

  /** Term of the entry at `index`, undefined where it was compacted away or is not there yet. */
  termOf(index: number): number | undefined {
    const term = this.#log.term(index);
    return term === UNKNOWN_TERM ? undefined : term;
  }

  // --- Inputs ---

  /** One unit of time went by. */
  tick(): void {
    this.#now++;
    this.#electionElapsed++;
    if (this.#role !== "leader") {
      if (this.#electionElapsed >= this.#electionTimeout) this.campaign();
      return;
    }
    if (this.#electionElapsed >= this.#options.electionTicks) {
      this.#electionElapsed = 0;
      this.#transferee = 0;
      if (this.#options.checkQuorum !== false && !this.#decides(this.#isActive)) {
        this.#becomeFollower(this.#term, 0);
        return;
      }
      for (const peer of this.#peers) peer.recentActive = false;
    }
    if (++this.#heartbeatElapsed >= this.#options.heartbeatTicks) {
      this.#heartbeatElapsed = 0;
      for (const peer of this.#peers) peer.checkDue = true;
      if (this.#lease !== undefined) this.#lease.sent(this.#reads.openEmpty(), this.#now);
      this.#broadcastHeartbeat();
    }
  }

  /**
   * Units of time that went by without a tick, because the host was held up. They count against the leader's lease only: nobody
   * is called silent for a time in which this node did not listen.
   */
  missedTicks(count: number): void {
    invariant(count >= 0, "time does not go back");
    if (this.#role === "leader") this.#now += count;
  }

  /** Starts an election, beginning with pre-votes, as if the timeout had run out. Not on a leader or a non-voter, nor where a lease may count on this node. */
  campaign(): void {
    // Whoever may not campaign goes on counting: to vote it must know how long it has heard nothing.
    if (this.#role === "leader" || this.#boundByLease() || !this.#mayCampaign()) return;
    this.#becomePreCandidate();
    this.#askForVotes(RaftMessageType.PRE_VOTE, this.#term + 1, false);
    this.#countVote(this.nodeId, true);
  }

  /** A message from a peer. Messages of older terms and such that no correct peer sends change nothing. */
  step(message: RaftMessage): void {
    if (!this.#admit(message)) return;
    switch (message.type) {
      case RaftMessageType.PRE_VOTE:
      case RaftMessageType.VOTE:
        return this.#answerVote(message);
      case RaftMessageType.PRE_VOTE_RESPONSE:
        if (this.#role === "pre_candidate" && (message.reject || message.term === this.#term + 1)) this.#countVote(message.from, !message.reject);
        return;
      case RaftMessageType.VOTE_RESPONSE:
        if (this.#role === "candidate") this.#countVote(message.from, !message.reject);
        return;
      case RaftMessageType.APPEND:
        this.#follow(message);
        return this.#takeAppend(message);
      case RaftMessageType.HEARTBEAT:
        this.#follow(message);
        return this.#takeHeartbeat(message);
      case RaftMessageType.SNAPSHOT:
        // The snapshot itself comes by stepSnapshot; the announcement is word from the leader.
        return this.#follow(message);
      case RaftMessageType.APPEND_RESPONSE:
        return this.#takeAppendResponse(message);
      case RaftMessageType.HEARTBEAT_RESPONSE:
        return this.#takeHeartbeatResponse(message);
      case RaftMessageType.TIMEOUT_NOW:
        if (this.#role !== "leader" && this.#mayCampaign()) this.#campaignForReal(true);
        return;
      default:
        // Reads are forwarded above this layer; other types are of a later version.
        this.#malformed++;
    }
  }

  /**
   * A snapshot arrived: all chunks are received, checked and durable in the application's care. `message` is the SNAPSHOT
   * message that it stands for. True where the next Ready will ask to install it; false where the log already has it.
   */
  stepSnapshot(meta: SnapshotMeta, message: RaftMessage): boolean {
    const said = meta.index === message.logIndex && meta.term === message.logTerm && meta.groupId === this.groupId;
    if (message.type !== RaftMessageType.SNAPSHOT || !said || !this.#canConfigure(meta)) {
      this.#malformed++;
      return false;
    }
    if (!this.#admit(message)) return false;
    this.#follow(message);
    const log = this.#log;
    if (meta.index <= log.committed || log.matches(meta.index, meta.term)) {
      log.commitTo(meta.index);
      this.#acceptAppend(message.from, log.committed);
      return false;
    }
    const configuration = this.#configurationIn(meta);
    log.install(meta);
    this.#configurations.reset(meta.index, configuration);
    this.#configure();
    this.#acceptAppend(message.from, meta.index);
    return true;
  }

  /** Appends a command to the leader's log. `data` is kept, not copied. */
  propose(data: Uint8Array): ProposeResult {
    if (this.#role !== "leader") return { ok: false, reason: "not_leader" };
    if (this.#transferee !== 0) return { ok: false, reason: "transferring" };
    const entry: LogEntry = { term: this.#term, index: this.#log.last + 1, kind: EntryKind.COMMAND, data };
    const bytes = entryBytes(entry);
    if (this.#uncommittedBytes > 0 && this.#uncommittedBytes + bytes > this.#options.maxUncommittedBytes) return { ok: false, reason: "uncommitted_limit" };
    this.#appendOwn(entry);
    return { ok: true, index: entry.index, term: entry.term };
  }

  /**
   * Changes who takes part, to `target`. One entry where only learners change; else a joint configuration, which the leader
   * leaves by a second entry as soon as the first is committed. The change is done once `configuration` is no longer joint and
   * `configurationIndex` is committed; lost where another leader cut it off. A leader that is no longer a voter steps down then, and
   * tells the best of the others to follow it. Add a node as a learner first and promote it when `learnerCaughtUp`: a voter
   * that lags counts against the quorum. Never use an id again for a node that lost its data.
   */
  proposeConfiguration(target: ConfigurationTarget): ConfigurationResult {
    if (this.#role !== "leader") return { ok: false, reason: "not_leader" };
    if (this.#transferee !== 0) return { ok: false, reason: "transferring" };
    const wanted = configurationOf(target);
    if (typeof wanted === "string") return { ok: false, reason: "invalid", rule: wanted };
    // Before its first commit the leader may hold a change that another leader's could cross (Ongaro on raft-dev, July 2015).
    if (!this.#ready) return { ok: false, reason: "not_ready" };
    const current = this.configuration;
    if (isJoint(current) || this.configurationIndex > this.#log.committed) return { ok: false, reason: "change_pending" };
    if (sameConfiguration(current, wanted)) return { ok: false, reason: "no_change" };
    this.#appendConfiguration(stepTowards(current, wanted));
    return { ok: true, index: this.configurationIndex, term: this.#term };
  }

  /** On the leader: whether a learner lags by at most `maxLag` entries behind what is committed, and so may be promoted. */
  learnerCaughtUp(id: number, maxLag = DEFAULT_LEARNER_LAG): boolean {
    const peer = this.#role === "leader" && this.configuration.learners.includes(id) ? this.#progress.get(id) : undefined;
    return peer !== undefined && peer.recentActive && peer.state === "replicate" && peer.match + maxLag >= this.#log.committed;
  }

  /**
   * On the leader: whether the voters of `target` that it heard from lately could decide by themselves. Where not, the change
   * would stop the group.
   */
  couldDecide(target: ConfigurationTarget): boolean {
    const wanted = configurationOf(target);
    if (this.#role !== "leader" || typeof wanted === "string") return false;
    return quorumOf(this.#rule, wanted).decides((voter) => {
      const member = this.#progress.get(voter);
      return voter === this.nodeId || (member !== undefined && member.recentActive && member.match > 0);
    });
  }

  /**
   * Asks for an index such that a state machine that applied it shows everything that was committed before this call.
   * The answer is in a later `readStates`, or the context in `abortedReads`. `overloaded`: maxPendingReads wait already.
   */
  readIndex(context: number): "ok" | "not_leader" | "not_ready" | "overloaded" {
    if (this.#role !== "leader") return "not_leader";
    if (!this.#ready) return "not_ready";
    if (this.#decides(this.#isSelf) || this.#leaseTicks() > 0) {
      this.#readStates.push({ context, index: this.#log.committed });
      return "ok";
    }
    if (this.#reads.full) return "overloaded";
    this.#reads.add(context);
    this.#sendDue = true;
    return "ok";
  }

  /**
   * Hands leadership to another voter as soon as its log is complete. Proposals are refused meanwhile; given up after an
   * election timeout. `unknown_peer`: no voter of the configuration (that is to come, where it is joint).
   */
  transferLeadership(to: number): "ok" | "not_leader" | "unknown_peer" {
    if (this.#role !== "leader") return "not_leader";
    const peer = this.configuration.voters.includes(to) ? this.#progress.get(to) : undefined;
    if (peer === undefined) return "unknown_peer";
    if (to === this.nodeId) {
      this.#transferee = 0;
      return "ok";
    }
    if (this.#transferee === to) return "ok";
    this.#transferee = to;
    this.#electionElapsed = 0;
    if (peer.match === this.#log.last) this.#sendTimeoutNow(to);
    else this.#sendDue = true;
    return "ok";
  }

  /** Ready number `sequence` and all earlier ones are durable. */
  persisted(sequence: number): void {
    invariant(sequence <= this.#sequence, "only Readys that were handed out become durable");
    const before = this.#log.durable;
    this.#log.persisted(sequence);
    if (this.#role === "candidate" && this.#ownVoteSequence !== 0 && sequence >= this.#ownVoteSequence) {
      this.#ownVoteSequence = 0;
      this.#countVote(this.nodeId, true);
    } else if (this.#role === "leader" && this.#log.durable > before) {
      this.#countOwnCopy();
    }
  }

  /** The application applied everything up to `index` (after an installed snapshot: loaded it). */
  applied(index: number): void {
    this.#log.appliedTo(index);
  }

  /** The transport could not reach a peer: what is in flight may be lost. */
  reportUnreachable(peer: number): void {
    const progress = this.#role === "leader" ? this.#progress.get(peer) : undefined;
    if (progress?.state === "replicate") {
      progress.becomeProbe();
      this.#sendDue = true;
    }
  }

  /** The peer's log is gone: what it had acknowledged counts no more, and it is brought up from the beginning. */
  peerLostData(peer: number): void {
    const progress = this.#role === "leader" ? this.#progress.get(peer) : undefined;
    if (progress === undefined) return;
    progress.reset(this.#log.last + 1);
    this.#sendDue = true;
  }

  /** How the transport of a snapshot ended. Every SNAPSHOT message in a Ready must be reported once. */
  reportSnapshot(peer: number, ok: boolean): void {
    const progress = this.#role === "leader" ? this.#progress.get(peer) : undefined;
    if (progress?.state !== "snapshot") return;
    if (ok) progress.becomeProbe();
    else progress.failSnapshot();
    // Either way the next message waits for word from the peer: its acknowledgement, or a heartbeat's echo.
    progress.probeSent = true;
  }

  /**
   * The application has a durable snapshot at `meta.index` (applied): forgets entries up to `throughIndex`, at most that index.
   * Followers that need older entries get the snapshot. Its voters and learners are those of `snapshotConfiguration(meta.index)`.
   */
  compact(throughIndex: number, meta: SnapshotMeta): void {
    this.#log.compact(throughIndex, meta);
    if (meta.index === this.#log.snapshot?.index && this.#configurations.at(meta.index) !== undefined) {
      const configuration = this.#configurations.forSnapshot(meta.index);
      invariant(configuration !== undefined && sameConfiguration(configuration, this.#configurationIn(meta)), "a snapshot carries the configuration at its index");
    }
    this.#configurations.compact(throughIndex);
    this.#log.checkInvariants();
  }

  // --- Outputs ---

  /** Whether `ready()` has anything to say. */
  hasReady(): boolean {
    this.#flush();
    const log = this.#log;
    return (
      this.#messages.length > 0 || this.#messagesAfterPersist.length > 0 || this.#hardStateChanged() || log.hasUnstored || log.hasUnhanded ||
      this.#readStates.length > 0 || this.#abortedReads.length > 0
    );
  }

  /** Takes everything that is to be done now. What proposals since the last call added leaves in one message a peer. */
  ready(): Ready {
    this.#flush();
    const log = this.#log;
    const sequence = ++this.#sequence;
    // Every Ready has arrays of its own: what is said later never shows up in an earlier one.
    let messages = this.#messages;
    let messagesAfterPersist = this.#messagesAfterPersist;
    this.#messages = [];
    this.#messagesAfterPersist = [];

    const changed = this.#hardStateChanged();
    const mustSync = changed || log.hasUnstored;
    let hardState: HardState | undefined;
    let snapshot: SnapshotMeta | undefined;
    let entries: readonly LogEntry[] = NOTHING;
    if (mustSync) {
      ({ snapshot, entries } = this.#takeUnstored(sequence));
      // The commit index alone is not worth a write: it rides along.
      if (changed || log.committed !== this.#storedCommit) hardState = this.#takeHardState();
    } else if (!log.hasWrites && messagesAfterPersist.length > 0) {
      // Everything that these messages promise is durable already.
      messages = messages.length === 0 ? messagesAfterPersist : messages.concat(messagesAfterPersist);
      messagesAfterPersist = [];
    }

    const committed = log.takeCommitted(this.#options.maxCommittedBytes ?? this.#options.maxMessageBytes * 4);
    const readStates = this.#readStates;
    const abortedReads = this.#abortedReads;
    this.#readStates = [];
    this.#abortedReads = [];
    log.checkInvariants();
    return { sequence, hardState, entries, snapshot, messages, messagesAfterPersist, committed, readStates, abortedReads, mustSync };
  }

  #hardStateChanged(): boolean {
    return this.#term !== this.#storedTerm || this.#vote !== this.#storedVote;
  }

  #takeHardState(): HardState {
    this.#storedTerm = this.#term;
    this.#storedVote = this.#vote;
    this.#storedCommit = this.#log.committed;
    return { term: this.#term, vote: this.#vote, commit: this.#log.committed };
  }

  #takeUnstored(sequence: number): { snapshot: SnapshotMeta | undefined; entries: LogEntry[] } {
    if (this.#role === "candidate" && this.#ownVoteSequence === 0 && !this.#votes.has(this.nodeId)) this.#ownVoteSequence = sequence;
    return this.#log.takeUnstored(sequence);
  }

  #message(type: RaftMessageType, to: number): RaftMessage {
    return makeMessage(this.groupId, type, this.nodeId, to, this.#term);
  }

  /** Every message leaves through here, so that none leaves before what it promises is durable. */
  #send(message: RaftMessage): void {
    if (waitsForDurability(message)) this.#messagesAfterPersist.push(message);
    else this.#messages.push(message);
  }

  // --- Transitions: the only places that change role, term and vote ---

  #becomeFollower(term: number, leader: number): void {
    this.#enter("follower", term);
    this.#leader = leader;
  }

  /** Changes neither term nor vote: nothing is promised. */
  #becomePreCandidate(): void {
    invariant(this.#role !== "leader", "a leader does not campaign");
    this.#enter("pre_candidate", this.#term);
  }

  #becomeCandidate(): void {
    invariant(this.#role !== "leader", "a leader does not campaign");
    this.#enter("candidate", this.#term + 1);
    this.#vote = this.nodeId;
  }

  #becomeLeader(): void {
    invariant(this.#role === "candidate", "only a candidate becomes leader");
    this.#enter("leader", this.#term);
    this.#leader = this.nodeId;
    const log = this.#log;
    for (const peer of this.#progress.values()) peer.reset(log.last + 1);
    const own = this.#progress.get(this.nodeId)!;
    own.acknowledge(log.durable);
    own.becomeReplicate();
    this.#uncommittedBytes = log.bytes(log.committed + 1, log.last);
    this.#configurationOpen = true;
    // Entries of earlier terms are committed by count only together with one of this term.
    this.#appendOwn({ term: this.#term, index: log.last + 1, kind: EntryKind.EMPTY, data: new Uint8Array(0) });
  }

  #enter(role: Role, term: number): void {
    invariant(term >= this.#term, "the term never goes back");
    if (term !== this.#term) {
      this.#term = term;
      this.#vote = 0;
    }
    if (this.#role === "leader") this.#reads.abort(this.#abortedReads);
    this.#lease?.reset();
    this.#role = role;
    this.#leader = 0;
    this.#electionElapsed = 0;
    this.#heartbeatElapsed = 0;
    this.#electionTimeout = this.#options.electionTicks + Math.floor(this.#options.random() * this.#options.electionTicks);
    this.#votes.clear();
    this.#ownVoteSequence = 0;
    this.#transferee = 0;
    this.#uncommittedBytes = 0;
    this.#ready = false;
    this.#sendDue = false;
  }

  // --- Configurations ---

  get #rule(): QuorumRule {
    return this.#options.quorum ?? "weighted";
  }

  /** What a snapshot says; without voters, or without a snapshot, it is the bootstrap configuration. */
  #configurationIn(snapshot: SnapshotMeta | undefined): Configuration {
    const target = snapshot === undefined || snapshot.voters.length === 0 ? { voters: this.#options.voters, learners: NOTHING } : snapshot;
    if (target.voters.length === 0) return NO_CONFIGURATION;
    const configuration = configurationOf(target);
    invariant(typeof configuration !== "string", "a snapshot's configuration can be");
    return configuration;
  }

  /** A snapshot without voters speaks of the bootstrap configuration, where there was no other. */
  #canConfigure(meta: SnapshotMeta): boolean {
    if (meta.voters.length === 0) return sameConfiguration(this.configuration, this.#configurationIn(undefined));
    return typeof configurationOf(meta) !== "string";
  }

  /** Takes the latest configuration of the log for its own. Members of `leaving` are served on. */
  #configure(leaving: Configuration = NO_CONFIGURATION): void {
    const configuration = this.configuration;
    this.#quorum = configuration.voters.length === 0 ? undefined : quorumOf(this.#rule, configuration);
    const progress = new Map<number, Progress>();
    for (const id of [...new Set([...membersOf(configuration), ...membersOf(leaving), this.nodeId])].sort((a, b) => a - b)) {
      progress.set(id, this.#progress.get(id) ?? new Progress(id, this.#options.maxInflightMessages, this.#options.maxInflightBytes));
    }
    this.#progress = progress;
    this.#peers = [...progress.values()].filter((peer) => peer.id !== this.nodeId);
  }

  #decides(agrees: (voter: number) => boolean): boolean {
    return this.#quorum !== undefined && this.#quorum.decides(agrees);
  }

  /** The leader's own: it stands from now on. */
  #appendConfiguration(configuration: Configuration): void {
    const entry: LogEntry = { term: this.#term, index: this.#log.last + 1, kind: EntryKind.CONFIGURATION, data: encodeConfiguration(configuration) };
    const leaving = this.configuration;
    const before = this.#progress;
    this.#appendOwn(entry);
    this.#configurations.replaceFrom(entry.index, [entry]);
    // Whoever leaves decides nothing any more, but hears of it.
    this.#configure(leaving);
    for (const peer of this.#peers) {
      if (before.has(peer.id)) continue;
      peer.reset(entry.index);
      // It had no chance yet to be heard.
      peer.recentActive = true;
    }
    if (!configuration.voters.includes(this.#transferee)) this.#transferee = 0;
    this.#configurationOpen = true;
    this.#confirmReads();
  }

  /** The leader's duty once its configuration is committed. */
  #settleConfiguration(): void {
    const configuration = this.configuration;
    if (this.configurationIndex > this.#log.committed) return;
    if (isJoint(configuration)) return this.#appendConfiguration(leaveJoint(configuration));
    this.#configurationOpen = false;
    // The last word to those who left: that it is committed. They keep quiet from then on; it is safe without.
    this.#flush();
    this.#configure();
    if (!configuration.voters.includes(this.nodeId)) this.#resign();
  }

  /** The leader is no longer a voter: the one that holds most campaigns at once. */
  #resign(): void {
    let successor: Progress | undefined;
    for (const peer of this.#peers) {
      if (this.configuration.voters.includes(peer.id) && (successor === undefined || peer.match > successor.match)) successor = peer;
    }
    if (successor !== undefined) this.#sendTimeoutNow(successor.id);
    this.#becomeFollower(this.#term, 0);
  }

  // --- Terms and elections ---

  /** The rules about terms, before anything else is looked at. False: the message is dealt with. */
  #admit(message: RaftMessage): boolean {
    invariant(message.groupId === this.groupId && message.to === this.nodeId, "messages reach the replica that they are for");
    if (message.from === this.nodeId) {
      this.#malformed++;
      return false;
    }
    const { type } = message;
    if (message.term < this.#term) {
      this.#answerOldTerm(message);
      return false;
    }
    const asksForVote = type === RaftMessageType.PRE_VOTE || type === RaftMessageType.VOTE;
    if (asksForVote && !message.forced && this.#boundByLease()) return false;
    if (message.term === this.#term) return true;
    // A voter that hears its leader grants nothing and keeps its term, except on that leader's request.
    if (asksForVote && !message.forced && this.#hearsLeader()) return false;
    // A pre-vote speaks of a term that does not exist yet; so does its granted answer.
    if (type === RaftMessageType.PRE_VOTE || (type === RaftMessageType.PRE_VOTE_RESPONSE && !message.reject)) return true;
    const fromLeader = type === RaftMessageType.APPEND || type === RaftMessageType.HEARTBEAT || type === RaftMessageType.SNAPSHOT;
    this.#becomeFollower(message.term, fromLeader ? message.from : 0);
    return true;
  }

  #hearsLeader(): boolean {
    return this.#options.checkQuorum !== false && this.#leader !== 0 && this.#electionElapsed < this.#options.electionTicks;
  }

  /**
   * A leader may count on this node's patience: it heard from one less than an election timeout ago, or does not know
   * because it has just started. What has happened since (a newer term, another role) changes nothing about that.
   */
  #boundByLease(): boolean {
    return this.#lease !== undefined && this.#role !== "leader" && this.#now - this.#heardAt < this.#options.electionTicks;
  }

  #answerOldTerm(message: RaftMessage): void {
    let answer: RaftMessageType;
    switch (message.type) {
      case RaftMessageType.APPEND:
      case RaftMessageType.HEARTBEAT:
      case RaftMessageType.SNAPSHOT:
        // The old leader steps down on the newer term; else it and this node could hold each other up for ever.
        answer = RaftMessageType.APPEND_RESPONSE;
        break;
      case RaftMessageType.PRE_VOTE:
        answer = RaftMessageType.PRE_VOTE_RESPONSE;
        break;
      default:
        return;
    }
    const response = this.#message(answer, message.from);
    response.reject = true;
    this.#send(response);
  }

  #mayCampaign(): boolean {
    if (this.#log.installing) return false;
    if (this.#quorum?.has(this.nodeId) === true) return true;
    // Until the change that removes it is committed, it may be that only this node's log can win (dissertation, §4.2.2).
    const before = this.configurationIndex > this.#log.committed ? this.#configurations.previous : undefined;
    return before !== undefined && (before.voters.includes(this.nodeId) || before.outgoing.includes(this.nodeId));
  }

  #campaignForReal(forced: boolean): void {
    this.#becomeCandidate();
    // The candidate's own vote counts once it is durable; the requests wait for the same.
    this.#askForVotes(RaftMessageType.VOTE, this.#term, forced);
  }

  #askForVotes(type: RaftMessageType, term: number, forced: boolean): void {
    for (const peer of this.#peers) {
      if (!this.#quorum!.has(peer.id)) continue;
      const request = makeMessage(this.groupId, type, this.nodeId, peer.id, term);
      request.logIndex = this.#log.last;
      request.logTerm = this.#log.lastTerm;
      request.forced = forced;
      this.#send(request);
    }
  }

  #answerVote(message: RaftMessage): void {
    const pre = message.type === RaftMessageType.PRE_VOTE;
    const free = this.#vote === message.from || (this.#vote === 0 && this.#leader === 0) || (pre && message.term > this.#term);
    const granted = free && this.#log.isUpToDate(message.logIndex, message.logTerm);
    const response = this.#message(pre ? RaftMessageType.PRE_VOTE_RESPONSE : RaftMessageType.VOTE_RESPONSE, message.from);
    if (granted) {
      response.term = message.term;
      if (!pre) {
        this.#electionElapsed = 0;
        this.#vote = message.from;
      }
    } else {
      response.reject = true;
    }
    this.#send(response);
  }

  #countVote(from: number, granted: boolean): void {
    if (!this.#votes.has(from)) this.#votes.set(from, granted);
    const result = this.#quorum!.tally(this.#votes);
    if (result === "lost") this.#becomeFollower(this.#term, 0);
    else if (result === "won") {
      if (this.#role === "pre_candidate") this.#campaignForReal(false);
      else this.#becomeLeader();
    }
  }

  // --- The follower's part ---

  /** Word from the leader of this term. */
  #follow(message: RaftMessage): void {
    invariant(this.#role !== "leader", "a term has one leader");
    if (this.#role !== "follower") this.#becomeFollower(this.#term, message.from);
    this.#leader = message.from;
    this.#electionElapsed = 0;
    this.#heardAt = this.#now;
  }

  #takeAppend(message: RaftMessage): void {
    const log = this.#log;
    const { logIndex, logTerm, entries } = message;
    if (!isContiguous(message) || !hasReadableConfigurations(entries)) {
      this.#malformed++;
      return;
    }
    if (logIndex < log.committed) {
      this.#acceptAppend(message.from, log.committed);
      return;
    }
    if (log.matches(logIndex, logTerm)) {
      const firstNew = log.merge(entries);
      if (firstNew > 0 && this.#configurations.replaceFrom(firstNew, entries)) this.#configure();
      const lastVerified = logIndex + entries.length;
      log.commitTo(Math.min(message.commit, lastVerified));
      this.#acceptAppend(message.from, lastVerified);
      return;
    }
    // Where the logs may agree: at most the leader's index, in a term not above the leader's there.
    const hint = log.findConflict(logIndex, logTerm);
    const response = this.#message(RaftMessageType.APPEND_RESPONSE, message.from);
    response.reject = true;
    response.logIndex = logIndex;
    response.rejectHint = hint;
    response.logTerm = Math.max(0, log.term(hint));
    this.#send(response);
  }

  #acceptAppend(to: number, lastVerified: number): void {
    const response = this.#message(RaftMessageType.APPEND_RESPONSE, to);
    response.logIndex = lastVerified;
    this.#send(response);
  }

  #takeHeartbeat(message: RaftMessage): void {
    // A commit index behind the log's end means that this node lost what it acknowledged: it must not guess.
    if (message.commit > this.#log.last) this.#malformed++;
    else this.#log.commitTo(message.commit);
    const response = this.#message(RaftMessageType.HEARTBEAT_RESPONSE, message.from);
    response.context = message.context;
    this.#send(response);
  }

  // --- The leader's part ---

  #appendOwn(entry: LogEntry): void {
    this.#log.push(entry);
    this.#uncommittedBytes += entryBytes(entry);
    this.#sendDue = true;
  }

  #takeAppendResponse(message: RaftMessage): void {
    const peer = this.#role === "leader" ? this.#progress.get(message.from) : undefined;
    if (peer === undefined) return;
    const log = this.#log;
    if (message.logIndex > log.last) {
      this.#malformed++;
      return;
    }
    peer.recentActive = true;
    if (message.reject) {
      // Skip every index of ours with a term above the hint's: none of them can agree.
      const hint = log.findConflict(message.rejectHint, message.logTerm);
      if (peer.refuse(message.logIndex, hint)) {
        if (peer.state === "replicate") peer.becomeProbe();
        this.#sendDue = true;
      }
      return;
    }
    const advanced = peer.acknowledge(message.logIndex);
    if (!advanced && !(peer.match === message.logIndex && peer.state === "probe")) return;
    if (peer.state === "replicate") peer.inflights.freeThrough(message.logIndex);
    else if (peer.state === "probe" || peer.match + 1 >= log.first) peer.becomeReplicate();
    this.#sendDue = true;
    this.#advanceCommit();
    if (this.#transferee === peer.id && peer.match === log.last) this.#sendTimeoutNow(peer.id);
  }

  #takeHeartbeatResponse(message: RaftMessage): void {
    const peer = this.#role === "leader" ? this.#progress.get(message.from) : undefined;
    if (peer === undefined) return;
    peer.recentActive = true;
    // Something may be lost: an append without new entries brings it to light. Once a heartbeat of the clock, not once a round of reads.
    if (peer.checkDue) {
      peer.checkDue = false;
      peer.probeSent = false;
      if (peer.match < this.#log.last || peer.state === "probe") this.#sendAppend(peer, true);
    }
    if (message.context > peer.readAcknowledged && message.context <= this.#reads.counter) {
      peer.readAcknowledged = message.context;
      this.#confirmReads();
      this.#sendDue = true;
    }
  }

  #confirmReads(): void {
    this.#reads.confirm(this.#quorum!.reached(this.#readAcknowledgedBy), this.#readStates);
  }

  /** The leader's own disk: its copy counts like any other, once it is durable. */
  #countOwnCopy(): void {
    if (this.#progress.get(this.nodeId)!.acknowledge(this.#log.durable)) this.#advanceCommit();
  }

  /** Commits what a quorum holds, but only up to an entry of this term: an older one could still be replaced (dissertation, figure 3.7). */
  #advanceCommit(): void {
    const log = this.#log;
    const before = log.committed;
    const reached = this.#quorum!.reached(this.#matchOf);
    if (reached <= before || log.term(reached) !== this.#term) return;
    log.commitTo(reached);
    this.#uncommittedBytes = this.#uncommittedBytes - log.bytes(before + 1, reached);
    this.#ready = true;
    this.#sendDue = true;
    if (this.#configurationOpen) this.#settleConfiguration();
  }

  /** Ticks for which the leader may serve reads by itself. Not before its first commit, nor while leadership is on its way. */
  #leaseTicks(): number {
    if (this.#lease === undefined || this.#role !== "leader" || !this.#ready || this.#transferee !== 0) return 0;
    return this.#lease.ticksLeft(this.#quorum!.reached(this.#readAcknowledgedBy), this.#now);
  }

  #sendTimeoutNow(to: number): void {
    this.#lease?.void();
    this.#send(this.#message(RaftMessageType.TIMEOUT_NOW, to));
  }

  /** Turns what the leader has for its peers into messages. */
  #flush(): void {
    if (!this.#sendDue) return;
    this.#sendDue = false;
    if (this.#reads.open(this.#log.committed)) {
      this.#broadcastHeartbeat();
      // Where the others have left, this node decides alone.
      if (this.#decides(this.#isSelf)) this.#confirmReads();
    }
    for (const peer of this.#peers) {
      while (this.#sendAppend(peer, false));
      // Nothing new to append, but the peer cannot know yet what is committed.
      if (peer.state === "replicate" && peer.sentCommit < Math.min(this.#log.committed, peer.next - 1)) this.#sendAppend(peer, true);
    }
  }

  /** Sends the next entries; with `evenEmpty` also where there are none, or the window is full. True where something was sent. */
  #sendAppend(peer: Progress, evenEmpty: boolean): boolean {
    if (peer.paused && !(evenEmpty && peer.state === "replicate")) return false;
    const log = this.#log;
    const previous = peer.next - 1;
    const previousTerm = log.term(previous);
    if (previousTerm === UNKNOWN_TERM) return this.#sendSnapshot(peer);
    const entries: LogEntry[] = peer.paused ? NOTHING : log.slice(peer.next, log.last, this.#options.maxMessageBytes);
    if (entries.length === 0 && !evenEmpty) return false;
    const message = this.#message(RaftMessageType.APPEND, peer.id);
    const last = previous + entries.length;
    message.logIndex = previous;
    message.logTerm = previousTerm;
    message.entries = entries;
    message.commit = log.committed;
    peer.sentCommit = Math.max(peer.sentCommit, Math.min(log.committed, last));
    peer.sent(last, entries.length === 0 ? 0 : log.bytes(peer.next, last));
    this.#send(message);
    return true;
  }

  /** The entries that the peer needs are compacted away. Nothing goes to a peer that is silent. */
  #sendSnapshot(peer: Progress): boolean {
    if (!peer.recentActive) return false;
    const snapshot = this.#log.snapshot;
    invariant(snapshot !== undefined, "a compacted log has a snapshot");
    const message = this.#message(RaftMessageType.SNAPSHOT, peer.id);
    message.logIndex = snapshot.index;
    message.logTerm = snapshot.term;
    message.commit = this.#log.committed;
    peer.becomeSnapshot(snapshot.index);
    this.#send(message);
    return true;
  }

  #broadcastHeartbeat(): void {
    for (const peer of this.#peers) {
      const message = this.#message(RaftMessageType.HEARTBEAT, peer.id);
      // Never beyond what the peer is known to hold: its log may differ behind that.
      message.commit = Math.min(peer.match, this.#log.committed);
      message.context = this.#reads.counter;
      this.#send(message);
    }
  }
}

/** Whether the entries of an append follow one another, with terms that never fall and never pass the message's. */
function isContiguous(message: RaftMessage): boolean {
  const { logIndex, entries, term } = message;
  let previousTerm = message.logTerm;
  for (let at = 0; at < entries.length; at++) {
    const entry = entries[at]!;
    if (entry.index !== logIndex + 1 + at || entry.term < previousTerm || entry.term > term) return false;
    previousTerm = entry.term;
  }
  return true;
}

function hasReadableConfigurations(entries: readonly LogEntry[]): boolean {
  for (const entry of entries) if (entry.kind === EntryKind.CONFIGURATION && decodeConfiguration(entry.data) === undefined) return false;
  return true;
}
