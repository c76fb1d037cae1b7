/** Requests that must be refused, by method: missing, oversized and nonsense fields, each with the reason and the field. */
import {
  AcquireRequest, ArbitrateRequest, Candidate, CandidateSet, DeleteRegionRequest, DetectRequest, ExecuteRequest, ExecuteStreamRequest, ExplainRequest, GetWatermarksRequest,
  ListContainersRequest, ListRegionsRequest, LoadRegionRequest, MaterializeRequest, Operation, PatchRegionRequest, PublishRequest, QueryEntitiesRequest, QueryRegionsRequest, type Reason, ReadLevel,
  ReadRequest, ReadSnapshotRequest, RegisterRequest, ReleaseRequest, RenewRequest, ResolveRequest, RouteRequest, StoreRegionRequest,
  TransactRegionsRequest, TransactRequest, TransferLeadershipRequest, UnregisterRequest, VerifyConservationRequest, WatchConservationRequest, WatchConflictsRequest,
} from "@statemesh/contract";
import { LOCAL_CLUSTER } from "../../tools/mesh-processes.ts";
import { badEventualRequests } from "./bad-eventual-requests.ts";
import { badHandoffRequests } from "./bad-handoff-requests.ts";
import { badEscrowRequests } from "./bad-escrow-requests.ts";
import { badHealingRequests } from "./bad-healing-requests.ts";
import { badMemberRequests } from "./bad-member-requests.ts";
import { badPeerRequests } from "./bad-peer-requests.ts";
import { badSubscribeRequests } from "./bad-subscribe-requests.ts";
import { badViewRequests } from "./bad-view-requests.ts";
import { badOperations, type KnownWorld } from "./bad-operations.ts";
import { bytesField, varintField } from "./raw-call.ts";

export interface BadRequest {
  readonly name: string;
  /** One message, or several for a stream of requests. */
  readonly requests: readonly Buffer[];
  readonly reason: Reason;
  /** Where the answer must point; undefined where no field is to blame. */
  readonly field: string | undefined;
  /** The stream goes on: the error stands in the result of the operation. */
  readonly inResult?: boolean;
}

/** Tokens that are real, but of other calls. */
export interface ForeignTokens {
  readonly readPage: string;
  readonly listPage: string;
}

/** A message type, and an object of it that may be nonsense. */
interface Codec<T> {
  encode(message: T): { finish(): Buffer };
  fromPartial(object: object): T;
}

export class Cases {
  readonly list: BadRequest[] = [];

  add<T>(codec: Codec<T>, name: string, reason: Reason, field: string | undefined, object: object, more: Buffer = Buffer.alloc(0)): void {
    this.raw(name, reason, field, [Buffer.concat([codec.encode(codec.fromPartial(object)).finish(), more])]);
  }

  raw(name: string, reason: Reason, field: string | undefined, requests: readonly Buffer[], inResult = false): void {
    this.list.push({ name, requests, reason, field, inResult });
  }
}

const BEYOND = { x: 1_048_576, y: 0, z: 0 };
const LONG = "x".repeat(65);
const PAST_2_53 = 2n ** 53n;

function many<T>(count: number, make: (at: number) => T): T[] {
  return Array.from({ length: count }, (_, at) => make(at));
}

/** The cases of every method; a method without any takes no field that could be wrong. */
export function badRequests(world: KnownWorld, tokens: ForeignTokens): ReadonlyMap<string, readonly BadRequest[]> {
  const cases = new Map<string, readonly BadRequest[]>();
  const of = (method: string, fill: (cases: Cases) => void): void => {
    const made = new Cases();
    fill(made);
    cases.set(`/statemesh.v1.${method}`, made.list);
  };
  consistency(of, world, tokens);
  authority(of, world);
  admin(of);
  badPeerRequests(of);
  arbiter(of);
  regionStore(of, world, tokens);
  return cases;
}

export type Of = (method: string, fill: (cases: Cases) => void) => void;

