// One group on one node: the Raft core and the state that its log builds. What a leader decides is in decider.ts.
// Everything is an event: a frame, a tick, a completion. `pump` then hands on what the core has to say.
import { type LogEntry, MeshError, type RaftMessage, type SnapshotMeta } from "@statemesh/contract";
import { Command, CommandResult, type HoldForSnapshot } from "@statemesh/contract/log";
import { type HardState, type Loss, RaftCore, type Ready } from "@statemesh/raft";
import { type Applied, type GroupState, type PendingOperation, encodeSnapshot } from "@statemesh/replica";
import { formatRegion } from "@statemesh/world";
import type { GroupWrite, Host } from "../host.ts";
import { type AppliedDone, AppliedWaiters } from "./applied-waiters.ts";
import { Decider } from "./decider.ts";
import type { Waiter } from "./decision-queue.ts";
import type { GroupListener, GroupOptions } from "./group-options.ts";
import type { GroupTransactions } from "./group-transactions.ts";
import { notLeader, overloaded, transactionPending } from "./operation-errors.ts";
import { Repair } from "./repair.ts";

/** While a snapshot is on its way to a peer the next one may wait, until this many times the log is due. */
const SNAPSHOT_PATIENCE = 4;

/** A command that waits for its entry to be applied. */
interface CommandWaiter {
  readonly term: number;
  readonly done: (result: CommandResult | undefined, error: MeshError | undefined) => void;
}

interface ReadWaiter {
  readonly done: (index: number | undefined, error: MeshError | undefined) => void;
}

export interface RestoredGroup {
  readonly hardState: HardState;
  readonly snapshot: SnapshotMeta | undefined;
  readonly entries: LogEntry[];
  readonly state: GroupState;
  /** A part of the log was damaged: what is here is what came before it. */
  readonly loss?: Loss;
}

export class GroupReplica {
  readonly groupId: number;
  readonly #options: GroupOptions;
  readonly #host: Host;
  readonly #listener: GroupListener;
  readonly core: RaftCore;
  #state: GroupState;
  readonly #decider: Decider;
  readonly #commands = new Map<number, CommandWaiter>();
  readonly #reads = new Map<number, ReadWaiter[]>();
  readonly #appliedWaiters: AppliedWaiters;
  #readCounter = 0;
  /** Since when, on the monotonic clock, ticks are counted, and how many were. */
  readonly #ticksFromMs: number;
  #tickCount = 0;
  #pendingReads: ReadWaiter[] = [];
  readonly #stepped: string[] = [];
  #leaderSeen = 0;
  #wasLeader = false;
  #logBytesSinceSnapshot = 0;
  #snapshotRunning = false;
  #failed = false;
  #snapshotMeta: SnapshotMeta | undefined;
  #repair: Repair | undefined;
  #sendingSnapshots = new Set<number>();
  /** The file of the last snapshot cannot be used: the next one is due, whatever was applied since. */
  #snapshotLost = false;

  constructor(options: GroupOptions, host: Host, listener: GroupListener, state: GroupState, restored: RestoredGroup | undefined) {
    this.groupId = options.groupId;
    this.#appliedWaiters = new AppliedWaiters(options.groupId);
    this.#options = options;
    this.#host = host;
    this.#listener = listener;
    this.#state = state;
    this.#decider = new Decider(this, host, options.policy, options);
    this.#snapshotMeta = restored?.snapshot;
    this.#ticksFromMs = host.clock.monotonicMs();
    // What lies in the log since the snapshot counts, or a node that restarts often would never take the next one.
    for (const entry of restored?.entries ?? []) if (entry.index > (restored?.snapshot?.index ?? 0)) this.#logBytesSinceSnapshot += logBytes(entry);
    this.core = new RaftCore({
      groupId: options.groupId,
      nodeId: options.nodeId,
      voters: options.voters,
      joining: options.voters.length === 0,
      electionTicks: options.electionTicks,
      heartbeatTicks: options.heartbeatTicks,
      leaseReads: options.leaseReads,
      quiescence: true,
      maxInflightMessages: 64,
      maxInflightBytes: 8 * 1024 * 1024,
      maxMessageBytes: 1024 * 1024,
      maxUncommittedBytes: 32 * 1024 * 1024,
      random: () => host.random.next(),
      ...(restored === undefined
        ? {}
        : {
            restored: {
              hardState: restored.hardState,
              ...(restored.snapshot === undefined ? {} : { snapshot: restored.snapshot }),
              entries: restored.entries,
              applied: state.appliedIndex,
            },
          }),
    });
    if (restored?.loss === undefined) return;
    this.#repair = new Repair(restored.loss);
    this.core.standsForElection = false;
  }

