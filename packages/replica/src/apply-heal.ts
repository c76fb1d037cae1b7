import { type HealedOperation, type LogEntry, type LogPosition, Outcome } from "@statemesh/contract";
import type { DecidedOperation, HealBatch, HealedRecord, KeptDecision } from "@statemesh/contract/log";
import type { Applied } from "./applied.ts";
import { applyDecided } from "./clearing.ts";
import type { GroupState } from "./group-state.ts";

/** Kept operations are decided by the rules alone: their leases ended with the partition, and nobody's epoch stands against them. */
export function applyHeal(state: GroupState, batch: HealBatch, entry: LogEntry, report: boolean): Applied {
  const decided: DecidedOperation[] = [];
  for (const { decided: operation, decidedBefore } of batch.operations) if (operation !== undefined && !decidedBefore) decided.push(operation);
  const applied = applyDecided(state, decided, entry, report, true);
  state.heals.add(batch, state.groupId, state.position(), batch.operations.map((kept) => healedRecord(kept, state)));
  return applied;
}

/** What a report says of an operation, once its batch is applied: the decision that stands, whoever made it. */
function healedRecord({ decided, type, nodeId, decidedBefore }: KeptDecision, state: GroupState): HealedRecord {
  if (decided === undefined) return { operation: undefined, fingerprint: 0 };
  const { operationId, serverId, region, fingerprint } = decided;
  const row = state.decisions.get(operationId);
  const known = { operationId, type, serverId, region, nodeId, decidedBefore: decidedBefore || (row !== undefined && row.index < state.appliedIndex) };
  const stands: Stands = row === undefined ? decided : { ...row, position: row.elsewhere ?? { groupId: state.groupId, term: row.term, index: row.index } };
  const { outcome, rule, winnerOperationId, conflict, reason, stamp, position } = stands;
  const operation: HealedOperation = { ...known, outcome, rule, winnerOperationId, conflict, reason, stamp, position };
  // The id stands for other content, which was decided elsewhere.
  if (row !== undefined && row.fingerprint !== fingerprint) Object.assign(operation, { outcome: Outcome.REJECTED, rule: "operation_id_reused", reason: "OPERATION_ID_REUSED" });
  return { operation, fingerprint };
}

type Stands = Pick<DecidedOperation, "outcome" | "rule" | "winnerOperationId" | "conflict" | "reason" | "stamp"> & { readonly position?: LogPosition };