function consistency(of: Of, world: KnownWorld, tokens: ForeignTokens): void {
  const operations = badOperations(world);
  const { serverId, free: region } = world;
  const pathOf = (prefix: string, field: string | undefined): string | undefined => (field === undefined ? undefined : `${prefix}.${field}`);
  const good = (at: number, home = region): Operation => ({
    ...Operation.fromPartial({ operationId: `bad-${at}`, type: "item_pickup", serverId, homeRegion: home }),
    body: { $case: "itemPickup", value: { itemId: `bad-${at}`, playerId: "p" } },
  });

  of("ConsistencyService/Execute", (cases) => {
    cases.raw("nothing", "INVALID_FIELD", "operation", [Buffer.alloc(0)]);
    cases.raw("an empty operation", "INVALID_FIELD", "operation.operation_id", [bytesField(1, "")]);
    for (const { name, bytes, reason, field } of operations) cases.raw(`an operation ${name}`, reason, pathOf("operation", field), [bytesField(1, bytes)]);
  });
  of("ConsistencyService/ExecuteStream", (cases) => {
    cases.raw("no operations", "INVALID_FIELD", "operations", [Buffer.alloc(0)]);
    cases.add<ExecuteStreamRequest>(ExecuteStreamRequest, "1,025 operations", "INVALID_FIELD", "operations", { operations: many(1_025, (at) => good(at)) });
    for (const { name, bytes, reason, field } of operations) {
      cases.raw(`an operation ${name}`, reason, pathOf("operation", field), [bytesField(1, bytes)], reason !== "MALFORMED_MESSAGE");
    }
  });
  of("ConsistencyService/Transact", (cases) => {
    const add = (name: string, reason: Reason, field: string | undefined, object: object): void => cases.add<TransactRequest>(TransactRequest, name, reason, field, object);
    add("no id", "INVALID_FIELD", "transaction_id", { operations: [good(0)] });
    add("an id of 65 bytes", "INVALID_FIELD", "transaction_id", { transactionId: LONG, operations: [good(0)] });
    add("no operations", "INVALID_FIELD", "operations", { transactionId: "t" });
    add("65 operations", "INVALID_FIELD", "operations", { transactionId: "t", operations: many(65, (at) => good(at)) });
    add("one id twice", "INVALID_FIELD", "operations[1].operation_id", { transactionId: "t", operations: [good(0), good(0)] });
    const heavy = (at: number) => ({ ...good(at), type: "terrain_modification", body: { $case: "terrainModification", value: { mode: 1, bounds: { minX: 1, minY: 1, minZ: 1, maxX: 2, maxY: 2, maxZ: 2 }, brush: Buffer.alloc(17_000) } } });
    add("more than 1 MiB", "MESSAGE_TOO_LARGE", undefined, { transactionId: "t", operations: many(64, heavy) });
    for (const { name, bytes, reason, field } of operations) {
      cases.raw(`an operation ${name}`, reason, pathOf("operations[0]", field), [Buffer.concat([bytesField(1, "bad-transaction"), bytesField(2, bytes)])]);
    }
  });
  of("ConsistencyService/Publish", (cases) => {
    const add = (name: string, reason: Reason, field: string | undefined, object: object): void => cases.add<PublishRequest>(PublishRequest, name, reason, field, { serverId, ...object });
    const update = (fields: object) => ({ type: "creature_position", region, key: "bad", value: Buffer.alloc(1), ...fields });
    const event = (fields: object) => ({ type: "event_sequence", region, key: "bad", payload: Buffer.alloc(1), ...fields });
    add("no server", "INVALID_FIELD", "server_id", { serverId: 0 });
    add("a server that is not registered", "SERVER_NOT_REGISTERED", "server_id", { serverId: 4_294_967_295, updates: [update({})] });
    add("1,025 updates", "INVALID_FIELD", "updates", { updates: many(1_025, (at) => update({ key: `k${at}` })) });
    add("257 events", "INVALID_FIELD", "events", { events: many(257, (at) => event({ key: `k${at}` })) });
    add("an update of no type", "UNKNOWN_TYPE", "updates[0].type", { updates: [update({ type: "" })] });
    add("an update of an unknown type", "UNKNOWN_TYPE", "updates[0].type", { updates: [update({ type: "teleport" })] });
    add("an update of a strong type", "UNKNOWN_TYPE", "updates[0].type", { updates: [update({ type: "trade" })] });
    add("an update nowhere", "INVALID_FIELD", "updates[0].region", { updates: [update({ region: undefined })] });
    add("an update beyond the world", "INVALID_FIELD", "updates[0].region.x", { updates: [update({ region: BEYOND })] });
    add("an update without a key", "INVALID_FIELD", "updates[0].key", { updates: [update({ key: "" })] });
    add("an update with a key of 129 bytes", "INVALID_FIELD", "updates[0].key", { updates: [update({ key: "k".repeat(129) })] });
    add("an update of 4,097 bytes", "INVALID_FIELD", "updates[0].value", { updates: [update({ value: Buffer.alloc(4_097) })] });
    add("an update before the epoch", "INVALID_FIELD", "updates[0].timestamp_ms", { updates: [update({ timestampMs: -1 })] });
    add("an update an hour ahead", "TIMESTAMP_IN_FUTURE", "updates[0].timestamp_ms", { updates: [update({ timestampMs: Date.now() + 3_600_000 })] });
    add("a good update before a bad one", "INVALID_FIELD", "updates[1].key", { updates: [update({ key: "good" }), update({ key: "" })] });
    add("a good update beside a bad event", "INVALID_FIELD", "events[0].key", { updates: [update({ key: "good" })], events: [event({ key: "" })] });
    add("a good event beside a bad update", "INVALID_FIELD", "updates[0].key", { updates: [update({ key: "" })], events: [event({ key: "good" })] });
    add("an event of an unknown type", "UNKNOWN_TYPE", "events[0].type", { events: [event({ type: "teleport" })] });
    add("an event of an eventual type", "UNKNOWN_TYPE", "events[0].type", { events: [event({ type: "creature_position" })] });
    add("an event nowhere", "INVALID_FIELD", "events[0].region", { events: [event({ region: undefined })] });
    add("an event beyond the world", "INVALID_FIELD", "events[0].region.x", { events: [event({ region: BEYOND })] });
    add("an event of 4,097 bytes", "INVALID_FIELD", "events[0].payload", { events: [event({ payload: Buffer.alloc(4_097) })] });
    const token = (entries: object[]) => ({ events: [event({})], causalToken: { entries } });
    const nowhere = { origin: 5, sequence: 1 };
    add("a session of no origin", "INVALID_FIELD", "session.eventual[0].origin", { session: { eventual: [nowhere] } });
    add("a session of events of no origin", "INVALID_FIELD", "session.causal.entries[0].origin", { session: { causal: { entries: [nowhere] } } });
    add("a token of 1,025 origins", "INVALID_FIELD", "causal_token.entries", token(many(1_025, (at) => ({ origin: 4_294_967_296 + at + 1, sequence: 1 }))));
    add("a token out of order", "INVALID_FIELD", "causal_token.entries[1].origin", token([{ origin: 8_589_934_593, sequence: 1 }, { origin: 4_294_967_297, sequence: 1 }]));
    add("a token of sequence 0", "INVALID_FIELD", "causal_token.entries[0].sequence", token([{ origin: 4_294_967_297, sequence: 0 }]));
    add("a token of no origin", "INVALID_FIELD", "causal_token.entries[0].origin", token([nowhere]));
    add("a token of events that are still to come", "TOKEN_AHEAD", undefined, token([{ origin: world.origin, sequence: 1_000_000 }]));
    cases.raw("a time beyond 2^53", "MALFORMED_MESSAGE", undefined, [Buffer.concat([varintField(1, BigInt(serverId)), bytesField(2, varintField(6, PAST_2_53))])]);
  });
  badSubscribeRequests(of, world, tokens);
  of("ConsistencyService/Read", (cases) => {
    const add = (name: string, reason: Reason, field: string | undefined, object: object): void => cases.add<ReadRequest>(ReadRequest, name, reason, field, { region, ...object });
    add("nowhere", "INVALID_FIELD", "region", { region: undefined });
    add("beyond the world", "INVALID_FIELD", "region.x", { region: BEYOND });
    add("an unknown level", "INVALID_FIELD", "level", { level: 99 });
    add("bounded staleness without a bound", "INVALID_FIELD", "max_staleness_ms", { level: ReadLevel.BOUNDED_STALENESS });
    add("bounded staleness of an hour", "INVALID_FIELD", "max_staleness_ms", { level: ReadLevel.BOUNDED_STALENESS, maxStalenessMs: 3_600_000 });
    add("257 entities", "INVALID_FIELD", "entities", { entities: many(257, (at) => ({ kind: "item", entityId: `i${at}` })) });
    add("an entity of no kind", "INVALID_FIELD", "entities[0].kind", { entities: [{ kind: "", entityId: "i" }] });
    add("an entity without an id", "INVALID_FIELD", "entities[1].entity_id", { entities: [{ kind: "item", entityId: "i" }, { kind: "item", entityId: "" }] });
    add("257 accounts", "INVALID_FIELD", "accounts", { accounts: many(257, (at) => `p${at}`) });
    add("an account without a name", "INVALID_FIELD", "accounts[0]", { accounts: [""] });
    add("17 containers", "INVALID_FIELD", "containers", { containers: many(17, (at) => `x${at}`) });
    add("a container without a name", "INVALID_FIELD", "containers[0]", { containers: [""] });
    add("65 positions", "INVALID_FIELD", "session_positions", { level: ReadLevel.SESSION, sessionPositions: many(65, () => ({ groupId: 1, term: 1, index: 1 })) });
    add("a position that never comes", "NO_QUORUM", undefined, { level: ReadLevel.SESSION, sessionPositions: [{ groupId: 1, term: 1, index: Number.MAX_SAFE_INTEGER }] });
    add("a page of 1,001", "INVALID_FIELD", "page_size", { pageSize: 1_001 });
    add("a page token of nonsense", "INVALID_PAGE_TOKEN", "page_token", { pageToken: "%%%" });
    add("a page token of another region", "INVALID_PAGE_TOKEN", "page_token", { region: world.elsewhere, pageToken: tokens.readPage });
    add("a page token of the region store", "INVALID_PAGE_TOKEN", "page_token", { pageToken: tokens.listPage });
    cases.raw("a position beyond 2^53", "MALFORMED_MESSAGE", undefined, [bytesField(5, varintField(3, PAST_2_53))]);
  });
  of("ConsistencyService/ListContainers", (cases) => {
    const add = (name: string, reason: Reason, field: string | undefined, object: object): void => cases.add<ListContainersRequest>(ListContainersRequest, name, reason, field, { playerId: "p", ...object });
    add("nobody's", "INVALID_FIELD", "player_id", { playerId: "" });
    add("a player of 65 bytes", "INVALID_FIELD", "player_id", { playerId: LONG });
    add("a player of control characters", "INVALID_FIELD", "player_id", { playerId: "a\nb" });
    add("beyond the world", "INVALID_FIELD", "region.x", { region: BEYOND });
    add("a page of 1,001", "INVALID_FIELD", "page_size", { pageSize: 1_001 });
    for (const pageToken of ["%%%", "x.1.y", ".1.", "x.99999999999.y"]) add(`the page token ${pageToken}`, "INVALID_PAGE_TOKEN", "page_token", { pageToken });
    add("a page token of a read", "INVALID_PAGE_TOKEN", "page_token", { region, pageToken: tokens.readPage });
  });
  of("ConsistencyService/ReadSnapshot", (cases) => {
    const add = (name: string, field: string, parts: readonly object[]): void => cases.add<ReadSnapshotRequest>(ReadSnapshotRequest, name, "INVALID_FIELD", field, { parts });
    add("nothing", "parts", []);
    add("65 parts", "parts", many(65, (x) => ({ region: { x, y: 0, z: 0 } })));
    add("a part nowhere", "parts[1].region", [{ region }, {}]);
    add("a part beyond the world", "parts[0].region.x", [{ region: BEYOND }]);
    add("a region twice", "parts[1].region", [{ region, accounts: ["p"] }, { region, accounts: ["q"] }]);
    add("257 entities", "parts[0].entities", [{ region, entities: many(257, (at) => ({ kind: "item", entityId: `i${at}` })) }]);
    add("an entity of no kind", "parts[0].entities[0].kind", [{ region, entities: [{ kind: "", entityId: "i" }] }]);
    add("257 accounts", "parts[0].accounts", [{ region, accounts: many(257, (at) => `p${at}`) }]);
    add("an account without a name", "parts[0].accounts[0]", [{ region, accounts: [""] }]);
  });
}

