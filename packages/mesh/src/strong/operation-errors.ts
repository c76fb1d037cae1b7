import { MeshError, type OperationError, type Reason, type Region } from "@statemesh/contract";
import type { FenceRow } from "@statemesh/replica";
import { formatRegion } from "@statemesh/world";

/** Reasons after which the same operation may be sent again, elsewhere or later: nothing contradicts it. */
const PASSING: ReadonlySet<string> = new Set<Reason>(["NOT_LEADER", "NO_QUORUM", "OUTCOME_UNKNOWN", "TRANSACTION_PENDING"]);

/** True where another try with the same id may succeed without the caller doing anything. */
export function isPassing(error: OperationError): boolean {
  return PASSING.has(error.reason);
}

/** An error as it travels in a stream of results and between nodes. */
export function operationError(error: MeshError): OperationError {
  const metadata = new Map(Object.entries(error.metadata));
  if (error.retryDelayMs !== undefined) metadata.set("retry_delay_ms", String(error.retryDelayMs));
  if (error.field !== undefined) metadata.set("field", error.field);
  return { code: error.code, reason: error.reason, message: error.message, metadata };
}

/** For an operation that an earlier try may have done: no later refusal proves that it was not. */
export function unknownAfter(error: OperationError): OperationError {
  // The id stands for other content, so this content was never decided.
  if (error.reason === "OUTCOME_UNKNOWN" || error.reason === "OPERATION_ID_REUSED") return error;
  return operationError(
    new MeshError("OUTCOME_UNKNOWN", `an earlier try may have been done; the last was answered: ${error.message}`, {
      metadata: { last_reason: error.reason },
      retryDelayMs: 50,
    }),
  );
}

/** The way back, for callers that answer one operation with a status. */
export function meshErrorOf(error: OperationError): MeshError {
  const metadata = Object.fromEntries(error.metadata);
  const retryDelayMs = error.metadata.get("retry_delay_ms");
  const field = error.metadata.get("field");
  return new MeshError(error.reason as Reason, error.message, {
    metadata,
    ...(retryDelayMs === undefined ? {} : { retryDelayMs: Number(retryDelayMs) }),
    ...(field === undefined ? {} : { field }),
  });
}

export function fenced(fence: FenceRow): MeshError {
  const owner = fence.ownerServerId === 0 ? "nobody" : `server ${fence.ownerServerId}`;
  return new MeshError("FENCED", `${formatRegion(fence.region)} is owned by ${owner} at epoch ${fence.epoch}`, {
    metadata: {
      region: formatRegion(fence.region),
      current_epoch: String(fence.ownerServerId === 0 ? 0 : fence.epoch),
      owner_server_id: String(fence.ownerServerId),
    },
  });
}

export function notLeader(groupId: number, leader: number): MeshError {
  return new MeshError("NOT_LEADER", `this node does not lead group ${groupId}`, {
    metadata: { group_id: String(groupId), leader_node_id: String(leader) },
    retryDelayMs: 50,
  });
}

/** Something that is prepared holds the region, or what was asked for there, and did not end in time. */
export function transactionPending(region: Region | undefined): MeshError {
  const where = region === undefined ? "" : ` of ${formatRegion(region)}`;
  return new MeshError("TRANSACTION_PENDING", `a transaction across groups holds what is asked for${where}`, { retryDelayMs: 50 });
}

export function overloaded(what: string, limit: number): MeshError {
  return new MeshError("OVERLOADED", `${what}: the limit of ${limit} is reached`, { retryDelayMs: 50 });
}

export function transactionIdReused(transactionId: string): MeshError {
  return new MeshError("OPERATION_ID_REUSED", `transaction ${transactionId} was used with other operations`, { metadata: { transaction_id: transactionId } });
}

export function operationIdReused(operationId: string, first: number, second: number): MeshError {
  return new MeshError("OPERATION_ID_REUSED", `operation ${operationId} was used with other content`, {
    metadata: { operation_id: operationId, first_fingerprint: String(first), second_fingerprint: String(second) },
  });
}
