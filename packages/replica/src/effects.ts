// What an operation does to the state, or why the state refuses it: what must hold whatever the rules say. Nothing
// here changes the state.
import { type Bounds, type Entity, type Operation, type PlayerInventory, PlayerInventory_Action, type Region, TerrainModification_Mode } from "@statemesh/contract";
import type { Effect, Posting } from "@statemesh/contract/log";
import { MergeLimitError, type StateMerge, StateProblem } from "@statemesh/merge";
import { groupOf, regionOf, sameRegion, STATE_BYTES_MAX } from "@statemesh/world";
import { escrowEffects } from "./escrow-effects.ts";
import { containerEffects, noRoomFor } from "./container-effects.ts";
import { unmetCondition } from "./conditions.ts";
import { type EffectsOrRefusal, entity, isKeptHere, type Overlay, post, put } from "./effect-parts.ts";
import type { EntityOverlay } from "./entity-overlay.ts";
import { clearingOf, groupsOfBounds } from "./footprint-table.ts";
import { containerAccount, groundAccount, groupAccount, playerAccount } from "./ledger.ts";
import type { PendingOperation } from "./pending-operation.ts";

const NO_EFFECTS: readonly Effect[] = [];

/** Writes down what an operation does where nothing stands against it. Takes its postings from the overlay's ledger. */
export function effectsOf(pending: PendingOperation, overlay: Overlay): EffectsOrRefusal {
  const { entities, ledger } = overlay;
  const { operation } = pending;
  const body = operation.body;
  // Elsewhere only what moves comes and goes, and a footprint stays behind: all else is done at home. A group that is but named in
  // the footprint has no part in it.
  if (!isKeptHere(operation.homeRegion, overlay)) {
    const other = otherRegionOf(operation);
    if (other === undefined || !isKeptHere(other, overlay)) return { effects: footprintEffects(operation, overlay) };
  }
  switch (body?.$case) {
    case "structurePlacement": {
      const { structureId, kind, bounds, playerId, attributes } = body.value;
      return put(entity("structure", structureId, { label: kind, bounds, playerId, attributes }));
    }
    case "structureRemoval":
      return withClearing(removeHere(entities, pending, "structure", body.value.structureId), entities.get("structure", body.value.structureId), overlay);
    case "resourceClaim": {
      const { resourceId, playerId, release } = body.value;
      if (!release) return put(entity("claim", resourceId, { playerId }));
      const held = entities.get("claim", resourceId);
      if (held !== undefined && held.playerId !== playerId) {
        return { rule: "holder", reason: "NOT_HOLDER", winnerOperationId: held.operationId };
      }
      return removeHere(entities, pending, "claim", resourceId);
    }
    case "itemPickup": {
      const removed = removeHere(entities, pending, "item", body.value.itemId);
      if ("reason" in removed) return removed;
      const item = entities.get("item", body.value.itemId);
      if (item === undefined) return { rule: "existence", reason: "NOT_FOUND" };
      const from = groundAccount(item.entityId);
      return post(ledger, [{ from, to: playerAccount(body.value.playerId), itemKind: item.label, quantity: item.quantity }], removed.effects);
    }
    case "playerInventory":
      return inventoryEffects(overlay, body.value, operation.homeRegion);
    case "trade": {
      const first = accountIn(operation.homeRegion, playerAccount(body.value.firstPlayerId), overlay);
      const second = accountIn(body.value.secondRegion ?? operation.homeRegion, playerAccount(body.value.secondPlayerId), overlay);
      const postings: Posting[] = [];
      for (const { itemKind, quantity } of body.value.firstGives) postings.push({ from: first, to: second, itemKind, quantity });
      for (const { itemKind, quantity } of body.value.secondGives) postings.push({ from: second, to: first, itemKind, quantity });
      return post(ledger, postings, NO_EFFECTS);
    }
    case "container":
      return containerEffects(overlay, body.value, operation.homeRegion);
    case "escrowOpening":
      return escrowEffects(overlay, body.value);
    case "terrainModification": {
      const { mode, bounds, material, playerId, brush } = body.value;
      const label = terrainLabel(mode, material);
      return put(entity("terrain_edit", operation.operationId, { label, bounds, playerId, state: brush }));
    }
    case "creatureOwnership": {
      const { creatureId, ownerServerId, toRegion } = body.value;
      if (toRegion !== undefined) return moveEntity(overlay, operation, entity("creature", creatureId, { serverId: ownerServerId, region: toRegion }));
      if (ownerServerId === 0) return removeHere(entities, pending, "creature", creatureId);
      return putHere(entities, pending, entity("creature", creatureId, { serverId: ownerServerId }));
    }
    case "custom": {
      const { entityId, state: bytes, toRegion } = body.value;
      const unmet = unmetCondition(overlay, pending);
      if (unmet !== undefined) return unmet;
      if (toRegion !== undefined) return moveEntity(overlay, operation, entity(operation.type, entityId, { state: bytes, bounds: operation.footprint?.bounds, region: toRegion }));
      if (bytes.length > 0 && pending.type.stateMerge !== undefined) return mergeInto(entities, pending, entityId, bytes, pending.type.stateMerge);
      if (bytes.length > 0) return putHere(entities, pending, entity(operation.type, entityId, { state: bytes, bounds: operation.footprint?.bounds }));
      return removeHere(entities, pending, operation.type, entityId);
    }
    default:
      throw new Error(`decide: ${operation.type} has no strong effects`);
  }
}

