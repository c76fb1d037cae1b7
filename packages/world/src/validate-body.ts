/** Rules of the operations' bodies, as the contract's comments state them. */
import { CustomAction_Expectation, MeshError, type Operation, type PlayerInventory, PlayerInventory_Action, type Region, type StructurePlacement, type TerrainModification, TerrainModification_Mode, type Trade } from "@statemesh/contract";
import type { Bounds, CreatureOwnership, CustomAction, EscrowOpening, ItemStack } from "@statemesh/contract";
import { quantizeBounds, reachesRegion, SIDE_MAX_CM } from "./bounds.ts";
import { checkBounds, checkBytes, checkInteger, checkList, checkName, checkPosition, checkRegion, checkText, ID_BYTES_MAX, isMessage, QUANTITY_MAX } from "./field-check.ts";
import { regionOf, sameRegion } from "./region.ts";
import { checkContainer } from "./validate-container.ts";

/** Most attributes of a structure. */
export const ATTRIBUTES_MAX = 16;
/** Most bytes of an attribute's value. */
export const ATTRIBUTE_BYTES_MAX = 1024;
/** Most stacks on a side of a trade. */
export const STACKS_MAX = 16;
/** Most bytes of a terrain edit's brush. */
export const BRUSH_BYTES_MAX = 16_384;
/** Most bytes of a custom entity's state. */
export const STATE_BYTES_MAX = 65_536;
/** Highest server id. */
export const SERVER_ID_MAX = 4_294_967_295;
/** Highest node id. */
const NODE_ID_MAX = 2_000_000;

type Body = NonNullable<Operation["body"]>;

/** The built-in type that a body belongs to; undefined for the body of the operator's own types and for no body at all. */
export const TYPE_OF_BODY = {
  structurePlacement: "structure_placement",
  structureRemoval: "structure_removal",
  resourceClaim: "resource_claim",
  itemPickup: "item_pickup",
  playerInventory: "player_inventory",
  trade: "trade",
  terrainModification: "terrain_modification",
  creatureOwnership: "creature_ownership",
  container: "container",
  escrowOpening: "escrow_opening",
  custom: undefined,
} as const satisfies Record<Body["$case"], string | undefined>;

/** A box of a structure or a terrain edit: at most 512 m a side, and it reaches into the home region. */
function checkBuildBounds(value: Bounds | undefined, home: Region, path: string): void {
  checkBounds(value, path);
  const q = quantizeBounds(value);
  if (q.maxX - q.minX > SIDE_MAX_CM || q.maxY - q.minY > SIDE_MAX_CM || q.maxZ - q.minZ > SIDE_MAX_CM) {
    throw MeshError.field(path, "each side must be at most 512 m");
  }
  if (!reachesRegion(q, home)) throw MeshError.field(path, "must reach into the home region");
}

function checkStructurePlacement(it: StructurePlacement, home: Region, path: string): void {
  checkName(it.structureId, 1, ID_BYTES_MAX, path, "structure_id");
  checkName(it.kind, 1, ID_BYTES_MAX, path, "kind");
  checkBuildBounds(it.bounds, home, `${path}.bounds`);
  checkName(it.playerId, 0, ID_BYTES_MAX, path, "player_id");
  const attributes: unknown = it.attributes;
  if (!(attributes instanceof Map) || attributes.size > ATTRIBUTES_MAX) {
    throw MeshError.field(`${path}.attributes`, `must have at most ${ATTRIBUTES_MAX} entries`);
  }
  if (attributes.size === 0) return;
  for (const [key, value] of it.attributes) {
    checkName(key, 1, ID_BYTES_MAX, `${path}.attributes`, "key");
    checkText(value, ATTRIBUTE_BYTES_MAX, `${path}.attributes`, "value");
  }
}

/** A player or a container, and not both. */
function checkHolder(playerId: string, containerId: string, path: string, playerField: string, containerField: string): void {
  checkName(containerId, 0, ID_BYTES_MAX, path, containerField);
  if (containerId === "") checkName(playerId, 1, ID_BYTES_MAX, path, playerField);
  else if (playerId !== "") throw MeshError.field(`${path}.${playerField}`, `must be empty where ${containerField} is set`);
}

