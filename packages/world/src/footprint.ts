/**
 * What an operation touches: the unit of conflict, of ordering and of fencing. Built-in types derive it from their
 * body and add the keys and regions of `operation.footprint`; for the operator's own types that is the whole.
 */
import { type Candidate, type HybridTimestamp, type Operation, PlayerInventory_Action, type Region, TerrainModification_Mode } from "@statemesh/contract";
import { boundsOf, type QuantizedBounds, quantizeBounds, regionsOfBounds } from "./bounds.ts";
import type { OperationType } from "./policy.ts";
import { sameRegion } from "./region.ts";

/** Most regions that an operation reaches beyond its home region. */
export const REACHED_REGIONS_MAX = 27;

/** What an operation touches. */
export interface TouchedSet {
  /**
   * Names that one operation can win at a time: `structure:ID`, `claim:ID`, `item:ID`, `creature:ID`, `container:ID`, `escrow:ID`,
   * `entity:TYPE:ID` where the type's states merge, and `key:NAME` for the keys of `operation.footprint`.
   */
  readonly keys: string[];
  /** Names that only order decisions, and never make a conflict: `account:PLAYER`, `holds:CONTAINER`, `containers`, `escrows`, `entity:TYPE:ID`. */
  readonly shared: string[];
  /** The box reached; boxes that overlap conflict within a layer. */
  readonly bounds: QuantizedBounds | undefined;
  /** `structure`, `terrain`, the name of the operator's own type, or empty where no box counts. */
  readonly layer: string;
  /** Overlapping operations of one merge class are both kept: `dig`, `fill:MATERIAL`, the own type's name, or empty. */
  readonly mergeClass: string;
  /** The home region first, then every region reached, each once. */
  readonly regions: Region[];
}

function addRegions(regions: Region[], reached: readonly Region[]): void {
  for (const region of reached) {
    if (!regions.some((known) => sameRegion(known, region))) regions.push(region);
  }
}

/** The name of an account in footprints. */
function accountName(playerId: string, containerId: string): string {
  return containerId === "" ? "account:" + playerId : "holds:" + containerId;
}

function mergeClassOf(mode: TerrainModification_Mode, material: string): string {
  if (mode === TerrainModification_Mode.DIG) return "dig";
  return mode === TerrainModification_Mode.FILL ? `fill:${material}` : "";
}

/**
 * The footprint of a valid operation. `type` is what `validateOperation` gave.
 *
 * @throws RangeError where the operation was not validated: no home region or body
 */
export function footprintOf(op: Operation, type: OperationType): TouchedSet {
  const { homeRegion, body, footprint } = op;
  if (homeRegion === undefined || body === undefined) throw new RangeError("footprint of an operation that was not validated");
  const keys: string[] = [];
  const shared: string[] = [];
  const regions: Region[] = [homeRegion];
  let bounds: QuantizedBounds | undefined;
  let mergeClass = "";

  switch (body.$case) {
    case "structurePlacement":
      keys.push("structure:" + body.value.structureId);
      if (body.value.bounds !== undefined) bounds = quantizeBounds(body.value.bounds);
      break;
    case "structureRemoval":
      keys.push("structure:" + body.value.structureId);
      break;
    case "resourceClaim":
      keys.push("claim:" + body.value.resourceId);
      break;
    case "itemPickup":
      keys.push("item:" + body.value.itemId);
      shared.push("account:" + body.value.playerId);
      break;
    case "playerInventory": {
      const { action, playerId, containerId, counterpartyId, counterpartyContainerId, counterpartyRegion, itemId } = body.value;
      if (action !== PlayerInventory_Action.SPAWN) shared.push(accountName(playerId, containerId));
      if (action === PlayerInventory_Action.TRANSFER) {
        const other = accountName(counterpartyId, counterpartyContainerId);
        if (other !== shared[0]) shared.push(other);
      }
      if (counterpartyRegion !== undefined) addRegions(regions, [counterpartyRegion]);
      if (action === PlayerInventory_Action.DROP || action === PlayerInventory_Action.SPAWN) keys.push("item:" + itemId);
      break;
    }
    case "trade":
      shared.push("account:" + body.value.firstPlayerId, "account:" + body.value.secondPlayerId);
      if (body.value.secondRegion !== undefined) addRegions(regions, [body.value.secondRegion]);
      break;
    case "container": {
      const { containerId, to, toRegion, contents } = body.value;
      keys.push("container:" + containerId);
      // What is in what changes one by one in a group: two moves that know nothing of one another could close a circle.
      shared.push("containers", accountName("", containerId));
      for (const [i, each] of contents.entries()) if (i > 0) shared.push(accountName("", each.containerId));
      if (to?.place?.$case === "containerId") shared.push(accountName("", to.place.value));
      if (toRegion !== undefined) addRegions(regions, [toRegion]);
      break;
    }
    case "escrowOpening":
      keys.push("escrow:" + body.value.escrowId);
      // How many there are is counted one by one.
      shared.push("escrows", "account:" + body.value.playerId);
      break;
    case "terrainModification":
      if (body.value.bounds !== undefined) bounds = quantizeBounds(body.value.bounds);
      mergeClass = mergeClassOf(body.value.mode, body.value.material);
      break;
    case "creatureOwnership":
      keys.push("creature:" + body.value.creatureId);
      if (body.value.toRegion !== undefined) addRegions(regions, [body.value.toRegion]);
      break;
    case "custom":
      // Updates that merge meet, and are told so. A removal can't be merged: it competes with them.
      (type.stateMerge === undefined ? shared : keys).push("entity:" + type.name + ":" + body.value.entityId);
      if (body.value.toRegion !== undefined) addRegions(regions, [body.value.toRegion]);
      if (footprint?.bounds !== undefined) bounds = quantizeBounds(footprint.bounds);
      if (type.merge && (type.stateMerge === undefined || body.value.state.length > 0)) mergeClass = type.name;
      break;
  }

  if (bounds !== undefined) {
    const reached = regionsOfBounds(bounds, REACHED_REGIONS_MAX);
    if (reached === undefined) throw new RangeError("footprint of an operation that was not validated");
    addRegions(regions, reached);
  }
  if (footprint !== undefined) {
    for (const key of footprint.keys) keys.push("key:" + key);
    addRegions(regions, footprint.regions);
  }
  return { keys, shared, bounds, layer: bounds === undefined ? "" : type.layer, mergeClass, regions };
}

/**
 * What the arbiter needs to know of an operation.
 *
 * @param touched from `footprintOf`
 * @param stamp the time that counts: the receiver's, or the claimed one inside the compensation window
 * @param priority of the operation's server, from the policy
 */
export function candidateOf(op: Operation, touched: TouchedSet, stamp: HybridTimestamp, priority: number): Candidate {
  return {
    operationId: op.operationId,
    type: op.type,
    serverId: op.serverId,
    priority,
    stamp,
    keys: touched.keys,
    bounds: touched.bounds === undefined ? undefined : boundsOf(touched.bounds),
    mergeClass: touched.mergeClass,
    region: op.homeRegion,
  };
}