function authority(of: Of, world: KnownWorld): void {
  const { serverId, otherServerId, free: region, owned } = world;
  of("AuthorityDirectoryService/Register", (cases) => {
    const add = (name: string, reason: Reason, field: string | undefined, object: object, more?: Buffer): void => cases.add<RegisterRequest>(RegisterRequest, name, reason, field, { serverId: 99, name: "ninety-nine", incarnation: 1, ...object }, more);
    add("no id", "INVALID_FIELD", "server_id", { serverId: 0 });
    add("no name", "INVALID_FIELD", "name", { name: "" });
    add("a name of 65 bytes", "INVALID_FIELD", "name", { name: LONG });
    add("a name of control characters", "INVALID_FIELD", "name", { name: "a\nb" });
    add("an address of 257 bytes", "INVALID_FIELD", "address", { address: "a".repeat(257) });
    add("no incarnation", "INVALID_FIELD", "incarnation", { incarnation: 0 });
    add("65,537 regions", "INVALID_FIELD", "max_regions", { maxRegions: 65_537 });
    add("an incarnation beyond 2^53", "MALFORMED_MESSAGE", undefined, {}, varintField(4, PAST_2_53));
    add("the name of a live server", "SERVER_ALREADY_REGISTERED", undefined, { name: `shard-${serverId}` });
    add("the id of a live server", "SERVER_ALREADY_REGISTERED", undefined, { serverId, name: "impostor", incarnation: 4_711 });
  });
  of("AuthorityDirectoryService/Unregister", (cases) => {
    const add = (name: string, reason: Reason, field: string | undefined, object: object, more?: Buffer): void => cases.add<UnregisterRequest>(UnregisterRequest, name, reason, field, { serverId: 99, incarnation: 1, ...object }, more);
    add("nobody", "INVALID_FIELD", "server_id", { serverId: 0 });
    add("no start", "INVALID_FIELD", "incarnation", { incarnation: 0 });
    add("a start beyond 2^53", "MALFORMED_MESSAGE", undefined, {}, varintField(2, PAST_2_53));
  });
  of("AuthorityDirectoryService/Route", (cases) => {
    const add = (name: string, field: string, place: RouteRequest["place"]): void => cases.raw(name, "INVALID_FIELD", field, [RouteRequest.encode({ place, assign: false }).finish()]);
    add("nowhere", "place", undefined);
    add("NaN", "position.y", { $case: "position", value: { x: 0, y: Number.NaN, z: 0 } });
    add("infinity", "position.z", { $case: "position", value: { x: 0, y: 0, z: Number.NEGATIVE_INFINITY } });
    add("a position beyond the world", "position.x", { $case: "position", value: { x: 2_097_152_000, y: 0, z: 0 } });
    add("a region beyond the world", "region.x", { $case: "region", value: BEYOND });
    for (const text of ["", "region_1_2", "Region_0_0_0", "region_01_0_0", "region_-0_0_0", "region_1_2_3_4", "region_1048576_0_0", "region_a_b_c", "region_1.5_0_0", " region_0_0_0"]) {
      add(`the text "${text}"`, "region_text", { $case: "regionText", value: text });
    }
  });
  of("AuthorityDirectoryService/Acquire", (cases) => {
    const add = (name: string, reason: Reason, field: string | undefined, object: object): void => cases.add<AcquireRequest>(AcquireRequest, name, reason, field, { serverId, region, ...object });
    add("no server", "INVALID_FIELD", "server_id", { serverId: 0 });
    add("no region", "INVALID_FIELD", "region", { region: undefined });
    add("a region beyond the world", "INVALID_FIELD", "region.x", { region: BEYOND });
    add("a server that is not registered", "SERVER_NOT_REGISTERED", undefined, { serverId: 4_294_967_295 });
    add("a region whose lease another holds", "LEASE_HELD", undefined, { serverId: otherServerId, region: owned });
  });
  of("AuthorityDirectoryService/Renew", (cases) => {
    const add = (name: string, reason: Reason, field: string | undefined, object: object): void => cases.add<RenewRequest>(RenewRequest, name, reason, field, { serverId, ...object });
    add("no server", "INVALID_FIELD", "server_id", { serverId: 0 });
    add("a server that is not registered", "SERVER_NOT_REGISTERED", undefined, { serverId: 4_294_967_295 });
    add("1,025 leases", "INVALID_FIELD", "leases", { leases: many(1_025, (at) => ({ region: { x: at, y: 0, z: 0 }, epoch: 1 })) });
    add("a lease without a region", "INVALID_FIELD", "leases[0].region", { leases: [{ epoch: 1 }] });
    add("a lease of epoch 0", "INVALID_FIELD", "leases[0].epoch", { leases: [{ region, epoch: 0 }] });
    add("a million and one players", "INVALID_FIELD", "leases[0].players", { leases: [{ region, epoch: 1, players: 1_000_001 }] });
    add("a load of a million and one players", "INVALID_FIELD", "load.players", { load: { players: 1_000_001 } });
    add("a tick of more than a minute", "INVALID_FIELD", "load.tick_us", { load: { tickUs: 60_000_001 } });
    add("more than all of the processors", "INVALID_FIELD", "load.cpu_permille", { load: { cpuPermille: 1_001 } });
    cases.raw("an epoch beyond 2^53", "MALFORMED_MESSAGE", undefined, [bytesField(2, varintField(2, PAST_2_53))]);
  });
  of("AuthorityDirectoryService/Release", (cases) => {
    const add = (name: string, reason: Reason, field: string | undefined, object: object): void => cases.add<ReleaseRequest>(ReleaseRequest, name, reason, field, { serverId, region, epoch: 1, ...object });
    add("no server", "INVALID_FIELD", "server_id", { serverId: 0 });
    add("no region", "INVALID_FIELD", "region", { region: undefined });
    add("a region beyond the world", "INVALID_FIELD", "region.x", { region: BEYOND });
    add("epoch 0", "INVALID_FIELD", "epoch", { epoch: 0 });
    cases.raw("an epoch beyond 2^53", "MALFORMED_MESSAGE", undefined, [varintField(3, PAST_2_53)]);
  });
  for (const fill of [badHandoffRequests, badViewRequests, badEventualRequests, badMemberRequests, badHealingRequests, badEscrowRequests]) fill(of, world);
}

