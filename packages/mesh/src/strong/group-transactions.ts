// Transactions across groups, in one group that this node leads: what it is asked to prepare, what it began, and who waits to hear. Who
// takes a transaction from step to step is the coordinator (coordinator.ts); what the steps do is in packages/replica.
import { ConflictType, type Decision, type LogPosition, MeshError, Outcome } from "@statemesh/contract";
import { type AskToPrepare, type Command, CommandResult, type DecidedOperation, type TransactionCommand, type TransactionRef } from "@statemesh/contract/log";
import { type AppliedStep, commandOf, type CoordinatedRow, lockOf, onlyPosts, type PendingOperation, transactionKey, TransactionState, verdictsOf } from "@statemesh/replica";
import { groupOf, type Policy } from "@statemesh/world";
import type { DecidingGroup } from "./decider.ts";
import { allOf, type DecisionQueue, type GroupPart, type QueuedUnit, type Waiter } from "./decision-queue.ts";
import { fenced, notLeader, operationIdReused, overloaded } from "./operation-errors.ts";
import { pendingOf } from "./pending-of.ts";
import { failAll, unitBytes } from "./unit-answers.ts";

/** Transactions that one group may be prepared for, and that one group may coordinate, at a time. Beyond it: OVERLOADED. */
export const TRANSACTIONS_UNDER_WAY = 4_096;
/** Milliseconds after which a transaction that is not decided may be aborted. */
export const TRANSACTION_MS = 5_000;

export type StepDone = (result: CommandResult | undefined, error: MeshError | undefined) => void;

export interface AskedToPrepare {
  readonly transaction: TransactionRef;
  readonly deadlineMs: number;
  /** Several where it was asked again while the first was on its way. */
  readonly done: StepDone[];
}

/** All groups that the operations reach, ascending. */
export function groupsOf(operations: readonly PendingOperation[], groups: number): number[] {
  const found = new Set<number>();
  for (const { touched } of operations) for (const region of touched.regions) found.add(groupOf(region, groups));
  return [...found].sort((a, b) => a - b);
}

export class GroupTransactions {
  readonly #group: DecidingGroup;
  readonly #queue: DecisionQueue;
  readonly #policy: Policy;
  readonly #groups: number;
  readonly #wallMs: () => number;
  readonly #monotonicMs: () => number;
  /** Begun here and not concluded: who waits. */
  readonly #begun = new Map<string, { readonly operations: readonly PendingOperation[]; readonly waiters: Waiter[] }>();
  /** Units in the queue or in flight, by key. */
  readonly #units = new Map<string, QueuedUnit>();

  constructor(group: DecidingGroup, queue: DecisionQueue, policy: Policy, groups: number, wallMs: () => number, monotonicMs: () => number) {
    this.#group = group;
    this.#queue = queue;
    this.#policy = policy;
    this.#groups = groups;
    this.#wallMs = wallMs;
    this.#monotonicMs = monotonicMs;
  }

  /** Somebody waits to hear of a transaction that was begun here. */
  get isBusy(): boolean {
    return this.#begun.size > 0;
  }

