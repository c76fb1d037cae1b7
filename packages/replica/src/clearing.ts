// Footprints that other groups keep of what was removed here. What was decided is in force at once; it stays on record, as a
// transaction whose release is under way, until the footprints are gone, so that whoever leads sees to it.
import { type LogEntry, Operation } from "@statemesh/contract";
import { type ClearFootprints, CommandResult, type DecidedOperation } from "@statemesh/contract/log";
import type { Applied } from "./applied.ts";
import { clearingKey, TransactionState } from "./transaction-table.ts";
import type { SteppingState } from "./transaction-steps.ts";

/** Applies what this group decided alone. */
export function applyDecided(state: SteppingState, decided: readonly DecidedOperation[], entry: LogEntry, report: boolean, healed = false): Applied {
  const applied = state.applyOperations(decided, entry, report, healed);
  const clearing = clearElsewhere(state, decided, entry);
  return clearing.length === 0 ? applied : { ...applied, clearing };
}

/** The keys of what came on record. */
function clearElsewhere(state: SteppingState, decided: readonly DecidedOperation[], { index }: LogEntry): readonly string[] {
  const keys: string[] = [];
  for (const operation of decided) {
    // What was fenced, or decided before, changed nothing.
    if (operation.clears.length === 0 || state.decisions.get(operation.operationId)?.index !== index) continue;
    const unit = operation.transactionId === "" ? [operation] : decided.filter(({ transactionId }) => transactionId === operation.transactionId);
    const key = clearingKey(unit[0]?.operationId ?? "");
    if (keys.includes(key)) continue;
    keys.push(key);
    const operations = unit.map(({ operationId, stamp, fingerprint }) => ({ operation: Operation.fromPartial({ operationId }), stamp, fingerprint, timeoutMs: 0 }));
    state.transactions.coordinate({
      key, beginIndex: index, stamp: operation.stamp ?? { physicalMs: 0, logical: 0 }, operations, homeGroups: unit.map(() => state.groupId), groups: [state.groupId],
      deadlineMs: 0, state: TransactionState.COMMITTED, clears: unit.flatMap(({ clears }) => clears),
    });
  }
  return keys;
}

/** Footprints go. One that is prepared, and not released, is still to come: until then the clearing waits. */
export function clear(state: SteppingState, { transaction, clears }: ClearFootprints): Pick<Applied, "commandResult" | "transaction"> {
  const isEarly = clears.some(({ operationId }) => state.transactions.holdsOperation(operationId));
  if (!isEarly) for (const clearing of clears) state.footprints.clear(clearing);
  const { key, coordinatorGroup, beginIndex } = transaction ?? { key: "", coordinatorGroup: 0, beginIndex: 0 };
  const commandResult = CommandResult.fromPartial({ reason: isEarly ? "TRANSACTION_PENDING" : "", position: state.position() });
  return { commandResult, transaction: { step: "clear", key, coordinatorGroup, beginIndex, tookEffect: !isEarly } };
}
