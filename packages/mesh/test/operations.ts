import {
  type ContainerAction, ContainerAction_Action, type ContainerContents, type ContainerPlace, type Operation, Operation as Operations, PlayerInventory_Action, type Region, TerrainModification_Mode,
} from "@statemesh/contract";

/** A box of `side` metres whose lowest corner is `x`, `y`, `z` metres into a region. */
export function boxIn(region: Region, x: number, y: number, z: number, side = 4) {
  const minX = region.x * 2_000 + x;
  const minY = region.y * 2_000 + y;
  const minZ = region.z * 2_000 + z;
  return { minX, minY, minZ, maxX: minX + side, maxY: minY + side, maxZ: minZ + side };
}

type Body = NonNullable<Operation["body"]>;

function operation(operationId: string, serverId: number, homeRegion: Region, type: string, body: Body, fields: Partial<Operation> = {}): Operation {
  return { ...Operations.fromPartial({ operationId, serverId, homeRegion, type }), body, ...fields };
}

export function place(id: string, serverId: number, region: Region, at: readonly [number, number, number], fields: Partial<Operation> = {}): Operation {
  const value = { structureId: `s-${id}`, kind: "wall", bounds: boxIn(region, ...at), playerId: "", attributes: new Map<string, string>() };
  return operation(id, serverId, region, "structure_placement", { $case: "structurePlacement", value }, fields);
}

export function removeStructure(id: string, serverId: number, region: Region, structureId: string): Operation {
  return operation(id, serverId, region, "structure_removal", { $case: "structureRemoval", value: { structureId, playerId: "" } });
}

export function claim(id: string, serverId: number, region: Region, resourceId: string, playerId: string, fields: Partial<Operation> = {}): Operation {
  return operation(id, serverId, region, "resource_claim", { $case: "resourceClaim", value: { resourceId, playerId, release: false } }, fields);
}

export function spawn(id: string, serverId: number, region: Region, itemId: string, itemKind: string, quantity: number): Operation {
  const position = { x: region.x * 2_000 + 1, y: region.y * 2_000 + 1, z: region.z * 2_000 + 1 };
  const value = { action: PlayerInventory_Action.SPAWN, playerId: "", itemKind, quantity, counterpartyId: "", itemId, position, counterpartyRegion: undefined, containerId: "", counterpartyContainerId: "" };
  return operation(id, serverId, region, "player_inventory", { $case: "playerInventory", value });
}

export function mint(id: string, serverId: number, region: Region, playerId: string, itemKind: string, quantity: number): Operation {
  const value = { action: PlayerInventory_Action.MINT, playerId, itemKind, quantity, counterpartyId: "", itemId: "", position: undefined, counterpartyRegion: undefined, containerId: "", counterpartyContainerId: "" };
  return operation(id, serverId, region, "player_inventory", { $case: "playerInventory", value });
}

export function give(id: string, serverId: number, region: Region, from: string, to: string, itemKind: string, quantity: number, fields: Partial<Operation> = {}): Operation {
  const value = { action: PlayerInventory_Action.TRANSFER, playerId: from, itemKind, quantity, counterpartyId: to, itemId: "", position: undefined, counterpartyRegion: undefined, containerId: "", counterpartyContainerId: "" };
  return operation(id, serverId, region, "player_inventory", { $case: "playerInventory", value }, fields);
}

/** From an account of one group to one of another. */
export function send(id: string, serverId: number, region: Region, from: string, there: Region, to: string, itemKind: string, quantity: number, fields: Partial<Operation> = {}): Operation {
  const value = { action: PlayerInventory_Action.TRANSFER, playerId: from, itemKind, quantity, counterpartyId: to, itemId: "", position: undefined, counterpartyRegion: there, containerId: "", counterpartyContainerId: "" };
  return operation(id, serverId, region, "player_inventory", { $case: "playerInventory", value }, fields);
}

export function pickup(id: string, serverId: number, region: Region, itemId: string, playerId: string, fields: Partial<Operation> = {}): Operation {
  return operation(id, serverId, region, "item_pickup", { $case: "itemPickup", value: { itemId, playerId } }, fields);
}

export function trade(
  id: string,
  serverId: number,
  region: Region,
  first: readonly [string, string, number],
  second: readonly [string, string, number],
  secondRegion?: Region,
): Operation {
  const value = {
    firstPlayerId: first[0],
    secondPlayerId: second[0],
    firstGives: [{ itemKind: first[1], quantity: first[2] }],
    secondGives: [{ itemKind: second[1], quantity: second[2] }],
    secondRegion,
  };
  return operation(id, serverId, region, "trade", { $case: "trade", value });
}

