import { type CausalGroupEvents, type DeliveredEvent, MeshError, type StoreCausalEventsRequest } from "@statemesh/contract";
import { mortonKey } from "@statemesh/world";
import { checkCount, requireRegion } from "./field-rules.ts";
import { PAGE_TOKEN_CHARS_MAX } from "./limits.ts";
import { checkClusterId } from "./materialize-rules.ts";

/** Groups, events and origins in one call. */
const GROUPS_MAX = 256;
const EVENTS_MAX = 4_096;
const ORIGINS_MAX = 16_384;
const GROUP_ID_MAX = 0xffff_ffff;
const TYPE_BYTES_MAX = 64;
const KEY_BYTES_MAX = 128;
const PAYLOAD_BYTES_MAX = 4_096;
const DEPENDENCIES_MAX = 64;

/** Throws INVALID_FIELD. */
export function checkCausalEvents({ clusterId, groups }: StoreCausalEventsRequest): void {
  checkClusterId(clusterId);
  if (groups.length === 0 || groups.length > GROUPS_MAX) throw MeshError.field("groups", `1..${GROUPS_MAX} groups`);
  const seen = new Set<number>();
  let events = 0;
  let origins = 0;
  for (const [at, group] of groups.entries()) {
    if (seen.has(group.groupId)) throw MeshError.field(`groups[${at}].group_id`, "each group once");
    seen.add(group.groupId);
    events += group.events.length;
    origins += group.origins.length;
    if (events > EVENTS_MAX) throw MeshError.field("groups", `at most ${EVENTS_MAX} events together`);
    if (origins > ORIGINS_MAX) throw MeshError.field("groups", `at most ${ORIGINS_MAX} origins together`);
    checkGroup(group, `groups[${at}].`);
  }
}

function checkGroup({ groupId, term, origins, events }: CausalGroupEvents, path: string): void {
  if (groupId < 1 || groupId > GROUP_ID_MAX) throw MeshError.field(`${path}group_id`, "a group of regions, from 1 on");
  checkCount(term, `${path}term`);
  if (term < 1) throw MeshError.field(`${path}term`, "from 1 on");
  const ranges = new Map<number, { last: number; readonly through: number }>();
  for (const [at, { origin, afterSequence, throughSequence }] of origins.entries()) {
    const here = `${path}origins[${at}].`;
    checkCount(origin, `${here}origin`);
    if (origin === 0) throw MeshError.field(`${here}origin`, "node_id << 32 | incarnation");
    if (ranges.has(origin)) throw MeshError.field(`${here}origin`, "each origin once");
    checkCount(afterSequence, `${here}after_sequence`);
    checkCount(throughSequence, `${here}through_sequence`);
    if (throughSequence < afterSequence) throw MeshError.field(`${here}through_sequence`, "must not be below after_sequence");
    ranges.set(origin, { last: afterSequence, through: throughSequence });
  }
  for (const [at, event] of events.entries()) {
    const here = `${path}events[${at}].`;
    checkEvent(event, here);
    const range = ranges.get(event.id?.origin ?? 0);
    if (range === undefined) throw MeshError.field(`${here}id.origin`, "must be among origins");
    const sequence = event.id?.sequence ?? 0;
    if (sequence <= range.last || sequence > range.through) throw MeshError.field(`${here}id.sequence`, "after the origin's event before and after_sequence, through through_sequence");
    range.last = sequence;
  }
}

function checkEvent({ event, id, dependencies }: DeliveredEvent, path: string): void {
  if (event === undefined) throw MeshError.field(`${path}event`, "required");
  if (id === undefined) throw MeshError.field(`${path}id`, "required");
  requireRegion(event.region, `${path}event.region`);
  if (!within(event.type, TYPE_BYTES_MAX) || event.type.includes("\0")) throw MeshError.field(`${path}event.type`, `1..${TYPE_BYTES_MAX} bytes, without U+0000`);
  if (!within(event.key, KEY_BYTES_MAX)) throw MeshError.field(`${path}event.key`, `1..${KEY_BYTES_MAX} bytes`);
  if (event.payload.length > PAYLOAD_BYTES_MAX) throw MeshError.field(`${path}event.payload`, `at most ${PAYLOAD_BYTES_MAX} bytes`);
  checkCount(id.sequence, `${path}id.sequence`);
  if ((dependencies?.entries.length ?? 0) > DEPENDENCIES_MAX) throw MeshError.field(`${path}dependencies.entries`, `at most ${DEPENDENCIES_MAX}`);
}

function within(text: string, max: number): boolean {
  return text.length > 0 && Buffer.byteLength(text) <= max;
}

/** A token that goes on behind a position of a region's history: who makes one up chooses where his own reading begins. */
export function historyToken(region: { x: number; y: number; z: number }, position: number): string {
  return Buffer.from(JSON.stringify(["h", String(mortonKey(region)), position])).toString("base64url");
}

/** Throws INVALID_PAGE_TOKEN. */
export function historyPosition(region: { x: number; y: number; z: number }, token: string): number {
  try {
    if (token.length > PAGE_TOKEN_CHARS_MAX) throw new RangeError("too long");
    const parts: unknown = JSON.parse(Buffer.from(token, "base64url").toString("utf8"));
    if (Array.isArray(parts) && parts.length === 3) {
      const [mark, key, position] = parts as unknown[];
      if (mark === "h" && key === String(mortonKey(region)) && Number.isSafeInteger(position) && (position as number) >= 0) return position as number;
    }
  } catch {
    // Not a token.
  }
  throw new MeshError("INVALID_PAGE_TOKEN", "the page token is not from this call for this region", { field: "page_token" });
}
