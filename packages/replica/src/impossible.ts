// What cannot be done is no rival. It is refused by name and never arbitrated, so that it takes nobody down who could.
import { ContainerAction_Action, PlayerInventory_Action } from "@statemesh/contract";
import { sameRegion } from "@statemesh/world";
import { entityKey } from "./entity-table.ts";
import type { GroupState } from "./group-state.ts";
import type { PendingOperation } from "./pending-operation.ts";

/**
 * True where the applied state refuses an operation whatever is decided beside it: everything that could change the entity
 * in question carries the entity's key, so that at most one of them is kept. Balances and the entities of an operator's
 * own types are no such thing: another operation of the same set may provide what is missing (see `decideSet`).
 *
 * False also where the rules name a winner of before: the incumbent that took the entity away.
 */
export function isImpossible(state: GroupState, { operation: { body, homeRegion } }: PendingOperation): boolean {
  switch (body?.$case) {
    case "structureRemoval":
      return isElsewhere(state, "structure", body.value.structureId, homeRegion);
    case "itemPickup":
      return isElsewhere(state, "item", body.value.itemId, homeRegion);
    case "resourceClaim": {
      if (!body.value.release) return false;
      const held = state.entities.get("claim", body.value.resourceId);
      return held === undefined || held.playerId !== body.value.playerId || homeRegion === undefined || held.region === undefined || !sameRegion(held.region, homeRegion);
    }
    case "playerInventory": {
      const { action, itemId } = body.value;
      if (action !== PlayerInventory_Action.DROP && action !== PlayerInventory_Action.SPAWN) return false;
      return state.entities.get("item", itemId) !== undefined || state.gone.get(entityKey("item", itemId)) !== undefined;
    }
    case "container": {
      const { action, containerId, toRegion } = body.value;
      const isHere = state.entities.get("container", containerId) !== undefined;
      if (action === ContainerAction_Action.CREATE) return isHere || state.gone.get(entityKey("container", containerId)) !== undefined;
      // From another group it is not here yet.
      return !isHere && toRegion === undefined;
    }
    case "creatureOwnership": {
      if (body.value.toRegion !== undefined) return false;
      const owned = state.entities.get("creature", body.value.creatureId);
      if (owned === undefined) return body.value.ownerServerId === 0;
      return homeRegion === undefined || owned.region === undefined || !sameRegion(owned.region, homeRegion);
    }
    default:
      return false;
  }
}

function isElsewhere(state: GroupState, kind: string, entityId: string, home: PendingOperation["operation"]["homeRegion"]): boolean {
  const found = state.entities.get(kind, entityId);
  if (found === undefined) return state.gone.get(entityKey(kind, entityId)) === undefined;
  return home === undefined || found.region === undefined || !sameRegion(found.region, home);
}
