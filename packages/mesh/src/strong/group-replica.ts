// One group on one node: the Raft core, the state that its log builds, and, where this node leads, the decisions.
// Everything is an event: a frame, a tick, a completion. `pump` then hands on what the core has to say.
import type {
  Decision} from "@statemesh/contract";
import {
  type ArbitrateRequest,
  type ArbitrateResponse,
  type CandidateSet,
  type EntityChange,
  type LogEntry,
  type LogPosition,
  MeshError,
  type RaftMessage,
  type Region,
  type SnapshotMeta,
  type Verdict,
} from "@statemesh/contract";
import { Command, type CommandResult, type DecidedOperation, type RegionFence } from "@statemesh/contract/log";
import { resolve } from "@statemesh/conflict";
import { type HardState, RaftCore, type Ready } from "@statemesh/raft";
import {
  type Applied,
  type DirectoryChange,
  type FenceRow,
  type GroupState,
  type PendingOperation,
  admits,
  collectIncumbents,
  decideSet,
  encodeSnapshot,
  fenceFollows,
} from "@statemesh/replica";
import { type Policy, candidateOf, formatRegion } from "@statemesh/world";
import type { GroupWrite, Host } from "../host.ts";
import { type DecisionBatch, DecisionQueue, type QueuedUnit, type Waiter } from "./decision-queue.ts";
import { answersAll, failAll, failUnit, unitBytes } from "./unit-answers.ts";
import { fenced, notLeader, operationError, operationIdReused, overloaded } from "./operation-errors.ts";

export interface GroupOptions {
  readonly groupId: number;
  readonly nodeId: number;
  readonly voters: readonly number[];
  readonly policy: Policy;
  /** Ticks of a follower's patience, at least; drawn anew between this and twice this. */
  readonly electionTicks: number;
  readonly heartbeatTicks: number;
  /** Units that may wait for a decision. Beyond it callers get OVERLOADED. */
  readonly queueCapacity: number;
  /** Bytes of log since the last snapshot that make the next one due. */
  readonly snapshotLogBytes: number;
  /** Entries kept in memory behind a snapshot, for followers that are a little slow. */
  readonly trailingEntries: number;
}

/** What a node does with what its groups learn. */
export interface GroupListener {
  /** Strong state changed: for subscriptions. */
  changed(groupId: number, position: LogPosition, changes: readonly EntityChange[]): void;
  /** The state was replaced by a snapshot of the leader. */
  replaced(groupId: number): void;
  /** The directory changed (group 0 only). */
  directoryChanged(change: DirectoryChange): void;
  /** Role or leader changed. */
  leaderChanged(groupId: number, leader: number): void;
  /** The group has something for `pump`. */
  dirty(): void;
}

/** Batches that one group has with the arbiter at a time. More would only make them smaller. */
const ARBITRATIONS_IN_FLIGHT = 4;

/** Callers that may wait for an index to be applied. Beyond it callers get OVERLOADED. */
const APPLIED_WAITERS = 65_536;

/** While a snapshot is on its way to a peer the next one may wait, until this many times the log is due. */
const SNAPSHOT_PATIENCE = 4;

/** Incumbents that the contract lets a set have. */
const INCUMBENTS_PER_SET = 4_096;

/** A command that waits for its entry to be applied. */
interface CommandWaiter {
  readonly term: number;
  readonly done: (result: CommandResult | undefined, error: MeshError | undefined) => void;
}

interface AppliedWaiter {
  readonly index: number;
  readonly deadlineMs: number;
  readonly done: (error: MeshError | undefined) => void;
}

interface ReadWaiter {
  readonly done: (index: number | undefined, error: MeshError | undefined) => void;
}

export interface RestoredGroup {
  readonly hardState: HardState;
  readonly snapshot: SnapshotMeta | undefined;
  readonly entries: LogEntry[];
  readonly state: GroupState;
}

