// What the node that keeps an escrow says of it takes effect. No rule and no clock has a part in it: a spending counts where it is the next
// one, and nothing was ever promised that is not there. So a step may be in the log any number of times.
import { ConflictType, type LogEntry, Outcome } from "@statemesh/contract";
import { CommandResult, type DecidedOperation, type EscrowSpending, type EscrowStep, type HealedRecord, type Posting } from "@statemesh/contract/log";
import type { Applied, AppliedOperation } from "./applied.ts";
import { type EscrowRow, escrowAccount } from "./escrow-table.ts";
import { NO_CLEARS } from "./footprint-table.ts";
import type { GroupState } from "./group-state.ts";
import { playerAccount } from "./ledger.ts";

/** Why a step stopped before its end. The node asks again: nothing of it is refused for good. */
type Stop = "" | "NOT_FOUND" | "ESCROW_GAP" | "ESCROW_EXHAUSTED" | "BALANCE_OVERFLOW" | "ESCROW_OPEN";

export function applyEscrow(state: GroupState, step: EscrowStep, entry: LogEntry, report: boolean): Applied {
  const decided: DecidedOperation[] = [];
  const operations: AppliedOperation[] = [];
  const healed: HealedRecord[] = [];
  let stop: Stop = "";
  for (const spending of step.spendings) {
    const row = state.escrows.open(step.escrowId);
    if (row?.openedIndex !== step.openedIndex) stop = "NOT_FOUND";
    else if (spending.number <= row.lastNumber) continue;
    else stop = spend(state, row, spending, entry, report, { decided, operations, healed });
    if (stop !== "") break;
  }
  if (stop === "" && step.end !== undefined) stop = end(state, step, step.end.lastNumber, step.end.nodeRemoved);
  list(state, step, healed);
  const commandResult = CommandResult.fromPartial({ reason: stop, position: state.position() });
  return { decided, operations, changes: [], directory: undefined, membership: false, commandResult };
}

interface Done {
  readonly decided: DecidedOperation[];
  readonly operations: AppliedOperation[];
  readonly healed: HealedRecord[];
}

function spend(state: GroupState, row: EscrowRow, spending: EscrowSpending, entry: LogEntry, report: boolean, done: Done): Stop {
  const { number, quantity, toPlayerId, operationId, fingerprint, stamp, claimedMs, side } = spending;
  const { escrowId, itemKind, spenderServerId, region } = row;
  if (number !== row.lastNumber + 1) return "ESCROW_GAP";
  const from = escrowAccount(escrowId);
  if (state.ledger.balance(from, itemKind) < quantity) return "ESCROW_EXHAUSTED";
  const to = toPlayerId === "" ? "" : playerAccount(toPlayerId);
  if (to !== "" && !hasRoom(state, to, itemKind, quantity)) return "BALANCE_OVERFLOW";
  const posting: Posting = { from, to, itemKind, quantity };
  const operation: DecidedOperation = {
    operationId, fingerprint, outcome: Outcome.ACCEPTED, rule: "escrow", winnerOperationId: operationId, conflict: ConflictType.UNSPECIFIED, reason: "", stamp, serverId: spenderServerId, region, epoch: 0,
    effects: [{ effect: { $case: "post", value: posting } }], transactionId: "", claimedMs, clears: NO_CLEARS, currentVersion: 0,
  };
  // An id that stands for something else changes nothing of what was promised: it only cannot stand for this too.
  if (state.decisions.get(operationId) === undefined) {
    const applied = state.applyOperations([operation], entry, report, true);
    done.decided.push(operation);
    done.operations.push(...applied.operations);
  } else state.applyPosting(posting, region);
  state.escrows.put({ ...row, lastNumber: number, spent: row.spent + quantity });
  if (side !== undefined) {
    const listed = { operationId, type: "escrow_spending", serverId: spenderServerId, region, outcome: Outcome.ACCEPTED, rule: "escrow", winnerOperationId: operationId, conflict: ConflictType.UNSPECIFIED, reason: "", stamp, nodeId: row.nodeId, decidedBefore: false, position: state.position() };
    done.healed.push({ operation: listed, fingerprint });
  }
  return "";
}

/** What is prepared and may yet come has its room. Whatever it takes from the account, more in it is no obstacle. */
function hasRoom({ ledger }: GroupState, account: string, itemKind: string, quantity: number): boolean {
  return ledger.balance(account, itemKind) + ledger.reserved.credits(account, itemKind) <= Number.MAX_SAFE_INTEGER - quantity;
}

/** What is left goes back. */
function end(state: GroupState, { escrowId, openedIndex }: EscrowStep, lastNumber: number, nodeRemoved: boolean): Stop {
  const row = state.escrows.open(escrowId);
  if (row?.openedIndex !== openedIndex) return "NOT_FOUND";
  if (row.lastNumber !== lastNumber) return "ESCROW_OPEN";
  const from = escrowAccount(escrowId);
  const { itemKind, region } = row;
  const left = state.ledger.balance(from, itemKind);
  const to = playerAccount(row.playerId);
  if (!hasRoom(state, to, itemKind, left)) return "BALANCE_OVERFLOW";
  if (left > 0) state.applyPosting({ from, to, itemKind, quantity: left }, region);
  state.escrows.close({ ...row, closedIndex: state.appliedIndex, returned: left, nodeRemoved });
  return "";
}

/** Spendings that were promised while their node was cut off are listed like everything that was kept then: one report a partition and node. */
function list(state: GroupState, { spendings, nowMs }: EscrowStep, healed: readonly HealedRecord[]): void {
  const [first] = healed;
  const side = spendings.find((spending) => spending.side !== undefined)?.side;
  if (first === undefined || side === undefined) return;
  const reportId = `heal-${state.groupId}-${first.operation?.nodeId ?? 0}-${side.beganMs}`;
  state.heals.add({ reportId, healedMs: nowMs, sides: [side], operations: [] }, state.groupId, state.position(), healed);
}
