/** Subscriptions that must be refused, however they are started, and moves of them. */
import { type Reason, type Region, SubscribeRequest, SubscribeStreamRequest } from "@statemesh/contract";
import type { KnownWorld } from "./bad-operations.ts";
import type { ForeignTokens, Of } from "./bad-requests.ts";

type Refusal = [name: string, reason: Reason, field: string, request: object];

function many<T>(count: number, make: (at: number) => T): T[] {
  return Array.from({ length: count }, (_, at) => make(at));
}

function refusals(region: Region, { readPage, listPage }: ForeignTokens): Refusal[] {
  const center = { x: 0, y: 0, z: 0 };
  const area = { center, radius: 300 };
  const bounds = { minX: 0, minY: 0, minZ: 0, maxX: 10, maxY: 10, maxZ: 10 };
  const regions = [region];
  return [
    ["nowhere", "INVALID_FIELD", "regions", {}],
    ["344 regions", "INVALID_FIELD", "regions", { regions: many(344, (at) => ({ x: at, y: 0, z: 0 })) }],
    ["a region beyond the world", "INVALID_FIELD", "regions[0].x", { regions: [{ x: 1_048_576, y: 0, z: 0 }] }],
    ["regions and a box", "INVALID_FIELD", "bounds", { regions, bounds }],
    ["a box at NaN", "INVALID_FIELD", "bounds.min_x", { bounds: { ...bounds, minX: Number.NaN } }],
    ["a box to infinity", "INVALID_FIELD", "bounds.max_y", { bounds: { ...bounds, maxY: Number.POSITIVE_INFINITY } }],
    ["a box inside out", "INVALID_FIELD", "bounds.min_z", { bounds: { ...bounds, minZ: 11 } }],
    ["the whole world", "INVALID_FIELD", "bounds", { bounds: { minX: -2e9, minY: -2e9, minZ: -2e9, maxX: 2e9, maxY: 2e9, maxZ: 2e9 } }],
    ["an area without a center", "INVALID_FIELD", "area.center", { area: { radius: 300 } }],
    ["an area at NaN", "INVALID_FIELD", "area.center.y", { area: { center: { ...center, y: Number.NaN }, radius: 300 } }],
    ["an area of nothing", "INVALID_FIELD", "area.radius", { area: { center, radius: 0 } }],
    ["an area smaller than nothing", "INVALID_FIELD", "area.radius", { area: { center, radius: -1 } }],
    ["an area of no number", "INVALID_FIELD", "area.radius", { area: { center, radius: Number.NaN } }],
    ["an area without an end", "INVALID_FIELD", "area.radius", { area: { center, radius: Number.POSITIVE_INFINITY } }],
    ["an area infinitely far", "INVALID_FIELD", "area.center.x", { area: { center: { ...center, x: Number.NEGATIVE_INFINITY }, radius: 1 } }],
    ["an area on the world's end", "INVALID_FIELD", "area.center.z", { area: { center: { ...center, z: 2_097_152_000 }, radius: 1 } }],
    ["an area of 6 km", "INVALID_FIELD", "area.radius", { area: { center, radius: 6_000 } }],
    ["regions and an area", "INVALID_FIELD", "area", { area, regions }],
    ["a box and an area", "INVALID_FIELD", "area", { area, bounds }],
    ["an interval of an hour", "INVALID_FIELD", "eventual_interval_ms", { regions, eventualIntervalMs: 3_600_000 }],
    ["a session of no group", "INVALID_FIELD", "session.positions[0].group_id", { regions, session: { positions: [{ groupId: 9_999, term: 1, index: 1 }] } }],
    ["a session of 65 nodes", "INVALID_FIELD", "session.eventual", { regions, session: { eventual: many(65, (at) => ({ origin: (at + 1) * 2 ** 32 + 1, sequence: 1 })) } }],
    ["a session that names a node twice", "INVALID_FIELD", "session.eventual[1].origin", { regions, session: { eventual: many(2, (at) => ({ origin: 2 ** 32 + 1, sequence: at + 1 })) } }],
    ["65 kinds", "INVALID_FIELD", "entity_kinds", { regions, entityKinds: many(65, (at) => `k${at}`) }],
    ["a kind without a name", "INVALID_FIELD", "entity_kinds[0]", { regions, entityKinds: [""] }],
    ["65 types", "INVALID_FIELD", "types", { regions, types: many(65, () => "creature_position") }],
    ["a strong type", "UNKNOWN_TYPE", "types[0]", { regions, types: ["structure_placement"] }],
    ["a type that is not in the table", "UNKNOWN_TYPE", "types[1]", { regions, types: ["creature_position", "teleport"] }],
    ["a token of nonsense", "INVALID_RESUME_TOKEN", "resume_token", { regions, resumeToken: "nonsense!" }],
    ["a page token as resume token", "INVALID_RESUME_TOKEN", "resume_token", { regions, resumeToken: listPage }],
    ["another page token as resume token", "INVALID_RESUME_TOKEN", "resume_token", { area, resumeToken: readPage }],
    ["a token of 70,000 characters", "INVALID_RESUME_TOKEN", "resume_token", { regions, resumeToken: "A".repeat(70_000) }],
  ];
}

/** Every message here names something that cannot be subscribed to, or moved. */
export function badSubscribeRequests(of: Of, { free: region }: KnownWorld, tokens: ForeignTokens): void {
  of("ConsistencyService/Subscribe", (cases) => {
    for (const [name, reason, field, object] of refusals(region, tokens)) cases.add<SubscribeRequest>(SubscribeRequest, name, reason, field, object);
  });
  of("ConsistencyService/SubscribeStream", (cases) => {
    const add = (name: string, field: string, ...requests: object[]): void =>
      cases.raw(name, "INVALID_FIELD", field, requests.map((request) => Buffer.from(SubscribeStreamRequest.encode(SubscribeStreamRequest.fromPartial(request)).finish())));
    const start = (value: object): object => ({ request: { $case: "start", value } });
    const move = (value: object): object => ({ request: { $case: "move", value } });
    const area = { center: { x: 0, y: 0, z: 0 }, radius: 300 };
    add("an empty first message", "start", {});
    add("a move before the start", "start", move(area));
    add("two starts", "start", start({ area }), start({ area }));
    add("an empty second message", "request", start({ area }), {});
    add("a move of regions that stand", "move", start({ regions: [region] }), move(area));
    add("a move to nowhere", "move.center", start({ area }), move({ radius: 300 }));
    add("a move beyond the world", "move.center.z", start({ area }), move({ ...area, center: { x: 0, y: 0, z: 3e9 } }));
    add("a move of no number", "move.radius", start({ area }), move({ ...area, radius: Number.NaN }));
    add("a move smaller than nothing", "move.radius", start({ area }), move({ ...area, radius: -300 }));
    add("a move infinitely far", "move.center.y", start({ area }), move({ ...area, center: { x: 0, y: Number.POSITIVE_INFINITY, z: 0 } }));
    add("a move with a ball of 6 km", "move.radius", start({ area }), move({ ...area, radius: 6_000 }));
    for (const [name, reason, field, object] of refusals(region, tokens)) {
      cases.raw(`to start with ${name}`, reason, field, [Buffer.from(SubscribeStreamRequest.encode(SubscribeStreamRequest.fromPartial(start(object))).finish())]);
    }
  });
}