  /** What a unit is where its operations reach several groups; undefined where one group keeps all of it. */
  partOf(operations: readonly PendingOperation[], transactionId: string): GroupPart | undefined {
    if (operations.length === 1 && operations[0]?.touched.regions.length === 1) return undefined;
    const groups = groupsOf(operations, this.#groups);
    const first = operations[0];
    if (groups.length < 2 || first === undefined) return undefined;
    let { stamp } = first;
    for (const one of operations) if (one.stamp.physicalMs < stamp.physicalMs) stamp = one.stamp;
    return { key: transactionKey(transactionId, first.operation.operationId), stamp, groups, all: operations, asked: undefined };
  }

  /** Those of the operations that reach this group. */
  here(operations: readonly PendingOperation[]): readonly PendingOperation[] {
    return operations.filter(({ touched }) => touched.regions.some((region) => groupOf(region, this.#groups) === this.#group.groupId));
  }

  /** What stands against a repeat while the transaction is under way: nothing, where the waiter was taken in. */
  attach(key: string, operations: readonly PendingOperation[], waiter: Waiter): MeshError | "answered" {
    const { state, core, groupId, serves } = this.#group;
    const row = state.transactions.coordinated(key);
    const first = operations[0]?.operation.operationId ?? "";
    if (row === undefined || row.operations.length !== operations.length) return operationIdReused(first, 0, operations[0]?.fingerprint ?? 0);
    for (const [i, { operation, fingerprint }] of operations.entries()) {
      const known = row.operations[i];
      if (known?.fingerprint !== fingerprint) return operationIdReused(operation.operationId, known?.fingerprint ?? 0, fingerprint);
    }
    if (!serves) return notLeader(groupId, core.leader);
    const begun = this.#begun.get(key);
    if (begun === undefined) this.#begun.set(key, { operations, waiters: [waiter] });
    else begun.waiters.push(waiter);
    return "answered";
  }

  /** The callers of what was decided here hear once other groups have cleared what it freed. */
  hold(key: string, operations: readonly PendingOperation[], waiters: Waiter[]): void {
    if (waiters.length > 0) this.#begun.set(key, { operations, waiters });
  }

  /** A limit that a new transaction would pass. */
  refusal(): MeshError | undefined {
    const { transactions } = this.#group.state;
    const isFull = transactions.coordinatedCount + this.#units.size + this.#queue.removals >= TRANSACTIONS_UNDER_WAY || transactions.preparedCount >= TRANSACTIONS_UNDER_WAY;
    return isFull ? overloaded(`transactions under way in group ${this.#group.groupId}`, TRANSACTIONS_UNDER_WAY) : undefined;
  }

  /** A footprint that is to be cleared is prepared and not released: it is still to come, and an entry that says so helps nobody. */
  isEarly({ step }: TransactionCommand): boolean {
    return step?.$case === "clear" && step.value.clears.some(({ operationId }) => this.#group.state.transactions.holdsOperation(operationId));
  }

  /** A transaction of that key is under way here. */
  isTaken(key: string): boolean {
    const { transactions } = this.#group.state;
    return this.#units.has(key) || transactions.coordinated(key) !== undefined || transactions.prepared(key) !== undefined;
  }

  queued(unit: QueuedUnit): void {
    if (unit.part !== undefined) this.#units.set(unit.part.key, unit);
  }

  /** The coordinating group asks this one to decide its part, and to hold it. May be asked any number of times. */
  ask({ transaction, stamp, deadlineMs, groups, operations }: AskToPrepare, done: StepDone): void {
    const { state, core, groupId, serves } = this.#group;
    if (!serves) return done(undefined, notLeader(groupId, core.leader));
    if (transaction === undefined || stamp === undefined) return done(undefined, MeshError.field("transaction", "is required"));
    const { key } = transaction;
    const known = state.transactions.preparedFor(transaction);
    if (known !== undefined) return done(answerOf({ prepared: true, decided: verdictsOf(known.decided) }), undefined);
    if (state.transactions.finishedOf(transaction) !== undefined) return done(answerOf({}, "TRANSACTION_ABORTED"), undefined);
    const queued = this.#units.get(key)?.part?.asked;
    if (queued !== undefined && isSame(queued.transaction, transaction)) {
      queued.done.push(done);
      return;
    }
    const latestMs = Math.floor(this.#wallMs()) + this.#policy.maxOffsetMs;
    const pending: PendingOperation[] = [];
    for (const stamped of operations) {
      const one = pendingOf(stamped, this.#policy, latestMs);
      if (one === undefined) return done(answerOf({}, "UNKNOWN_TYPE"), undefined);
      pending.push(one);
    }
    const reason = this.isTaken(key) ? "OPERATION_ID_REUSED" : this.#refusalOf(pending);
    if (reason !== undefined) return done(answerOf({}, reason), undefined);
    // A limit passes: it is no answer to the transaction, which is asked for again until its deadline.
    const limit = this.#queue.refusal(groupId, 0) ?? this.refusal();
    if (limit !== undefined) return done(undefined, limit);
    const unit: QueuedUnit = {
      operations: pending, transactionId: key.startsWith("t:") ? key.slice(2) : "", waiters: [], sizeBytes: unitBytes(pending, state), cameMs: this.#monotonicMs(), deadlineMs: Number.POSITIVE_INFINITY, proposed: false, reserves: pending.every(onlyPosts),
      part: { key, stamp, groups, all: undefined, asked: { transaction, deadlineMs, done: [done] } },
    };
    this.queued(unit);
    this.#queue.push(unit);
    this.#group.dirty();
  }

  #refusalOf(operations: readonly PendingOperation[]): string | undefined {
    const { state, groupId } = this.#group;
    for (const { operation, stamp } of operations) {
      const { operationId, homeRegion, authorityEpoch, serverId, timestampMs } = operation;
      if (state.decisions.get(operationId) !== undefined || state.transactions.keyOfOperation(operationId) !== undefined || this.#queue.unitOf(operationId) !== undefined) return "OPERATION_ID_REUSED";
      if (homeRegion !== undefined && groupOf(homeRegion, this.#groups) === groupId && !state.admits(homeRegion, authorityEpoch, serverId)) return "FENCED";
      const earliestMs = timestampMs > 0 ? timestampMs - this.#policy.maxOffsetMs : stamp.physicalMs;
      if (earliestMs <= state.forgottenThroughMs) return "DECISION_FORGOTTEN";
    }
    return undefined;
  }

  /** The entry for a part that was decided and holds. */
  commandOf(part: GroupPart, operations: readonly PendingOperation[], decided: DecidedOperation[]): Command {
    const { key, stamp, all, asked } = part;
    const groups = [...part.groups];
    const locks = operations.map(({ touched }) => lockOf(touched));
    const nowMs = Math.floor(this.#wallMs());
    if (asked !== undefined) {
      const { transaction, deadlineMs } = asked;
      return commandOf({ $case: "transaction", value: { step: { $case: "prepare", value: { transaction, stamp, deadlineMs, groups, decided, locks, index: 0 } }, nowMs } });
    }
    const begun = all ?? operations;
    const homeGroups = begun.map(({ operation }) => (operation.homeRegion === undefined ? this.#group.groupId : groupOf(operation.homeRegion, this.#groups)));
    const stamped = begun.map(({ operation, stamp: each, fingerprint }) => ({ operation, stamp: each, fingerprint, timeoutMs: 0 }));
    const value = { key, stamp, operations: stamped, homeGroups, groups, deadlineMs: nowMs + TRANSACTION_MS, decided, locks, state: 0, beginIndex: 0, clears: [] };
    return commandOf({ $case: "transaction", value: { step: { $case: "begin", value }, nowMs } });
  }

  /** Decisions on all operations of a transaction that failed in its coordinating group, before any other group heard of it. */
  rejected({ operations, transactionId, part }: QueuedUnit, decided: readonly DecidedOperation[]): DecidedOperation[] {
    const mine = new Map(decided.map((one) => [one.operationId, one]));
    const failed = decided.find(({ outcome }) => outcome === Outcome.REJECTED);
    return (part?.all ?? operations).map(({ operation, fingerprint, stamp }) =>
      mine.get(operation.operationId) ?? {
        operationId: operation.operationId, fingerprint, outcome: Outcome.REJECTED, rule: failed?.rule ?? "", winnerOperationId: "", conflict: ConflictType.UNSPECIFIED, reason: "TRANSACTION_ABORTED",
        stamp, serverId: operation.serverId, region: undefined, epoch: operation.authorityEpoch, effects: [], transactionId, claimedMs: operation.timestampMs, clears: [], currentVersion: 0,
      });
  }

  /** The part of another group's transaction does not hold. Nothing of that is in the log. */
  refuse(unit: QueuedUnit, decided: readonly DecidedOperation[]): void {
    this.release(unit);
    const answer = answerOf({ decided: verdictsOf(decided) }, decided.find(({ outcome }) => outcome === Outcome.REJECTED)?.reason ?? "CONFLICT");
    for (const done of unit.part?.asked?.done ?? []) done(answer, undefined);
  }

  /** The unit is in the queue no more. */
  release(unit: QueuedUnit): void {
    this.#queue.release(unit);
    this.forget(unit);
  }

  /** The unit never came to its turn. */
  forget(unit: QueuedUnit): void {
    if (unit.part !== undefined && this.#units.get(unit.part.key) === unit) this.#units.delete(unit.part.key);
  }

  /** A step was applied. */
  applied({ step, tookEffect, ...ref }: AppliedStep, result: CommandResult | undefined): void {
    const { key } = ref;
    if (step === "finish" && tookEffect) this.#tellLate(key);
    const unit = this.#units.get(key);
    if (unit === undefined) return;
    const asked = unit.part?.asked;
    if (step === "begin" && asked === undefined && unit.proposed) {
      this.release(unit);
      if (tookEffect) this.#begun.set(key, { operations: allOf(unit), waiters: unit.waiters });
      else for (const waiter of unit.waiters) failAll(allOf(unit), waiter, new MeshError("OPERATION_ID_REUSED", `an operation of ${key} was used beside it`));
    } else if (asked === undefined || !isSame(asked.transaction, ref)) {
      return;
    } else if (step === "prepare" && unit.proposed) {
      this.release(unit);
      for (const done of asked.done) done(result, undefined);
    } else if (step === "release" && !unit.proposed) {
      // It was aborted before this group came to prepare.
      this.#queue.withdraw(unit);
      if (this.#queue.unitOf(unit.operations[0]?.operation.operationId ?? "") === unit) return;
      this.#units.delete(key);
      for (const done of asked.done) done(answerOf({}, "TRANSACTION_ABORTED"), undefined);
    }
  }

  /** It is decided, and the places of all that was done are known: the callers hear. `repeated`: others have heard before. True. */
  conclude(row: CoordinatedRow, released: ReadonlyMap<number, LogPosition>, repeated: boolean): true {
    const begun = this.#begun.get(row.key);
    if (begun === undefined) return true;
    this.#begun.delete(row.key);
    const { state } = this.#group;
    for (const [i, { operation }] of row.operations.entries()) {
      const decision = operation === undefined ? undefined : state.decisions.get(operation.operationId);
      if (decision === undefined) continue;
      // What was rejected took effect nowhere: its place is where that was decided.
      const elsewhere = row.state === TransactionState.COMMITTED ? released.get(row.homeGroups[i] ?? 0) : undefined;
      const heard: Decision = state.decisionOf(elsewhere === undefined ? decision : { ...decision, elsewhere }, repeated);
      for (const waiter of begun.waiters) waiter.decided(heard);
    }
    return true;
  }

  /** Who asked again between the answer and the end. */
  #tellLate(key: string): void {
    const begun = this.#begun.get(key);
    if (begun === undefined) return;
    this.#begun.delete(key);
    const { state } = this.#group;
    for (const { operation } of begun.operations) {
      const decision = state.decisions.get(operation.operationId);
      if (decision !== undefined) for (const waiter of begun.waiters) waiter.decided(state.decisionOf(decision, true));
    }
  }

  /** The node leads no more. */
  stop(unknown: MeshError): void {
    for (const { operations, waiters } of this.#begun.values()) for (const waiter of waiters) failAll(operations, waiter, unknown);
    this.#begun.clear();
    this.#units.clear();
  }

  fenceRefusal(unit: QueuedUnit, fence: Parameters<typeof fenced>[0]): void {
    const answer = answerOf({}, "FENCED");
    for (const done of unit.part?.asked?.done ?? []) done(answer, undefined);
    for (const waiter of unit.waiters) failAll(allOf(unit), waiter, fenced(fence));
  }
}

/** A key alone may be another use of it, or another group's. */
function isSame(a: TransactionRef, b: TransactionRef): boolean {
  return a.key === b.key && a.coordinatorGroup === b.coordinatorGroup && a.beginIndex === b.beginIndex;
}

function answerOf(transaction: Partial<NonNullable<CommandResult["transaction"]>>, reason = ""): CommandResult {
  return CommandResult.fromPartial({ reason, transaction: { prepared: false, decided: [], state: 0, ...transaction } });
}
