// Requests about escrows as they come in, and what is answered.
import { type Escrow, EscrowState, type ListEscrowsRequest, MeshError, type Region, type SpendEscrowRequest } from "@statemesh/contract";
import type { EscrowRow } from "@statemesh/replica";
import { checkInteger, checkName, checkRegion, fingerprintOf, ID_BYTES_MAX, QUANTITY_MAX, SERVER_ID_MAX } from "@statemesh/world";
import { foreignPageToken, pageChecksum } from "../page-token.ts";
import type { HeldEscrow } from "./held-escrow.ts";

const PAGE_DEFAULT = 100;
const PAGE_MAX = 1_000;

interface NamedEscrow {
  readonly serverId: number;
  readonly region: Region | undefined;
  readonly escrowId: string;
}

/** Throws INVALID_FIELD. */
export function checkNamed({ serverId, region, escrowId }: NamedEscrow): Region {
  checkInteger(serverId, 1, SERVER_ID_MAX, "", "server_id");
  checkRegion(region, "region");
  checkName(escrowId, 1, ID_BYTES_MAX, "", "escrow_id");
  return region;
}

/** Throws INVALID_FIELD. */
export function checkSpending(request: SpendEscrowRequest): Region {
  checkName(request.operationId, 1, ID_BYTES_MAX, "", "operation_id");
  const region = checkNamed(request);
  checkInteger(request.quantity, 1, QUANTITY_MAX, "", "quantity");
  checkName(request.toPlayerId, 0, ID_BYTES_MAX, "", "to_player_id");
  checkInteger(request.timestampMs, 1, Number.MAX_SAFE_INTEGER, "", "timestamp_ms");
  return region;
}

/** Throws INVALID_FIELD. */
export function checkList(request: ListEscrowsRequest): Region {
  const { region, escrowId, serverId, playerId, pageSize } = request;
  checkRegion(region, "region");
  checkName(escrowId, 0, ID_BYTES_MAX, "", "escrow_id");
  checkInteger(serverId, 0, SERVER_ID_MAX, "", "server_id");
  checkName(playerId, 0, ID_BYTES_MAX, "", "player_id");
  checkInteger(pageSize, 0, PAGE_MAX, "", "page_size");
  afterOf(request);
  return region;
}

/** The escrow behind which a page begins. Throws INVALID_PAGE_TOKEN where the token is not of these wishes. */
function afterOf(request: ListEscrowsRequest): string {
  const { pageToken } = request;
  if (pageToken === "") return "";
  const dot = pageToken.indexOf(".");
  const after = pageToken.slice(dot + 1);
  if (dot < 0 || pageToken !== tokenOf(request, after)) throw foreignPageToken();
  return after;
}

function tokenOf({ region, escrowId, serverId, playerId, includeClosed }: ListEscrowsRequest, after: string): string {
  return `${pageChecksum(`escrows ${JSON.stringify([region?.x, region?.y, region?.z, escrowId, serverId, playerId, includeClosed])}`, after)}.${after}`;
}

export function pageOf(escrows: readonly Escrow[], request: ListEscrowsRequest): { escrows: Escrow[]; nextPageToken: string } {
  const after = afterOf(request);
  const size = request.pageSize === 0 ? PAGE_DEFAULT : request.pageSize;
  const rest = after === "" ? escrows : escrows.filter(({ escrowId }) => escrowId > after);
  return { escrows: rest.slice(0, size), nextPageToken: rest.length > size ? tokenOf(request, rest[size - 1]?.escrowId ?? "") : "" };
}

/** Tells a retry from an id that is used again for something else. */
export function spendingFingerprint({ operationId, serverId, region: homeRegion, escrowId, quantity, toPlayerId, timestampMs }: SpendEscrowRequest): number {
  const footprint = { keys: [escrowId, String(quantity), toPlayerId], regions: [], bounds: undefined };
  return fingerprintOf({ operationId, type: "escrow_spending", serverId, homeRegion, authorityEpoch: 0, timestampMs, footprint, priority: undefined, allowTentative: false, body: undefined });
}

/** @param row as it is in this node's copy of the log; @param held where this node keeps it */
export function escrowMessage(row: EscrowRow, held: HeldEscrow | undefined): Escrow {
  const { escrowId, region, playerId, itemKind, quantity, spenderServerId, nodeId, expiresMs, returned, nodeRemoved, openedIndex, closedIndex } = row;
  const state = closedIndex > 0 ? EscrowState.CLOSED : held?.isClosing === true ? EscrowState.CLOSING : EscrowState.OPEN;
  const isBehind = held !== undefined && held.doneNumber > row.lastNumber;
  return {
    escrowId, state, region, playerId, itemKind, quantity, spenderServerId, nodeId, expiresMs, returned, nodeRemoved, openedIndex,
    spent: isBehind ? held.doneSum : row.spent, spendings: isBehind ? held.doneNumber : row.lastNumber, spentAside: held?.keptSum ?? 0, spendingsAside: held?.kept.length ?? 0,
  };
}

export function notFound(escrowId: string): MeshError {
  return new MeshError("NOT_FOUND", `no escrow ${escrowId} is open here, or remembered`, { metadata: { escrow_id: escrowId } });
}

export function closed(escrowId: string, state: "closing" | "closed"): MeshError {
  return new MeshError("ESCROW_CLOSED", `escrow ${escrowId} is ${state}`, { metadata: { escrow_id: escrowId, state } });
}

export function notReady(escrowId: string): MeshError {
  return new MeshError("ESCROW_NOT_READY", `since its start this node has not made sure yet of what happened to escrow ${escrowId}`, { metadata: { escrow_id: escrowId }, retryDelayMs: 100 });
}
