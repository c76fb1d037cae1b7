// What the steps of a transaction across groups do to the state of one group: begin, prepare, decide, release, finish. A pure
// function of state and entry, as everything that is applied. The steps may come twice, and late: each says how it found things.
import { ConflictType, type LogEntry, type LogPosition, Outcome, type Reason } from "@statemesh/contract";
import {
  type BeginTransaction, CommandResult, type DecidedOperation, type DecideTransaction, type FinishTransaction, type PrepareTransaction, type ReleaseTransaction, type ResolveTransaction, type TransactionCommand, type TransactionResult,
} from "@statemesh/contract/log";
import type { Applied } from "./applied.ts";
import { clear } from "./clearing.ts";
import type { FootprintTable } from "./footprint-table.ts";
import type { DecisionRow, FenceRow } from "./group-state.ts";
import { type CoordinatedRow, type PreparedRow, transactionIdOf, TransactionState, type TransactionTable } from "./transaction-table.ts";
import type { TwoGenerations } from "./two-generations.ts";

/** The state of a group, as far as transactions change it. */
export interface SteppingState {
  readonly groupId: number;
  readonly transactions: TransactionTable;
  readonly footprints: FootprintTable;
  readonly decisions: TwoGenerations<DecisionRow>;
  position(): LogPosition;
  /** The fence that stands against the operation, if one does. */
  fenceAgainst(operation: DecidedOperation): FenceRow | undefined;
  /** Writes effects and decisions. */
  applyOperations(operations: readonly DecidedOperation[], entry: LogEntry, report?: boolean, healed?: boolean): Applied;
}

/** What an entry did to a transaction. */
export interface AppliedStep {
  readonly step: NonNullable<TransactionCommand["step"]>["$case"];
  readonly key: string;
  readonly coordinatorGroup: number;
  readonly beginIndex: number;
  /** False where the entry found things so that it changed nothing. */
  readonly tookEffect: boolean;
}

/** Everything that `Applied` says of an entry without operations. */
const NOTHING = { decided: [], operations: [], changes: [], directory: undefined, membership: false } as const;

export function applyStep(state: SteppingState, { step, nowMs }: TransactionCommand, entry: LogEntry): Applied {
  switch (step?.$case) {
    case "begin":
      return begin(state, step.value, entry);
    case "prepare":
      return prepare(state, step.value, entry);
    case "decide":
      return decide(state, step.value, entry);
    case "release":
      return release(state, step.value, entry);
    case "finish":
      return finish(state, step.value);
    case "resolve":
      return resolve(state, step.value, nowMs, entry);
    case "clear":
      return { ...NOTHING, ...clear(state, step.value) };
    default:
      throw new Error(`group ${state.groupId}: entry ${entry.index} holds a step of a transaction of a newer version`);
  }
}

function begin(state: SteppingState, { key, stamp, operations, homeGroups, groups, deadlineMs, decided, locks }: BeginTransaction, entry: LogEntry): Applied {
  const { transactions, groupId } = state;
  const beginIndex = entry.index;
  const isTaken = transactions.coordinated(key) !== undefined || transactions.prepared(key) !== undefined;
  const reason = isTaken ? "OPERATION_ID_REUSED" : refusal(state, key, decided);
  if (reason !== undefined) return { ...NOTHING, decided, commandResult: result(state, {}, reason), transaction: { step: "begin", key, coordinatorGroup: groupId, beginIndex, tookEffect: false } };
  const at = stamp ?? { physicalMs: 0, logical: 0 };
  transactions.coordinate({ key, beginIndex, stamp: at, operations, homeGroups, groups, deadlineMs, state: TransactionState.UNDECIDED, clears: [] });
  const row = { key, coordinatorGroup: groupId, beginIndex, stamp: at, groups, deadlineMs, decided, locks, index: entry.index };
  transactions.prepare(row);
  transactions.checkCovered(row);
  return { ...NOTHING, decided, commandResult: result(state, {}), transaction: { step: "begin", key, coordinatorGroup: groupId, beginIndex, tookEffect: true } };
}