  get state(): GroupState {
    return this.#state;
  }

  get leader(): number {
    return this.core.leader;
  }

  /** This node leads, and has applied everything that it inherited: it may decide and answer. */
  get serves(): boolean {
    return this.core.role === "leader" && this.core.isReadyToServe && this.#state.appliedTerm === this.core.term;
  }

  /** What became of operations besides being decided: refused, dropped, decided here because no arbiter answered. */
  get counts(): Readonly<Record<"fallbacks" | "underWay" | "shed" | "expired", number>> {
    const { fallbacks, queue } = this.#decider;
    return { fallbacks, underWay: queue.underWay, shed: queue.shed, expired: queue.expired };
  }

  /** Something is to be done at the next pump. */
  dirty(): void {
    this.#listener.dirty(this.groupId);
  }

  /** What transactions across groups do here, where this node leads. */
  get transactions(): GroupTransactions {
    return this.#decider.transactions;
  }

  get waiting(): number {
    return this.#decider.queue.waiting;
  }

  get snapshotMeta(): SnapshotMeta | undefined {
    return this.#snapshotMeta;
  }

  /** `campaigns`: where no leader is heard of, this node may stand for election. */
  tick(campaigns: boolean): void {
    if (this.#repair !== undefined) this.core.standsForElection = this.#repair.mayStand(this.core);
    if (campaigns || this.core.role === "leader") this.core.tick();
    this.#tickCount++;
    if (this.#appliedWaiters.size > 0) this.#appliedWaiters.expire(this.#host.clock.monotonicMs());
    this.dirty();
  }

  /** Time changes nothing here until something comes: neither ticks nor pumps are needed. */
  get isIdle(): boolean {
    return this.core.isQuiescent && this.#appliedWaiters.size === 0 && this.#repair === undefined;
  }

  step(message: RaftMessage): void {
    if (this.#repair?.admits(message, this.core) === false) return;
    this.core.step(message);
    this.dirty();
  }

  /** Set while there is something to remember of a damaged log: what it held, or that a vote may be forgotten. */
  get repair(): Repair | undefined {
    return this.#repair;
  }

  /** The log on this node lacks something that it once held. */
  get isDamaged(): boolean {
    return this.#repair !== undefined && !this.#repair.hasRegrown(this.core);
  }

  /** A snapshot from the leader, received whole and durable, with the state that it holds. */
  stepSnapshot(meta: SnapshotMeta, message: RaftMessage, state: GroupState): void {
    if (this.core.stepSnapshot(meta, message)) this.#incoming = { meta, state };
    this.dirty();
  }
  #incoming: { meta: SnapshotMeta; state: GroupState } | undefined;

  /** Takes operations to decide. Answers at once where the decision is known or refused. */
  submit(operations: readonly PendingOperation[], transactionId: string, waiter: Waiter, deadlineMs: number): void {
    this.#decider.submit(operations, transactionId, waiter, deadlineMs);
  }

  /** Decides operations that were kept during a partition. Leader only. */
  heal(...kept: Parameters<Decider["heal"]>): void {
    this.#decider.heal(...kept);
  }

  // ---- commands, reads, leadership ----
  /** Puts a command into the log; `done` after it is applied. */
  command(command: Command, done: CommandWaiter["done"]): void {
    if (!this.serves) return done(undefined, notLeader(this.groupId, this.core.leader));
    const body = command.command;
    if (body?.$case === "transaction" && body.value.step?.$case === "ask") return this.#decider.prepare(body.value.step.value, done);
    if (body?.$case === "fence" && this.#decider.fences.isHeld(body.value)) return done(undefined, transactionPending(body.value.region));
    if (body?.$case === "transaction" && this.transactions.isEarly(body.value)) return done(undefined, transactionPending(undefined));
    if (body?.$case === "hold") return done(this.#hold(body.value), undefined);
    const result = this.core.propose(Command.encode(command).finish());
    if (!result.ok) {
      return done(undefined, result.reason === "uncommitted_limit" ? overloaded("bytes not committed", 32 * 1024 * 1024) : notLeader(this.groupId, this.core.leader));
    }
    this.#commands.set(result.index, { term: result.term, done });
    if (body?.$case === "fence") this.#decider.fences.note(body.value, result.index);
    this.dirty();
  }

  /** Nothing of it goes into the log. */
  #hold({ holdId, holdMs, regions, accounts }: HoldForSnapshot): CommandResult {
    const { holds } = this.#decider.queue;
    const nowMs = this.#host.clock.monotonicMs();
    const isHeld = holdMs > 0 && holds.take(holdId, regions.map(formatRegion), accounts, holdMs, nowMs);
    if (holdMs === 0) holds.release(holdId, nowMs);
    this.dirty();
    return CommandResult.fromPartial({ reason: isHeld || holdMs === 0 ? "" : "OVERLOADED", position: this.#state.position() });
  }

  /** The index that a linearizable read must wait for. Leader only. Reads of one pump share one round. */
  readIndex(done: ReadWaiter["done"]): void {
    if (!this.serves) return done(undefined, notLeader(this.groupId, this.core.leader));
    this.#pendingReads.push({ done });
    this.dirty();
  }

  /** Calls `done` once everything up to `index` is applied here; at once where it is. `deadlineMs` is monotonic. */
  whenApplied(index: number, deadlineMs: number, done: AppliedDone): void {
    if (this.#state.appliedIndex >= index) return done(undefined);
    this.#appliedWaiters.add(index, deadlineMs, this.#host.clock.monotonicMs(), done);
    this.dirty(); // A group that sleeps counts no time, and has a deadline to keep now.
  }

  /** Callers that wait for an index to be applied. */
  get waitingForApply(): number {
    return this.#appliedWaiters.size;
  }

  // ---- the pump ----

  /** Moves everything that is ready: decisions to the arbiter, messages to peers, entries to the log, results to callers. */
  pump(writes: GroupWrite[], afterPersist: (() => void)[]): void {
    if (this.#failed) return;
    this.#decider.start();
    this.#startReads();
    while (!this.#failed && this.core.hasReady()) this.#handle(this.core.ready(), writes, afterPersist);
    if (this.#repair?.isDone(this.core) === true) this.#repaired(writes);
    this.#noticeLeadership();
  }

  /** In order behind the term and the entries that it speaks of. */
  #repaired(writes: GroupWrite[]): void {
    this.#repair = undefined;
    this.core.standsForElection = true;
    writes.push({ groupId: this.groupId, loss: "repaired" });
    this.#host.log.info("a damaged group is whole again", { group: this.groupId, index: this.core.lastIndex });
  }

  #startReads(): void {
    if (this.#pendingReads.length === 0) return;
    const waiters = this.#pendingReads;
    this.#pendingReads = [];
    if (this.#options.leaseReads) this.#countMissedTicks();
    const context = ++this.#readCounter;
    const result = this.core.readIndex(context);
    if (result === "ok") this.#reads.set(context, waiters);
    else for (const waiter of waiters) waiter.done(undefined, notLeader(this.groupId, this.core.leader));
  }

  /** Timers come late where the process was held up, and a lease must not last longer for it. */
  #countMissedTicks(): void {
    const missed = Math.floor((this.#host.clock.monotonicMs() - this.#ticksFromMs) / this.#options.tickMs) - this.#tickCount;
    if (missed <= 0) return;
    this.#tickCount += missed;
    this.core.missedTicks(missed);
  }

  #handle(ready: Ready, writes: GroupWrite[], afterPersist: (() => void)[]): void {
    for (const message of ready.messages) this.#send(message);
    const { hardState, entries, snapshot } = ready;
    if (snapshot !== undefined) this.#installSnapshot(snapshot);
    if (hardState !== undefined || entries.length > 0 || snapshot !== undefined) {
      writes.push({
        groupId: this.groupId,
        ...(hardState === undefined ? {} : { hardState }),
        ...(entries.length === 0 ? {} : { entries }),
        ...(snapshot === undefined ? {} : { snapshot }),
      });
      for (const entry of entries) this.#logBytesSinceSnapshot += logBytes(entry);
    }
    // Heartbeats and their answers promise nothing that is not durable: the disk is left alone.
    if (ready.mustSync || ready.messagesAfterPersist.length > 0) {
      afterPersist.push(() => {
        for (const message of ready.messagesAfterPersist) this.#send(message);
        this.core.persisted(ready.sequence);
        this.dirty();
      });
    } else if (ready.committed.length > 0 || ready.readStates.length > 0 || ready.abortedReads.length > 0) {
      // Who waited for it may have gone on, and asked for more.
      this.dirty();
    }
    for (const entry of ready.committed) if (!this.#failed) this.#apply(entry);
    if (this.#failed) return;
    const last = ready.committed.at(-1);
    if (last !== undefined) {
      this.core.applied(last.index);
      this.#appliedWaiters.wake(this.#state.appliedIndex);
      this.#maybeSnapshot();
      // What was applied may be what others waited for.
      if (this.#decider.queue.waiting > 0) this.dirty();
    }
    this.#tellSteps();
    for (const context of ready.abortedReads) {
      for (const waiter of this.#reads.get(context) ?? []) waiter.done(undefined, notLeader(this.groupId, this.core.leader));
      this.#reads.delete(context);
    }
    for (const { context, index } of ready.readStates) {
      for (const waiter of this.#reads.get(context) ?? []) waiter.done(index, undefined);
      this.#reads.delete(context);
    }
  }

  /** Once the state stands behind all that was committed: what follows from a step may be another one. */
  #tellSteps(): void {
    if (this.#stepped.length === 0) return;
    for (const key of this.#stepped.splice(0)) this.#listener.transactionStepped(this.groupId, key);
  }

  #apply(entry: LogEntry): void {
    let applied: Applied;
    try {
      applied = this.#state.apply(entry, this.#decider.takeProposed(entry), this.#decider.isBusy);
    } catch (error) {
      // The state is torn: nothing may be applied, answered or saved any more.
      this.#failed = true;
      return this.#host.fail(error);
    }
    this.#decider.applied(entry, applied);
    const position = { groupId: this.groupId, term: entry.term, index: entry.index };
    if (applied.changes.length > 0) this.#listener.changed(this.groupId, position, applied.changes);
    if (applied.decided.length > 0) this.#listener.decided(applied.decided);
    if (applied.directory !== undefined) this.#listener.directoryChanged(applied.directory);
    if (applied.membership) this.#listener.membershipChanged();
    if (applied.transaction !== undefined) this.#stepped.push(applied.transaction.key);
    if (applied.clearing !== undefined) this.#stepped.push(...applied.clearing);
    const waiter = this.#commands.get(entry.index);
    if (waiter === undefined) return;
    this.#commands.delete(entry.index);
    if (applied.commandResult?.reason === "TRANSACTION_PENDING") waiter.done(undefined, transactionPending(undefined));
    else if (waiter.term === entry.term) waiter.done(applied.commandResult, undefined);
    else waiter.done(undefined, notLeader(this.groupId, this.core.leader));
  }

  #noticeLeadership(): void {
    const leads = this.core.role === "leader";
    if (this.#wasLeader && !leads) this.#loseLeadership();
    this.#wasLeader = leads;
    if (this.core.leader === this.#leaderSeen) return;
    this.#leaderSeen = this.core.leader;
    this.#listener.leaderChanged(this.groupId, this.core.leader);
    this.dirty();
  }

  /** What waits is sent back, for another leader; what is in the log may still be committed, and is said to be unknown. */
  #loseLeadership(): void {
    const unknown = new MeshError("OUTCOME_UNKNOWN", `leadership of group ${this.groupId} was lost while the operation was in the log`);
    const elsewhere = notLeader(this.groupId, this.core.leader);
    this.#decider.stop(unknown, elsewhere);
    for (const waiter of this.#commands.values()) waiter.done(undefined, unknown);
    this.#commands.clear();
    for (const waiters of this.#reads.values()) for (const waiter of waiters) waiter.done(undefined, elsewhere);
    this.#reads.clear();
    for (const waiter of this.#pendingReads) waiter.done(undefined, elsewhere);
    this.#pendingReads = [];
  }

  // ---- what the node hears of others ----

  /** Stands for election now, instead of after some time without a leader. */
  campaign(): void {
    this.core.campaign();
    this.dirty();
  }

  transferLeadership(to: number): ReturnType<RaftCore["transferLeadership"]> {
    const result = this.core.transferLeadership(to);
    this.dirty();
    return result;
  }

  /** The way to a peer broke: what was on it may be lost. */
  peerUnreachable(peer: number): void {
    this.core.reportUnreachable(peer);
    this.dirty();
  }

  peerLostData(peer: number): void {
    this.core.peerLostData(peer);
    this.dirty();
  }

  /** Nothing was heard of a node for `ticks` ticks, or its connection broke. */
  nodeSilent(node: number, ticks: number): void {
    this.core.nodeSilent(node, ticks);
    this.dirty();
  }

  /** A node that was silent is heard again. */
  nodeHeard(node: number): void {
    this.core.nodeHeard(node);
    this.dirty();
  }

  // ---- messages and snapshots ----

  /** Set by the node: hands a Raft message to the peer's outbox. */
  onSend: (message: RaftMessage) => void = () => undefined;

  #send(message: RaftMessage): void {
    if (message.type !== SNAPSHOT_MESSAGE) return this.onSend(message);
    if (this.#sendingSnapshots.has(message.to)) return;
    this.#sendingSnapshots.add(message.to);
    this.#host.sendSnapshot(message.to, message, (installed, isDamaged) => {
      this.#sendingSnapshots.delete(message.to);
      if (isDamaged === true) this.#snapshotLost = true;
      this.core.reportSnapshot(message.to, installed);
      this.#maybeSnapshot();
      this.dirty();
    });
  }

  #installSnapshot(meta: SnapshotMeta): void {
    const incoming = this.#incoming;
    this.#incoming = undefined;
    if (incoming === undefined || incoming.meta.index !== meta.index) {
      return this.#host.fail(new Error(`group ${this.groupId}: the core wants snapshot ${meta.index}, which was not received`));
    }
    this.#state = incoming.state;
    this.#snapshotMeta = meta;
    this.#logBytesSinceSnapshot = 0;
    this.core.applied(meta.index);
    this.#appliedWaiters.wake(this.#state.appliedIndex);
    this.#listener.replaced(this.groupId);
    this.#host.log.info("installed a snapshot", { group: this.groupId, index: meta.index });
  }

  #maybeSnapshot(): void {
    if (this.#snapshotLost || this.#logBytesSinceSnapshot >= this.#options.snapshotLogBytes) this.snapshot();
  }

  /** Takes a snapshot, unless one is under way or nothing was applied since the last. */
  snapshot(): void {
    if (this.#snapshotRunning || (!this.#snapshotLost && this.#state.appliedIndex <= (this.#snapshotMeta?.index ?? 0))) return;
    // A newer snapshot takes away the file that a peer is being sent, and the log behind it: a peer that needs longer
    // than the group from one snapshot to the next would never catch up.
    if (this.#sendingSnapshots.size > 0 && this.#logBytesSinceSnapshot < SNAPSHOT_PATIENCE * this.#options.snapshotLogBytes) return;
    const { appliedIndex } = this.#state;
    // In the middle of a change of members there is none to be taken; the next entries end it.
    const configuration = this.core.snapshotConfiguration(appliedIndex);
    if (configuration === undefined) return;
    this.#snapshotRunning = true;
    this.#logBytesSinceSnapshot = 0;
    const capture = this.#state.capture();
    const heading = { groupId: this.groupId, index: appliedIndex, term: capture.appliedTerm, voters: [...configuration.voters], learners: [...configuration.learners] };
    this.#host.saveSnapshot(heading, encodeSnapshot(capture), (error, meta) => {
      this.#snapshotRunning = false;
      if (meta === undefined) {
        // The log goes on growing until a later snapshot succeeds; the disk's own limit answers in the end.
        this.#host.log.warn("snapshot failed", { group: this.groupId, index: appliedIndex, error });
        return;
      }
      if (this.#snapshotMeta !== undefined && this.#snapshotMeta.index > meta.index) return;
      this.#snapshotMeta = meta;
      this.#snapshotLost = false;
      const { trailingEntries, trailingBytes } = this.#options;
      const dispensable = Math.min(meta.index, this.#state.appliedIndex - trailingEntries, this.core.neededFrom(trailingBytes));
      const through = Math.max(this.core.firstIndex - 1, dispensable);
      if (through >= this.core.firstIndex) this.core.compact(through, meta);
      this.#host.releaseLog(meta, through);
      this.dirty();
    });
  }
}

/** About how many bytes an entry takes in the log. */
function logBytes(entry: LogEntry): number {
  return entry.data.length + 32;
}

/** `RaftMessageType.SNAPSHOT`. */
const SNAPSHOT_MESSAGE = 9;
