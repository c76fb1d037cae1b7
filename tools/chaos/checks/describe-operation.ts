import { type Operation, PlayerInventory_Action } from "@statemesh/contract";
import { formatRegion } from "@statemesh/world";
import type { HistoryOperation } from "./history.ts";

const decoder = new TextDecoder();

/** What an operation of the load is about. */
export function describeOperation(operation: Operation): Pick<HistoryOperation, "subject" | "action" | "value" | "region"> {
  const { body, homeRegion } = operation;
  const region = homeRegion === undefined ? "" : formatRegion(homeRegion);
  switch (body?.$case) {
    case "custom":
      return { region, subject: body.value.entityId, action: "write", value: decoder.decode(body.value.state) };
    case "resourceClaim":
      return { region, subject: body.value.resourceId, action: body.value.release ? "release" : "claim", value: body.value.playerId };
    case "itemPickup":
      return { region, subject: body.value.itemId, action: "pickup", value: body.value.playerId };
    case "structurePlacement":
      return { region, subject: body.value.structureId, action: "place", value: "" };
    case "terrainModification":
      return { region, subject: operation.operationId, action: "edit", value: body.value.material };
    case "structureRemoval":
      return { region, subject: body.value.structureId, action: "remove", value: "" };
    case "playerInventory":
      return { region, subject: body.value.itemId, action: body.value.action === PlayerInventory_Action.SPAWN ? "spawn" : "account", value: body.value.playerId };
    case "trade":
      return { region, subject: "", action: "account", value: body.value.firstPlayerId };
    default:
      throw new Error(`the load makes no ${operation.type}`);
  }
}