function admin(of: Of): void {
  of("ClusterAdminService/GetStatus", () => undefined);
  of("ClusterAdminService/VerifyConservation", (cases) => {
    const add = (name: string, field: string, scope: VerifyConservationRequest["scope"]): void => cases.raw(name, "INVALID_FIELD", field, [VerifyConservationRequest.encode({ scope }).finish()]);
    add("a region beyond the world", "region.x", { $case: "region", value: BEYOND });
    add("a player without a name", "player_id", { $case: "playerId", value: "" });
    add("a container of 65 bytes", "container_id", { $case: "containerId", value: LONG });
  });
  of("ClusterAdminService/WatchConservation", (cases) => {
    const add = (name: string, field: string, object: object): void => cases.add<WatchConservationRequest>(WatchConservationRequest, name, "INVALID_FIELD", field, object);
    add("more often than is told", "interval_ms", { intervalMs: 99 });
    add("once in a long time", "interval_ms", { intervalMs: 60_001 });
    add("65 kinds", "item_kinds", { itemKinds: many(65, (at) => `k${at}`) });
    add("a kind without a name", "item_kinds[0]", { itemKinds: [""] });
  });
  of("ClusterAdminService/TransferLeadership", (cases) => {
    const add = (name: string, reason: Reason, field: string | undefined, object: object): void => cases.add<TransferLeadershipRequest>(TransferLeadershipRequest, name, reason, field, object);
    add("a group that is not there", "INVALID_FIELD", "group_id", { groupId: 1_000, targetNodeId: 1 });
    add("no node", "INVALID_FIELD", "target_node_id", { groupId: 1 });
    add("a node that is not there", "INVALID_FIELD", "target_node_id", { groupId: 1, targetNodeId: 77 });
  });
}