export class GroupReplica {
  readonly groupId: number;
  readonly #options: GroupOptions;
  readonly #host: Host;
  readonly #listener: GroupListener;
  readonly core: RaftCore;
  #state: GroupState;
  readonly #queue: DecisionQueue;
  readonly #commands = new Map<number, CommandWaiter>();
  readonly #reads = new Map<number, ReadWaiter[]>();
  #appliedWaiters: AppliedWaiter[] = [];
  readonly #proposed = new Map<number, { term: number; decided: readonly DecidedOperation[] }>();
  readonly #mintedInFlight = new Map<string, number>();
  /** Fences of this leadership that are in the log and not applied, by region; the last of a region counts. */
  readonly #fencesInFlight = new Map<string, { index: number; row: FenceRow }>();
  #readCounter = 0;
  #pendingReads: ReadWaiter[] = [];
  #arbitrating = 0;
  #leaderSeen = 0;
  #wasLeader = false;
  #logBytesSinceSnapshot = 0;
  #snapshotRunning = false;
  #failed = false;
  #snapshotMeta: SnapshotMeta | undefined;
  #sendingSnapshots = new Set<number>();
  /** Batches decided here because no arbiter answered. */
  arbiterFallbacks = 0;

  constructor(options: GroupOptions, host: Host, listener: GroupListener, state: GroupState, restored: RestoredGroup | undefined) {
    this.groupId = options.groupId;
    this.#options = options;
    this.#host = host;
    this.#listener = listener;
    this.#state = state;
    this.#queue = new DecisionQueue(options.queueCapacity);
    this.#snapshotMeta = restored?.snapshot;
    // What lies in the log since the snapshot counts, or a node that restarts often would never take the next one.
    for (const entry of restored?.entries ?? []) if (entry.index > (restored?.snapshot?.index ?? 0)) this.#logBytesSinceSnapshot += logBytes(entry);
    this.core = new RaftCore({
      groupId: options.groupId,
      nodeId: options.nodeId,
      voters: options.voters,
      electionTicks: options.electionTicks,
      heartbeatTicks: options.heartbeatTicks,
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

  get waiting(): number {
    return this.#queue.waiting;
  }

  get snapshotMeta(): SnapshotMeta | undefined {
    return this.#snapshotMeta;
  }

  tick(): void {
    this.core.tick();
    this.#expireAppliedWaiters();
    this.#listener.dirty();
  }

  step(message: RaftMessage): void {
    this.core.step(message);
    this.#listener.dirty();
  }

  /** A snapshot from the leader, received whole and durable, with the state that it holds. */
  stepSnapshot(meta: SnapshotMeta, message: RaftMessage, state: GroupState): void {
    if (this.core.stepSnapshot(meta, message)) this.#incoming = { meta, state };
    this.#listener.dirty();
  }
  #incoming: { meta: SnapshotMeta; state: GroupState } | undefined;

  // ---- operations ----

  /** Takes operations to decide. Answers at once where the decision is known or refused. */
  submit(operations: readonly PendingOperation[], transactionId: string, waiter: Waiter): void {
    const problem = this.#known(operations, transactionId, waiter);
    if (problem === "answered") return;
    if (problem !== undefined) return failAll(operations, waiter, problem);
    const first = operations[0];
    if (first === undefined) return;
    this.#queue.push({ operations, transactionId, waiters: [waiter], sizeBytes: unitBytes(operations), proposed: false });
    this.#listener.dirty();
  }

  /** What stands against queueing: an earlier decision, a fence, a limit. */
  #known(operations: readonly PendingOperation[], transactionId: string, waiter: Waiter): MeshError | "answered" | undefined {
    const state = this.#state;
    let repeated: Decision[] | undefined;
    for (const { operation, fingerprint } of operations) {
      const row = state.decisions.get(operation.operationId);
      if (row === undefined) continue;
      if (row.fingerprint !== fingerprint || row.transactionId !== transactionId) {
        return operationIdReused(operation.operationId, row.fingerprint, fingerprint);
      }
      (repeated ??= []).push(state.decisionOf(row, true));
    }
    if (repeated !== undefined) {
      if (repeated.length !== operations.length) {
        const id = operations[0]?.operation.operationId ?? "";
        return new MeshError("OPERATION_ID_REUSED", `transaction ${transactionId} was used with other operations than those beside ${id}`);
      }
      for (const decision of repeated) waiter.decided(decision);
      return "answered";
    }
    if (!this.serves) return notLeader(this.groupId, this.core.leader);
    for (const { operation, fingerprint } of operations) {
      const unit = this.#queue.unitOf(operation.operationId);
      if (unit === undefined) continue;
      const queued = unit.operations.find((pending) => pending.operation.operationId === operation.operationId);
      if (queued?.fingerprint !== fingerprint || unit.transactionId !== transactionId || unit.operations.length !== operations.length) {
        return operationIdReused(operation.operationId, queued?.fingerprint ?? 0, fingerprint);
      }
      unit.waiters.push(waiter);
      return "answered";
    }
    for (const { operation } of operations) {
      const region = operation.homeRegion;
      if (region === undefined) continue;
      if (!state.admits(region, operation.authorityEpoch, operation.serverId)) {
        return fenced(state.fence(region) ?? { region, epoch: 0, ownerServerId: 0 });
      }
      // A claimed time ahead of the first receiver's clock was stamped with that clock: so much earlier at most.
      if (operation.timestampMs > 0 && operation.timestampMs - this.#options.policy.maxOffsetMs <= state.forgottenThroughMs) {
        return new MeshError("DECISION_FORGOTTEN", `operation ${operation.operationId} is stamped before the decisions that are kept`, {
          metadata: { kept_after_ms: String(state.forgottenThroughMs) },
        });
      }
    }
    return this.#queue.isFull ? overloaded(`operations waiting in group ${this.groupId}`, this.#options.queueCapacity) : undefined;
  }

  #startArbitrations(): void {
    while (this.serves && this.#arbitrating < ARBITRATIONS_IN_FLIGHT) {
      const batch = this.#queue.takeBatch();
      if (batch === undefined) return;
      this.#arbitrate(batch);
    }
  }

  #arbitrate(batch: DecisionBatch): void {
    const sets = this.#sets(batch);
    const term = this.core.term;
    this.#arbitrating++;
    // More than an arbiter takes is decided here, by the same rules.
    const ask = sets.every((set) => set.incumbents.length <= INCUMBENTS_PER_SET) ? this.#host.arbitrate.bind(this.#host) : decideHere;
    ask({ sets, groupId: this.groupId }, (response) => {
      this.#arbitrating--;
      this.#listener.dirty();
      // Verdicts of an earlier leadership are worth nothing: the units were drained when it ended.
      if (this.core.term !== term || this.core.role !== "leader") return;
      this.#propose(batch, this.#verdicts(sets, response));
    });
  }