function prepare(state: SteppingState, { transaction, stamp, deadlineMs, groups, decided, locks }: PrepareTransaction, entry: LogEntry): Applied {
  const { transactions } = state;
  const { key, coordinatorGroup, beginIndex } = transaction ?? { key: "", coordinatorGroup: 0, beginIndex: 0 };
  const ref = { key, coordinatorGroup, beginIndex };
  const known = transactions.preparedFor(ref);
  let reason: Reason | undefined;
  if (known === undefined) {
    if (transactions.finishedOf(ref) !== undefined) reason = "OUTCOME_UNKNOWN";
    else if (transactions.prepared(key) !== undefined || transactions.coordinated(key) !== undefined) reason = "OPERATION_ID_REUSED";
    else reason = refusal(state, key, decided);
  }
  const tookEffect = known === undefined && reason === undefined;
  if (tookEffect) {
    const row = { key, coordinatorGroup, beginIndex, stamp: stamp ?? { physicalMs: 0, logical: 0 }, groups, deadlineMs, decided, locks, index: entry.index };
    transactions.prepare(row);
    transactions.checkCovered(row);
  }
  const prepared = reason === undefined;
  return {
    ...NOTHING, decided,
    commandResult: result(state, { prepared, decided: prepared ? verdictsOf(known?.decided ?? decided) : [] }, reason),
    transaction: { step: "prepare", ...ref, tookEffect },
  };
}

/** What stands against preparing: another use of an operation id, a fence. */
function refusal(state: SteppingState, key: string, decided: readonly DecidedOperation[]): Reason | undefined {
  for (const operation of decided) {
    if (state.decisions.get(operation.operationId) !== undefined) return "OPERATION_ID_REUSED";
    const holder = state.transactions.keyOfOperation(operation.operationId);
    if (holder !== undefined && holder !== key) return "OPERATION_ID_REUSED";
    if (state.fenceAgainst(operation) !== undefined) return "FENCED";
  }
  return undefined;
}

function decide(state: SteppingState, { key, beginIndex, commit, decided }: DecideTransaction, entry: LogEntry): Applied {
  const row = state.transactions.coordinated(key);
  if (row === undefined || row.beginIndex !== beginIndex || row.state !== TransactionState.UNDECIDED) {
    return { ...NOTHING, commandResult: result(state, { state: stateOf(row, beginIndex) }), transaction: { step: "decide", key, coordinatorGroup: state.groupId, beginIndex, tookEffect: false } };
  }
  return conclude(state, row, commit, decided, "transaction", entry, "decide");
}

/** The decision of a transaction, and the release of the coordinating group's own part. */
function conclude(state: SteppingState, row: CoordinatedRow, commit: boolean, decided: readonly DecidedOperation[], rule: string, entry: LogEntry, step: "decide" | "resolve"): Applied {
  const { transactions } = state;
  const { key, beginIndex } = row;
  const own = transactions.prepared(key);
  const operations = commit ? committed(state.groupId, row, own, decided) : aborted(row, decided, rule);
  const applied = state.applyOperations(operations, entry);
  if (own !== undefined) transactions.unprepare(own);
  const now = commit ? TransactionState.COMMITTED : TransactionState.ABORTED;
  const clears = commit ? [...(own?.decided ?? []), ...decided].flatMap((one) => one.clears) : [];
  transactions.coordinate({ ...row, state: now, clears });
  return { ...applied, decided: [], commandResult: result(state, { state: now }), transaction: { step, key, coordinatorGroup: state.groupId, beginIndex, tookEffect: true } };
}

/** Effects are the group's own; a verdict is that of the group of the operation's home region. */
function committed(groupId: number, { operations, homeGroups }: CoordinatedRow, own: PreparedRow | undefined, elsewhere: readonly DecidedOperation[]): DecidedOperation[] {
  const here = new Map(own?.decided.map((one) => [one.operationId, one]));
  const there = new Map(elsewhere.map((one) => [one.operationId, one]));
  const all: DecidedOperation[] = [];
  for (const [i, { operation }] of operations.entries()) {
    if (operation === undefined) continue;
    const mine = here.get(operation.operationId);
    const verdict = homeGroups[i] === groupId ? mine : there.get(operation.operationId);
    const decided = verdict ?? mine;
    if (decided === undefined) continue;
    all.push(decided === mine ? mine : { ...decided, effects: mine?.effects ?? [], region: undefined });
  }
  return all;
}

/** Everything is rejected: the operation that failed for its own reason, the others because it did. */
function aborted({ key, operations, homeGroups }: CoordinatedRow, failed: readonly DecidedOperation[], rule: string): DecidedOperation[] {
  const reasons = new Map(failed.map((one) => [one.operationId, one]));
  const why = failed[0]?.rule ?? rule;
  const all: DecidedOperation[] = [];
  for (const [i, stamped] of operations.entries()) {
    const { operation } = stamped;
    if (operation === undefined || homeGroups[i] === undefined) continue;
    const own = reasons.get(operation.operationId);
    all.push({
      operationId: operation.operationId, fingerprint: stamped.fingerprint, outcome: Outcome.REJECTED, rule: own?.rule ?? why, winnerOperationId: own?.winnerOperationId ?? "",
      conflict: own?.conflict ?? ConflictType.UNSPECIFIED, reason: own?.reason ?? "TRANSACTION_ABORTED", stamp: stamped.stamp, serverId: operation.serverId, region: undefined,
      epoch: operation.authorityEpoch, effects: [], transactionId: transactionIdOf(key), claimedMs: operation.timestampMs, clears: [], currentVersion: own?.currentVersion ?? 0,
    });
  }
  return all;
}

