// What is already in force where an operation wants to go. Incumbents come first in every walk, so that a
// committed winner never loses to a newcomer.
import type { Candidate} from "@statemesh/contract";
import { type Entity, type HybridTimestamp } from "@statemesh/contract";
import type { Policy, TouchedSet } from "@statemesh/world";
import { entityKey } from "./entity-table.ts";
import type { GoneRow, GroupState } from "./group-state.ts";
import type { PendingOperation } from "./pending-operation.ts";

/**
 * Incumbents passed to the arbiter for one operation, at most: of those that refuse it, of which any one is enough, and of
 * those that it merges with.
 */
const INCUMBENTS_PER_OPERATION = 64;

const NO_STAMP: HybridTimestamp = { physicalMs: 0, logical: 0 };

/** Adds the incumbents of one operation to `into`, by operation id, so that an incumbent of several is passed once. */
export function collectIncumbents(
  state: GroupState,
  pending: PendingOperation,
  policy: Policy,
  into: Map<string, Candidate>,
): void {
  const body = pending.operation.body;
  switch (body?.$case) {
    case "structurePlacement": {
      const same = state.entities.get("structure", body.value.structureId);
      if (same !== undefined) add(into, fromEntity(same, "structure_placement", [`structure:${same.entityId}`], ""));
      addOverlapping(state, pending.touched, into, (entity) => fromEntity(entity, "structure_placement", [], ""));
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
      const seen = body.value.observedVersion;
      const since = pending.stamp.physicalMs - policy.concurrencyWindowMs;
      return addOverlapping(state, pending.touched, into, (entity) => {
        const unseen = seen > 0 ? entity.version > seen : (entity.stamp?.physicalMs ?? 0) > since && entity.serverId !== pending.operation.serverId;
        return unseen ? fromEntity(entity, "terrain_modification", [], entity.label) : undefined;
      });
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
): void {
  if (touched.bounds === undefined) return;
  let refusing = 0;
  let merging = 0;
  state.entities.visitOverlapping(touched.layer, touched.bounds, (entity) => {
    if (refusing >= INCUMBENTS_PER_OPERATION || into.has(entity.operationId)) return;
    const candidate = candidateOf(entity);
    if (candidate === undefined) return;
    if (candidate.mergeClass === "" || candidate.mergeClass !== touched.mergeClass) refusing++;
    else if (++merging > INCUMBENTS_PER_OPERATION) return;
    add(into, candidate);
  });
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