/** Where an operation sends an entity; undefined: it sends none. */
export function destinationOf({ body }: Pick<Operation, "body">): Region | undefined {
  return body?.$case === "creatureOwnership" || body?.$case === "custom" || body?.$case === "container" ? body.value.toRegion : undefined;
}

/** The second region of an operation that moves something: where an entity goes, or whose account is the other one. */
function otherRegionOf(operation: Operation): Region | undefined {
  const { body } = operation;
  if (body?.$case === "trade") return body.value.secondRegion;
  return body?.$case === "playerInventory" ? (movesItems(operation) ? body.value.counterpartyRegion : undefined) : destinationOf(operation);
}

/** What the deciding group keeps of a move: the region that the entity leaves, the one that it comes to, or both. */
function moveEntity(overlay: Overlay, { homeRegion, serverId }: Operation, arriving: Entity): EffectsOrRefusal {
  const { kind, entityId, region } = arriving;
  const found = overlay.entities.get(kind, entityId);
  if (isKeptHere(homeRegion, overlay)) {
    if (found?.region === undefined || homeRegion === undefined || !sameRegion(found.region, homeRegion)) return { rule: "existence", reason: "NOT_FOUND" };
    if (kind === "creature" && found.serverId !== serverId) return { rule: "holder", reason: "NOT_HOLDER", winnerOperationId: found.operationId };
  } else if (found !== undefined) return { rule: "existence", reason: "ALREADY_EXISTS", winnerOperationId: found.operationId };
  if (isKeptHere(region, overlay)) return put(arriving);
  if (found === undefined) return { rule: "existence", reason: "NOT_FOUND" };
  return { effects: [{ effect: { $case: "remove", value: { kind, entityId } } }] };
}

/** The entity's state with an update in it. What was never written, or was removed, begins anew. */
function mergeInto(entities: EntityOverlay, { operation, stamp }: PendingOperation, entityId: string, update: Uint8Array, merge: StateMerge): EffectsOrRefusal {
  const before = entities.get(operation.type, entityId);
  const { serverId, operationId } = operation;
  try {
    const state = merge.apply(before?.state, update, { ...stamp, serverId, operationId }, STATE_BYTES_MAX);
    return { ...put(entity(operation.type, entityId, { state, bounds: hullOf(before?.bounds, operation.footprint?.bounds) })), merged: before !== undefined };
  } catch (error) {
    const winnerOperationId = before?.operationId ?? "";
    if (error instanceof MergeLimitError) return { rule: "merge", reason: "MERGE_LIMIT", winnerOperationId };
    // What is there was written while the type had another merge, or none.
    if (error instanceof StateProblem) return { rule: "merge", reason: "NOT_MERGEABLE", winnerOperationId };
    throw error;
  }
}

/** The smallest box around both. */
function hullOf(a: Bounds | undefined, b: Bounds | undefined): Bounds | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return {
    minX: Math.min(a.minX, b.minX), minY: Math.min(a.minY, b.minY), minZ: Math.min(a.minZ, b.minZ),
    maxX: Math.max(a.maxX, b.maxX), maxY: Math.max(a.maxY, b.maxY), maxZ: Math.max(a.maxZ, b.maxZ),
  };
}

/** Between accounts, each of which may be kept by another group. */
export function movesItems({ body }: Pick<Operation, "body">): boolean {
  return body?.$case === "trade" || (body?.$case === "playerInventory" && body.value.action === PlayerInventory_Action.TRANSFER);
}

/** Whether nodes that know nothing of containers could not decide it. */
export function needsContainers({ body }: Pick<Operation, "body">): boolean {
  return body?.$case === "container" || (body?.$case === "playerInventory" && (body.value.containerId !== "" || body.value.counterpartyContainerId !== ""));
}

/** Whether nodes that know nothing of escrows could not decide it. */
export function needsEscrows({ body }: Pick<Operation, "body">): boolean {
  return body?.$case === "escrowOpening";
}

/** An account as the deciding group sees it: its own, or the way to the group that keeps it. */
function accountIn(region: Region | undefined, account: string, overlay: Overlay): string {
  if (overlay.place === undefined || region === undefined || isKeptHere(region, overlay)) return account;
  return groupAccount(groupOf(region, overlay.place.groups));
}

