// Valid operations of every built-in type, for tests to break.
import { type Bounds, type Operation, PlayerInventory_Action, TerrainModification_Mode } from "@statemesh/contract";
import fc from "fast-check";

type Body = NonNullable<Operation["body"]>;

export const BOX: Bounds = { minX: 10, minY: 0, minZ: 10, maxX: 20, maxY: 8.5, maxZ: 12.25 };

export function operation(type: string, body: Body, changes: Partial<Operation> = {}): Operation {
  return {
    operationId: "op-1", type, serverId: 7, homeRegion: { x: 0, y: 0, z: 0 }, authorityEpoch: 3, timestampMs: 0,
    footprint: undefined, priority: undefined, allowTentative: false, body, ...changes,
  };
}

export const placement = (changes: Partial<Operation> = {}): Operation =>
  operation("structure_placement", { $case: "structurePlacement", value: { structureId: "s-1", kind: "wall", bounds: { ...BOX }, playerId: "ada", attributes: new Map([["colour", "red"], ["style", "old"]]) } }, changes);
export const removal = (): Operation => operation("structure_removal", { $case: "structureRemoval", value: { structureId: "s-1", playerId: "" } });
export const claim = (): Operation => operation("resource_claim", { $case: "resourceClaim", value: { resourceId: "vein-1", playerId: "ada", release: false } });
export const pickup = (): Operation => operation("item_pickup", { $case: "itemPickup", value: { itemId: "item-1", playerId: "ada" } });
export const transfer = (): Operation =>
  operation("player_inventory", { $case: "playerInventory", value: { action: PlayerInventory_Action.TRANSFER, playerId: "ada", itemKind: "iron_ore", quantity: 5, counterpartyId: "bob", itemId: "", position: undefined, counterpartyRegion: undefined, containerId: "", counterpartyContainerId: "" } });
export const drop = (): Operation =>
  operation("player_inventory", { $case: "playerInventory", value: { action: PlayerInventory_Action.DROP, playerId: "ada", itemKind: "iron_ore", quantity: 5, counterpartyId: "", itemId: "item-2", position: { x: 1, y: 2, z: 3 }, counterpartyRegion: undefined, containerId: "", counterpartyContainerId: "" } });
export const spawn = (): Operation =>
  operation("player_inventory", { $case: "playerInventory", value: { action: PlayerInventory_Action.SPAWN, playerId: "", itemKind: "iron_ore", quantity: 5, counterpartyId: "", itemId: "item-2", position: { x: 1, y: 2, z: 3 }, counterpartyRegion: undefined, containerId: "", counterpartyContainerId: "" } });
export const trade = (): Operation =>
  operation("trade", { $case: "trade", value: { firstPlayerId: "ada", secondPlayerId: "bob", firstGives: [{ itemKind: "iron_ore", quantity: 3 }], secondGives: [{ itemKind: "gold", quantity: 1 }], secondRegion: undefined } });
export const dig = (): Operation =>
  operation("terrain_modification", { $case: "terrainModification", value: { mode: TerrainModification_Mode.DIG, bounds: { ...BOX }, material: "", playerId: "ada", observedVersion: 0, brush: Buffer.from([1, 2, 3]) } });
export const fill = (): Operation =>
  operation("terrain_modification", { $case: "terrainModification", value: { mode: TerrainModification_Mode.FILL, bounds: { ...BOX }, material: "stone", playerId: "ada", observedVersion: 0, brush: Buffer.alloc(0) } });
export const creature = (): Operation => operation("creature_ownership", { $case: "creatureOwnership", value: { creatureId: "wolf-1", ownerServerId: 7, toRegion: undefined } });
export const custom = (changes: Partial<Operation> = {}): Operation =>
  operation("spell", { $case: "custom", value: { entityId: "spell-1", state: Buffer.from("fire"), toRegion: undefined, expectation: 0, observedVersion: 0 } }, changes);

/** One of every built-in strong type, and every action that has rules of its own. */
export const BUILT_IN_OPERATIONS: readonly (() => Operation)[] = [placement, removal, claim, pickup, transfer, drop, spawn, trade, dig, fill, creature];

/** A policy file with a type of the operator's own, as docs/policy.md describes it. */
export const CUSTOM_POLICY = `version: 1
servers:
  default_priority: 1
  priorities:
    7: 100
types:
  spell:
    consistency: strong
    chain: [priority, timestamp]
  growth:
    consistency: strong
    chain: [timestamp]
    merge: true
`;

export const regionArbitrary = fc.record({
  x: fc.integer({ min: -1_048_576, max: 1_048_575 }),
  y: fc.integer({ min: -1_048_576, max: 1_048_575 }),
  z: fc.integer({ min: -1_048_576, max: 1_048_575 }),
});
