// From verdicts to effects: the leader's half of the state machine. The arbiter says who wins where operations
// meet; here each winner is checked against what must hold whatever the rules say (a balance is never below
// zero, what is removed exists), and its effects are written down. Nothing here changes the state.
import { ConflictType, Outcome, type Verdict } from "@statemesh/contract";
import type { DecidedOperation } from "@statemesh/contract/log";
import { UNCONTESTED } from "@statemesh/conflict";
import { type GroupPlace, isKeptHere, type Overlay, type Refusal } from "./effect-parts.ts";
import { effectsOf } from "./effects.ts";
import { EscrowOverlay } from "./escrow-overlay.ts";
import { EntityOverlay } from "./entity-overlay.ts";
import { NO_CLEARS } from "./footprint-table.ts";
import type { GroupState } from "./group-state.ts";
import { LedgerOverlay } from "./ledger-overlay.ts";
import type { PendingOperation } from "./pending-operation.ts";
import type { Reservations } from "./reservations.ts";

/** Operations that are decided together; a transaction is a unit of several. */
export interface DecisionUnit {
  readonly operations: readonly PendingOperation[];
  /** Empty for a single operation. */
  readonly transactionId: string;
}

/** What a set is decided with. */
export interface DecisionBasis {
  readonly state: GroupState;
  readonly place: GroupPlace;
  /** What other batches that are not yet applied mint, by item kind, so that totals never pass 2^53-1. */
  readonly mintedInFlight: ReadonlyMap<string, number>;
  /** What other transactions that are not yet applied set apart of accounts. */
  readonly reservedInFlight?: Reservations;
  /** The decisions may come into force one by one, and some of them not: each writes down the whole state that it merges into. */
  readonly isCut?: boolean;
  /** The verdicts on what is left of the set, in its order, where some of it turned out to be impossible. */
  arbitrateAgain(rest: readonly PendingOperation[]): readonly Verdict[];
}

/**
 * How often a set is arbitrated again because a winner could not be done. One round does it but where each newcomer takes
 * away what the next winner needs; after the last round, who lost to an impossible operation stays refused.
 */
const ROUNDS_MAX = 16;

/**
 * Decides the operations of one candidate set in the order of their ranks. An operation without a verdict is one that
 * the state refuses (see `isImpossible`).
 *
 * An operation that wins by rule and is refused by the state takes nobody down: the rest is arbitrated without it.
 */
export function decideSet(basis: DecisionBasis, units: readonly DecisionUnit[], verdicts: readonly Verdict[]): DecidedOperation[] {
  const first = units[0];
  if (units.length === 1 && first !== undefined && first.transactionId !== "") return decideTransaction(first, verdicts, overlayOf(basis));
  const decided: DecidedOperation[] = [];
  let rest: PendingOperation[] = [];
  let asked = new Map<string, Verdict>(verdicts.map((verdict) => [verdict.operationId, verdict]));
  const untouched = overlayOf(basis);
  for (const unit of units) {
    for (const pending of unit.operations) {
      if (asked.has(pending.operation.operationId)) rest.push(pending);
      else decided.push(refuse(pending, untouched));
    }
  }
  for (let round = 0; ; round++) {
    const overlay = overlayOf(basis);
    const inOrder = fairOrder(rest, asked).map((pending) => decideOne(pending, verdictOf(pending, asked), overlay, ""));
    const inVain = round === ROUNDS_MAX ? NOBODY : winnersInVain(rest, inOrder, asked, overlay);
    if (inVain.size === 0) {
      for (const operation of inOrder) decided.push(operation);
      return decided;
    }
    for (const operation of inOrder) {
      const refused = inVain.get(operation.operationId);
      if (refused !== undefined) decided.push(refused);
    }
    rest = rest.filter(({ operation }) => !inVain.has(operation.operationId));
    if (rest.length === 0) return decided;
    asked = new Map(basis.arbitrateAgain(rest).map((verdict) => [verdict.operationId, verdict]));
  }
}

function overlayOf({ state, place, mintedInFlight, reservedInFlight, isCut }: DecisionBasis): Overlay & { readonly ledger: LedgerOverlay } {
  return { place, entities: new EntityOverlay(state, isCut === true), ledger: new LedgerOverlay(state.ledger, mintedInFlight, reservedInFlight), escrows: new EscrowOverlay(state.escrows) };
}

function verdictOf({ operation }: PendingOperation, asked: ReadonlyMap<string, Verdict>): Verdict {
  const verdict = asked.get(operation.operationId);
  if (verdict === undefined) throw new Error("decide: a verdict is needed for every operation that can be done");
  return verdict;
}

const NOBODY: ReadonlyMap<string, DecidedOperation> = new Map();

/**
 * Who was refused by the state and had a part in the verdicts on others: beat them, or merged with them. With them go
 * the losers that could not be done either.
 */