function arbiter(of: Of): void {
  const candidate = (fields: object = {}) => Candidate.fromPartial({ operationId: "a", type: "item_pickup", serverId: 1, stamp: { physicalMs: 1, logical: 0 }, keys: ["item:1"], region: { x: 0, y: 0, z: 0 }, ...fields });
  const set = (fields: object = {}) => CandidateSet.fromPartial({ candidates: [candidate(fields)] });
  const bounds = { minX: 0, minY: 0, minZ: 0, maxX: 1, maxY: 1, maxZ: 1 };

  /** Sets that are wrong, with the path below the set. */
  const badSets: readonly (readonly [string, Reason, string, object])[] = [
    ["no candidates", "INVALID_FIELD", "candidates", { candidates: [] }],
    ["4,097 candidates", "INVALID_FIELD", "candidates", { candidates: many(4_097, (at) => candidate({ operationId: `o${at}`, keys: [] })) }],
    ["4,097 incumbents", "INVALID_FIELD", "incumbents", { candidates: [candidate()], incumbents: many(4_097, (at) => candidate({ operationId: `o${at}`, keys: [] })) }],
    ["a candidate without an id", "INVALID_FIELD", "candidates[0].operation_id", set({ operationId: "" })],
    ["a candidate with a long id", "INVALID_FIELD", "candidates[0].operation_id", set({ operationId: LONG })],
    ["a candidate of no type", "INVALID_FIELD", "candidates[0].type", set({ type: "" })],
    ["a candidate of an unknown type", "UNKNOWN_TYPE", "candidates[0].type", set({ type: "teleport" })],
    ["a candidate of an eventual type", "UNKNOWN_TYPE", "candidates[0].type", set({ type: "creature_position" })],
    ["a candidate of no server", "INVALID_FIELD", "candidates[0].server_id", set({ serverId: 0 })],
    ["a candidate without a stamp", "INVALID_FIELD", "candidates[0].stamp", { candidates: [{ ...candidate(), stamp: undefined }] }],
    ["a candidate stamped at 0", "INVALID_FIELD", "candidates[0].stamp.physical_ms", set({ stamp: { physicalMs: 0, logical: 0 } })],
    ["33 keys", "INVALID_FIELD", "candidates[0].keys", set({ keys: many(33, (at) => `k${at}`) })],
    ["an empty key", "INVALID_FIELD", "candidates[0].keys[0]", set({ keys: [""] })],
    ["a box at NaN", "INVALID_FIELD", "candidates[0].bounds.min_x", set({ bounds: { ...bounds, minX: Number.NaN } })],
    ["a box to infinity", "INVALID_FIELD", "candidates[0].bounds.max_z", set({ bounds: { ...bounds, maxZ: Number.POSITIVE_INFINITY } })],
    ["a box inside out", "INVALID_FIELD", "candidates[0].bounds.min_y", set({ bounds: { ...bounds, minY: 2 } })],
    ["a region beyond the world", "INVALID_FIELD", "candidates[0].region.x", set({ region: BEYOND })],
    ["a long merge class", "INVALID_FIELD", "candidates[0].merge_class", set({ mergeClass: "m".repeat(129) })],
  ];
  const overSize = varintField(5, 1n);
  const stampPast = bytesField(1, bytesField(2, bytesField(5, varintField(1, PAST_2_53))));

  of("ConflictArbiterService/Detect", (cases) => {
    cases.raw("nothing", "INVALID_FIELD", "set", [Buffer.alloc(0)]);
    for (const [name, reason, field, it] of badSets) cases.add<DetectRequest>(DetectRequest, name, reason, `set.${field}`, { set: it });
    cases.raw("a stamp beyond 2^53", "MALFORMED_MESSAGE", undefined, [stampPast]);
    cases.add<DetectRequest>(DetectRequest, "more conflicts than an answer holds", "INVALID_FIELD", "set", { set: { candidates: many(200, (at) => candidate({ operationId: `o${at}` })) } }, overSize);
  });
  of("ConflictArbiterService/Resolve", (cases) => {
    cases.raw("nothing", "INVALID_FIELD", "set", [Buffer.alloc(0)]);
    for (const [name, reason, field, it] of badSets) cases.add<ResolveRequest>(ResolveRequest, name, reason, `set.${field}`, { set: it });
    cases.raw("a stamp beyond 2^53", "MALFORMED_MESSAGE", undefined, [stampPast]);
  });
  of("ConflictArbiterService/Arbitrate", (cases) => {
    cases.raw("nothing", "INVALID_FIELD", "sets", [Buffer.alloc(0)]);
    cases.add<ArbitrateRequest>(ArbitrateRequest, "65 sets", "INVALID_FIELD", "sets", { sets: many(65, () => set()) });
    cases.add<ArbitrateRequest>(ArbitrateRequest, "16,385 candidates", "INVALID_FIELD", "sets", { sets: many(5, () => ({ candidates: many(3_500, (at) => candidate({ operationId: `o${at}`, keys: [] })) })) });
    for (const [name, reason, field, it] of badSets) cases.add<ArbitrateRequest>(ArbitrateRequest, name, reason, `sets[0].${field}`, { sets: [it] });
    cases.raw("a stamp beyond 2^53", "MALFORMED_MESSAGE", undefined, [stampPast]);
  });
  of("ConflictArbiterService/Explain", (cases) => {
    cases.raw("nothing", "INVALID_FIELD", "set", [Buffer.alloc(0)]);
    cases.add<ExplainRequest>(ExplainRequest, "nobody", "INVALID_FIELD", "operation_id", { set: set() });
    cases.add<ExplainRequest>(ExplainRequest, "somebody else", "INVALID_FIELD", "operation_id", { set: set(), operationId: "stranger" });
    for (const [name, reason, field, it] of badSets) cases.add<ExplainRequest>(ExplainRequest, name, reason, `set.${field}`, { set: it, operationId: "a" });
  });
  of("ConflictArbiterService/WatchConflicts", (cases) => {
    cases.add<WatchConflictsRequest>(WatchConflictsRequest, "a type that is none", "INVALID_FIELD", "types[0]", { types: [0] });
    cases.add<WatchConflictsRequest>(WatchConflictsRequest, "an unknown type", "INVALID_FIELD", "types[1]", { types: [1, 99] });
    cases.add<WatchConflictsRequest>(WatchConflictsRequest, "344 regions", "INVALID_FIELD", "regions", { regions: many(344, (at) => ({ x: at, y: 0, z: 0 })) });
    cases.add<WatchConflictsRequest>(WatchConflictsRequest, "server 0", "INVALID_FIELD", "server_ids[0]", { serverIds: [0] });
    cases.add<WatchConflictsRequest>(WatchConflictsRequest, "257 groups", "INVALID_FIELD", "group_ids", { groupIds: many(257, (at) => at) });
    cases.add<WatchConflictsRequest>(WatchConflictsRequest, "a token of somebody else", "INVALID_FIELD", "resume_token", { resumeToken: "?" });
    cases.add<WatchConflictsRequest>(WatchConflictsRequest, "a region beyond the world", "INVALID_FIELD", "regions[0].x", { regions: [BEYOND] });
  });
  of("ConflictArbiterService/GetStatistics", () => undefined);
}

