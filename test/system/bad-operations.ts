/** Operations that must be refused, each with the reason and the field that the contract names. */
import { type ContainerAction, ContainerAction_Action, type ContainerContents, type ContainerPlace, Operation, PlayerInventory_Action, type Reason, type Region, TerrainModification_Mode } from "@statemesh/contract";
import { bytesField, varintField } from "./raw-call.ts";

export interface BadOperation {
  readonly name: string;
  readonly bytes: Buffer;
  readonly reason: Reason;
  /** Below the operation; empty for the operation itself; undefined where no field is to blame. */
  readonly field: string | undefined;
}

/** What the world of the test holds. */
export interface KnownWorld {
  /** Registered; owns `owned` at `ownedEpoch`. */
  readonly serverId: number;
  readonly otherServerId: number;
  readonly owned: Region;
  readonly ownedEpoch: number;
  /** Nobody's. */
  readonly free: Region;
  /** Of another group than `free`. */
  readonly elsewhere: Region;
  /** Numbers the causal events of the node that is asked. */
  readonly origin: number;
  /** An operation id that was decided. */
  readonly usedId: string;
}

type Body = NonNullable<Operation["body"]>;

/** `body` and `fields` over an operation that would be accepted. */
function operationWith(world: KnownWorld, fields: Partial<Operation>): Operation {
  const body: Body = { $case: "itemPickup", value: { itemId: "bad-item", playerId: "bad-player" } };
  return { ...Operation.fromPartial({ operationId: "bad-operation", type: "item_pickup", serverId: world.serverId, homeRegion: world.free }), body, ...fields };
}

const LONG = "x".repeat(65);

