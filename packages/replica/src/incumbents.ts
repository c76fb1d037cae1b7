// What is already in force where an operation wants to go. Incumbents come first in every walk, so that a
// committed winner never loses to a newcomer.
import type { Candidate} from "@statemesh/contract";
import { type Entity, type HybridTimestamp } from "@statemesh/contract";
import type { Footprint } from "@statemesh/contract/log";
import type { Policy, TouchedSet } from "@statemesh/world";
import { type GroupPlace, isKeptHere } from "./effect-parts.ts";
import { destinationOf } from "./effects.ts";
import { entityKey } from "./entity-table.ts";
import type { GoneRow, GroupState } from "./group-state.ts";
import type { PendingOperation } from "./pending-operation.ts";

/**
 * Incumbents passed to the arbiter for one operation, at most: of those that refuse it, of which any one is enough, and of
 * those that it merges with.
 */
const INCUMBENTS_PER_OPERATION = 64;

const NO_STAMP: HybridTimestamp = { physicalMs: 0, logical: 0 };

/**
 * Adds the incumbents of one operation to `into`, by operation id, so that an incumbent of several is passed once. Of an operation
 * whose home another group keeps, only its box counts here: names are that group's. `place` unset: one group keeps everything.
 */
export function collectIncumbents(
  state: GroupState,
  pending: PendingOperation,
  policy: Policy,
  into: Map<string, Candidate>,
  place?: GroupPlace,
): void {
  const { body, homeRegion } = pending.operation;
  const isHome = isKeptHere(homeRegion, { place });
  if (!isHome && body?.$case !== "structurePlacement" && body?.$case !== "terrainModification" && !isKeptHere(destinationOf(pending.operation) ?? homeRegion, { place })) return;
  switch (body?.$case) {
    case "structurePlacement": {
      const same = isHome ? state.entities.get("structure", body.value.structureId) : undefined;
      if (same !== undefined) add(into, fromEntity(same, "structure_placement", [`structure:${same.entityId}`], ""));
      addOverlapping(state, pending.touched, into, (entity) => fromEntity(entity, "structure_placement", [], ""), (row) => fromFootprint(row, "structure_placement"));
      return;
    }
    case "structureRemoval": {
      const gone = state.gone.get(entityKey("structure", body.value.structureId));
      if (gone === undefined || state.entities.get("structure", body.value.structureId) !== undefined) return;
      return add(into, fromGone(gone, "structure_removal", `structure:${gone.entityId}`));
    }
    case "resourceClaim": {
      const held = state.entities.get("claim", body.value.resourceId);
      if (held === undefined || body.value.release) return;
      return add(into, fromEntity(held, "resource_claim", [`claim:${held.entityId}`], ""));
    }
    case "itemPickup": {
      const gone = state.gone.get(entityKey("item", body.value.itemId));
      if (gone === undefined || state.entities.get("item", body.value.itemId) !== undefined) return;
      return add(into, fromGone(gone, "item_pickup", `item:${gone.entityId}`));
    }
    case "creatureOwnership": {
      const owned = state.entities.get("creature", body.value.creatureId);
      if (owned === undefined || owned.serverId === pending.operation.serverId) return;
      return add(into, fromEntity(owned, "creature_ownership", [`creature:${owned.entityId}`], ""));
    }
    case "terrainModification": {
      // Versions are those of the home region's log: what other groups decided nobody has seen by them.
      const seen = isHome ? body.value.observedVersion : 0;
      const since = pending.stamp.physicalMs - policy.concurrencyWindowMs;
      const isConcurrent = ({ stamp, serverId }: Pick<Entity, "stamp" | "serverId">): boolean => (stamp?.physicalMs ?? 0) > since && serverId !== pending.operation.serverId;
      return addOverlapping(state, pending.touched, into, (entity) => {
        const unseen = seen > 0 ? entity.version > seen : isConcurrent(entity);
        return unseen ? fromEntity(entity, "terrain_modification", [], entity.label) : undefined;
      }, (row) => (isConcurrent(row) ? fromFootprint(row, "terrain_modification") : undefined));
    }
    default:
      // Inventories and trades never exclude each other: balances decide. Types of the operator's own write
      // over what is there, or merge with it; only what is decided in one set competes.
      return;
  }
}

function addOverlapping(
  state: GroupState,
  touched: TouchedSet,
  into: Map<string, Candidate>,
  candidateOf: (entity: Entity) => Candidate | undefined,
  candidateOfFootprint: (row: Footprint) => Candidate | undefined,
): void {
  if (touched.bounds === undefined) return;
  let refusing = 0;
  let merging = 0;
  const take = <T extends { readonly operationId: string }>(found: T, candidateOfFound: (found: T) => Candidate | undefined): void => {
    if (refusing >= INCUMBENTS_PER_OPERATION || into.has(found.operationId)) return;
    const candidate = candidateOfFound(found);
    if (candidate === undefined) return;
    if (candidate.mergeClass === "" || candidate.mergeClass !== touched.mergeClass) refusing++;
    else if (++merging > INCUMBENTS_PER_OPERATION) return;
    add(into, candidate);
  };
  state.entities.visitOverlapping(touched.layer, touched.bounds, (entity) => take(entity, candidateOf));
  state.footprints.visitOverlapping(touched.layer, touched.bounds, (row) => take(row, candidateOfFootprint));
}

function add(into: Map<string, Candidate>, candidate: Candidate): void {
  const known = into.get(candidate.operationId);
  if (known === undefined) into.set(candidate.operationId, candidate);
  else for (const key of candidate.keys) if (!known.keys.includes(key)) known.keys.push(key);
}

function fromEntity(entity: Entity, type: string, keys: string[], mergeClass: string): Candidate {
  return {
    operationId: entity.operationId,
    type,
    serverId: entity.serverId,
    priority: 0,
    stamp: entity.stamp ?? NO_STAMP,
    keys,
    bounds: entity.bounds,
    mergeClass,
    region: entity.region,
  };
}

/** What an entity of another group takes up here. */
function fromFootprint({ operationId, serverId, stamp, bounds, mergeClass, region }: Footprint, type: string): Candidate {
  return { operationId, type, serverId, priority: 0, stamp: stamp ?? NO_STAMP, keys: [], bounds, mergeClass, region };
}

function fromGone(gone: GoneRow, type: string, key: string): Candidate {
  return {
    operationId: gone.operationId,
    type,
    serverId: gone.serverId,
    priority: 0,
    stamp: gone.stamp,
    keys: [key],
    bounds: undefined,
    mergeClass: "",
    region: undefined,
  };
}
