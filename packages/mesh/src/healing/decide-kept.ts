// What becomes of kept operations: all of them at once, losers included, against what is in force. The winner set of a part
// is no part of the winner set (see packages/conflict/src/walk.ts), so nothing that some side decided by itself counts here.
// A pure function of the state and the set: not of the order or the batches in which the set came together.
import { ConflictType, Outcome } from "@statemesh/contract";
import type { DecidedOperation, KeptDecision } from "@statemesh/contract/log";
import { resolve } from "@statemesh/conflict";
import { type DecisionBasis, decideSet, type GroupState, isImpossible, type PendingOperation } from "@statemesh/replica";
import type { Policy } from "@statemesh/world";
import type { Log } from "../host.ts";
import { candidateSet } from "../strong/question.ts";
import { compareKept, type KeptOperation } from "./kept-operation.ts";

const NO_MINTS: ReadonlyMap<string, number> = new Map();

/** One of each id: two contents under one id are one operation, and everybody takes the same for it. */
function eachOnce(kept: readonly KeptOperation[]): KeptOperation[] {
  const once = new Map<string, KeptOperation>();
  for (const one of kept) {
    const known = once.get(one.operationId);
    if (known === undefined || one.record.fingerprint < known.record.fingerprint || (one.record.fingerprint === known.record.fingerprint && prefers(one, known))) once.set(one.operationId, one);
  }
  return [...once.values()].sort(compareKept);
}

/** Of copies that several nodes stamped and kept, the earliest counts. */
function prefers(one: KeptOperation, other: KeptOperation): boolean {
  return compareKept(one, other) < 0 || (compareKept(one, other) === 0 && one.record.nodeId < other.record.nodeId);
}

/** What became of a set in which some may be of a kind that this build does not know. */
export interface KeptDecisions {
  readonly decisions: KeptDecision[];
  /** Nothing is decided on these: they stay kept until somebody decides who knows them. */
  readonly notUnderstood: readonly string[];
}

/**
 * Decides those that this build understands. A newer one may have kept what this one cannot even look at: that must neither end
 * the node, again at every start, nor be rejected by somebody who does not know what it is. `log`: where an operator hears of it.
 */
export function decideUnderstood(state: GroupState, policy: Policy, groups: number, kept: readonly KeptOperation[], log?: Log): KeptDecisions {
  if (kept.every(isKnownKind)) {
    try {
      return { decisions: decideKept(state, policy, groups, kept), notUnderstood: [] };
    } catch {
      // Looked at one by one below.
    }
  }
  const notUnderstood: string[] = [];
  const understood = kept.filter((one) => {
    const isUnderstood = isKnownKind(one) && isDecidable(state, policy, groups, one);
    if (!isUnderstood) notUnderstood.push(one.operationId);
    return isUnderstood;
  });
  if (notUnderstood.length > 0) log?.error("kept operations are of a kind that this build does not know: they stay kept until a node with the build that kept them leads", { group: state.groupId, operations: notUnderstood.length });
  // What fails only together is a fault of this build, and is shown as such.
  return { decisions: decideKept(state, policy, groups, understood), notUnderstood };
}

/** None is kept without a body: where it is missing, this build does not know its kind. */
function isKnownKind({ record }: KeptOperation): boolean {
  return record.operation?.body !== undefined;
}

function isDecidable(state: GroupState, policy: Policy, groups: number, one: KeptOperation): boolean {
  try {
    decideKept(state, policy, groups, [one]);
    return true;
  } catch {
    return false;
  }
}

/** Decides them. What a report lists already is left out. `groups`: how many there are besides group 0. */
export function decideKept(state: GroupState, policy: Policy, groups: number, kept: readonly KeptOperation[]): KeptDecision[] {
  const decisions: KeptDecision[] = [];
  const open = new Map<string, KeptOperation>();
  const toDecide: PendingOperation[] = [];
  for (const one of eachOnce(kept)) {
    if (state.heals.find(one.operationId) !== undefined) continue;
    const row = state.decisions.get(one.operationId);
    const serverId = one.record.operation?.serverId ?? 0;
    const claimedMs = one.record.operation?.timestampMs ?? 0;
    if (row !== undefined) {
      const { outcome, rule, winnerOperationId, conflict, reason, stamp, transactionId } = row;
      decisions.push(decisionOf(one, { ...draftOf(one), outcome, rule, winnerOperationId, conflict, reason, stamp, transactionId }, true));
    } else if (one.pending === undefined) decisions.push(decisionOf(one, { ...draftOf(one), rule: "policy", reason: "UNKNOWN_TYPE" }, false));
    // Its age counts for nothing, but for whether the same server had something decided that claimed a later time and is forgotten.
    // It may be in force: so it is no rejection, and no decision that an id would stand for.
    else if (claimedMs <= state.forgotten.throughMs(serverId)) decisions.push(decisionOf(one, { ...draftOf(one), outcome: Outcome.UNKNOWN, rule: "forgotten", reason: "DECISION_FORGOTTEN" }, true));
    else {
      open.set(one.operationId, one);
      toDecide.push(one.pending);
    }
  }
  if (toDecide.length === 0) return decisions;
  const arbitrate = (operations: readonly PendingOperation[]) => resolve(candidateSet(operations, state, policy, groups), policy);
  const basis: DecisionBasis = { place: { groupId: state.groupId, groups }, state, mintedInFlight: NO_MINTS, isCut: true, arbitrateAgain: arbitrate };
  const verdicts = arbitrate(toDecide.filter((pending) => !isImpossible(state, pending)));
  for (const decided of decideSet(basis, [{ operations: toDecide, transactionId: "" }], verdicts)) {
    const one = open.get(decided.operationId);
    if (one !== undefined) decisions.push(decisionOf(one, decided, false));
  }
  return decisions;
}

function decisionOf({ record }: KeptOperation, decided: DecidedOperation, decidedBefore: boolean): KeptDecision {
  return { decided, type: record.operation?.type ?? "", nodeId: record.nodeId, decidedBefore };
}

/** A rejection to be filled in. */
function draftOf({ record, operationId }: KeptOperation): DecidedOperation {
  const { operation, stamp, fingerprint } = record;
  return {
    operationId, fingerprint, outcome: Outcome.REJECTED, rule: "", winnerOperationId: "", conflict: ConflictType.UNSPECIFIED, reason: "", stamp,
    serverId: operation?.serverId ?? 0, region: operation?.homeRegion, epoch: operation?.authorityEpoch ?? 0, effects: [], transactionId: "", claimedMs: operation?.timestampMs ?? 0, clears: [], currentVersion: 0,
  };
}