export function badOperations(world: KnownWorld): BadOperation[] {
  const { free } = world;
  const cases: BadOperation[] = [];
  const add = (name: string, reason: Reason, field: string | undefined, fields: Partial<Operation>, more: Buffer = Buffer.alloc(0)): void => {
    const bytes = Buffer.concat([Operation.encode(operationWith(world, fields)).finish(), more]);
    cases.push({ name, bytes, reason, field });
  };
  const body = (name: string, field: string, type: string, value: Body, reason: Reason = "INVALID_FIELD"): void => add(name, reason, `body.${field}`, { type, body: value });
  const box = { minX: free.x * 2_000 + 1, minY: free.y * 2_000 + 1, minZ: free.z * 2_000 + 1, maxX: free.x * 2_000 + 5, maxY: free.y * 2_000 + 5, maxZ: free.z * 2_000 + 5 };
  const structure = (fields: object): Body => ({ $case: "structurePlacement", value: { structureId: "bad-s", kind: "wall", bounds: box, playerId: "", attributes: new Map(), ...fields } });
  const inventory = (fields: object): Body => ({ $case: "playerInventory", value: { action: PlayerInventory_Action.MINT, playerId: "bad-player", itemKind: "bad-kind", quantity: 1, counterpartyId: "", itemId: "", position: undefined, counterpartyRegion: undefined, containerId: "", counterpartyContainerId: "", ...fields } });
  const terrain = (fields: object): Body => ({ $case: "terrainModification", value: { mode: TerrainModification_Mode.DIG, bounds: box, material: "", playerId: "", observedVersion: 0, brush: new Uint8Array(0), ...fields } });
  const stacks = (count: number) => Array.from({ length: count }, (_, at) => ({ itemKind: `kind-${at}`, quantity: 1 }));
  const trade = (fields: object): Body => ({ $case: "trade", value: { firstPlayerId: "a", secondPlayerId: "b", firstGives: stacks(1), secondGives: [], secondRegion: undefined, ...fields } });

  const opening = (fields: object): Body => ({ $case: "escrowOpening", value: { escrowId: "bad-escrow", playerId: "bad-player", itemKind: "bad-kind", quantity: 1, spenderServerId: 1, nodeId: 0, expiresMs: 1, ...fields } });
  const held: ContainerPlace = { place: { $case: "playerId", value: "bad-player" } };
  const containerBase: ContainerAction = { action: ContainerAction_Action.CREATE, containerId: "bad-chest", kind: "chest", from: undefined, to: held, toRegion: undefined, contents: [] };
  const container = (fields: Partial<ContainerAction>): Body => ({ $case: "container", value: { ...containerBase, ...fields } });
  const moved = (fields: Partial<ContainerAction>): Body => container({ action: ContainerAction_Action.MOVE, kind: "", from: held, ...fields });
  const content = (fields: Partial<ContainerContents>): ContainerContents => ({ containerId: "bad-chest", inContainerId: "", kind: "chest", items: [], ...fields });

  add("without an id", "INVALID_FIELD", "operation_id", { operationId: "" });
  add("with an id of 65 bytes", "INVALID_FIELD", "operation_id", { operationId: LONG });
  add("with an id of control characters", "INVALID_FIELD", "operation_id", { operationId: "a\u0000b" });
  add("without a type", "INVALID_FIELD", "type", { type: "" });
  add("of an unknown type", "UNKNOWN_TYPE", "type", { type: "teleport" });
  add("of a type named like a property of every object", "UNKNOWN_TYPE", "type", { type: "__proto__" });
  add("of an eventual type", "UNKNOWN_TYPE", "type", { type: "creature_position" });
  add("of a causal type", "UNKNOWN_TYPE", "type", { type: "event_sequence" });
  add("without a server", "INVALID_FIELD", "server_id", { serverId: 0 });
  add("of a server that is not registered", "SERVER_NOT_REGISTERED", "server_id", { serverId: 4_294_967_295 });
  add("without a home region", "INVALID_FIELD", "home_region", { homeRegion: undefined });
  for (const axis of ["x", "y", "z"] as const) {
    add(`with a home region beyond the world on ${axis}`, "INVALID_FIELD", `home_region.${axis}`, { homeRegion: { ...free, [axis]: 1_048_576 } });
    add(`with a home region below the world on ${axis}`, "INVALID_FIELD", `home_region.${axis}`, { homeRegion: { ...free, [axis]: -1_048_577 } });
  }
  add("at an epoch of a region that nobody owns", "FENCED", undefined, { authorityEpoch: 3 });
  add("without the epoch of a region that is owned", "FENCED", undefined, { homeRegion: world.owned });
  add("at an epoch that is not given out yet", "FENCED", undefined, { homeRegion: world.owned, authorityEpoch: world.ownedEpoch + 1 });
  add("at the epoch of another server's lease", "FENCED", undefined, { homeRegion: world.owned, authorityEpoch: world.ownedEpoch, serverId: world.otherServerId });
  add("with an id that is not UTF-8", "MALFORMED_MESSAGE", undefined, {}, bytesField(1, Uint8Array.of(0x4d, 0xfc, 0x6c)));
  add("with an epoch beyond 2^53", "MALFORMED_MESSAGE", undefined, {}, varintField(5, 2n ** 53n));
  add("with the largest epoch", "MALFORMED_MESSAGE", undefined, {}, varintField(5, 2n ** 64n - 1n));
  add("with a time beyond 2^53", "MALFORMED_MESSAGE", undefined, {}, varintField(6, 2n ** 53n));
  add("with a time before the epoch", "INVALID_FIELD", "timestamp_ms", { timestampMs: -1 });
  add("stamped an hour ahead", "TIMESTAMP_IN_FUTURE", "timestamp_ms", { timestampMs: Date.now() + 3_600_000 });
  add("stamped at the end of time", "TIMESTAMP_IN_FUTURE", "timestamp_ms", { timestampMs: Number.MAX_SAFE_INTEGER });
  add("with a forged priority", "PRIORITY_FORGED", "priority", { priority: 1_000_000 });
  add("with a forged negative priority", "PRIORITY_FORGED", "priority", { priority: -1 });
  add("without a body", "INVALID_FIELD", "body", { body: undefined });
  add("with the body of another type", "INVALID_FIELD", "body", { type: "trade" });
  add("with a custom body under a built-in type", "INVALID_FIELD", "body", { body: { $case: "custom", value: { entityId: "e", state: new Uint8Array(0), toRegion: undefined, expectation: 0, observedVersion: 0 } } });
  add("under an id that was used with other content", "OPERATION_ID_REUSED", undefined, { operationId: world.usedId });
  add("with 33 keys", "INVALID_FIELD", "footprint.keys", { footprint: { keys: Array.from({ length: 33 }, (_, at) => `key-${at}`), regions: [], bounds: undefined } });
  add("with an empty key", "INVALID_FIELD", "footprint.keys[0]", { footprint: { keys: [""], regions: [], bounds: undefined } });
  add("with a key of 129 bytes", "INVALID_FIELD", "footprint.keys[0]", { footprint: { keys: ["k".repeat(129)], regions: [], bounds: undefined } });
  add("with 28 regions", "INVALID_FIELD", "footprint.regions", { footprint: { keys: [], regions: Array.from({ length: 28 }, (_, at) => ({ x: at, y: 0, z: 0 })), bounds: undefined } });
  add("that reaches a region beyond the world", "INVALID_FIELD", "footprint.regions[0].y", { footprint: { keys: [], regions: [{ x: 0, y: 2_000_000, z: 0 }], bounds: undefined } });
  add("with a box beside that of its body", "INVALID_FIELD", "footprint.bounds", { footprint: { keys: [], regions: [], bounds: box } });

  body("that builds without an id", "structure_placement.structure_id", "structure_placement", structure({ structureId: "" }));
  body("that builds no kind", "structure_placement.kind", "structure_placement", structure({ kind: "" }));
  body("that builds nowhere", "structure_placement.bounds", "structure_placement", structure({ bounds: undefined }));
  for (const [name, value] of [["NaN", Number.NaN], ["Infinity", Number.POSITIVE_INFINITY], ["-Infinity", Number.NEGATIVE_INFINITY], ["1e300", 1e300], ["-3e9", -3e9]] as const) {
    body(`that builds at ${name}`, "structure_placement.bounds.min_x", "structure_placement", structure({ bounds: { ...box, minX: value } }));
    body(`that builds up to ${name}`, "structure_placement.bounds.max_z", "structure_placement", structure({ bounds: { ...box, maxZ: value } }));
  }
  body("that builds inside out", "structure_placement.bounds.min_y", "structure_placement", structure({ bounds: { ...box, minY: box.maxY + 1 } }));
  body("that builds 513 m wide", "structure_placement.bounds", "structure_placement", structure({ bounds: { ...box, maxX: box.minX + 513 } }));
  body("that builds outside of its home region", "structure_placement.bounds", "structure_placement", structure({ bounds: { ...box, minY: box.minY + 8_000, maxY: box.maxY + 8_000 } }));
  body("with 17 attributes", "structure_placement.attributes", "structure_placement", structure({ attributes: new Map(stacks(17).map(({ itemKind }) => [itemKind, ""])) }));
  body("with an attribute of 1,025 bytes", "structure_placement.attributes.value", "structure_placement", structure({ attributes: new Map([["a", "v".repeat(1_025)]]) }));
  body("with an attribute without a name", "structure_placement.attributes.key", "structure_placement", structure({ attributes: new Map([["", "v"]]) }));
  body("that builds for a player of 65 bytes", "structure_placement.player_id", "structure_placement", structure({ playerId: LONG }));
  body("that removes nothing", "structure_removal.structure_id", "structure_removal", { $case: "structureRemoval", value: { structureId: "", playerId: "" } });
  body("that claims nothing", "resource_claim.resource_id", "resource_claim", { $case: "resourceClaim", value: { resourceId: "", playerId: "p", release: false } });
  body("that claims for nobody", "resource_claim.player_id", "resource_claim", { $case: "resourceClaim", value: { resourceId: "r", playerId: "", release: false } });
  body("that picks up nothing", "item_pickup.item_id", "item_pickup", { $case: "itemPickup", value: { itemId: "", playerId: "p" } });
  body("that picks up for nobody", "item_pickup.player_id", "item_pickup", { $case: "itemPickup", value: { itemId: "i", playerId: "" } });
  body("that does nothing to an inventory", "player_inventory.action", "player_inventory", inventory({ action: PlayerInventory_Action.UNSPECIFIED }));
  body("that does something unknown to an inventory", "player_inventory.action", "player_inventory", inventory({ action: 77 }));
  body("that mints nothing", "player_inventory.quantity", "player_inventory", inventory({ quantity: 0 }));
  body("that mints no kind", "player_inventory.item_kind", "player_inventory", inventory({ itemKind: "" }));
  body("that mints for nobody", "player_inventory.player_id", "player_inventory", inventory({ playerId: "" }));
  body("that transfers to the giver", "player_inventory.counterparty_id", "player_inventory", inventory({ action: PlayerInventory_Action.TRANSFER, counterpartyId: "bad-player" }));
  body("that mints for another region", "player_inventory.counterparty_region", "player_inventory", inventory({ counterpartyRegion: free }));
  body("that transfers beyond the world", "player_inventory.counterparty_region.x", "player_inventory", inventory({ action: PlayerInventory_Action.TRANSFER, counterpartyId: "b", counterpartyRegion: { x: 2_000_000, y: 0, z: 0 } }));
  body("that mints for a player and a container", "player_inventory.player_id", "player_inventory", inventory({ containerId: "bad-chest" }));
  body("that mints into a container of 65 bytes", "player_inventory.container_id", "player_inventory", inventory({ playerId: "", containerId: LONG }));
  body("that mints with a receiving container", "player_inventory.counterparty_container_id", "player_inventory", inventory({ counterpartyContainerId: "bad-chest" }));
  body("that drops out of a container", "player_inventory.container_id", "player_inventory", inventory({ action: PlayerInventory_Action.DROP, itemId: "i", playerId: "", containerId: "bad-chest" }));
  body("that transfers to the giving container", "player_inventory.counterparty_container_id", "player_inventory", inventory({ action: PlayerInventory_Action.TRANSFER, playerId: "", containerId: "bad-chest", counterpartyContainerId: "bad-chest" }));
  body("that opens an escrow without a name", "escrow_opening.escrow_id", "escrow_opening", opening({ escrowId: "" }));
  body("that opens an escrow of nobody", "escrow_opening.player_id", "escrow_opening", opening({ playerId: "" }));
  body("that opens an escrow of nothing", "escrow_opening.item_kind", "escrow_opening", opening({ itemKind: "" }));
  body("that opens an empty escrow", "escrow_opening.quantity", "escrow_opening", opening({ quantity: 0 }));
  body("that opens an escrow for no server", "escrow_opening.spender_server_id", "escrow_opening", opening({ spenderServerId: 0 }));
  body("that opens an escrow with a node that there can be none of", "escrow_opening.node_id", "escrow_opening", opening({ nodeId: 2_000_001 }));
  body("that opens an escrow without an end", "escrow_opening.expires_ms", "escrow_opening", opening({ expiresMs: 0 }));
  body("that opens an escrow for longer than 31 days", "escrow_opening.expires_ms", "escrow_opening", opening({ expiresMs: Number.MAX_SAFE_INTEGER }));
  body("that does nothing to a container", "container.action", "container", container({ action: ContainerAction_Action.UNSPECIFIED }));
  body("that makes no container", "container.container_id", "container", container({ containerId: "" }));
  body("that makes a container of no kind", "container.kind", "container", container({ kind: "" }));
  body("that makes a container nowhere", "container.to", "container", container({ to: undefined }));
  body("that makes a container from somewhere", "container.from", "container", container({ from: held }));
  body("that makes a container with contents", "container.contents", "container", container({ contents: [content({})] }));
  body("that makes a container in another region", "container.to.position", "container", container({ to: { place: { $case: "position", value: { x: free.x * 2_000 - 1, y: free.y * 2_000 + 1, z: free.z * 2_000 + 1 } } } }));
  body("that makes a container in itself", "container.to.container_id", "container", container({ to: { place: { $case: "containerId", value: "bad-chest" } } }));
  body("that moves a container from nowhere", "container.from", "container", moved({ from: undefined }));
  body("that renames a container", "container.kind", "container", moved({ kind: "box" }));
  body("that moves a container to a region without its contents", "container.contents", "container", moved({ toRegion: { x: free.x + 1, y: free.y, z: free.z } }));
  body("that moves a container to the region where it is", "container.to_region", "container", moved({ toRegion: free, contents: [content({})] }));
  body("that moves a container into one that it holds", "container.to.container_id", "container", moved({ to: { place: { $case: "containerId", value: "inner" } }, contents: [content({}), content({ containerId: "inner", inContainerId: "bad-chest" })] }));
  body("with another container's contents", "container.contents[0].container_id", "container", moved({ contents: [content({ containerId: "other" })] }));
  body("with contents that are nowhere", "container.contents[1].in_container_id", "container", moved({ contents: [content({}), content({ containerId: "inner", inContainerId: "outer" })] }));
  body("with contents that are twice", "container.contents[1].container_id", "container", moved({ contents: [content({}), content({ inContainerId: "bad-chest" })] }));
  body("with 65 containers", "container.contents", "container", moved({ contents: stacks(65).map(({ itemKind }, at) => content({ containerId: at === 0 ? "bad-chest" : itemKind, inContainerId: at === 0 ? "" : "bad-chest" })) }));
  body("with 65 kinds in one container", "container.contents[0].items", "container", moved({ contents: [content({ items: stacks(65) })] }));
  body("with no item of a kind in a container", "container.contents[0].items[0].quantity", "container", moved({ contents: [content({ items: [{ itemKind: "k", quantity: 0 }] })] }));
  body("that destroys a container to somewhere", "container.to", "container", moved({ action: ContainerAction_Action.DESTROY }));
  body("that trades beyond the world", "trade.second_region.x", "trade", trade({ secondRegion: { x: 2_000_000, y: 0, z: 0 } }));
  body("that drops nowhere", "player_inventory.position", "player_inventory", inventory({ action: PlayerInventory_Action.DROP, itemId: "i" }));
  body("that drops at NaN", "player_inventory.position.x", "player_inventory", inventory({ action: PlayerInventory_Action.DROP, itemId: "i", position: { x: Number.NaN, y: 0, z: 0 } }));
  body("that drops in another region", "player_inventory.position", "player_inventory", inventory({ action: PlayerInventory_Action.DROP, itemId: "i", position: { x: free.x * 2_000 - 1, y: free.y * 2_000 + 1, z: free.z * 2_000 + 1 } }));
  body("that spawns for a player", "player_inventory.player_id", "player_inventory", inventory({ action: PlayerInventory_Action.SPAWN, itemId: "i", position: { x: free.x * 2_000 + 1, y: free.y * 2_000 + 1, z: free.z * 2_000 + 1 } }));
  body("that trades with oneself", "trade.second_player_id", "trade", trade({ secondPlayerId: "a" }));
  body("that trades nothing", "trade.first_gives", "trade", trade({ firstGives: [] }));
  body("that trades 17 stacks", "trade.second_gives", "trade", trade({ secondGives: stacks(17) }));
  body("that trades more than there can be", "trade.first_gives[1].quantity", "trade", trade({ firstGives: [{ itemKind: "k", quantity: Number.MAX_SAFE_INTEGER }, { itemKind: "k", quantity: 1 }] }));
  body("that edits terrain in no way", "terrain_modification.mode", "terrain_modification", terrain({ mode: TerrainModification_Mode.UNSPECIFIED }));
  body("that digs with a material", "terrain_modification.material", "terrain_modification", terrain({ material: "stone" }));
  body("that fills with nothing", "terrain_modification.material", "terrain_modification", terrain({ mode: TerrainModification_Mode.FILL }));
  body("that digs nowhere", "terrain_modification.bounds", "terrain_modification", terrain({ bounds: undefined }));
  body("with a brush of 16,385 bytes", "terrain_modification.brush", "terrain_modification", terrain({ brush: new Uint8Array(16_385) }));
  const creature = (ownerServerId: number, toRegion: Region): Body => ({ $case: "creatureOwnership", value: { creatureId: "wolf", ownerServerId, toRegion } });
  body("that hands a creature to where it is", "creature_ownership.to_region", "creature_ownership", creature(world.serverId, world.free));
  body("that hands a creature to beyond the world", "creature_ownership.to_region.x", "creature_ownership", creature(world.serverId, { x: 1_048_576, y: 0, z: 0 }));
  body("that hands a creature to nobody", "creature_ownership.owner_server_id", "creature_ownership", creature(0, world.elsewhere));
  body("that owns no creature", "creature_ownership.creature_id", "creature_ownership", { $case: "creatureOwnership", value: { creatureId: "", ownerServerId: world.serverId, toRegion: undefined } });
  return cases;
}