function winnersInVain(
  operations: readonly PendingOperation[],
  decided: readonly DecidedOperation[],
  asked: ReadonlyMap<string, Verdict>,
  overlay: ReturnType<typeof overlayOf>,
): ReadonlyMap<string, DecidedOperation> {
  const refused = new Map<string, DecidedOperation>();
  for (const operation of decided) {
    if (operation.outcome === Outcome.REJECTED && asked.get(operation.operationId)?.outcome !== Outcome.REJECTED) refused.set(operation.operationId, operation);
  }
  if (refused.size === 0) return NOBODY;
  const inVain = new Map<string, DecidedOperation>();
  const trial: Overlay = { ...overlay, entities: overlay.entities, ledger: { tryAll: (postings) => overlay.ledger.check(postings), containerHolds: (account) => overlay.ledger.containerHolds(account) } };
  for (const pending of operations) {
    const verdict = verdictOf(pending, asked);
    const own = refused.get(verdict.operationId);
    if (own !== undefined && verdict.outcome === Outcome.MERGED) inVain.set(verdict.operationId, own);
    const winner = verdict.outcome === Outcome.REJECTED ? refused.get(verdict.winnerOperationId) : undefined;
    if (winner === undefined) continue;
    inVain.set(winner.operationId, winner);
    const result = effectsOf(pending, trial);
    if ("reason" in result) inVain.set(verdict.operationId, refusedBy(result, draftOf(pending, verdict, "", overlay)));
  }
  return inVain;
}

/**
 * The order of effects: by rank, but the operations of one server keep the order in which the server sent them,
 * so that a mint and a transfer of the same millisecond don't change places.
 */
function fairOrder(flat: readonly PendingOperation[], asked: ReadonlyMap<string, Verdict>): PendingOperation[] {
  const ranks = flat.map((pending) => verdictOf(pending, asked).rank);
  const order = flat.map((_, i) => i);
  order.sort((a, b) => (ranks[a] ?? 0) - (ranks[b] ?? 0));
  const sent = new Map<number, { pending: PendingOperation[]; next: number }>();
  for (const pending of flat) {
    const queue = sent.get(pending.operation.serverId);
    if (queue === undefined) sent.set(pending.operation.serverId, { pending: [pending], next: 0 });
    else queue.pending.push(pending);
  }
  const fair: PendingOperation[] = [];
  for (const i of order) {
    const queue = sent.get(flat[i]?.operation.serverId ?? 0);
    const next = queue?.pending[queue.next++];
    if (next !== undefined) fair.push(next);
  }
  return fair;
}

/** All or none: one refusal refuses the whole, and the others are told so. */
function decideTransaction(unit: DecisionUnit, verdicts: readonly Verdict[], overlay: Overlay): DecidedOperation[] {
  const decided = unit.operations.map((pending, i) => {
    const verdict = verdicts[i];
    if (verdict === undefined) throw new Error("decide: a verdict for every operation is needed");
    return decideOne(pending, verdict, overlay, unit.transactionId);
  });
  const failed = decided.find((operation) => operation.outcome === Outcome.REJECTED);
  if (failed === undefined) return decided;
  return decided.map((operation) =>
    operation.outcome === Outcome.REJECTED
      ? operation
      : {
          ...operation,
          outcome: Outcome.REJECTED,
          rule: failed.rule,
          winnerOperationId: "",
          conflict: ConflictType.UNSPECIFIED,
          reason: "TRANSACTION_ABORTED",
          effects: [],
          clears: NO_CLEARS,
        },
  );
}

/** An operation that was not arbitrated, because it cannot be done. */
function refuse(pending: PendingOperation, untouched: Overlay): DecidedOperation {
  const { operationId } = pending.operation;
  const result = effectsOf(pending, untouched);
  if (!("reason" in result)) throw new Error("decide: a verdict is needed for every operation that can be done");
  return refusedBy(result, draftOf(pending, { operationId, outcome: Outcome.REJECTED, rule: "", winnerOperationId: "", conflict: ConflictType.UNSPECIFIED, rank: 0 }, "", untouched));
}

function decideOne(pending: PendingOperation, verdict: Verdict, overlay: Overlay, transactionId: string): DecidedOperation {
  const decided = draftOf(pending, verdict, transactionId, overlay);
  if (verdict.outcome === Outcome.REJECTED) {
    decided.reason = "CONFLICT";
    return decided;
  }
  const result = effectsOf(pending, overlay);
  if ("reason" in result) return refusedBy(result, decided);
  decided.effects = result.effects;
  if (result.clears !== undefined) decided.clears = result.clears;
  if (result.merged === true) {
    decided.outcome = Outcome.MERGED;
    if (decided.rule === UNCONTESTED) decided.rule = "merge";
  }
  overlay.escrows.add(decided);
  overlay.entities.add(decided, pending.type.stateMerge !== undefined);
  return decided;
}

function refusedBy({ rule, reason, winnerOperationId, currentVersion }: Refusal, decided: DecidedOperation): DecidedOperation {
  decided.outcome = Outcome.REJECTED;
  decided.rule = rule;
  decided.reason = reason;
  decided.winnerOperationId = winnerOperationId ?? "";
  decided.currentVersion = currentVersion ?? 0;
  decided.conflict = ConflictType.UNSPECIFIED;
  return decided;
}

/** What the rules say of an operation, before the state is asked. */
function draftOf({ operation, fingerprint, stamp }: PendingOperation, verdict: Verdict, transactionId: string, overlay: Overlay): DecidedOperation {
  return {
    operationId: operation.operationId,
    fingerprint,
    outcome: verdict.outcome,
    rule: verdict.rule,
    winnerOperationId: verdict.winnerOperationId,
    conflict: verdict.conflict,
    reason: "",
    stamp,
    serverId: operation.serverId,
    // Elsewhere another group sees to the authority.
    region: isKeptHere(operation.homeRegion, overlay) ? operation.homeRegion : undefined,
    epoch: operation.authorityEpoch,
    effects: [],
    transactionId,
    claimedMs: operation.timestampMs,
    clears: NO_CLEARS,
    currentVersion: 0,
  };
}
