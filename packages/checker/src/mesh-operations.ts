// Strong operations of the mesh as calls on keys: entities by kind and id, accounts by player and item kind.
import { type Decision, type Operation as MeshOperation, Outcome, PlayerInventory_Action, type Region } from "@statemesh/contract";
import { groupOf, regionOf, sameRegion } from "@statemesh/world";
import type { KeyOperation, ResultOf } from "./operations.ts";

/** An operation with what its caller was told, if it was. */
export interface DecidedCall {
  readonly operation: MeshOperation;
  readonly decision: Decision | undefined;
  /** In a transaction others of it can be the reason of a refusal. */
  readonly inTransaction: boolean;
}

/** One call on one key. */
export interface KeyCallOf {
  readonly operation: KeyOperation;
  /** Undefined where nobody was told. */
  readonly result: ResultOf<KeyOperation> | undefined;
}

/** What lies on the ground under an id, and where, which a pickup does not say. */
export type Items = ReadonlyMap<string, { readonly itemKind: string; readonly quantity: number; readonly region: Region | undefined }>;

/** The items that operations of a history lay down; an id names one item for ever. */
export function itemsOf(operations: Iterable<MeshOperation>): Items {
  const items = new Map<string, { itemKind: string; quantity: number; region: Region | undefined }>();
  for (const { body, homeRegion } of operations) {
    if (body?.$case !== "playerInventory" || body.value.itemId === "") continue;
    const { itemId, itemKind, quantity, position } = body.value;
    items.set(itemId, { itemKind, quantity, region: position === undefined ? homeRegion : regionOf(position) });
  }
  return items;
}

/** The key of an account, in the group that holds it. */
export function accountKey(groupId: number, playerId: string, itemKind: string): string {
  return `${groupId}/${playerId}/${itemKind}`;
}

/** The key of an entity, in the group that holds it. */
export function entityKey(groupId: number, kind: string, entityId: string): string {
  return `${groupId}/${kind}/${entityId}`;
}

/** What the operation asks of each key that it touches. Values of entities are operation ids. Types of an operator's own give none. `groups`: how many hold regions; needed where items go from group to group. */
export function keyCallsOf(groupId: number, { operation, decision, inTransaction }: DecidedCall, items: Items, groups?: number): KeyCallOf[] {
  const accepted = decision?.outcome === Outcome.ACCEPTED || decision?.outcome === Outcome.MERGED;
  const refusedBy = decision === undefined || accepted ? "" : inTransaction ? "transaction" : decision.rule;
  const calls: KeyCallOf[] = [];
  const result = decision === undefined ? undefined : accepted ? ({ decision: "accepted", version: decision.version } as const) : ({ decision: "rejected" } as const);
  const put = (kind: string, entityId: string, isNew: boolean): void => {
    // Refused by a rule that looks at other keys too, or because the id was used once: this key does not show it.
    const when = isNew && refusedBy === "" ? "absent" : "ruled";
    calls.push({ operation: { model: "entity", key: entityKey(groupId, kind, entityId), action: "put", value: operation.operationId, when }, result });
  };
  const remove = (kind: string, entityId: string, isHere = false): void => {
    // What is elsewhere counts as not found.
    const when = refusedBy === "" || (refusedBy === "existence" && isHere) ? "present" : "ruled";
    calls.push({ operation: { model: "entity", key: entityKey(groupId, kind, entityId), action: "remove", when }, result });
  };
  // The place in the other group's log is not in the answer.
  const arrive = (keptBy: number, kind: string, entityId: string): void => {
    const arrived = decision === undefined ? undefined : ({ decision: accepted ? "accepted" : "rejected" } as const);
    calls.push({ operation: { model: "entity", key: entityKey(keptBy, kind, entityId), action: "put", value: operation.operationId, when: refusedBy === "" ? "absent" : "ruled" }, result: arrived });
  };
  // One of several postings is refused for what another account holds too.
  const post = (playerId: string, itemKind: string, delta: number, isOneOfSeveral = false, region?: Region): void => {
    const keptBy = region === undefined || groups === undefined ? groupId : groupOf(region, groups);
    const when = delta < 0 && !isOneOfSeveral && (refusedBy === "" || refusedBy === "balance") ? "enough" : "ruled";
    const posted = decision === undefined ? undefined : ({ decision: accepted ? "accepted" : "rejected" } as const);
    calls.push({ operation: { model: "balance", key: accountKey(keptBy, playerId, itemKind), action: "post", delta, when }, result: posted });
  };

  const { body } = operation;
  switch (body?.$case) {
    case "structurePlacement":
      put("structure", body.value.structureId, false);
      break;
    case "structureRemoval":
      remove("structure", body.value.structureId);
      break;
    case "terrainModification":
      put("terrain_edit", operation.operationId, false);
      break;
    case "resourceClaim":
      if (body.value.release) remove("claim", body.value.resourceId);
      else put("claim", body.value.resourceId, false);
      break;
    case "creatureOwnership": {
      const { creatureId, ownerServerId, toRegion } = body.value;
      const goesTo = toRegion === undefined || groups === undefined ? groupId : groupOf(toRegion, groups);
      if (ownerServerId === 0) remove("creature", creatureId);
      else if (goesTo === groupId) put("creature", creatureId, false);
      else {
        remove("creature", creatureId);
        arrive(goesTo, "creature", creatureId);
      }
      break;
    }
    case "itemPickup": {
      const item = items.get(body.value.itemId);
      const { homeRegion } = operation;
      remove("item", body.value.itemId, item?.region !== undefined && homeRegion !== undefined && sameRegion(item.region, homeRegion));
      if (item !== undefined) post(body.value.playerId, item.itemKind, item.quantity);
      break;
    }
    case "playerInventory": {
      const { action, playerId, counterpartyId, counterpartyRegion, itemKind, quantity, itemId } = body.value;
      // The accounts of containers are looked at by whoever checks the ledger.
      if (action === PlayerInventory_Action.MINT && playerId !== "") post(playerId, itemKind, quantity);
      if ((action === PlayerInventory_Action.BURN || action === PlayerInventory_Action.DROP || action === PlayerInventory_Action.TRANSFER) && playerId !== "") post(playerId, itemKind, -quantity);
      if (action === PlayerInventory_Action.TRANSFER && counterpartyId !== "") post(counterpartyId, itemKind, quantity, false, counterpartyRegion);
      if (action === PlayerInventory_Action.DROP || action === PlayerInventory_Action.SPAWN) put("item", itemId, true);
      break;
    }
    case "trade": {
      const { firstPlayerId, secondPlayerId, firstGives, secondGives, secondRegion } = body.value;
      const toSecond = new Map<string, number>();
      for (const { itemKind, quantity } of firstGives) toSecond.set(itemKind, (toSecond.get(itemKind) ?? 0) + quantity);
      for (const { itemKind, quantity } of secondGives) toSecond.set(itemKind, (toSecond.get(itemKind) ?? 0) - quantity);
      for (const [itemKind, quantity] of toSecond) {
        if (quantity === 0) continue;
        post(firstPlayerId, itemKind, -quantity, true);
        post(secondPlayerId, itemKind, quantity, true, secondRegion);
      }
      break;
    }
    default:
      // Types of an operator's own, and containers.
      break;
  }
  return calls;
}
