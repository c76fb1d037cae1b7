/** Requests about escrows that must be refused. */
import { CloseEscrowRequest, ListEscrowsRequest, type Reason, type Region, SpendEscrowRequest } from "@statemesh/contract";
import type { Of } from "./bad-requests.ts";

const REGION: Region = { x: 0, y: 0, z: 0 };

/** Every message here asks for something that is not there, or for nothing. */
export function badEscrowRequests(of: Of): void {
  of("EscrowService/SpendEscrow", (cases) => {
    const good = { operationId: "op", serverId: 1, region: REGION, escrowId: "no-escrow", quantity: 1, toPlayerId: "bob", timestampMs: 1 };
    const add = (name: string, reason: Reason, field: string | undefined, object: object): void => cases.add<SpendEscrowRequest>(SpendEscrowRequest, name, reason, field, { ...good, ...object });
    add("no operation id", "INVALID_FIELD", "operation_id", { operationId: "" });
    add("no server", "INVALID_FIELD", "server_id", { serverId: 0 });
    add("no region", "INVALID_FIELD", "region", { region: undefined });
    add("no escrow", "INVALID_FIELD", "escrow_id", { escrowId: "" });
    add("a name of 65 bytes", "INVALID_FIELD", "escrow_id", { escrowId: "x".repeat(65) });
    add("nothing", "INVALID_FIELD", "quantity", { quantity: 0 });
    add("to a name of 65 bytes", "INVALID_FIELD", "to_player_id", { toPlayerId: "x".repeat(65) });
    add("without its time", "INVALID_FIELD", "timestamp_ms", { timestampMs: 0 });
    add("in the future", "TIMESTAMP_IN_FUTURE", "timestamp_ms", { timestampMs: Number.MAX_SAFE_INTEGER });
  });
  of("EscrowService/CloseEscrow", (cases) => {
    const good = { serverId: 1, region: REGION, escrowId: "no-escrow" };
    const add = (name: string, reason: Reason, field: string | undefined, object: object): void => cases.add<CloseEscrowRequest>(CloseEscrowRequest, name, reason, field, { ...good, ...object });
    add("no server", "INVALID_FIELD", "server_id", { serverId: 0 });
    add("no region", "INVALID_FIELD", "region", { region: undefined });
    add("no escrow", "INVALID_FIELD", "escrow_id", { escrowId: "" });
  });
  of("EscrowService/ListEscrows", (cases) => {
    const add = (name: string, reason: Reason, field: string | undefined, object: object): void => cases.add<ListEscrowsRequest>(ListEscrowsRequest, name, reason, field, { region: REGION, ...object });
    add("no region", "INVALID_FIELD", "region", { region: undefined });
    add("a region that is not there", "INVALID_FIELD", "region.x", { region: { x: 2_000_000, y: 0, z: 0 } });
    add("an escrow of 65 bytes", "INVALID_FIELD", "escrow_id", { escrowId: "x".repeat(65) });
    add("a player of 65 bytes", "INVALID_FIELD", "player_id", { playerId: "x".repeat(65) });
    add("a page beyond the limit", "INVALID_FIELD", "page_size", { pageSize: 1_001 });
    add("a page token of nonsense", "INVALID_PAGE_TOKEN", "page_token", { pageToken: "o1" });
  });
}
