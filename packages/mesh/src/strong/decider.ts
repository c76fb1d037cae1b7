// What a leader decides: operations wait, go to the arbiter in batches, and come back as entries of the log. Nothing is
// decided against anything that is not applied, but for the fences that are in the log already.
import { type ArbitrateRequest, type ArbitrateResponse, type Decision, type LogEntry, MeshError, Outcome } from "@statemesh/contract";
import { type AskToPrepare, Command, type DecidedOperation } from "@statemesh/contract/log";
import { resolve } from "@statemesh/conflict";
import type { RaftCore } from "@statemesh/raft";
import { type Applied, clearingKey, commandOf, contentOf, type DecisionBasis, decideSet, type GroupState, isClearing, onlyPosts, type PendingOperation, transactionKey } from "@statemesh/replica";
import { type Policy, groupOf } from "@statemesh/world";
import { decideUnderstood } from "../healing/decide-kept.ts";
import { type HealHeading, HealUnit } from "../healing/heal-unit.ts";
import type { KeptOperation } from "../healing/kept-operation.ts";
import type { Host } from "../host.ts";
import { lastDeadlineMs } from "./decision-batch.ts";
import { allOf, type DecisionBatch, DecisionQueue, type QueuedUnit, type Waiter } from "./decision-queue.ts";
import { FencesAhead } from "./fences-ahead.ts";
import { type DeciderOptions, delayLimits } from "./group-options.ts";
import { GroupTransactions, type StepDone } from "./group-transactions.ts";
import { fenced, notLeader, operationError, operationIdReused, overloaded, transactionIdReused } from "./operation-errors.ts";
import { candidateSet, type DecidePart, Question } from "./question.ts";
import { failAll, failUnit, unitBytes } from "./unit-answers.ts";
import { Unsure } from "./unsure.ts";

/** Batches that one group has with the arbiter at a time. More would only make them smaller. */
const ARBITRATIONS_IN_FLIGHT = 4;

/** The group that a decider decides for. */
export interface DecidingGroup {
  readonly groupId: number;
  readonly core: RaftCore;
  readonly state: GroupState;
  /** This node leads and has applied everything that it inherited. */
  readonly serves: boolean;
  dirty(): void;
}

export class Decider {
  readonly #group: DecidingGroup;
  readonly #host: Host;
  readonly #policy: Policy;
  readonly #queue: DecisionQueue;
  readonly #groups: number;
  readonly #isMember: DeciderOptions["isMember"];
  /** Those that reach other groups. */
  readonly transactions: GroupTransactions;
  readonly #proposed = new Map<number, { term: number; decided: readonly DecidedOperation[] }>();
  readonly #mintedInFlight = new Map<string, number>();
  /** What was decided in one entry, by its index, until it is applied. */
  readonly #setsInFlight = new Map<number, readonly DecidedOperation[]>();
  readonly fences: FencesAhead;
  #arbitrating = 0;
  /** Batches decided here because no arbiter answered. */
  fallbacks = 0;