  #sets(batch: DecisionBatch): CandidateSet[] {
    const sets: CandidateSet[] = [];
    if (batch.singles.length > 0) sets.push(this.#candidateSet(batch.singles));
    for (const transaction of batch.transactions) sets.push(this.#candidateSet([transaction]));
    return sets;
  }

  #candidateSet(units: readonly QueuedUnit[]): CandidateSet {
    const incumbents = new Map<string, CandidateSet["incumbents"][number]>();
    const candidates: CandidateSet["candidates"] = [];
    for (const unit of units) {
      for (const pending of unit.operations) {
        collectIncumbents(this.#state, pending, this.#options.policy, incumbents);
        candidates.push(candidateOf(pending.operation, pending.touched, pending.stamp, pending.priority));
      }
    }
    return { incumbents: incumbents.size === 0 ? [] : [...incumbents.values()], candidates };
  }

  /** The arbiter's verdicts where they answer the question, else the same rules here. */
  #verdicts(sets: readonly CandidateSet[], response: ArbitrateResponse | undefined): (readonly Verdict[])[] {
    const usable =
      response !== undefined &&
      response.sets.length === sets.length &&
      sets.every((set, i) => answersAll(set, response.sets[i]?.verdicts));
    if (usable) return response.sets.map((set) => set.verdicts);
    if (response !== undefined) this.#host.log.warn("the arbiter's answer does not fit the question", { group: this.groupId });
    this.arbiterFallbacks++;
    return sets.map((set) => resolve(set, this.#options.policy));
  }

  /** The fences as they will stand where the next entry is applied: what is in the log of this leadership counts. */
  #admits({ operation }: PendingOperation): boolean {
    const region = operation.homeRegion;
    if (region === undefined) return true;
    return admits(this.#fenceAhead(region), operation.authorityEpoch, operation.serverId);
  }

  #fenceAhead(region: Region): FenceRow | undefined {
    const ahead = this.#fencesInFlight.size === 0 ? undefined : this.#fencesInFlight.get(formatRegion(region));
    return ahead?.row ?? this.#state.fence(region);
  }

  /**
   * Takes out the units whose region was fenced since they were queued. None of them may get into the log: what was
   * decided beside it could live off it, and could not be applied without it. The others are decided anew.
   */
  #withoutFenced(batch: DecisionBatch): DecisionBatch | undefined {
    const isGood = (unit: QueuedUnit): boolean => unit.operations.every((pending) => this.#admits(pending));
    if (batch.singles.every(isGood) && batch.transactions.every(isGood)) return undefined;
    for (const unit of [...batch.singles, ...batch.transactions]) {
      const region = unit.operations.find((pending) => !this.#admits(pending))?.operation.homeRegion;
      if (region === undefined) continue;
      this.#queue.release(unit);
      failUnit(unit, fenced(this.#fenceAhead(region) ?? { region, epoch: 0, ownerServerId: 0 }));
    }
    return { singles: batch.singles.filter(isGood), transactions: batch.transactions.filter(isGood) };
  }

  #propose(asked: DecisionBatch, answered: readonly (readonly Verdict[])[]): void {
    const rest = this.#withoutFenced(asked);
    const batch = rest ?? asked;
    if (batch.singles.length + batch.transactions.length === 0) return;
    const verdicts = rest === undefined ? answered : this.#sets(rest).map((set) => resolve(set, this.#options.policy));
    const decided: DecidedOperation[] = [];
    const decide = (units: readonly QueuedUnit[]): void => {
      const set = decideSet(this.#state, units, verdicts[at++] ?? [], this.#mintedInFlight);
      this.#reserveMints(set, 1);
      for (const operation of set) decided.push(operation);
    };
    let at = 0;
    try {
      if (batch.singles.length > 0) decide(batch.singles);
      for (const transaction of batch.transactions) decide([transaction]);
    } catch (error) {
      // A peer of a newer version may have let something through that this one does not know.
      this.#host.log.warn("operations could not be decided", { group: this.groupId, error });
      this.#reserveMints(decided, -1);
      return this.#giveUp(batch, MeshError.from(error));
    }
    const data = Command.encode({ command: { $case: "operations", value: { operations: decided } } }).finish();
    const result = this.core.propose(data);
    if (!result.ok) {
      this.#reserveMints(decided, -1);
      return this.#giveUp(batch, result.reason === "uncommitted_limit" ? overloaded("bytes not committed", 32 * 1024 * 1024) : notLeader(this.groupId, this.core.leader));
    }
    this.#proposed.set(result.index, { term: result.term, decided });
    for (const unit of batch.singles) unit.proposed = true;
    for (const unit of batch.transactions) unit.proposed = true;
  }

  /** Nothing of the batch got into the log. */
  #giveUp(batch: DecisionBatch, error: MeshError): void {
    for (const unit of [...batch.singles, ...batch.transactions]) {
      this.#queue.release(unit);
      failUnit(unit, error);
    }
  }

  /** What this node itself put into an entry, if it is that entry: saves the leader the decoding. */
  #takeProposed(entry: LogEntry): readonly DecidedOperation[] | undefined {
    const proposed = this.#proposed.get(entry.index);
    if (proposed === undefined) return undefined;
    this.#proposed.delete(entry.index);
    return proposed.term === entry.term ? proposed.decided : undefined;
  }

  #reserveMints(decided: readonly DecidedOperation[], sign: 1 | -1): void {
    for (const { effects } of decided) {
      for (const { effect } of effects) {
        if (effect?.$case !== "post" || effect.value.from !== "") continue;
        const { itemKind, quantity } = effect.value;
        const left = (this.#mintedInFlight.get(itemKind) ?? 0) + sign * quantity;
        if (left <= 0) this.#mintedInFlight.delete(itemKind);
        else this.#mintedInFlight.set(itemKind, left);
      }
    }
  }

  // ---- commands, reads, leadership ----

  /** Puts a command into the log; `done` after it is applied. */
  command(command: Command, done: CommandWaiter["done"]): void {
    if (!this.serves) return done(undefined, notLeader(this.groupId, this.core.leader));
    const result = this.core.propose(Command.encode(command).finish());
    if (!result.ok) {
      return done(undefined, result.reason === "uncommitted_limit" ? overloaded("bytes not committed", 32 * 1024 * 1024) : notLeader(this.groupId, this.core.leader));
    }
    this.#commands.set(result.index, { term: result.term, done });
    if (command.command?.$case === "fence") this.#noteFence(command.command.value, result.index);
    this.#listener.dirty();
  }

  #noteFence({ region, epoch, ownerServerId }: RegionFence, index: number): void {
    if (region === undefined) return;
    const row: FenceRow = { region, epoch, ownerServerId };
    if (!fenceFollows(this.#fenceAhead(region), row)) return;
    // In order of their indexes, so that those applied are the first.
    const text = formatRegion(region);
    this.#fencesInFlight.delete(text);
    this.#fencesInFlight.set(text, { index, row });
  }

  /** The index that a linearizable read must wait for. Leader only. Reads of one pump share one round. */
  readIndex(done: ReadWaiter["done"]): void {
    if (!this.serves) return done(undefined, notLeader(this.groupId, this.core.leader));
    this.#pendingReads.push({ done });
    this.#listener.dirty();
  }

  /** Calls `done` once everything up to `index` is applied here; at once where it is. `deadlineMs` is monotonic. */
  whenApplied(index: number, deadlineMs: number, done: AppliedWaiter["done"]): void {
    if (this.#state.appliedIndex >= index) done(undefined);
    else if (this.#appliedWaiters.length >= APPLIED_WAITERS) done(overloaded("calls that wait for the log", APPLIED_WAITERS));
    else this.#appliedWaiters.push({ index, deadlineMs, done });
  }

  /** Callers that wait for an index to be applied. */
  get waitingForApply(): number {
    return this.#appliedWaiters.length;
  }

  #expireAppliedWaiters(): void {
    if (this.#appliedWaiters.length === 0) return;
    const nowMs = this.#host.clock.monotonicMs();
    const waiters = this.#appliedWaiters;
    this.#appliedWaiters = waiters.filter((waiter) => waiter.deadlineMs > nowMs);
    for (const waiter of waiters) {
      if (waiter.deadlineMs > nowMs) continue;
      waiter.done(new MeshError("NO_QUORUM", `this node did not reach the wanted position of group ${this.groupId} in time`, { metadata: { group_id: String(this.groupId) }, retryDelayMs: 50 }));
    }
  }

  // ---- the pump ----

  /** Moves everything that is ready: decisions to the arbiter, messages to peers, entries to the log, results to callers. */
  pump(writes: GroupWrite[], afterPersist: (() => void)[]): void {
    if (this.#failed) return;
    this.#startArbitrations();
    this.#startReads();
    while (!this.#failed && this.core.hasReady()) this.#handle(this.core.ready(), writes, afterPersist);
    this.#noticeLeadership();
  }

  #startReads(): void {
    if (this.#pendingReads.length === 0) return;
    const waiters = this.#pendingReads;
    this.#pendingReads = [];
    const context = ++this.#readCounter;
    const result = this.core.readIndex(context);
    if (result === "ok") this.#reads.set(context, waiters);
    else for (const waiter of waiters) waiter.done(undefined, notLeader(this.groupId, this.core.leader));
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
    afterPersist.push(() => {
      for (const message of ready.messagesAfterPersist) this.#send(message);
      this.core.persisted(ready.sequence);
    });
    for (const entry of ready.committed) if (!this.#failed) this.#apply(entry);
    if (this.#failed) return;
    const last = ready.committed.at(-1);
    if (last !== undefined) {
      this.core.applied(last.index);
      this.#wakeApplied();
      this.#maybeSnapshot();
    }
    for (const context of ready.abortedReads) {
      for (const waiter of this.#reads.get(context) ?? []) waiter.done(undefined, notLeader(this.groupId, this.core.leader));
      this.#reads.delete(context);
    }
    for (const { context, index } of ready.readStates) {
      for (const waiter of this.#reads.get(context) ?? []) waiter.done(index, undefined);
      this.#reads.delete(context);
    }
  }

  #apply(entry: LogEntry): void {
    let applied: Applied;
    try {
      applied = this.#state.apply(entry, this.#takeProposed(entry), this.#queue.isBusy);
    } catch (error) {
      // The state is torn: nothing may be applied, answered or saved any more.
      this.#failed = true;
      return this.#host.fail(error);
    }
    for (const { operationId, decision, fence } of applied.operations) {
      const unit = this.#queue.unitOf(operationId);
      if (unit === undefined || !unit.proposed) continue;
      this.#settle(unit, operationId, decision, fence === undefined ? undefined : fenced(fence));
    }
    if (this.#mintedInFlight.size > 0) this.#reserveMints(applied.decided, -1);
    if (this.#fencesInFlight.size > 0) {
      for (const [region, { index }] of this.#fencesInFlight) {
        if (index > entry.index) break;
        this.#fencesInFlight.delete(region);
      }
    }
    const position = { groupId: this.groupId, term: entry.term, index: entry.index };
    if (applied.changes.length > 0) this.#listener.changed(this.groupId, position, applied.changes);
    if (applied.directory !== undefined) this.#listener.directoryChanged(applied.directory);
    const waiter = this.#commands.get(entry.index);
    if (waiter === undefined) return;
    this.#commands.delete(entry.index);
    if (waiter.term === entry.term) waiter.done(applied.commandResult, undefined);
    else waiter.done(undefined, notLeader(this.groupId, this.core.leader));
  }

  /** A unit is free once its last operation is applied; its waiters hear of each operation. */
  #settle(unit: QueuedUnit, operationId: string, decision: Decision | undefined, error: MeshError | undefined): void {
    for (const waiter of unit.waiters) {
      if (decision !== undefined) waiter.decided(decision);
      else if (error !== undefined) waiter.failed(operationId, operationError(error));
    }
    if (unit.operations.at(-1)?.operation.operationId === operationId) this.#queue.release(unit);
  }

  #wakeApplied(): void {
    if (this.#appliedWaiters.length === 0) return;
    const applied = this.#state.appliedIndex;
    const ready = this.#appliedWaiters.filter((waiter) => waiter.index <= applied);
    if (ready.length === 0) return;
    this.#appliedWaiters = this.#appliedWaiters.filter((waiter) => waiter.index > applied);
    for (const waiter of ready) waiter.done(undefined);
  }

  #noticeLeadership(): void {
    const leads = this.core.role === "leader";
    if (this.#wasLeader && !leads) this.#loseLeadership();
    this.#wasLeader = leads;
    if (this.core.leader === this.#leaderSeen) return;
    this.#leaderSeen = this.core.leader;
    this.#listener.leaderChanged(this.groupId, this.core.leader);
  }

  /** What waits is sent back, for another leader; what is in the log may still be committed, and is said to be unknown. */
  #loseLeadership(): void {
    const unknown = new MeshError("OUTCOME_UNKNOWN", `leadership of group ${this.groupId} was lost while the operation was in the log`);
    const elsewhere = notLeader(this.groupId, this.core.leader);
    for (const unit of this.#queue.drain()) failUnit(unit, unit.proposed ? unknown : elsewhere);
    this.#mintedInFlight.clear();
    this.#fencesInFlight.clear();
    this.#proposed.clear();
    for (const waiter of this.#commands.values()) waiter.done(undefined, unknown);
    this.#commands.clear();
    for (const waiters of this.#reads.values()) for (const waiter of waiters) waiter.done(undefined, elsewhere);
    this.#reads.clear();
    for (const waiter of this.#pendingReads) waiter.done(undefined, elsewhere);
    this.#pendingReads = [];
  }

  // ---- messages and snapshots ----

  /** Set by the node: hands a Raft message to the peer's outbox. */
  onSend: (message: RaftMessage) => void = () => undefined;

  #send(message: RaftMessage): void {
    if (message.type !== SNAPSHOT_MESSAGE) return this.onSend(message);
    if (this.#sendingSnapshots.has(message.to)) return;
    this.#sendingSnapshots.add(message.to);
    this.#host.sendSnapshot(message.to, message, (installed) => {
      this.#sendingSnapshots.delete(message.to);
      this.core.reportSnapshot(message.to, installed);
      this.#listener.dirty();
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
    this.#wakeApplied();
    this.#listener.replaced(this.groupId);
    this.#host.log.info("installed a snapshot", { group: this.groupId, index: meta.index });
  }

  #maybeSnapshot(): void {
    if (this.#logBytesSinceSnapshot >= this.#options.snapshotLogBytes) this.snapshot();
  }

  /** Takes a snapshot, unless one is under way or nothing was applied since the last. */
  snapshot(): void {
    if (this.#snapshotRunning || this.#state.appliedIndex <= (this.#snapshotMeta?.index ?? 0)) return;
    // A newer snapshot takes away the file that a peer is being sent, and the log behind it: a peer that needs longer
    // than the group from one snapshot to the next would never catch up.
    if (this.#sendingSnapshots.size > 0 && this.#logBytesSinceSnapshot < SNAPSHOT_PATIENCE * this.#options.snapshotLogBytes) return;
    this.#snapshotRunning = true;
    this.#logBytesSinceSnapshot = 0;
    const capture = this.#state.capture();
    const { appliedIndex, appliedTerm } = capture;
    this.#host.saveSnapshot(this.groupId, appliedIndex, appliedTerm, this.#options.voters, encodeSnapshot(capture), (error, meta) => {
      this.#snapshotRunning = false;
      if (meta === undefined) {
        // The log goes on growing until a later snapshot succeeds; the disk's own limit answers in the end.
        this.#host.log.warn("snapshot failed", { group: this.groupId, index: appliedIndex, error });
        return;
      }
      if (this.#snapshotMeta !== undefined && this.#snapshotMeta.index >= meta.index) return;
      this.#snapshotMeta = meta;
      const through = Math.min(meta.index, Math.max(this.core.firstIndex - 1, this.#state.appliedIndex - this.#options.trailingEntries));
      if (through >= this.core.firstIndex) this.core.compact(through, meta);
      this.#host.releaseLog(meta, through);
      this.#listener.dirty();
    });
  }
}

function decideHere(_: ArbitrateRequest, done: (response: ArbitrateResponse | undefined) => void): void {
  done(undefined);
}

/** About how many bytes an entry takes in the log. */
function logBytes(entry: LogEntry): number {
  return entry.data.length + 32;
}

/** `RaftMessageType.SNAPSHOT`. */
const SNAPSHOT_MESSAGE = 9;