function inventoryEffects(overlay: Overlay, action: PlayerInventory, home: Region | undefined): EffectsOrRefusal {
  const { entities, ledger } = overlay;
  const { itemKind, quantity, itemId, containerId, counterpartyContainerId } = action;
  const player = containerId === "" ? playerAccount(action.playerId) : containerAccount(containerId);
  if (containerId !== "" && isKeptHere(home, overlay)) {
    if (action.action === PlayerInventory_Action.MINT) {
      const problem = noRoomFor(overlay, containerId, itemKind);
      if (problem !== undefined) return problem;
    } else if (entities.get("container", containerId) === undefined) return { rule: "existence", reason: "NOT_FOUND" };
  }
  switch (action.action) {
    case PlayerInventory_Action.MINT:
      return post(ledger, [{ from: "", to: player, itemKind, quantity }], NO_EFFECTS);
    case PlayerInventory_Action.BURN:
      return post(ledger, [{ from: player, to: "", itemKind, quantity }], NO_EFFECTS);
    case PlayerInventory_Action.TRANSFER: {
      const there = action.counterpartyRegion ?? home;
      const problem = counterpartyContainerId !== "" && isKeptHere(there, overlay) ? noRoomFor(overlay, counterpartyContainerId, itemKind) : undefined;
      if (problem !== undefined) return problem;
      const receiver = counterpartyContainerId === "" ? playerAccount(action.counterpartyId) : containerAccount(counterpartyContainerId);
      return post(ledger, [{ from: accountIn(home, player, overlay), to: accountIn(there, receiver, overlay), itemKind, quantity }], NO_EFFECTS);
    }
    case PlayerInventory_Action.DROP:
    case PlayerInventory_Action.SPAWN: {
      // An id that was ever used for an item names that item; to lay another under it would double it in every log.
      const usedBy = entities.usedBy("item", itemId);
      if (usedBy !== undefined) return { rule: "existence", reason: "ALREADY_EXISTS", winnerOperationId: usedBy };
      const at = action.position;
      const bounds = at === undefined ? undefined : { minX: at.x, minY: at.y, minZ: at.z, maxX: at.x, maxY: at.y, maxZ: at.z };
      const item = entity("item", itemId, { label: itemKind, quantity, bounds, playerId: "" });
      if (at !== undefined) item.region = regionOf(at);
      const from = action.action === PlayerInventory_Action.SPAWN ? "" : player;
      return post(ledger, [{ from, to: groundAccount(itemId), itemKind, quantity }], put(item).effects);
    }
    default:
      throw new Error(`decide: inventory action ${action.action} passed validation`);
  }
}

/** What is written anew must be in the region whose authority the operation has, or nowhere: only a move takes it from where it is. */
function putHere(entities: EntityOverlay, { operation: { homeRegion } }: PendingOperation, anew: Entity): EffectsOrRefusal {
  const found = entities.get(anew.kind, anew.entityId);
  const isElsewhere = found?.region !== undefined && homeRegion !== undefined && !sameRegion(found.region, homeRegion);
  return isElsewhere ? { rule: "existence", reason: "ALREADY_EXISTS", winnerOperationId: found.operationId } : put(anew);
}

/** What is removed must be there, and in the region whose authority the operation has. */
function removeHere(entities: EntityOverlay, pending: PendingOperation, kind: string, entityId: string): EffectsOrRefusal {
  const found = entities.get(kind, entityId);
  const home = pending.operation.homeRegion;
  if (found === undefined || home === undefined || found.region === undefined || !sameRegion(found.region, home)) {
    return { rule: "existence", reason: "NOT_FOUND" };
  }
  return { effects: [{ effect: { $case: "remove", value: { kind, entityId } } }] };
}

/** Groups that keep a footprint of what goes are to hear of it. */
function withClearing(result: EffectsOrRefusal, found: Entity | undefined, { place }: Overlay): EffectsOrRefusal {
  if ("reason" in result || found === undefined || place === undefined) return result;
  const clearing = clearingOf(found, place.groupId, place.groups);
  return clearing === undefined ? result : { ...result, clears: [clearing] };
}

/**
 * What an operation leaves in a group that its box reaches and that does not keep its home. Types of the operator's own leave
 * nothing: nothing is ever compared with what they did before.
 */
function footprintEffects({ operationId, homeRegion: region, body }: Operation, { place }: Overlay): Effect[] {
  if (place === undefined || (body?.$case !== "structurePlacement" && body?.$case !== "terrainModification")) return [];
  const { bounds } = body.value;
  if (!groupsOfBounds(bounds, place.groups).includes(place.groupId)) return [];
  const names = body.$case === "structurePlacement"
    ? { kind: "structure", entityId: body.value.structureId, mergeClass: "" }
    : { kind: "terrain_edit", entityId: operationId, mergeClass: terrainLabel(body.value.mode, body.value.material) };
  return [{ effect: { $case: "footprint", value: { ...names, region, bounds, operationId: "", serverId: 0, stamp: undefined } } }];
}

/** The label of a terrain edit: the mode, and the material where there is one. Equal labels of mergeable modes merge. */
function terrainLabel(mode: TerrainModification_Mode, material: string): string {
  switch (mode) {
    case TerrainModification_Mode.DIG:
      return "dig";
    case TerrainModification_Mode.FILL:
      return `fill:${material}`;
    default:
      return `paint:${material}`;
  }
}
