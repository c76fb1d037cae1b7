import { type CandidateSet, type MeshError, Outcome, type Verdict } from "@statemesh/contract";
import type { GroupState, PendingOperation } from "@statemesh/replica";
import { allOf, type QueuedUnit, type Waiter, operationBytes } from "./decision-queue.ts";
import { operationError } from "./operation-errors.ts";

/** What an arbiter may say of an operation. */
const OUTCOMES: ReadonlySet<Outcome> = new Set([Outcome.ACCEPTED, Outcome.MERGED, Outcome.REJECTED]);

/** True where the verdicts are those of the set's candidates, in their order. */
export function answersAll(set: CandidateSet, verdicts: readonly Verdict[] | undefined): boolean {
  if (verdicts === undefined || verdicts.length !== set.candidates.length) return false;
  return set.candidates.every((candidate, i) => {
    const verdict = verdicts[i];
    return candidate.operationId === verdict?.operationId && OUTCOMES.has(verdict.outcome);
  });
}

/** About how many bytes the operations take in a log entry. What is merged into a state takes the room of the whole state. */
export function unitBytes(operations: readonly PendingOperation[], state: GroupState): number {
  let bytes = 0;
  for (const pending of operations) {
    bytes += operationBytes(pending);
    const body = pending.operation.body;
    if (pending.type.stateMerge !== undefined && body?.$case === "custom") bytes += state.entities.get(pending.type.name, body.value.entityId)?.state.length ?? 0;
  }
  return bytes;
}

export function failAll(operations: readonly PendingOperation[], waiter: Waiter, error: MeshError): void {
  const failure = operationError(error);
  for (const { operation } of operations) waiter.failed(operation.operationId, failure);
}

export function failUnit(unit: QueuedUnit, error: MeshError): void {
  for (const waiter of unit.waiters) failAll(allOf(unit), waiter, error);
  for (const done of unit.part?.asked?.done ?? []) done(undefined, error);
}
