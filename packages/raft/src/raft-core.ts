import { RaftMessageType } from "@statemesh/contract";
import type { LogEntry, RaftMessage, SnapshotMeta } from "@statemesh/contract";
import { Ballot } from "./ballot.ts";
import { configurationOf, encodeConfiguration, isJoint, leaveJoint, sameConfiguration, stepTowards } from "./configuration.ts";
import type { Configuration, ConfigurationTarget } from "./configuration.ts";
import { Elections } from "./elections.ts";
import { Following } from "./following.ts";
import { invariant } from "./invariant.ts";
import { Lease } from "./lease.ts";
import { Members } from "./members.ts";
import { entryBytes } from "./message.ts";
import { checkOptions, defaultLeaseMargin } from "./options.ts";
import type { HardState, RaftOptions } from "./options.ts";
import { Outbox } from "./outbox.ts";
import { Patience } from "./patience.ts";
import type { Progress } from "./progress.ts";
import { Quiescence } from "./quiescence.ts";
import { RaftLog, UNKNOWN_TERM } from "./raft-log.ts";
import { ReadQueue } from "./read-queue.ts";
import type { ConfigurationResult, ProposeResult, Ready } from "./ready.ts";
import { Replication } from "./replication.ts";
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
 * What is here is who may do what when: roles, terms, votes, commits. The parts have files of their own: the log, the members, how a
 * leader replicates and a follower takes, elections, term and vote, time, reads, leases, sleep.
 *
 * Sections: outside view, inputs, outputs, transitions, configurations, terms and elections, the follower's part, the leader's part.
 */
export class RaftCore {
  readonly groupId: number;
  readonly nodeId: number;
  /** False: this replica votes but never campaigns, because the host knows that its log lacks what it once held. Default true. */
  standsForElection = true;
  readonly #options: RaftOptions;
  readonly #log: RaftLog;
  readonly #members: Members;
  readonly #outbox: Outbox;
  readonly #replication: Replication;
  readonly #following: Following;
  readonly #reads: ReadQueue;
  readonly #patience: Patience;
  readonly #elections: Elections;
  readonly #quiescence: Quiescence;
  /** Where leases are in use. */
  readonly #lease: Lease | undefined;

  /** Term and vote. */
  readonly #ballot: Ballot;
  #role: Role = "follower";
  #leader = 0;
  /** The leader's configuration is not committed, or joint, or without itself as a voter: something is to be done once it is committed. */
  #configurationOpen = false;
  #heartbeatElapsed = 0;
  /** Whom leadership is on its way to; 0: nobody. */
  #transferee = 0;
  #uncommittedBytes = 0;
  /** The leader committed an entry of its own term. */
  #ready = false;
  #malformed = 0;

  #sequence = 0;

  // Kept closures: asked for on every acknowledgement.
  readonly #matchOf = (voter: number): number => this.#members.get(voter)!.match;
  readonly #readAcknowledgedBy = (voter: number): number =>
    voter === this.nodeId ? this.#reads.counter : this.#members.get(voter)!.readAcknowledged;
  readonly #isActive = (voter: number): boolean => voter === this.nodeId || this.#members.get(voter)!.recentActive;
  readonly #isSelf = (voter: number): boolean => voter === this.nodeId;
  readonly #sleepsOrSelf = (voter: number): boolean => voter === this.nodeId || this.#quiescence.doesPeerSleep(voter);