/** Which fields an action uses: those of the others must be unset, so that a slip is told and not ignored. */
function checkPlayerInventory(it: PlayerInventory, home: Region, path: string): void {
  const { action } = it;
  const spawn = action === PlayerInventory_Action.SPAWN;
  const transfer = action === PlayerInventory_Action.TRANSFER;
  const ground = spawn || action === PlayerInventory_Action.DROP;
  if (!ground && !transfer && action !== PlayerInventory_Action.MINT && action !== PlayerInventory_Action.BURN) {
    throw MeshError.field(`${path}.action`, "must be one of MINT, BURN, TRANSFER, DROP, SPAWN");
  }
  if (it.containerId !== "" && ground) throw MeshError.field(`${path}.container_id`, "must be empty for ACTION_DROP and ACTION_SPAWN");
  if (!spawn) checkHolder(it.playerId, it.containerId, path, "player_id", "container_id");
  else if (it.playerId !== "") throw MeshError.field(`${path}.player_id`, "must be empty for ACTION_SPAWN");
  checkName(it.itemKind, 1, ID_BYTES_MAX, path, "item_kind");
  checkInteger(it.quantity, 1, QUANTITY_MAX, path, "quantity");
  if (transfer) {
    checkHolder(it.counterpartyId, it.counterpartyContainerId, path, "counterparty_id", "counterparty_container_id");
    if (it.counterpartyRegion !== undefined) checkRegion(it.counterpartyRegion, `${path}.counterparty_region`);
    const stays = it.counterpartyRegion === undefined || sameRegion(it.counterpartyRegion, home);
    const isOne = it.counterpartyId === it.playerId && it.counterpartyContainerId === it.containerId;
    if (stays && isOne) throw it.containerId === "" ? MeshError.field(`${path}.counterparty_id`, "must differ from player_id in one region") : MeshError.field(`${path}.counterparty_container_id`, "must differ from container_id in one region");
  } else if (it.counterpartyRegion !== undefined) {
    throw MeshError.field(`${path}.counterparty_region`, "must be unset but for ACTION_TRANSFER");
  } else if (it.counterpartyId !== "") {
    throw MeshError.field(`${path}.counterparty_id`, "must be empty but for ACTION_TRANSFER");
  } else if (it.counterpartyContainerId !== "") {
    throw MeshError.field(`${path}.counterparty_container_id`, "must be empty but for ACTION_TRANSFER");
  }
  if (ground) {
    checkName(it.itemId, 1, ID_BYTES_MAX, path, "item_id");
    checkPosition(it.position, `${path}.position`);
    if (!sameRegion(regionOf(it.position), home)) throw MeshError.field(`${path}.position`, "must be inside the home region");
  } else {
    if (it.itemId !== "") throw MeshError.field(`${path}.item_id`, "must be empty but for ACTION_DROP and ACTION_SPAWN");
    if (it.position !== undefined) throw MeshError.field(`${path}.position`, "must be unset but for ACTION_DROP and ACTION_SPAWN");
  }
}

function checkStacks(stacks: readonly ItemStack[], path: string): void {
  for (let at = 0; at < stacks.length; at++) {
    const stack = stacks[at];
    if (!isMessage(stack)) throw MeshError.field(`${path}[${at}]`, "is required");
    checkName(stack.itemKind, 1, ID_BYTES_MAX, `${path}[${at}]`, "item_kind");
    checkInteger(stack.quantity, 1, QUANTITY_MAX, `${path}[${at}]`, "quantity");
    let total: number = stack.quantity;
    for (let before = 0; before < at; before++) {
      const earlier = stacks[before];
      if (earlier?.itemKind === stack.itemKind) total += earlier.quantity;
    }
    if (total > QUANTITY_MAX) throw MeshError.field(`${path}[${at}].quantity`, `the stacks of one kind must sum up to at most ${QUANTITY_MAX}`);
  }
}

function checkTrade(it: Trade, path: string): void {
  checkName(it.firstPlayerId, 1, ID_BYTES_MAX, path, "first_player_id");
  checkName(it.secondPlayerId, 1, ID_BYTES_MAX, path, "second_player_id");
  if (it.firstPlayerId === it.secondPlayerId) throw MeshError.field(`${path}.second_player_id`, "must differ from first_player_id");
  if (it.secondRegion !== undefined) checkRegion(it.secondRegion, `${path}.second_region`);
  checkList(it.firstGives, STACKS_MAX, path, "first_gives");
  checkList(it.secondGives, STACKS_MAX, path, "second_gives");
  if (it.firstGives.length + it.secondGives.length === 0) throw MeshError.field(`${path}.first_gives`, "at least one side must give something");
  checkStacks(it.firstGives, `${path}.first_gives`);
  checkStacks(it.secondGives, `${path}.second_gives`);
}

function checkTerrainModification(it: TerrainModification, home: Region, path: string): void {
  const { mode } = it;
  if (mode === TerrainModification_Mode.DIG) {
    if (it.material !== "") throw MeshError.field(`${path}.material`, "must be empty for MODE_DIG");
  } else if (mode === TerrainModification_Mode.FILL || mode === TerrainModification_Mode.PAINT) {
    checkName(it.material, 1, ID_BYTES_MAX, path, "material");
  } else {
    throw MeshError.field(`${path}.mode`, "must be one of DIG, FILL, PAINT");
  }
  checkBuildBounds(it.bounds, home, `${path}.bounds`);
  checkName(it.playerId, 0, ID_BYTES_MAX, path, "player_id");
  checkInteger(it.observedVersion, 0, Number.MAX_SAFE_INTEGER, path, "observed_version");
  checkBytes(it.brush, BRUSH_BYTES_MAX, path, "brush");
}