export function dig(id: string, serverId: number, region: Region, at: readonly [number, number, number], mode: TerrainModification_Mode = TerrainModification_Mode.DIG): Operation {
  const material = mode === TerrainModification_Mode.DIG ? "" : "stone";
  const value = { mode, bounds: boxIn(region, ...at), material, playerId: "", observedVersion: 0, brush: new Uint8Array(0) };
  return operation(id, serverId, region, "terrain_modification", { $case: "terrainModification", value });
}

export function ownCreature(id: string, serverId: number, region: Region, creatureId: string, ownerServerId: number, fields: Partial<Operation> = {}): Operation {
  return operation(id, serverId, region, "creature_ownership", { $case: "creatureOwnership", value: { creatureId, ownerServerId, toRegion: undefined } }, fields);
}

/** Over a border, to a server there. */
export function passOver(id: string, serverId: number, region: Region, creatureId: string, ownerServerId: number, toRegion: Region, fields: Partial<Operation> = {}): Operation {
  return operation(id, serverId, region, "creature_ownership", { $case: "creatureOwnership", value: { creatureId, ownerServerId, toRegion } }, fields);
}

type Holder = { readonly playerId: string } | { readonly containerId: string };

/** Where a container is: `p:PLAYER`, `c:CONTAINER`, or `ground`, a place in the region. */
function placeOf(at: string, region: Region): ContainerPlace {
  if (at.startsWith("p:")) return { place: { $case: "playerId", value: at.slice(2) } };
  if (at.startsWith("c:")) return { place: { $case: "containerId", value: at.slice(2) } };
  return { place: { $case: "position", value: { x: region.x * 2_000 + 5, y: region.y * 2_000 + 5, z: region.z * 2_000 + 5 } } };
}

export function container(id: string, serverId: number, region: Region, fields: Partial<ContainerAction>): Operation {
  const value = { action: ContainerAction_Action.CREATE, containerId: "", kind: "", from: undefined, to: undefined, toRegion: undefined, contents: [], ...fields };
  return operation(id, serverId, region, "container", { $case: "container", value });
}

export function createContainer(id: string, serverId: number, region: Region, containerId: string, to: string): Operation {
  return container(id, serverId, region, { containerId, kind: "chest", to: placeOf(to, region) });
}

export function moveContainer(id: string, serverId: number, region: Region, containerId: string, from: string, to: string, contents: ContainerContents[] = [], toRegion?: Region): Operation {
  return container(id, serverId, region, { action: ContainerAction_Action.MOVE, containerId, from: placeOf(from, region), to: placeOf(to, toRegion ?? region), contents, toRegion });
}

export function destroyContainer(id: string, serverId: number, region: Region, containerId: string, from: string, contents: ContainerContents[] = []): Operation {
  return container(id, serverId, region, { action: ContainerAction_Action.DESTROY, containerId, from: placeOf(from, region), contents });
}

/** Items into a container or out of one; from nobody: they are minted. */
export function stow(id: string, serverId: number, region: Region, from: Holder | undefined, to: Holder | undefined, itemKind: string, quantity: number, there?: Region): Operation {
  const action = from === undefined ? PlayerInventory_Action.MINT : to === undefined ? PlayerInventory_Action.BURN : PlayerInventory_Action.TRANSFER;
  const first = { playerId: "", containerId: "", ...(from ?? to) };
  const second = { playerId: "", containerId: "", ...(action === PlayerInventory_Action.TRANSFER ? to : undefined) };
  const value = { action, ...first, itemKind, quantity, counterpartyId: second.playerId, counterpartyContainerId: second.containerId, itemId: "", position: undefined, counterpartyRegion: there };
  return operation(id, serverId, region, "player_inventory", { $case: "playerInventory", value });
}

export function open(id: string, serverId: number, region: Region, escrowId: string, playerId: string, itemKind: string, quantity: number, nodeId: number, expiresMs: number): Operation {
  return operation(id, serverId, region, "escrow_opening", { $case: "escrowOpening", value: { escrowId, playerId, itemKind, quantity, spenderServerId: serverId, nodeId, expiresMs: Math.floor(expiresMs) } });
}
