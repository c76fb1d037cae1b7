// Escrows: spending from them, ending them, and how they stand.
import { EscrowServiceService, MeshError } from "@statemesh/contract";
import type { MeshNode } from "@statemesh/mesh";
import { type CallContext, type Respond, type ServiceBinding, bindService, unaryCallback } from "@statemesh/service";
import type { BulkCalls } from "./bulk-calls.ts";
import { deadlineOf } from "./deadlines.ts";

/** @param addressOf where callers reach a node; empty where it never said */
export function escrowService(mesh: MeshNode, addressOf: (nodeId: number) => string, bulk: BulkCalls, defaultDeadlineMs: number): ServiceBinding {
  const deadline = (context: CallContext): number => deadlineOf(context, mesh.host.clock.monotonicMs(), defaultDeadlineMs);
  const answer = <Response>(respond: Respond<Response>) => (response: Response | undefined, error: MeshError | undefined): void => {
    if (response === undefined) respond.fail(error === undefined ? new MeshError("INTERNAL", "a call about an escrow without an answer") : withAddress(error, addressOf));
    else respond(response);
  };
  return bindService(EscrowServiceService, {
    spendEscrow: unaryCallback((request, context, respond) => mesh.escrows.spend(request, deadline(context), answer(respond))),
    closeEscrow: unaryCallback((request, context, respond) => mesh.escrows.close(request, deadline(context), answer(respond))),
    listEscrows: unaryCallback((request, context, respond) => {
      const slices = bulk.slices(context, respond);
      mesh.escrows.list(request, deadline(context), answer(slices.respond), slices.turn);
    }),
  });
}

/** Who asked the wrong node hears where the right one is. */
function withAddress(error: MeshError, addressOf: (nodeId: number) => string): MeshError {
  const address = error.reason === "ESCROW_ELSEWHERE" ? addressOf(Number(error.metadata["node_id"] ?? 0)) : "";
  return address === "" ? error : new MeshError(error.reason, error.message, { metadata: { ...error.metadata, node_address: address } });
}