  /** Throws a RangeError for an option out of its range and a RaftInvariantError for a restored state that cannot be. */
  constructor(options: RaftOptions) {
    checkOptions(options);
    const { groupId, nodeId, electionTicks } = options;
    this.#options = options;
    this.groupId = groupId;
    this.nodeId = nodeId;
    this.#log = new RaftLog(options.restored);
    this.#members = new Members(options, this.#log);
    this.#outbox = new Outbox(groupId, nodeId);
    this.#reads = new ReadQueue(options.maxPendingReads ?? DEFAULT_PENDING_READS);
    this.#replication = new Replication(this.#log, this.#members, this.#outbox, this.#reads, options);
    this.#following = new Following(this.#log, this.#members, this.#outbox);
    this.#patience = new Patience(electionTicks, options.random);
    this.#ballot = new Ballot(options.restored?.hardState);
    this.#elections = new Elections({ groupId, nodeId, log: this.#log, members: this.#members, outbox: this.#outbox, ballot: this.#ballot, patience: this.#patience });
    this.#quiescence = new Quiescence(options.quiescence === true, electionTicks);
    if (options.leaseReads === true) this.#lease = new Lease(electionTicks - (options.leaseMarginTicks ?? defaultLeaseMargin(electionTicks)));
    invariant(this.#log.lastTerm <= this.term, "the stored term is at least that of the stored log");
    this.#becomeFollower(this.term, 0);
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
    return this.#ballot.term;
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
    return this.#members.voters;
  }

  /** The latest configuration in the log, committed or not: the one that counts. */
  get configuration(): Configuration {
    return this.#members.configuration;
  }

  /** Where that configuration stands in the log. */
  get configurationIndex(): number {
    return this.#members.configurationIndex;
  }

  /**
   * The configuration that a snapshot at `index` has to carry. Undefined where none can be taken there: the configuration at
   * that index is joint (soon over; try again further on), or not known any more.
   */
  snapshotConfiguration(index: number): Configuration | undefined {
    return this.#members.forSnapshot(index);
  }

  /** A leader that committed an entry of its own term: it knows everything that was ever committed. */
  get isReadyToServe(): boolean {
    return this.#role === "leader" && this.#ready;
  }

  /** The replica sleeps: ticks change nothing, and it has nothing to say until something comes. */
  get isQuiescent(): boolean {
    return this.#quiescence.isAsleep;
  }

  status(): RaftStatus {
    const log = this.#log;
    const progress = new Map<number, PeerStatus>();
    if (this.#role === "leader") {
      for (const [id, { match, next, state, recentActive }] of this.#members.all) progress.set(id, { match, next, state, recentActive });
    }
    return {
      groupId: this.groupId, nodeId: this.nodeId, role: this.#role, leader: this.#leader, term: this.term, vote: this.#ballot.vote,
      commitIndex: log.committed, appliedIndex: log.applied, firstIndex: log.first, lastIndex: log.last, durableIndex: log.durable,
      snapshotIndex: log.snapshot?.index ?? 0, uncommittedBytes: this.#uncommittedBytes, waitingReads: this.#reads.waiting,
      malformedMessages: this.#malformed, transferee: this.#transferee, leaseTicks: this.#leaseTicks(), quiescent: this.isQuiescent,
      progress, voters: this.voters, learners: this.configuration.learners,
      configuration: this.configuration, configurationIndex: this.configurationIndex,
    };
  }

  /** What the leader knows of one member; undefined on others, and of strangers. */
  peerStatus(id: number): PeerStatus | undefined {
    const peer = this.#peer(id);
    return peer === undefined ? undefined : { match: peer.match, next: peer.next, state: peer.state, recentActive: peer.recentActive };
  }

  /**
   * Committed entries from `from` to `to`, both included, at most `maxBytes` but at least one. Empty where
   * `from` was compacted away or is not committed.
   */
  entries(from: number, to: number, maxBytes: number): LogEntry[] {
    if (from < this.#log.first) return NOTHING;
    return this.#log.slice(from, Math.min(to, this.#log.committed), maxBytes);
  }

  /**
   * Through where the log may be compacted, so that the followers that this leader hears of find what they lack, as far as that takes
   * at most `maxBytes`. On other nodes that is not known: the last index.
   */
  neededFrom(maxBytes: number): number {
    let needed = this.#log.last;
    for (const { recentActive, state, match } of this.#role === "leader" ? this.status().progress.values() : NOTHING) {
      if (recentActive && state !== "snapshot") needed = Math.min(needed, match);
    }
    return Math.max(needed, this.#log.firstWithin(maxBytes) - 1);
  }

  /** Term of the entry at `index`, undefined where it was compacted away or is not there yet. */
  termOf(index: number): number | undefined {
    const term = this.#log.term(index);
    return term === UNKNOWN_TERM ? undefined : term;
  }

  // --- Inputs ---

  /** One unit of time went by. */
  tick(): void {
    if (this.#quiescence.isAsleep) return;
    this.#patience.tick();
    if (this.#role !== "leader") {
      if (this.#patience.isOver) this.campaign();
      return;
    }
    if (this.#patience.isPeriodOver) {
      this.#patience.restart();
      this.#transferee = 0;
      if (this.#options.checkQuorum !== false && !this.#members.decides(this.#isActive)) {
        this.#becomeFollower(this.term, 0);
        return;
      }
      for (const peer of this.#members.peers) peer.recentActive = false;
    }
    this.#quiescence.tick();
    if (++this.#heartbeatElapsed >= this.#options.heartbeatTicks) this.#beat();
  }

  /**
   * Units of time that went by without a tick, because the host was held up. They count against the leader's lease only: nobody
   * is called silent for a time in which this node did not listen.
   */
  missedTicks(count: number): void {
    invariant(count >= 0, "time does not go back");
    if (this.#role === "leader") this.#patience.missed(count);
  }

  /** Starts an election, beginning with pre-votes, as if the timeout had run out. Not on a leader or a non-voter, nor where a lease may count on this node. */
  campaign(): void {
    // Whoever may not campaign goes on counting: to vote it must know how long it has heard nothing.
    if (this.#role === "leader" || this.#boundByLease() || !this.#mayCampaign) return;
    this.#becomePreCandidate();
    this.#elections.ask(RaftMessageType.PRE_VOTE, this.term + 1, false);
    this.#countVote(this.nodeId, true);
  }

  /** A message from a peer. Messages of older terms and such that no correct peer sends change nothing. */
  step(message: RaftMessage): void {
    if (this.#quiescence.isAsleep && this.#wakesBy(message)) this.#wake(message.from);
    if (!this.#admit(message)) return;
    switch (message.type) {
      case RaftMessageType.PRE_VOTE:
      case RaftMessageType.VOTE:
        return this.#elections.answer(message, this.#leader);
      case RaftMessageType.PRE_VOTE_RESPONSE:
        if (this.#role === "pre_candidate" && (message.reject || message.term === this.term + 1)) this.#countVote(message.from, !message.reject);
        return;
      case RaftMessageType.VOTE_RESPONSE:
        if (this.#role === "candidate") this.#countVote(message.from, !message.reject);
        return;
      case RaftMessageType.APPEND:
        this.#follow(message);
        if (!this.#following.takeAppend(message)) this.#malformed++;
        return;
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
        if (this.#role !== "leader" && this.#mayCampaign) this.#campaignForReal(true);
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
    if (message.type !== RaftMessageType.SNAPSHOT || !said || !this.#members.canTake(meta)) {
      this.#malformed++;
      return false;
    }
    this.#quiescence.stir();
    if (!this.#admit(message)) return false;
    this.#follow(message);
    const log = this.#log;
    if (meta.index <= log.committed || log.matches(meta.index, meta.term)) {
      log.commitTo(meta.index);
      this.#following.accept(message.from, log.committed);
      return false;
    }
    log.install(meta);
    this.#members.logInstalled(meta);
    this.#following.accept(message.from, meta.index);
    return true;
  }

  /** Appends a command to the leader's log. `data` is kept, not copied. */
  propose(data: Uint8Array): ProposeResult {
    if (this.#role !== "leader") return { ok: false, reason: "not_leader" };
    if (this.#transferee !== 0) return { ok: false, reason: "transferring" };
    const entry: LogEntry = { term: this.term, index: this.#log.last + 1, kind: EntryKind.COMMAND, data };
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
    return { ok: true, index: this.configurationIndex, term: this.term };
  }

  /** On the leader: whether a learner lags by at most `maxLag` entries behind what is committed, and so may be promoted. */
  learnerCaughtUp(id: number, maxLag = DEFAULT_LEARNER_LAG): boolean {
    const peer = this.configuration.learners.includes(id) ? this.#peer(id) : undefined;
    return peer !== undefined && peer.recentActive && peer.state === "replicate" && peer.match + maxLag >= this.#log.committed;
  }

  /**
   * On the leader: whether the voters of `target` that it heard from lately could decide by themselves. Where not, the change
   * would stop the group.
   */
  couldDecide(target: ConfigurationTarget): boolean {
    const wanted = configurationOf(target);
    if (this.#role !== "leader" || typeof wanted === "string") return false;
    return this.#members.couldDecide(wanted, (voter) => {
      const member = this.#members.get(voter);
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
    if (this.#members.decides(this.#isSelf) || this.#leaseTicks() > 0) {
      this.#reads.serve(context, this.#log.committed);
      return "ok";
    }
    if (this.#reads.full) return "overloaded";
    this.#stir();
    this.#reads.add(context);
    this.#replication.isDue = true;
    return "ok";
  }

  /**
   * Hands leadership to another voter as soon as its log is complete. Proposals are refused meanwhile; given up after an
   * election timeout. `unknown_peer`: no voter of the configuration (that is to come, where it is joint).
   */
  transferLeadership(to: number): "ok" | "not_leader" | "unknown_peer" {
    if (this.#role !== "leader") return "not_leader";
    const peer = this.configuration.voters.includes(to) ? this.#members.get(to) : undefined;
    if (peer === undefined) return "unknown_peer";
    if (to === this.nodeId) {
      this.#transferee = 0;
      return "ok";
    }
    if (this.#transferee === to) return "ok";
    this.#stir();
    this.#transferee = to;
    this.#patience.restart();
    if (peer.match === this.#log.last) this.#sendTimeoutNow(to);
    else this.#replication.isDue = true;
    return "ok";
  }

  /** Ready number `sequence` and all earlier ones are durable. */
  persisted(sequence: number): void {
    invariant(sequence <= this.#sequence, "only Readys that were handed out become durable");
    const before = this.#log.durable;
    this.#log.persisted(sequence);
    if (this.#role === "candidate") {
      if (this.#elections.takeOwnVote(sequence)) this.#countVote(this.nodeId, true);
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
    const progress = this.#peer(peer);
    if (progress !== undefined) this.#replication.unreachable(progress);
  }

  /**
   * The host has heard nothing of a node, on whatever way, for `ticks` ticks, and takes it for gone: after an election timeout
   * at the latest, earlier where a connection broke. The replica wakes up: what it counted on may not hold any more.
   */
  nodeSilent(node: number, ticks: number): void {
    this.#quiescence.nodeSilent(node);
    if (!this.#quiescence.isAsleep || this.#members.get(node) === undefined) return;
    if (node === this.#leader) this.#patience.silent(ticks);
    this.#wake(node);
  }

  /** The host hears of a node again, or for the first time: it may have missed something. */
  nodeHeard(node: number): void {
    this.#quiescence.nodeHeard(node);
    if (this.#quiescence.isAsleep && this.#members.get(node) !== undefined) this.#wake(node);
  }

  /** The peer's log is gone: what it had acknowledged counts no more, and it is brought up from the beginning. */
  peerLostData(peer: number): void {
    const progress = this.#peer(peer);
    if (progress === undefined) return;
    this.#stir();
    this.#replication.lostData(progress);
  }

  /** How the transport of a snapshot ended. Every SNAPSHOT message in a Ready must be reported once. */
  reportSnapshot(peer: number, ok: boolean): void {
    const progress = this.#peer(peer);
    if (progress !== undefined) this.#replication.snapshotEnded(progress, ok);
  }

  /**
   * The application has a durable snapshot at `meta.index` (applied): forgets entries up to `throughIndex`, at most that index.
   * Followers that need older entries get the snapshot. Its voters and learners are those of `snapshotConfiguration(meta.index)`.
   */
  compact(throughIndex: number, meta: SnapshotMeta): void {
    this.#log.compact(throughIndex, meta);
    this.#members.logCompacted(throughIndex, meta, meta.index === this.#log.snapshot?.index);
    this.#log.checkInvariants();
  }

  // --- Outputs ---

  /** Whether `ready()` has anything to say. */
  hasReady(): boolean {
    this.#flush();
    const log = this.#log;
    return !this.#outbox.isEmpty || this.#ballot.hasChanged || log.hasUnstored || log.hasUnhanded || this.#reads.hasAnswers;
  }

  /** Takes everything that is to be done now. What proposals since the last call added leaves in one message a peer. */
  ready(): Ready {
    this.#flush();
    const log = this.#log;
    const sequence = ++this.#sequence;
    let { messages, messagesAfterPersist } = this.#outbox.take();

    const changed = this.#ballot.hasChanged;
    const mustSync = changed || log.hasUnstored;
    let hardState: HardState | undefined;
    let snapshot: SnapshotMeta | undefined;
    let entries: readonly LogEntry[] = NOTHING;
    if (mustSync) {
      if (this.#role === "candidate") this.#elections.handedOut(sequence);
      ({ snapshot, entries } = log.takeUnstored(sequence));
      // The commit index alone is not worth a write: it rides along.
      if (changed || log.committed !== this.#ballot.storedCommit) hardState = this.#ballot.take(log.committed);
    } else if (!log.hasWrites && messagesAfterPersist.length > 0) {
      // Everything that these messages promise is durable already.
      messages = messages.length === 0 ? messagesAfterPersist : messages.concat(messagesAfterPersist);
      messagesAfterPersist = [];
    }

    const committed = log.takeCommitted(this.#options.maxCommittedBytes ?? this.#options.maxMessageBytes * 4);
    const { readStates, abortedReads } = this.#reads.takeAnswers();
    log.checkInvariants();
    return { sequence, hardState, entries, snapshot, messages, messagesAfterPersist, committed, readStates, abortedReads, mustSync };
  }

  // --- Transitions: the only places that change role, term and vote ---

  #becomeFollower(term: number, leader: number): void {
    this.#enter("follower", term);
    this.#leader = leader;
  }

  /** Changes neither term nor vote: nothing is promised. */
  #becomePreCandidate(): void {
    invariant(this.#role !== "leader", "a leader does not campaign");
    this.#enter("pre_candidate", this.term);
  }

  #becomeCandidate(): void {
    invariant(this.#role !== "leader", "a leader does not campaign");
    this.#enter("candidate", this.term + 1);
    this.#ballot.cast(this.nodeId);
  }

  #becomeLeader(): void {
    invariant(this.#role === "candidate", "only a candidate becomes leader");
    this.#enter("leader", this.term);
    this.#leader = this.nodeId;
    const log = this.#log;
    for (const peer of this.#members.all.values()) peer.reset(log.last + 1);
    const { own } = this.#members;
    own.acknowledge(log.durable);
    own.becomeReplicate();
    this.#uncommittedBytes = log.bytes(log.committed + 1, log.last);
    this.#configurationOpen = true;
    // Entries of earlier terms are committed by count only together with one of this term.
    this.#appendOwn({ term: this.term, index: log.last + 1, kind: EntryKind.EMPTY, data: new Uint8Array(0) });
  }

  #enter(role: Role, term: number): void {
    this.#ballot.enter(term);
    this.#outbox.term = term;
    if (this.#role === "leader") this.#reads.abort();
    this.#lease?.reset();
    this.#role = role;
    this.#leader = 0;
    this.#patience.redraw();
    this.#heartbeatElapsed = 0;
    this.#elections.reset();
    this.#quiescence.stir();
    this.#transferee = 0;
    this.#uncommittedBytes = 0;
    this.#ready = false;
    this.#replication.isDue = false;
  }

  // --- Sleep ---

  /** Something is to be done. A leader that slept begins a new period: its peers did not speak because they slept. */
  #stir(): void {
    if (!this.#quiescence.stir()) return;
    if (this.#role === "leader") this.#patience.restart();
  }

  /** Stops sleeping because of `cause`. The leader, where it is another, has to know: asleep it would send nothing, and be taken for dead. */
  #wake(cause: number): void {
    this.#stir();
    if (this.#role === "leader") this.#heartbeatElapsed = this.#options.heartbeatTicks;
    else if (this.#leader !== 0 && this.#leader !== cause) this.#following.answerHeartbeat(this.#leader, 0, false);
  }

  /** The leader's question to sleep, and answers to it, wake nobody; nor does a stranger that is behind. */
  #wakesBy(message: RaftMessage): boolean {
    return !message.quiesce && (message.term > this.term || this.#members.get(message.from) !== undefined);
  }

  /** Nothing is outstanding, and everybody whose node is heard of has everything. */
  #maySleep(): boolean {
    const { last, committed, applied } = this.#log;
    if (!this.#quiescence.isIdle || !this.#ready || this.#configurationOpen || this.#transferee !== 0 || this.#reads.waiting > 0) return false;
    if (committed !== last || applied !== last) return false;
    return this.#members.peers.every((peer) => this.#quiescence.isSilent(peer.id) || (peer.state === "replicate" && peer.match === last));
  }

  #sleepIfAllDo(): void {
    const everybody = this.#members.peers.every((peer) => this.#quiescence.isSilent(peer.id) || this.#quiescence.doesPeerSleep(peer.id));
    if (!everybody || !this.#members.decides(this.#sleepsOrSelf) || !this.#maySleep()) return;
    // Asleep it does not see the lease end.
    if (this.#quiescence.sleep()) this.#lease?.reset();
  }

  // --- Configurations ---

  /** The leader's own: it stands from now on. */
  #appendConfiguration(configuration: Configuration): void {
    const entry: LogEntry = { term: this.term, index: this.#log.last + 1, kind: EntryKind.CONFIGURATION, data: encodeConfiguration(configuration) };
    this.#appendOwn(entry);
    this.#members.begin(entry);
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
    this.#members.settle();
    if (!configuration.voters.includes(this.nodeId)) this.#resign();
  }

  /** The leader is no longer a voter: the one that holds most campaigns at once. */
  #resign(): void {
    let successor: Progress | undefined;
    for (const peer of this.#members.peers) {
      if (this.configuration.voters.includes(peer.id) && (successor === undefined || peer.match > successor.match)) successor = peer;
    }
    if (successor !== undefined) this.#sendTimeoutNow(successor.id);
    this.#becomeFollower(this.term, 0);
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
    if (message.term < this.term) {
      this.#elections.answerOldTerm(message);
      return false;
    }
    const asksForVote = type === RaftMessageType.PRE_VOTE || type === RaftMessageType.VOTE;
    if (asksForVote && !message.forced && this.#boundByLease()) return false;
    if (message.term === this.term) return true;
    // A voter that hears its leader grants nothing and keeps its term, except on that leader's request.
    if (asksForVote && !message.forced && this.#hearsLeader()) return false;
    // A pre-vote speaks of a term that does not exist yet; so does its granted answer.
    if (type === RaftMessageType.PRE_VOTE || (type === RaftMessageType.PRE_VOTE_RESPONSE && !message.reject)) return true;
    const fromLeader = type === RaftMessageType.APPEND || type === RaftMessageType.HEARTBEAT || type === RaftMessageType.SNAPSHOT;
    this.#becomeFollower(message.term, fromLeader ? message.from : 0);
    return true;
  }

  #hearsLeader(): boolean {
    return this.#options.checkQuorum !== false && this.#leader !== 0 && !this.#patience.isPeriodOver;
  }

  #boundByLease(): boolean {
    return this.#lease !== undefined && this.#role !== "leader" && this.#patience.isPromised;
  }

  get #mayCampaign(): boolean {
    return this.standsForElection && this.#elections.mayCampaign;
  }

  #campaignForReal(forced: boolean): void {
    this.#becomeCandidate();
    // The candidate's own vote counts once it is durable; the requests wait for the same.
    this.#elections.ask(RaftMessageType.VOTE, this.term, forced);
  }

  #countVote(from: number, granted: boolean): void {
    const result = this.#elections.count(from, granted);
    if (result === "lost") this.#becomeFollower(this.term, 0);
    else if (result === "won") {
      if (this.#role === "pre_candidate") this.#campaignForReal(false);
      else this.#becomeLeader();
    }
  }

  // --- The follower's part ---

  /** Word from the leader of this term. */
  #follow(message: RaftMessage): void {
    invariant(this.#role !== "leader", "a term has one leader");
    if (this.#role !== "follower") this.#becomeFollower(this.term, message.from);
    this.#leader = message.from;
    this.#elections.leaderHeard();
    this.#patience.heard();
  }

  #takeHeartbeat(message: RaftMessage): void {
    const log = this.#log;
    if (!this.#following.takeHeartbeat(message)) this.#malformed++;
    // Nothing but the leader's log, all of it committed: else there is something to hear of.
    const complete = log.last === message.commit && log.committed === log.last && !log.installing;
    const sleeps = message.quiesce && complete && this.#quiescence.sleep();
    if (!sleeps) this.#quiescence.stir();
    this.#following.answerHeartbeat(message.from, message.context, sleeps);
  }

  // --- The leader's part ---

  /** On the leader: what it knows of a member. */
  #peer(id: number): Progress | undefined {
    return this.#role === "leader" ? this.#members.get(id) : undefined;
  }

  #appendOwn(entry: LogEntry): void {
    this.#stir();
    this.#log.push(entry);
    this.#uncommittedBytes += entryBytes(entry);
    this.#replication.isDue = true;
  }

  /** The heartbeat of the clock. */
  #beat(): void {
    this.#heartbeatElapsed = 0;
    for (const peer of this.#members.peers) peer.checkDue = true;
    if (this.#lease !== undefined) this.#lease.sent(this.#reads.openEmpty(), this.#patience.now);
    const asks = this.#maySleep();
    this.#replication.sendHeartbeats(asks);
    if (!asks) return;
    this.#quiescence.asked();
    this.#sleepIfAllDo();
  }

  #takeAppendResponse(message: RaftMessage): void {
    const peer = this.#peer(message.from);
    if (peer === undefined) return;
    if (message.logIndex > this.#log.last) {
      this.#malformed++;
      return;
    }
    if (!this.#replication.takeAppendResponse(peer, message)) return;
    this.#advanceCommit();
    if (this.#transferee === peer.id && peer.match === this.#log.last) this.#sendTimeoutNow(peer.id);
  }

  #takeHeartbeatResponse(message: RaftMessage): void {
    const peer = this.#peer(message.from);
    if (peer === undefined) return;
    this.#replication.takeHeartbeatResponse(peer);
    if (message.context > peer.readAcknowledged && message.context <= this.#reads.counter) {
      peer.readAcknowledged = message.context;
      this.#confirmReads();
      this.#replication.isDue = true;
    }
    if (!message.quiesce) return;
    this.#quiescence.peerSleeps(peer.id);
    this.#sleepIfAllDo();
  }

  #confirmReads(): void {
    this.#reads.confirm(this.#members.quorum.reached(this.#readAcknowledgedBy));
  }

  /** The leader's own disk: its copy counts like any other, once it is durable. */
  #countOwnCopy(): void {
    if (this.#members.own.acknowledge(this.#log.durable)) this.#advanceCommit();
  }

  /** Commits what a quorum holds, but only up to an entry of this term: an older one could still be replaced (dissertation, figure 3.7). */
  #advanceCommit(): void {
    const log = this.#log;
    const before = log.committed;
    const reached = this.#members.quorum.reached(this.#matchOf);
    if (reached <= before || log.term(reached) !== this.term) return;
    log.commitTo(reached);
    this.#uncommittedBytes = this.#uncommittedBytes - log.bytes(before + 1, reached);
    this.#ready = true;
    this.#replication.isDue = true;
    if (this.#configurationOpen) this.#settleConfiguration();
  }

  /** Ticks for which the leader may serve reads by itself. Not before its first commit, nor while leadership is on its way. */
  #leaseTicks(): number {
    if (this.#lease === undefined || this.#role !== "leader" || !this.#ready || this.#transferee !== 0) return 0;
    return this.#lease.ticksLeft(this.#members.quorum.reached(this.#readAcknowledgedBy), this.#patience.now);
  }

  #sendTimeoutNow(to: number): void {
    this.#lease?.void();
    this.#outbox.send(this.#outbox.message(RaftMessageType.TIMEOUT_NOW, to));
  }

  /** Turns what the leader has for its peers into messages. */
  #flush(): void {
    if (!this.#replication.isDue) return;
    this.#replication.isDue = false;
    if (this.#reads.open(this.#log.committed)) {
      this.#replication.sendHeartbeats(false);
      // Where the others have left, this node decides alone.
      if (this.#members.decides(this.#isSelf)) this.#confirmReads();
    }
    this.#replication.sendAppends();
  }
}
