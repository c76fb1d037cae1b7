// What opening an escrow does.
import type { EscrowOpening } from "@statemesh/contract";
import { type EffectsOrRefusal, type Overlay, post } from "./effect-parts.ts";
import { escrowAccount } from "./escrow-table.ts";
import { playerAccount } from "./ledger.ts";

export function escrowEffects({ escrows, ledger, place }: Overlay, { escrowId, playerId, itemKind, quantity, spenderServerId, nodeId, expiresMs }: EscrowOpening): EffectsOrRefusal {
  if (escrows.isUsed(escrowId)) return { rule: "existence", reason: "ALREADY_EXISTS" };
  if (place?.isMember?.(nodeId) === false) return { rule: "escrow", reason: "UNKNOWN_MEMBER" };
  if (escrows.isFull(spenderServerId, playerId, nodeId)) return { rule: "escrow", reason: "ESCROW_LIMIT" };
  const posted = post(ledger, [{ from: playerAccount(playerId), to: escrowAccount(escrowId), itemKind, quantity }], []);
  if ("reason" in posted) return posted;
  const value = { escrowId, region: undefined, playerId, itemKind, quantity, spenderServerId, nodeId, expiresMs, openedIndex: 0, lastNumber: 0, spent: 0, closedIndex: 0, returned: 0, nodeRemoved: false };
  return { effects: [...posted.effects, { effect: { $case: "escrow", value } }] };
}