function release(state: SteppingState, { transaction, commit, forget }: ReleaseTransaction, entry: LogEntry): Applied {
  const { transactions } = state;
  const { key, coordinatorGroup, beginIndex } = transaction ?? { key: "", coordinatorGroup: 0, beginIndex: 0 };
  const ref = { key, coordinatorGroup, beginIndex };
  const row = transactions.preparedFor(ref);
  const step = { step: "release", ...ref } as const;
  if (row === undefined) {
    const known = transactions.finishedOf(ref);
    // So that a prepare that is still on its way finds it over.
    if (known === undefined && !commit && !forget) transactions.finish({ ...ref, committed: false, index: entry.index, term: entry.term });
    // Nothing is committed that was not prepared, and what was prepared is taken away by its release alone: where none can be
    // forgotten, this part is lost, and must not pass for done.
    const isLost = commit && (known === undefined ? !transactions.mayForget : !known.committed);
    const commandResult = result(state, {}, isLost ? "INTERNAL" : undefined);
    if (known !== undefined) commandResult.position = { groupId: state.groupId, index: known.index, term: known.term };
    return { ...NOTHING, commandResult, transaction: { ...step, tookEffect: false } };
  }
  let applied: Applied = { ...NOTHING, commandResult: undefined };
  if (commit) applied = state.applyOperations(row.decided, entry);
  else if (!forget) applied = state.applyOperations(row.decided.map(abortedHere), entry);
  transactions.unprepare(row);
  if (!forget) transactions.finish({ ...ref, committed: commit, index: entry.index, term: entry.term });
  return { ...applied, decided: [], commandResult: result(state, {}), transaction: { ...step, tookEffect: true } };
}

function abortedHere(operation: DecidedOperation): DecidedOperation {
  return { ...operation, outcome: Outcome.REJECTED, rule: "transaction", reason: "TRANSACTION_ABORTED", winnerOperationId: "", conflict: ConflictType.UNSPECIFIED, effects: [], clears: [] };
}

function finish(state: SteppingState, { key, beginIndex, released }: FinishTransaction): Applied {
  const row = state.transactions.coordinated(key);
  const isGood = row !== undefined && row.beginIndex === beginIndex && row.state !== TransactionState.UNDECIDED;
  if (isGood) {
    for (const [i, { operation }] of row.operations.entries()) {
      const elsewhere = released.find(({ groupId }) => groupId === row.homeGroups[i]);
      const decision = operation === undefined ? undefined : state.decisions.get(operation.operationId);
      if (elsewhere !== undefined && decision !== undefined && row.state === TransactionState.COMMITTED) state.decisions.replace(decision.operationId, { ...decision, elsewhere });
    }
    state.transactions.uncoordinate(row);
  }
  return { ...NOTHING, commandResult: result(state, {}), transaction: { step: "finish", key, coordinatorGroup: state.groupId, beginIndex, tookEffect: isGood } };
}

/** The time is the log's: whoever asks, one entry decides that the deadline has passed. */
function resolve(state: SteppingState, { key, beginIndex }: ResolveTransaction, nowMs: number, entry: LogEntry): Applied {
  const row = state.transactions.coordinated(key);
  if (row?.beginIndex === beginIndex && row.state === TransactionState.UNDECIDED && nowMs > row.deadlineMs) {
    return conclude(state, row, false, [], "deadline", entry, "resolve");
  }
  return { ...NOTHING, commandResult: result(state, { state: stateOf(row, beginIndex) }), transaction: { step: "resolve", key, coordinatorGroup: state.groupId, beginIndex, tookEffect: false } };
}

function stateOf(row: CoordinatedRow | undefined, beginIndex: number): TransactionState {
  return row?.beginIndex === beginIndex ? row.state : TransactionState.NOT_ON_RECORD;
}

/** Decisions without what they do. */
export function verdictsOf(decided: readonly DecidedOperation[]): DecidedOperation[] {
  return decided.map((operation) => ({ ...operation, effects: [] }));
}

function result(state: SteppingState, transaction: Partial<TransactionResult>, reason?: Reason): CommandResult {
  return CommandResult.fromPartial({ reason: reason ?? "", position: state.position(), transaction: { prepared: false, decided: [], state: TransactionState.UNDECIDED, ...transaction } });
}