/** Where an entity goes is another region than where it is. */
function checkDestination(to: Region, home: Region, path: string): void {
  checkRegion(to, `${path}.to_region`);
  if (sameRegion(to, home)) throw MeshError.field(`${path}.to_region`, "must differ from the home region");
}

function checkCreatureOwnership(it: CreatureOwnership, home: Region, path: string): void {
  checkName(it.creatureId, 1, ID_BYTES_MAX, path, "creature_id");
  checkInteger(it.ownerServerId, 0, SERVER_ID_MAX, path, "owner_server_id");
  if (it.toRegion === undefined) return;
  checkDestination(it.toRegion, home, path);
  if (it.ownerServerId === 0) throw MeshError.field(`${path}.owner_server_id`, "must be a server where to_region is set");
}

function checkCustom(it: CustomAction, home: Region, path: string): void {
  checkName(it.entityId, 1, ID_BYTES_MAX, path, "entity_id");
  checkBytes(it.state, STATE_BYTES_MAX, path, "state");
  if (it.toRegion !== undefined) {
    checkDestination(it.toRegion, home, path);
    if (it.state.length === 0) throw MeshError.field(`${path}.state`, "must not be empty where to_region is set");
  }
  checkInteger(it.observedVersion, 0, Number.MAX_SAFE_INTEGER, path, "observed_version");
  switch (it.expectation) {
    case CustomAction_Expectation.UNSPECIFIED:
    case CustomAction_Expectation.EXISTS:
      return;
    case CustomAction_Expectation.ABSENT:
      if (it.toRegion !== undefined) throw MeshError.field(`${path}.expectation`, "must not be EXPECTATION_ABSENT where to_region is set: what moves is there");
      if (it.state.length === 0) throw MeshError.field(`${path}.expectation`, "must not be EXPECTATION_ABSENT where state is empty: what is removed is there");
      if (it.observedVersion !== 0) throw MeshError.field(`${path}.observed_version`, "must be 0 with EXPECTATION_ABSENT: what is not there has no version");
      return;
    default:
      throw MeshError.field(`${path}.expectation`, "must be unset, EXPECTATION_EXISTS or EXPECTATION_ABSENT");
  }
}

function checkEscrowOpening(it: EscrowOpening, path: string): void {
  checkName(it.escrowId, 1, ID_BYTES_MAX, path, "escrow_id");
  checkName(it.playerId, 1, ID_BYTES_MAX, path, "player_id");
  checkName(it.itemKind, 1, ID_BYTES_MAX, path, "item_kind");
  checkInteger(it.quantity, 1, QUANTITY_MAX, path, "quantity");
  checkInteger(it.spenderServerId, 1, SERVER_ID_MAX, path, "spender_server_id");
  checkInteger(it.nodeId, 0, NODE_ID_MAX, path, "node_id");
  checkInteger(it.expiresMs, 1, Number.MAX_SAFE_INTEGER, path, "expires_ms");
}

/**
 * Checks a body by its own rules.
 *
 * @param home the operation's home region, valid
 * @param path of the oneof, such as `operation.body`
 * @throws MeshError INVALID_FIELD
 */
export function validateBody(body: Body, home: Region, path: string): void {
  switch (body.$case) {
    case "structurePlacement":
      return checkStructurePlacement(body.value, home, `${path}.structure_placement`);
    case "structureRemoval":
      checkName(body.value.structureId, 1, ID_BYTES_MAX, `${path}.structure_removal`, "structure_id");
      return checkName(body.value.playerId, 0, ID_BYTES_MAX, `${path}.structure_removal`, "player_id");
    case "resourceClaim":
      checkName(body.value.resourceId, 1, ID_BYTES_MAX, `${path}.resource_claim`, "resource_id");
      return checkName(body.value.playerId, 1, ID_BYTES_MAX, `${path}.resource_claim`, "player_id");
    case "itemPickup":
      checkName(body.value.itemId, 1, ID_BYTES_MAX, `${path}.item_pickup`, "item_id");
      return checkName(body.value.playerId, 1, ID_BYTES_MAX, `${path}.item_pickup`, "player_id");
    case "playerInventory":
      return checkPlayerInventory(body.value, home, `${path}.player_inventory`);
    case "trade":
      return checkTrade(body.value, `${path}.trade`);
    case "terrainModification":
      return checkTerrainModification(body.value, home, `${path}.terrain_modification`);
    case "creatureOwnership":
      return checkCreatureOwnership(body.value, home, `${path}.creature_ownership`);
    case "container":
      return checkContainer(body.value, home, `${path}.container`);
    case "escrowOpening":
      return checkEscrowOpening(body.value, `${path}.escrow_opening`);
    case "custom":
      return checkCustom(body.value, home, `${path}.custom`);
  }
}