function regionStore(of: Of, world: KnownWorld, tokens: ForeignTokens): void {
  const { free: region } = world;
  const layer = (fields: object = {}) => ({ name: "mesh", data: Buffer.alloc(1), contentType: "", ...fields });
  const attributes = (count: number): Map<string, string> => new Map(many(count, (at) => [`a${at}`, "v"]));

  /** What is wrong with a store, below its path. */
  const badStores: readonly (readonly [string, Reason, string | undefined, object])[] = [
    ["no region", "INVALID_FIELD", "region", { region: undefined }],
    ["a region beyond the world", "INVALID_FIELD", "region.x", { region: BEYOND }],
    ["65 attributes", "INVALID_FIELD", "attributes", { attributes: attributes(65) }],
    ["an attribute without a name", "INVALID_FIELD", "attributes key", { attributes: new Map([["", "v"]]) }],
    ["an attribute's name of 65 bytes", "INVALID_FIELD", "attributes key", { attributes: new Map([[LONG, "v"]]) }],
    ["an attribute of 1,025 bytes", "INVALID_FIELD", "attributes[\"a\"]", { attributes: new Map([["a", "v".repeat(1_025)]]) }],
    ["an attribute that SQL cannot hold", "INVALID_FIELD", "attributes[\"a\"]", { attributes: new Map([["a", "\0"]]) }],
    ["33 layers", "INVALID_FIELD", "layers", { layers: many(33, (at) => layer({ name: `l${at}` })) }],
    ["a layer without a name", "INVALID_FIELD", "layers[0].name", { layers: [layer({ name: "" })] }],
    ["one layer twice", "INVALID_FIELD", "layers[1].name", { layers: [layer(), layer()] }],
    ["a layer of more than 1 MiB", "INVALID_FIELD", "layers[0].data", { layers: [layer({ data: Buffer.alloc(1_048_577) })] }],
    ["layers of more than 3 MiB", "INVALID_FIELD", "layers", { layers: many(4, (at) => layer({ name: `l${at}`, data: Buffer.alloc(900_000) })) }],
    ["a content type of 129 bytes", "INVALID_FIELD", "layers[0].content_type", { layers: [layer({ contentType: "c".repeat(129) })] }],
    ["a request id of 65 bytes", "INVALID_FIELD", "request_id", { requestId: LONG }],
    ["a stale epoch", "FENCED", undefined, { region: world.owned }],
    ["a version that is not there", "VERSION_MISMATCH", undefined, { expectedVersion: 77 }],
  ];

  of("RegionStoreService/StoreRegion", (cases) => {
    for (const [name, reason, field, it] of badStores) cases.add<StoreRegionRequest>(StoreRegionRequest, name, reason, field, { region, ...it });
    cases.raw("an epoch beyond 2^53", "MALFORMED_MESSAGE", undefined, [varintField(4, PAST_2_53)]);
    cases.add<StoreRegionRequest>(StoreRegionRequest, "a request id of another content", "REQUEST_ID_REUSED", undefined, { region, requestId: "stored", attributes: new Map([["other", "content"]]) });
  });
  of("RegionStoreService/LoadRegion", (cases) => {
    const add = (name: string, field: string, object: object): void => cases.add<LoadRegionRequest>(LoadRegionRequest, name, "INVALID_FIELD", field, object);
    add("nowhere", "region", {});
    add("beyond the world", "region.x", { region: BEYOND });
    add("two places", "region_text", { region, regionText: "region_0_0_0" });
    for (const text of ["region_1_2", "region_1048576_0_0", "REGION_0_0_0", "region_+1_0_0"]) add(`the text "${text}"`, "region_text", { regionText: text });
  });
  of("RegionStoreService/PatchRegion", (cases) => {
    const add = (name: string, reason: Reason, field: string | undefined, object: object): void => cases.add<PatchRegionRequest>(PatchRegionRequest, name, reason, field, { region, ...object });
    add("no region", "INVALID_FIELD", "region", { region: undefined });
    add("65 attributes", "INVALID_FIELD", "set_attributes", { setAttributes: attributes(65) });
    add("one layer twice", "INVALID_FIELD", "set_layers[1].name", { setLayers: [layer(), layer()] });
    add("a layer of more than 1 MiB", "INVALID_FIELD", "set_layers[0].data", { setLayers: [layer({ data: Buffer.alloc(1_048_577) })] });
    add("an attribute set and removed", "INVALID_FIELD", "remove_attributes", { setAttributes: new Map([["a", "v"]]), removeAttributes: ["a"] });
    add("a layer set and removed", "INVALID_FIELD", "remove_layers", { setLayers: [layer()], removeLayers: ["mesh"] });
    add("65 removed attributes", "INVALID_FIELD", "remove_attributes", { removeAttributes: many(65, (at) => `a${at}`) });
    add("a removed layer without a name", "INVALID_FIELD", "remove_layers[0]", { removeLayers: [""] });
    add("a stale epoch", "FENCED", undefined, { region: world.owned, setAttributes: new Map([["a", "v"]]) });
    add("a version that is not there", "VERSION_MISMATCH", undefined, { expectedVersion: 77, setAttributes: new Map([["a", "v"]]) });
    cases.raw("a version beyond 2^53", "MALFORMED_MESSAGE", undefined, [varintField(7, PAST_2_53)]);
  });
  of("RegionStoreService/DeleteRegion", (cases) => {
    const add = (name: string, reason: Reason, field: string | undefined, object: object): void => cases.add<DeleteRegionRequest>(DeleteRegionRequest, name, reason, field, { region, ...object });
    add("no region", "INVALID_FIELD", "region", { region: undefined });
    add("a region beyond the world", "INVALID_FIELD", "region.x", { region: BEYOND });
    add("a request id of 65 bytes", "INVALID_FIELD", "request_id", { requestId: LONG });
    add("a stale epoch", "FENCED", undefined, { region: world.owned });
    add("a version that is not there", "VERSION_MISMATCH", undefined, { expectedVersion: 77 });
    cases.raw("an epoch beyond 2^53", "MALFORMED_MESSAGE", undefined, [varintField(2, PAST_2_53)]);
  });
  of("RegionStoreService/ListRegions", (cases) => {
    const add = (name: string, reason: Reason, field: string, object: object): void => cases.add<ListRegionsRequest>(ListRegionsRequest, name, reason, field, object);
    add("a page of 1,001", "INVALID_FIELD", "page_size", { pageSize: 1_001 });
    add("a page token of nonsense", "INVALID_PAGE_TOKEN", "page_token", { pageToken: "nonsense" });
    add("a page token of a consensus node", "INVALID_PAGE_TOKEN", "page_token", { pageToken: tokens.readPage });
    add("a page token of 2,000 characters", "INVALID_PAGE_TOKEN", "page_token", { pageToken: "A".repeat(2_000) });
  });
  const badQueries: readonly (readonly [string, string, object | undefined])[] = [
    ["no query", "query.shape", undefined],
    ["no shape", "query.shape", {}],
    ["a box at NaN", "query.box.min_x", { shape: { $case: "box", value: { minX: Number.NaN } } }],
    ["a box inside out", "query.box.min_z", { shape: { $case: "box", value: { minZ: 1 } } }],
    ["a sphere without a centre", "query.sphere.center", { shape: { $case: "sphere", value: { radius: 1 } } }],
    ["a sphere at infinity", "query.sphere.center.x", { shape: { $case: "sphere", value: { center: { x: Number.POSITIVE_INFINITY }, radius: 1 } } }],
    ["a sphere of no radius", "query.sphere.radius", { shape: { $case: "sphere", value: { center: {}, radius: 0 } } }],
    ["a sphere of radius NaN", "query.sphere.radius", { shape: { $case: "sphere", value: { center: {}, radius: Number.NaN } } }],
    ["a sphere of 100,001 m", "query.sphere.radius", { shape: { $case: "sphere", value: { center: {}, radius: 100_001 } } }],
    ["neighbours of nothing", "query.neighbours.region", { shape: { $case: "neighbours", value: { rings: 1 } } }],
    ["no rings", "query.neighbours.rings", { shape: { $case: "neighbours", value: { region } } }],
    ["9 rings", "query.neighbours.rings", { shape: { $case: "neighbours", value: { region, rings: 9 } } }],
    ["a position beyond the world", "query.position.y", { shape: { $case: "position", value: { y: 3e9 } } }],
  ];
  of("RegionStoreService/QueryRegions", (cases) => {
    for (const [name, field, query] of badQueries) cases.add<QueryRegionsRequest>(QueryRegionsRequest, name, "INVALID_FIELD", field, { query });
    const query = { shape: { $case: "neighbours", value: { region, rings: 1 } } };
    cases.add<QueryRegionsRequest>(QueryRegionsRequest, "a page of 1,001", "INVALID_FIELD", "page_size", { query, pageSize: 1_001 });
    cases.add<QueryRegionsRequest>(QueryRegionsRequest, "a page token of another call", "INVALID_PAGE_TOKEN", "page_token", { query, pageToken: tokens.listPage });
  });
  of("RegionStoreService/QueryEntities", (cases) => {
    for (const [name, field, query] of badQueries) cases.add<QueryEntitiesRequest>(QueryEntitiesRequest, name, "INVALID_FIELD", field, { query });
    const query = { shape: { $case: "neighbours", value: { region, rings: 1 } } };
    cases.add<QueryEntitiesRequest>(QueryEntitiesRequest, "17 kinds", "INVALID_FIELD", "kinds", { query, kinds: many(17, (at) => `k${at}`) });
    cases.add<QueryEntitiesRequest>(QueryEntitiesRequest, "a kind without a name", "INVALID_FIELD", "kinds[0]", { query, kinds: [""] });
    cases.add<QueryEntitiesRequest>(QueryEntitiesRequest, "a page token of another call", "INVALID_PAGE_TOKEN", "page_token", { query, pageToken: tokens.listPage });
  });
  of("RegionStoreService/TransactRegions", (cases) => {
    const add = (name: string, reason: Reason, field: string | undefined, object: object): void => cases.add<TransactRegionsRequest>(TransactRegionsRequest, name, reason, field, object);
    const store = (fields: object) => ({ write: { $case: "store", value: { region, ...fields } } });
    add("no writes", "INVALID_FIELD", "writes", {});
    add("65 writes", "INVALID_FIELD", "writes", { writes: many(65, (at) => store({ region: { x: at, y: 0, z: 0 } })) });
    add("a write that is none", "INVALID_FIELD", "writes[0].write", { writes: [{}] });
    add("a request id of 65 bytes", "INVALID_FIELD", "request_id", { writes: [store({})], requestId: LONG });
    const good = store({ region: { x: 3, y: 3, z: 3 } });
    for (const [name, reason, field, it] of badStores) {
      if (field !== "request_id") add(`a good write before one with ${name}`, reason, field === undefined ? undefined : `writes[1].store.${field}`, { writes: [good, store(it)] });
    }
  });
  of("RegionStoreService/Materialize", (cases) => {
    const add = (name: string, field: string, object: object): void => cases.add<MaterializeRequest>(MaterializeRequest, name, "INVALID_FIELD", field, { clusterId: LOCAL_CLUSTER, groupId: 900, throughIndex: 1, ...object });
    add("no cluster id", "cluster_id", { clusterId: "" });
    add("a cluster id of 65 bytes", "cluster_id", { clusterId: LONG });
    cases.add<MaterializeRequest>(MaterializeRequest, "a batch of another cluster", "CLUSTER_MISMATCH", undefined, { clusterId: "another", groupId: 900, throughIndex: 1 });
    add("a batch that goes back", "through_index", { afterIndex: 5, throughIndex: 4 });
    add("a full copy without an id", "full_copy.copy_id", { fullCopy: { copyId: 0, part: 0, last: true } });
    add("65,537 rows", "entities", { removed: many(65_537, () => ({ kind: "k", entityId: "e" })) });
    const entity = { kind: "item", entityId: "e", region, version: 1 };
    add("an entity of no kind", "entities[0].kind", { entities: [{ ...entity, kind: "" }] });
    add("an entity without an id", "entities[0].entity_id", { entities: [{ ...entity, entityId: "" }] });
    add("an entity nowhere", "entities[0].region", { entities: [{ ...entity, region: undefined }] });
    add("an entity at NaN", "entities[0].bounds.min_x", { entities: [{ ...entity, bounds: { minX: Number.NaN } }] });
    add("a removal of nothing", "removed[0].entity_id", { removed: [{ kind: "k" }] });
    add("a balance of nobody", "balances[0].account_id", { balances: [{ itemKind: "k" }] });
    add("a balance of nothing", "balances[0].item_kind", { balances: [{ accountId: "a" }] });
    add("an epoch of nowhere", "epochs[0].region", { epochs: [{ epoch: 1 }] });
    add("a total of nothing", "totals[0].item_kind", { totals: [{ minted: 1 }] });
    cases.raw("an index beyond 2^53", "MALFORMED_MESSAGE", undefined, [varintField(2, PAST_2_53)]);
    cases.raw("a quantity beyond 2^53", "MALFORMED_MESSAGE", undefined, [bytesField(6, varintField(3, 2n ** 64n - 1n))]);
  });
  of("RegionStoreService/GetWatermarks", (cases) => {
    cases.add<GetWatermarksRequest>(GetWatermarksRequest, "no cluster id", "INVALID_FIELD", "cluster_id", {});
    cases.add<GetWatermarksRequest>(GetWatermarksRequest, "a cluster id of 65 bytes", "INVALID_FIELD", "cluster_id", { clusterId: LONG });
    cases.add<GetWatermarksRequest>(GetWatermarksRequest, "another cluster", "CLUSTER_MISMATCH", undefined, { clusterId: "another" });
  });
  of("RegionStoreService/GetCacheStatistics", () => undefined);
}

/** Every message that `ExecuteRequest` could be is a case of its own elsewhere; this one is too large for any. */
export function tenMebibytes(): Buffer {
  return ExecuteRequest.encode({ operation: Operation.fromPartial({ operationId: "o".repeat(10 * 1024 * 1024) }) }).finish() as Buffer;
}
