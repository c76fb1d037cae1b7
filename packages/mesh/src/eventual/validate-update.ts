import { type EventualUpdate, MeshError, type Region } from "@statemesh/contract";
import type { EventualLimits } from "./limits.ts";

/** What publishing needs to know of the policy table; `Policy` of the world package has it. */
export interface PublishPolicy {
  typeOf(name: string): { readonly consistency: string } | undefined;
  /** Claimed times further ahead than this are refused, milliseconds. */
  readonly maxOffsetMs: number;
}

/** Refuses server ids outside of 1..2^32-1. */
export function validateServerId(serverId: number): void {
  if (!Number.isInteger(serverId) || serverId < 1 || serverId > 0xffff_ffff) throw MeshError.field("server_id", "1..4294967295");
}

/** Refuses a region that is missing or outside of 21 signed bits an axis. */
export function validateRegion(region: Region | undefined, path: () => string): void {
  if (region === undefined) throw MeshError.field(path(), "required");
  if (!within21Bits(region.x)) throw MeshError.field(`${path()}.x`, "-1048576..1048575");
  if (!within21Bits(region.y)) throw MeshError.field(`${path()}.y`, "-1048576..1048575");
  if (!within21Bits(region.z)) throw MeshError.field(`${path()}.z`, "-1048576..1048575");
}

/** How each class is sent. */
const WAY: Readonly<Record<string, string>> = { strong: "send it with Execute", eventual: "send it with Publish, as an update", causal: "send it with Publish, as an event" };

/** Refuses a type that the table does not have, or has in another class. */
export function validateClass(type: string, consistency: "eventual" | "causal", policy: PublishPolicy, path: () => string): void {
  const found = policy.typeOf(type);
  if (found?.consistency === consistency) return;
  const field = path();
  const shown = JSON.stringify(type.slice(0, 64));
  throw new MeshError("UNKNOWN_TYPE", `${field}: ${shown} is ${found === undefined ? "not in the policy table: add it under types of the policy file that all nodes and arbiters are started with" : `${found.consistency}, not ${consistency}: ${WAY[found.consistency] ?? ""}`}`, {
    field,
    metadata: { field, type: shown },
  });
}

/** Whether the text has 1..max bytes in UTF-8. */
export function withinBytes(text: string, max: number): boolean {
  if (text.length === 0 || text.length > max) return false;
  return text.length * 3 <= max || Buffer.byteLength(text) <= max;
}

/** Refuses a publish of which any update breaks a rule; nothing is applied then. */
export function validateUpdates(
  updates: readonly EventualUpdate[],
  serverId: number,
  nowMs: number,
  policy: PublishPolicy,
  limits: EventualLimits,
): void {
  validateServerId(serverId);
  if (updates.length > limits.maxUpdates) throw MeshError.field("updates", `at most ${limits.maxUpdates}`);
  let type = "";
  for (let i = 0; i < updates.length; i += 1) {
    const update = updates[i] as EventualUpdate;
    if (update.type !== type || i === 0) {
      validateClass(update.type, "eventual", policy, () => `updates[${i}].type`);
      type = update.type;
    }
    validateRegion(update.region, () => `updates[${i}].region`);
    if (!withinBytes(update.key, limits.maxKeyBytes)) throw MeshError.field(`updates[${i}].key`, `1..${limits.maxKeyBytes} bytes`);
    if (!update.deleted && update.value.length > limits.maxValueBytes) {
      throw MeshError.field(`updates[${i}].value`, `at most ${limits.maxValueBytes} bytes`);
    }
    const claimed = update.timestampMs;
    if (!Number.isSafeInteger(claimed) || claimed < 0) throw MeshError.field(`updates[${i}].timestamp_ms`, "0 or more");
    if (claimed > nowMs + policy.maxOffsetMs) {
      throw new MeshError("TIMESTAMP_IN_FUTURE", `updates[${i}].timestamp_ms is ${claimed - nowMs} ms ahead; at most ${policy.maxOffsetMs} are allowed`, {
        field: `updates[${i}].timestamp_ms`,
        metadata: { now_ms: String(nowMs), max_offset_ms: String(policy.maxOffsetMs) },
      });
    }
  }
}

function within21Bits(coordinate: number): boolean {
  return Number.isInteger(coordinate) && coordinate >= -1_048_576 && coordinate <= 1_048_575;
}