  constructor(group: DecidingGroup, host: Host, policy: Policy, options: DeciderOptions) {
    this.#group = group;
    this.#host = host;
    this.#policy = policy;
    this.#queue = new DecisionQueue(options.queueCapacity, delayLimits(options), () => host.clock.monotonicMs(), options.stages);
    this.#groups = options.groups;
    this.#isMember = options.isMember;
    this.fences = new FencesAhead(group, options.groups, () => host.clock.monotonicMs());
    this.transactions = new GroupTransactions(group, this.#queue, policy, options.groups, () => host.clock.wallMs(), () => host.clock.monotonicMs());
  }

  /** Operations that wait for a decision and that are under way, and how many were refused and dropped. */
  get queue(): Pick<DecisionQueue, "waiting" | "underWay" | "shed" | "expired" | "holds"> {
    return this.#queue;
  }

  /** Somebody waits to hear of an operation. */
  get isBusy(): boolean {
    return this.#queue.isBusy || this.transactions.isBusy;
  }

  /**
   * Takes operations to decide. Answers at once where the decision is known or refused. Past `deadlineMs`, monotonic, they are not
   * decided any more, unless they are in the log by then.
   */
  submit(operations: readonly PendingOperation[], transactionId: string, waiter: Waiter, deadlineMs: number): void {
    const problem = this.#known(operations, transactionId, waiter, deadlineMs);
    if (problem === "answered") return;
    if (problem !== undefined) return failAll(operations, waiter, problem);
    const first = operations[0];
    if (first === undefined) return;
    const part = this.transactions.partOf(operations, transactionId);
    if (part !== undefined && part.groups[0] !== this.#group.groupId) return failAll(operations, waiter, new MeshError("INTERNAL", `group ${part.groups[0]} coordinates, not ${this.#group.groupId}`));
    const here = part === undefined ? operations : this.transactions.here(operations);
    const unit: QueuedUnit = { operations: here, transactionId, waiters: [waiter], sizeBytes: unitBytes(operations, this.#group.state), cameMs: this.#host.clock.monotonicMs(), deadlineMs, proposed: false, reserves: here.every(onlyPosts), ...(part === undefined ? {} : { part }) };
    if (part !== undefined && this.transactions.isTaken(part.key)) return failAll(operations, waiter, new MeshError("OPERATION_ID_REUSED", `${part.key} is under way with other operations`));
    this.transactions.queued(unit);
    this.#queue.push(unit);
    this.#group.dirty();
  }

  /** What stands against queueing: an earlier decision, a fence, a limit. */
  #known(operations: readonly PendingOperation[], transactionId: string, waiter: Waiter, deadlineMs: number): MeshError | "answered" | undefined {
    const { state } = this.#group;
    for (const { operation, fingerprint } of operations) {
      const holder = state.transactions.keyOfOperation(operation.operationId);
      if (holder === undefined || isClearing(holder)) continue;
      if (holder !== transactionKey(transactionId, operations[0]?.operation.operationId ?? "")) return operationIdReused(operation.operationId, 0, fingerprint);
      return this.transactions.attach(holder, operations, waiter);
    }
    const content = transactionId === "" ? undefined : state.contents.get(transactionId);
    if (content !== undefined) {
      const asked = contentOf(operations.map(({ fingerprint }) => fingerprint));
      if (content.operations !== asked.operations || content.fingerprints !== asked.fingerprints) return this.#forgotten(operations) ?? transactionIdReused(transactionId);
    }
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
        return this.#forgotten(operations) ?? new MeshError("OPERATION_ID_REUSED", `transaction ${transactionId} was used with other operations than those beside ${id}`);
      }
      // Decided, and not told before other groups have cleared the place.
      const clearing = state.transactions.keyOfOperation(operations[0]?.operation.operationId ?? "");
      if (clearing !== undefined && isClearing(clearing)) return this.transactions.attach(clearing, operations, waiter);
      for (const decision of repeated) waiter.decided(decision);
      return "answered";
    }
    if (!this.#group.serves) return notLeader(this.#group.groupId, this.#group.core.leader);
    for (const { operation, fingerprint } of operations) {
      const unit = this.#queue.unitOf(operation.operationId);
      if (unit === undefined) continue;
      if (unit.heal !== undefined && transactionId === "") {
        const kept = unit.heal.fingerprintOf(operation.operationId) ?? 0;
        if (kept !== fingerprint) return operationIdReused(operation.operationId, kept, fingerprint);
        unit.heal.wait(operation.operationId, waiter);
        return "answered";
      }
      const queued = allOf(unit).find((pending) => pending.operation.operationId === operation.operationId);
      if (queued?.fingerprint !== fingerprint || unit.transactionId !== transactionId || allOf(unit).length !== operations.length) {
        return operationIdReused(operation.operationId, queued?.fingerprint ?? 0, fingerprint);
      }
      unit.waiters.push(waiter);
      unit.deadlineMs = Math.max(unit.deadlineMs, deadlineMs);
      return "answered";
    }
    for (const { operation } of operations) {
      const region = operation.homeRegion;
      if (region === undefined || groupOf(region, this.#groups) !== this.#group.groupId) continue;
      if (!state.admits(region, operation.authorityEpoch, operation.serverId)) {
        return fenced(state.fence(region) ?? { region, epoch: 0, ownerServerId: 0 });
      }
    }
    // What a removal clears in other groups is on record as a transaction.
    const mayClear = operations.some(({ operation }) => operation.body?.$case === "structureRemoval");
    const limit = mayClear || this.transactions.partOf(operations, transactionId) !== undefined ? this.transactions.refusal() : undefined;
    // The coordinating group decides on all operations of a transaction, wherever their homes are, and so may have forgotten any.
    const refused = this.#forgotten(operations) ?? limit;
    if (refused !== undefined) return refused;
    // Last: who comes in may drive another out. That one hears at once, and may come again: nothing of it is left here.
    const full = this.#queue.refusal(this.#group.groupId, operations[0]?.operation.serverId ?? 0);
    this.#tellDropped();
    this.#group.dirty();
    return full;
  }

  /** An operation on which nothing is known here may have been decided, and forgotten. */
  #forgotten(operations: readonly PendingOperation[]): MeshError | undefined {
    const { decisions, forgottenThroughMs } = this.#group.state;
    for (const { operation, stamp } of operations) {
      // A claimed time ahead of the first receiver's clock was stamped with that clock: so much earlier at most. Where none
      // is claimed, the receiver's stamp tells a try of long ago from a new operation.
      const earliestMs = operation.timestampMs > 0 ? operation.timestampMs - this.#policy.maxOffsetMs : stamp.physicalMs;
      if (earliestMs > forgottenThroughMs || decisions.get(operation.operationId) !== undefined) continue;
      return new MeshError("DECISION_FORGOTTEN", `operation ${operation.operationId} is stamped before the decisions that are kept`, {
        metadata: { kept_after_ms: String(forgottenThroughMs) },
      });
    }
    return undefined;
  }

  /** Sends what can be decided now to the arbiter. */
  start(): void {
    while (this.#group.serves && this.#arbitrating < ARBITRATIONS_IN_FLIGHT) {
      const { locks, reserving } = this.#group.state.transactions;
      const batch = this.#queue.takeBatch(this.#group.groupId, locks, reserving);
      if (batch === undefined) break;
      for (const unit of batch.heals) this.#heal(unit);
      if (batch.singles.length + batch.transactions.length > 0) this.#arbitrate(batch);
    }
    this.#tellDropped();
  }

  /** Nothing of them is in the log. */
  #tellDropped(): void {
    for (const { unit, error } of this.#queue.takeDropped()) {
      this.transactions.forget(unit);
      failUnit(unit, error);
      unit.heal?.end(operationError(error));
    }
  }

  /**
   * Decides operations that were kept during a partition, and puts the decisions into the log. Those that are queued under the same
   * id are left out: they are decided there. `done` once everything is applied, or nothing more comes.
   */
  heal(kept: readonly KeptOperation[], heading: HealHeading, done: () => void): void {
    const { transactions } = this.#group.state;
    const free = kept.filter(({ operationId }) => this.#queue.unitOf(operationId) === undefined && transactions.keyOfOperation(operationId) === undefined);
    const operations = free.flatMap(({ pending }) => (pending === undefined ? [] : [pending]));
    const unit: QueuedUnit = { operations, transactionId: "", waiters: [], sizeBytes: unitBytes(operations, this.#group.state), cameMs: this.#host.clock.monotonicMs(), deadlineMs: Number.POSITIVE_INFINITY, proposed: false, reserves: false, heal: new HealUnit(free, heading, done) };
    if (operations.length === 0) return this.#heal(unit);
    this.#queue.push(unit);
    this.#group.dirty();
  }

  #heal(unit: QueuedUnit): void {
    const { heal } = unit;
    if (heal === undefined) return;
    const { decisions } = decideUnderstood(this.#group.state, this.#policy, this.#groups, heal.kept, this.#host.log);
    for (const operations of heal.entries(decisions)) {
      const data = Command.encode(commandOf({ $case: "heal", value: { ...heal.heading, operations: [...operations] } })).finish();
      // What does not get in stays kept where it is, and comes again.
      if (!this.#group.core.propose(data).ok) break;
      unit.proposed = true;
      for (const { decided, decidedBefore } of operations) {
        if (decided !== undefined && !decidedBefore && this.#queue.unitOf(decided.operationId) === unit) heal.open.add(decided.operationId);
      }
    }
    if (heal.open.size === 0) this.#endHeal(unit, heal);
  }

  #endHeal(unit: QueuedUnit, heal: HealUnit): void {
    this.#queue.release(unit);
    heal.end(operationError(notLeader(this.#group.groupId, this.#group.core.leader)));
    this.#group.dirty();
  }

  #arbitrate(batch: DecisionBatch): void {
    const question = new Question(batch, this.#group.state, this.#policy, this.#groups);
    const term = this.#group.core.term;
    this.#arbitrating++;
    // What meets nothing, and more than an arbiter takes, is decided here, by the same rules.
    const ask = question.isForArbiter ? this.#host.arbitrate.bind(this.#host) : decideHere;
    ask({ sets: [...question.sets], groupId: this.#group.groupId, policyDigest: this.#policy.digest }, lastDeadlineMs(batch), (response) => {
      this.#arbitrating--;
      this.#group.dirty();
      // Verdicts of an earlier leadership are worth nothing: the units were drained when it ended.
      if (this.#group.core.term !== term || this.#group.core.role !== "leader") return;
      this.#propose(batch, question, this.#usable(question, response));
    });
  }

  /** The arbiter's answer where it fits the question. */
  #usable(question: Question, response: ArbitrateResponse | undefined): ArbitrateResponse | undefined {
    if (response !== undefined && question.isAnsweredBy(response)) return response;
    if (response !== undefined) this.#host.log.warn("the arbiter's answer does not fit the question", { group: this.#group.groupId });
    if (question.hasRivals) this.fallbacks++;
    return undefined;
  }

  /**
   * Takes out the units whose region was fenced since they were queued. None of them may get into the log: what was
   * decided beside it could live off it, and could not be applied without it. The others are decided anew.
   */
  #withoutFenced(batch: DecisionBatch): DecisionBatch | undefined {
    const isGood = (unit: QueuedUnit): boolean => unit.operations.every((pending) => this.fences.admits(pending));
    if (batch.singles.every(isGood) && batch.transactions.every(isGood)) return undefined;
    for (const unit of [...batch.singles, ...batch.transactions]) {
      const region = unit.operations.find((pending) => !this.fences.admits(pending))?.operation.homeRegion;
      if (region === undefined) continue;
      this.transactions.release(unit);
      this.transactions.fenceRefusal(unit, this.fences.of(region) ?? { region, epoch: 0, ownerServerId: 0 });
    }
    return { singles: batch.singles.filter(isGood), transactions: batch.transactions.filter(isGood), heals: [] };
  }

  #propose(asked: DecisionBatch, question: Question, answer: ArbitrateResponse | undefined): void {
    const rest = this.#withoutFenced(asked);
    const batch = rest ?? asked;
    if (batch.singles.length + batch.transactions.length === 0) return;
    const decided: DecidedOperation[] = [];
    const parts: DecidedPart[] = [];
    const basis: DecisionBasis = {
      place: { groupId: this.#group.groupId, groups: this.#groups, isMember: this.#isMember },
      state: this.#group.state,
      mintedInFlight: this.#mintedInFlight,
      reservedInFlight: this.#queue.reservations,
      arbitrateAgain: (operations) => resolve(candidateSet(operations, this.#group.state, this.#policy, this.#groups), this.#policy),
    };
    const unsure = new Unsure(this.#group.state.ledger.reserved, this.#queue.reservations);
    const decide: DecidePart = (units, verdicts) => {
      let set = unsure.leaveOut(units, decideSet(basis, units, verdicts));
      const unit = units[0];
      if (set.length === 0) return;
      if (unit?.part !== undefined) {
        const holds = set.every(({ outcome }) => outcome !== Outcome.REJECTED);
        if (holds || unit.part.asked !== undefined) {
          if (holds) {
            this.#reserveMints(set, 1);
            if (unit.reserves) this.#queue.reserve(unit, set);
          }
          return void parts.push({ unit, set, holds });
        }
        set = this.transactions.rejected(unit, set);
      }
      this.#reserveMints(set, 1);
      if (units.some(({ reserves }) => reserves)) this.#queue.reserve(decided, set);
      for (const operation of set) decided.push(operation);
    };
    try {
      if (rest === undefined) question.decide(answer, decide);
      else new Question(rest, this.#group.state, this.#policy, this.#groups).decide(undefined, decide);
    } catch (error) {
      // A peer of a newer version may have let something through that this one does not know.
      this.#host.log.warn("operations could not be decided", { group: this.#group.groupId, error });
      this.#freeMints(decided, parts);
      return this.#giveUp(batch, MeshError.from(error));
    }
    if (decided.length > 0) {
      const data = Command.encode(commandOf({ $case: "operations", value: { operations: decided } })).finish();
      const result = this.#group.core.propose(data);
      if (!result.ok) {
        this.#freeMints(decided, parts);
        return this.#giveUp(batch, this.#notProposed(result.reason));
      }
      this.#proposed.set(result.index, { term: result.term, decided });
      this.#setsInFlight.set(result.index, decided);
    }
    const apart = new Set(unsure.units);
    for (const { unit } of parts) apart.add(unit);
    for (const unit of batch.singles) if (!apart.has(unit)) this.#queue.proposed(unit);
    for (const unit of batch.transactions) if (!apart.has(unit)) this.#queue.proposed(unit);
    for (const part of parts) this.#proposePart(part);
    this.#queue.waitAlone([...unsure.units]);
  }

  /** The part of this group in a transaction across groups is an entry of its own. */
  #proposePart({ unit, set, holds }: DecidedPart): void {
    if (unit.part === undefined) return;
    if (!holds) return this.transactions.refuse(unit, set);
    const result = this.#group.core.propose(Command.encode(this.transactions.commandOf(unit.part, unit.operations, set)).finish());
    if (!result.ok) {
      this.#reserveMints(set, -1);
      this.transactions.release(unit);
      return failUnit(unit, this.#notProposed(result.reason));
    }
    this.#queue.proposed(unit);
  }

  #notProposed(reason: string): MeshError {
    return reason === "uncommitted_limit" ? overloaded("bytes not committed", 32 * 1024 * 1024) : notLeader(this.#group.groupId, this.#group.core.leader);
  }

  /** The group is asked for its part of a transaction. */
  prepare(ask: AskToPrepare, done: StepDone): void {
    this.transactions.ask(ask, done);
  }

  /** Nothing of the batch got into the log. */
  #giveUp(batch: DecisionBatch, error: MeshError): void {
    for (const unit of [...batch.singles, ...batch.transactions]) {
      this.transactions.release(unit);
      failUnit(unit, error);
    }
  }

  /** What this node itself put into an entry, if it is that entry: saves the leader the decoding. */
  takeProposed(entry: LogEntry): readonly DecidedOperation[] | undefined {
    const proposed = this.#proposed.get(entry.index);
    if (proposed === undefined) return undefined;
    this.#proposed.delete(entry.index);
    return proposed.term === entry.term ? proposed.decided : undefined;
  }

  /** Nothing of what was decided gets into the log. */
  #freeMints(decided: readonly DecidedOperation[], parts: readonly DecidedPart[]): void {
    this.#reserveMints(decided, -1);
    this.#queue.unreserve(decided);
    for (const { set, holds } of parts) if (holds) this.#reserveMints(set, -1);
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

  /** An entry was applied: its operations are answered, and what it held is free. */
  applied(entry: LogEntry, applied: Applied): void {
    for (const { operationId, decision, fence } of applied.operations) {
      const unit = this.#queue.unitOf(operationId);
      if (unit === undefined || !unit.proposed) continue;
      const key = applied.clearing?.find((one) => one === clearingKey(unit.heal === undefined ? (allOf(unit)[0]?.operation.operationId ?? "") : operationId));
      this.#settle(unit, operationId, decision, fence === undefined ? undefined : fenced(fence), key);
    }
    if (applied.transaction !== undefined) this.transactions.applied(applied.transaction, applied.commandResult);
    if (this.#mintedInFlight.size > 0) this.#reserveMints(applied.decided, -1);
    this.fences.applied(entry.index);
    const set = this.#setsInFlight.get(entry.index);
    if (set === undefined) return;
    this.#setsInFlight.delete(entry.index);
    this.#queue.unreserve(set);
  }

  /**
   * A unit is free once its last operation is applied; its waiters hear of each operation. `clearing`: the key of what other groups
   * have to clear before they hear.
   */
  #settle(unit: QueuedUnit, operationId: string, decision: Decision | undefined, error: MeshError | undefined, clearing: string | undefined): void {
    if (unit.heal !== undefined) {
      if (clearing !== undefined) this.transactions.hold(clearing, unit.operations.filter(({ operation }) => operation.operationId === operationId), unit.heal.takeWaiters(operationId));
      unit.heal.settle(operationId, decision);
      if (unit.heal.open.size === 0) this.#endHeal(unit, unit.heal);
      return;
    }
    const isLast = allOf(unit).at(-1)?.operation.operationId === operationId;
    if (clearing !== undefined && isLast) this.transactions.hold(clearing, allOf(unit), unit.waiters);
    else if (clearing === undefined) for (const waiter of unit.waiters) {
      if (decision !== undefined) waiter.decided(decision);
      else if (error !== undefined) waiter.failed(operationId, operationError(error));
    }
    if (isLast) this.transactions.release(unit);
  }

  /** The node leads no more: what is in the log hears `unknown`, what waits hears `elsewhere`. */
  stop(unknown: MeshError, elsewhere: MeshError): void {
    this.#tellDropped();
    for (const unit of this.#queue.drain()) {
      failUnit(unit, unit.proposed ? unknown : elsewhere);
      unit.heal?.end(operationError(unit.proposed ? unknown : elsewhere));
    }
    this.transactions.stop(unknown);
    this.#mintedInFlight.clear();
    this.fences.clear();
    this.#proposed.clear();
    this.#setsInFlight.clear();
  }
}

/** What was decided of the group's part in a transaction across groups. */
interface DecidedPart {
  readonly unit: QueuedUnit;
  readonly set: DecidedOperation[];
  readonly holds: boolean;
}

function decideHere(_: ArbitrateRequest, __: number, done: (response: ArbitrateResponse | undefined) => void): void {
  done(undefined);
}
