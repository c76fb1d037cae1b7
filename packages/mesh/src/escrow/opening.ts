import { type EscrowOpening, MeshError, type Operation } from "@statemesh/contract";

/** How far ahead an escrow may end: 31 days. */
const ESCROW_MAX_MS = 31 * 86_400_000;

export interface OpeningNode {
  readonly nodeId: number;
  wallMs(): number;
  /** Every node knows of escrows. */
  hasEscrows(): boolean;
}

/**
 * The operation with the node that keeps its escrow: who names none means the one that it is connected to. The content stays what the
 * caller sent: another node answers a retry. Throws VERSION_TOO_LOW or INVALID_FIELD.
 */
export function withKeeper(node: OpeningNode, operation: Operation, opening: EscrowOpening, path: string): Operation {
  if (!node.hasEscrows()) throw new MeshError("VERSION_TOO_LOW", "escrows: there are some once every node runs a build that knows them");
  // What was once not too far ahead never is later: no retry is refused for it.
  if (opening.expiresMs > node.wallMs() + ESCROW_MAX_MS) throw MeshError.field(`${path}.body.escrow_opening.expires_ms`, `must be at most ${ESCROW_MAX_MS} ms ahead`);
  return opening.nodeId === 0 ? { ...operation, body: { $case: "escrowOpening", value: { ...opening, nodeId: node.nodeId } } } : operation;
}
