/** Who wrote something, and when: what the mesh puts beside an update. A strict total order, compared by numbers and bytes. */
import { type Json, listAt, textAt, wholeAt } from "./json.ts";
import { compareUtf8 } from "./utf8-order.ts";

/** The operation that an update came with. */
export interface Origin {
  /** The stamp that counts. */
  readonly physicalMs: number;
  readonly logical: number;
  readonly serverId: number;
  readonly operationId: string;
}

/** Later is higher; of one stamp the higher server, then the higher operation id by its UTF-8 bytes. 0: one operation. */
export function compareOrigins(a: Origin, b: Origin): number {
  if (a.physicalMs !== b.physicalMs) return a.physicalMs - b.physicalMs;
  if (a.logical !== b.logical) return a.logical - b.logical;
  if (a.serverId !== b.serverId) return a.serverId - b.serverId;
  return compareUtf8(a.operationId, b.operationId);
}

/** As it stands in a state: `[physical_ms, logical, server_id, operation_id]`. */
export function originJson({ physicalMs, logical, serverId, operationId }: Origin): Json {
  return [physicalMs, logical, serverId, operationId];
}

/** @throws StateProblem */
export function originAt(value: Json | undefined, path: string): Origin {
  const list = listAt(value, path);
  return {
    physicalMs: wholeAt(list[0], `${path}[0]`, 0, Number.MAX_SAFE_INTEGER),
    logical: wholeAt(list[1], `${path}[1]`, 0, Number.MAX_SAFE_INTEGER),
    serverId: wholeAt(list[2], `${path}[2]`, 0, 4_294_967_295),
    operationId: textAt(list[3], `${path}[3]`),
  };
}
