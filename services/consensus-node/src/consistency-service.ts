// The calls of a game shard.
import {
  ConsistencyServiceService,
  MeshError,
  type PublishRequest,
  type PublishResponse,
  ReadLevel,
  type ReadRequest,
  type ReadResponse,
} from "@statemesh/contract";
import { type MeshNode, openPageToken, read } from "@statemesh/mesh";
import { type CallContext, type Respond, type ServiceBinding, bidiStream, bindService, serverStream, unaryCallback } from "@statemesh/service";
import { ID_BYTES_MAX, checkInteger, checkList, checkName, checkRegion, groupOf } from "@statemesh/world";
import { deadlineOf } from "./deadlines.ts";
import { execute, executeStream, transact } from "./execute.ts";
import { SubscriptionStreams } from "./subscribe.ts";

export interface ConsistencyNode {
  readonly mesh: MeshNode;
  readonly defaultDeadlineMs: number;
  /** The node's disk takes no writes. */
  isDiskFull(): boolean;
}

/** How often a publish looks whether the events of its token have come. */
const TOKEN_POLL_MS = 10;
const UPDATES = 1_024;
const EVENTS = 256;
const READ_NAMES = 256;
const PAGE_MAX = 1_000;
const STALENESS_MAX_MS = 600_000;
const POSITIONS = 64;

export function consistencyService(node: ConsistencyNode): ServiceBinding {
  const { mesh, defaultDeadlineMs } = node;
  const streams = new SubscriptionStreams(mesh);
  const refuseOnFullDisk = (): void => {
    if (node.isDiskFull()) throw new MeshError("LOG_FULL", "the disk of this node is full", { retryDelayMs: 1_000 });
  };
  return bindService(ConsistencyServiceService, {
    execute: unaryCallback((request, context, respond) => {
      refuseOnFullDisk();
      execute(mesh, defaultDeadlineMs, request, context, respond);
    }),
    executeStream: bidiStream((requests, responses, context) => {
      refuseOnFullDisk();
      executeStream(mesh, defaultDeadlineMs, requests, responses, context);
    }),
    transact: unaryCallback((request, context, respond) => {
      refuseOnFullDisk();
      transact(mesh, defaultDeadlineMs, request, context, respond);
    }),
    publish: unaryCallback((request, context, respond) => publish(mesh, defaultDeadlineMs, request, context, respond)),
    subscribe: serverStream((request, responses, context) => streams.open(request, responses, context)),
    read: unaryCallback((request, context, respond) => answerRead(mesh, defaultDeadlineMs, request, context, respond)),
  });
}

function publish(mesh: MeshNode, defaultDeadlineMs: number, request: PublishRequest, context: CallContext, respond: Respond<PublishResponse>): void {
  checkInteger(request.serverId, 1, 4_294_967_295, "", "server_id");
  checkList(request.updates, UPDATES, "", "updates");
  checkList(request.events, EVENTS, "", "events");
  const take = (): void => {
    if (mesh.directory.directory.server(request.serverId) === undefined) {
      throw new MeshError("SERVER_NOT_REGISTERED", `server_id: server ${request.serverId} is not registered`, { field: "server_id" });
    }
    const { policy } = mesh.options;
    const nowMs = mesh.host.clock.wallMs();
    // All or nothing: the updates are checked before the events are taken, and then nothing refuses them.
    mesh.eventual.admit(request.updates, request.serverId, nowMs, policy);
    const causalToken = mesh.causal.publish(request.events, request.serverId, request.causalToken, policy);
    const { updates, staleUpdates } = mesh.eventual.publish(request.updates, request.serverId, nowMs, mesh.clock, policy);
    respond({ updates, staleUpdates, causalToken });
  };
  const deadlineMs = deadlineOf(context, mesh.host.clock.monotonicMs(), defaultDeadlineMs);
  const attempt = (): void => {
    try {
      whenCovered(mesh, request, deadlineMs, context, take, respond);
    } catch (refused) {
      respond.fail(refused);
    }
  };
  if (mesh.directory.directory.server(request.serverId) !== undefined) return attempt();
  mesh.barrier(0, deadlineMs, (error) => (error === undefined ? attempt() : respond.fail(error)));
}

/** A token of another node may be a tick ahead of this one: its events are on their way, so the call waits for them. */
function whenCovered(mesh: MeshNode, request: PublishRequest, deadlineMs: number, context: CallContext, take: () => void, respond: Respond<PublishResponse>): void {
  if (context.cancelled) return respond.fail(new MeshError("CANCELLED", "the caller went away"));
  const { causalToken } = request;
  if (causalToken !== undefined) mesh.causal.validateToken(causalToken, "causal_token");
  const late = mesh.host.clock.monotonicMs() + TOKEN_POLL_MS >= deadlineMs;
  // Past the deadline `take` answers TOKEN_AHEAD.
  if (causalToken === undefined || late || mesh.causal.covers(causalToken)) return take();
  setTimeout(() => {
    try {
      whenCovered(mesh, request, deadlineMs, context, take, respond);
    } catch (refused) {
      respond.fail(refused);
    }
  }, TOKEN_POLL_MS);
}

function answerRead(mesh: MeshNode, defaultDeadlineMs: number, request: ReadRequest, context: CallContext, respond: Respond<ReadResponse>): void {
  const { region } = request;
  checkRegion(region, "region");
  checkList(request.entities, READ_NAMES, "", "entities");
  for (const [i, { kind, entityId }] of request.entities.entries()) {
    checkName(kind, 1, ID_BYTES_MAX, `entities[${i}]`, "kind");
    checkName(entityId, 1, ID_BYTES_MAX, `entities[${i}]`, "entity_id");
  }
  checkList(request.accounts, READ_NAMES, "", "accounts");
  for (const [i, account] of request.accounts.entries()) checkName(account, 1, ID_BYTES_MAX, "", `accounts[${i}]`);
  checkInteger(request.pageSize, 0, PAGE_MAX, "", "page_size");
  checkList(request.sessionPositions, POSITIONS, "", "session_positions");
  if (!LEVELS.has(request.level)) throw MeshError.field("level", "one of LINEARIZABLE, SESSION, BOUNDED_STALENESS, EVENTUAL");
  if (request.level === ReadLevel.BOUNDED_STALENESS) checkInteger(request.maxStalenessMs, 1, STALENESS_MAX_MS, "", "max_staleness_ms");
  if (request.pageToken !== "") openPageToken(request.pageToken, region);
  const groupId = groupOf(region, mesh.options.groups);
  const deadlineMs = deadlineOf(context, mesh.host.clock.monotonicMs(), defaultDeadlineMs);
  const node = {
    state: (id: number) => mesh.group(id).state,
    barrier: (id: number, untilMs: number, done: (error: MeshError | undefined) => void) => mesh.barrier(id, untilMs, done),
    whenApplied: (id: number, index: number, untilMs: number, done: (error: MeshError | undefined) => void) => mesh.group(id).whenApplied(index, untilMs, done),
    stalenessMs: (id: number) => mesh.stalenessMs(id),
    eventualValues: (place: typeof region, limit: number) => mesh.eventual.valuesOf(place, limit),
  };
  read(node, groupId, region, request, deadlineMs, (response, error) => {
    if (response === undefined) respond.fail(error ?? new MeshError("INTERNAL", "a read without an answer"));
    else respond(response);
  });
}

const LEVELS: ReadonlySet<number> = new Set([
  ReadLevel.UNSPECIFIED,
  ReadLevel.LINEARIZABLE,
  ReadLevel.SESSION,
  ReadLevel.BOUNDED_STALENESS,
  ReadLevel.EVENTUAL,
]);
