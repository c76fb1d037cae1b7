// Rough encoded sizes, in bytes: they decide where a message is cut, so they need not be exact.
import type { CausalEvent, DeliveredEvent, Entity } from "@statemesh/contract";

export { encodedSize as sizeOfValue } from "../eventual/peer-outbox.ts";

export function sizeOfEntity(entity: Entity): number {
  let bytes = 128 + entity.entityId.length + entity.kind.length + entity.operationId.length + entity.playerId.length + entity.label.length + entity.state.length;
  for (const [key, value] of entity.attributes) bytes += key.length + value.length + 6;
  return bytes;
}

export function sizeOfDelivered(event: DeliveredEvent): number {
  const content = event.event as CausalEvent;
  return 64 + content.payload.length + content.key.length + content.type.length + (event.dependencies?.entries.length ?? 0) * 16;
}
