// What a shard may publish to and read from a node.
import { type ListContainersRequest, type ListContainersResponse, MeshError, type PublishRequest, type PublishResponse, ReadLevel, type ReadRequest, type ReadResponse, type ReadSnapshotRequest, type ReadSnapshotResponse } from "@statemesh/contract";
import { commandOf, listContainers, type MeshNode, placeOfPage, read, readSnapshot, type SnapshotHold, type SnapshotPart, startOfContainerList } from "@statemesh/mesh";
import type { Timers } from "@statemesh/ports";
import { ID_BYTES_MAX, checkInteger, checkList, checkName, checkRegion, formatRegion, groupOf } from "@statemesh/world";

/** Where an answer goes: `done` or `fail`, once. */
export interface Answer<Response> {
  done(response: Response): void;
  fail(error: unknown): void;
  /** Nobody waits for it any more. */
  isGone(): boolean;
}

/** How often a publish looks whether the events of its token have come. */
const TOKEN_POLL_MS = 10;
/** A call that waits for what its token names gives up so long before its deadline, or a fifth of its time. */
const ANSWER_MS = 250;
const UPDATES = 1_024;
const EVENTS = 256;
const READ_NAMES = 256;
const READ_CONTAINERS = 16;
const SNAPSHOT_PARTS = 64;
const PAGE_MAX = 1_000;
const STALENESS_MAX_MS = 600_000;
const POSITIONS = 64;

/**
 * Until when a call with a deadline may wait for what it needs, monotonic: its refusal, which says that nothing was done, has to be with the caller before
 * the caller gives up, or nobody there knows what was done.
 */
export function waitsUntilMs(nowMs: number, deadlineMs: number): number {
  return deadlineMs - Math.min(ANSWER_MS, Math.max(0, deadlineMs - nowMs) / 5);
}

/** Takes updates and events; `answer.isGone` where nobody waits for the answer any more. Throws where the request is not valid. */
export function publish(mesh: MeshNode, timers: Timers, request: PublishRequest, deadlineMs: number, answer: Answer<PublishResponse>): void {
  checkInteger(request.serverId, 1, 4_294_967_295, "", "server_id");
  checkList(request.updates, UPDATES, "", "updates");
  checkList(request.events, EVENTS, "", "events");
  const late = mesh.lateness.refusal(request.updates.length + request.events.length);
  if (late !== undefined) throw late;
  const take = (): void => {
    if (mesh.directory.directory.server(request.serverId) === undefined) {
      throw new MeshError("SERVER_NOT_REGISTERED", `server_id: server ${request.serverId} is not registered: call AuthorityDirectoryService/Register first`, { field: "server_id" });
    }
    mesh.quotas.takeUpdates(request.serverId, request.updates.length + request.events.length, mesh.host.clock.monotonicMs());
    const { policy } = mesh.options;
    const nowMs = mesh.host.clock.wallMs();
    // All or nothing: the updates are checked before the events are taken, and then nothing refuses them.
    mesh.eventual.admit(request.updates, request.serverId, nowMs, policy);
    const causalToken = mesh.causal.publish(request.events, request.serverId, request.causalToken, policy);
    const { updates, staleUpdates } = mesh.eventual.publish(request.updates, request.serverId, nowMs, mesh.clock, policy);
    answer.done({ updates, staleUpdates, causalToken, session: undefined });
  };
  const attempt = (): void => {
    try {
      whenCovered(mesh, timers, request, waitsUntilMs(mesh.host.clock.monotonicMs(), deadlineMs), take, answer);
    } catch (refused) {
      answer.fail(refused);
    }
  };
  if (mesh.directory.directory.server(request.serverId) !== undefined) return attempt();
  mesh.barrier(0, deadlineMs, (error) => (error === undefined ? attempt() : answer.fail(error)));
}

/** A token of another node may be a tick ahead of this one: its events are on their way, so the call waits for them. */
function whenCovered(mesh: MeshNode, timers: Timers, request: PublishRequest, untilMs: number, take: () => void, answer: Answer<PublishResponse>): void {
  if (answer.isGone()) return answer.fail(new MeshError("CANCELLED", "the caller went away"));
  const { causalToken } = request;
  if (causalToken !== undefined) mesh.causal.validateToken(causalToken, "causal_token");
  const late = mesh.host.clock.monotonicMs() + TOKEN_POLL_MS >= untilMs;
  // Past that `take` answers TOKEN_AHEAD.
  if (causalToken === undefined || late || mesh.causal.covers(causalToken)) return take();
  timers.after(TOKEN_POLL_MS, () => {
    try {
      whenCovered(mesh, timers, request, untilMs, take, answer);
    } catch (refused) {
      answer.fail(refused);
    }
  });
}

/** Lets what takes long wait for its turn. */
export type Turn = (run: () => void) => void;

/** Answers a read, in turns where one is given. Throws where the request is not valid. */
export function readFrom(mesh: MeshNode, request: ReadRequest, deadlineMs: number, answer: Answer<ReadResponse>, turn?: Turn): void {
  const { region } = request;
  checkRegion(region, "region");
  checkNames(request, "");
  checkInteger(request.pageSize, 0, PAGE_MAX, "", "page_size");
  checkList(request.containers, READ_CONTAINERS, "", "containers");
  request.containers.forEach((id, i) => checkName(id, 1, ID_BYTES_MAX, "", `containers[${i}]`));
  checkList(request.sessionPositions, POSITIONS, "", "session_positions");
  if (!LEVELS.has(request.level)) throw MeshError.field("level", "one of LINEARIZABLE, SESSION, BOUNDED_STALENESS, EVENTUAL");
  if (request.level === ReadLevel.BOUNDED_STALENESS) checkInteger(request.maxStalenessMs, 1, STALENESS_MAX_MS, "", "max_staleness_ms");
  placeOfPage(request, region);
  const groupId = groupOf(region, mesh.options.groups);
  const node = {
    state: (id: number) => mesh.group(id).state,
    barrier: (id: number, untilMs: number, done: (error: MeshError | undefined) => void) => mesh.barrier(id, untilMs, done),
    whenApplied: (id: number, index: number, untilMs: number, done: (error: MeshError | undefined) => void) => mesh.group(id).whenApplied(index, untilMs, done),
    stalenessMs: (id: number) => mesh.stalenessMs(id),
    eventualValues: (place: typeof region) => mesh.eventual.read(place),
    ...(turn !== undefined && { turn }),
  };
  read(node, groupId, region, request, deadlineMs, (response, error) => {
    if (response === undefined) answer.fail(error ?? new MeshError("INTERNAL", "a read without an answer"));
    else answer.done(response);
  });
}

/** Lists the containers of a player, in turns where one is given. Throws where the request is not valid. */
export function listContainersFrom(mesh: MeshNode, request: ListContainersRequest, deadlineMs: number, answer: Answer<ListContainersResponse>, turn?: Turn): void {
  const { region } = request;
  checkName(request.playerId, 1, ID_BYTES_MAX, "", "player_id");
  if (region !== undefined) checkRegion(region, "region");
  checkInteger(request.pageSize, 0, PAGE_MAX, "", "page_size");
  const onlyGroup = region === undefined ? undefined : groupOf(region, mesh.options.groups);
  startOfContainerList(request, onlyGroup, mesh.options.groups);
  const node = {
    groups: mesh.options.groups,
    state: (id: number) => mesh.group(id).state,
    barrier: (id: number, untilMs: number, done: (error: MeshError | undefined) => void) => mesh.barrier(id, untilMs, done),
    whenApplied: (id: number, index: number, untilMs: number, done: (error: MeshError | undefined) => void) => mesh.group(id).whenApplied(index, untilMs, done),
    isGone: () => answer.isGone(),
    ...(turn !== undefined && { turn }),
  };
  listContainers(node, request, onlyGroup, deadlineMs, (response, error) => {
    if (response === undefined) answer.fail(error ?? new MeshError("INTERNAL", "a list without an answer"));
    else answer.done(response);
  });
}

/** Checks the names of what is read; `path`: of the message that holds them, empty or with a dot at its end. */
function checkNames({ entities, accounts }: Pick<ReadRequest, "entities" | "accounts">, path: string): void {
  const within = path.slice(0, -1);
  checkList(entities, READ_NAMES, within, "entities");
  for (const [i, { kind, entityId }] of entities.entries()) {
    checkName(kind, 1, ID_BYTES_MAX, `${path}entities[${i}]`, "kind");
    checkName(entityId, 1, ID_BYTES_MAX, `${path}entities[${i}]`, "entity_id");
  }
  checkList(accounts, READ_NAMES, within, "accounts");
  for (const [i, account] of accounts.entries()) checkName(account, 1, ID_BYTES_MAX, within, `accounts[${i}]`);
}

/** Answers a read of several regions in one cut, in turns where one is given. Throws where the request is not valid. */
export function readSnapshotFrom(mesh: MeshNode, { parts }: ReadSnapshotRequest, deadlineMs: number, answer: Answer<ReadSnapshotResponse>, turn?: Turn): void {
  if (parts.length === 0) throw MeshError.field("parts", `1..${SNAPSHOT_PARTS} parts`);
  checkList(parts, SNAPSHOT_PARTS, "", "parts");
  const asked: SnapshotPart[] = [];
  const seen = new Set<string>();
  for (const [i, { region, entities, accounts }] of parts.entries()) {
    checkRegion(region, `parts[${i}].region`);
    checkNames({ entities, accounts }, `parts[${i}].`);
    const text = formatRegion(region);
    if (seen.has(text)) throw MeshError.field(`parts[${i}].region`, "each region once");
    seen.add(text);
    asked.push({ region, groupId: groupOf(region, mesh.options.groups), entities, accounts });
  }
  const holdId = `${mesh.nodeId}-${mesh.options.incarnation}-${++mesh.snapshotsRead}`;
  const node = {
    state: (id: number) => mesh.group(id).state,
    barrier: (id: number, untilMs: number, done: (error: MeshError | undefined) => void) => mesh.barrier(id, untilMs, done),
    whenApplied: (id: number, index: number, untilMs: number, done: (error: MeshError | undefined) => void) => mesh.group(id).whenApplied(index, untilMs, done),
    monotonicMs: () => mesh.host.clock.monotonicMs(),
    hold: (id: number, hold: SnapshotHold, untilMs: number, done: () => void) => {
      mesh.relay.command(id, commandOf({ $case: "hold", value: { holdId, holdMs: hold.holdMs, regions: [...hold.regions], accounts: [...hold.accounts] } }), untilMs, () => done());
      mesh.dirty();
    },
    ...(turn !== undefined && { turn }),
  };
  readSnapshot(node, asked, deadlineMs, (response, error) => {
    if (response === undefined) answer.fail(error ?? new MeshError("INTERNAL", "a snapshot without an answer"));
    else answer.done(response);
  });
}

const LEVELS: ReadonlySet<number> = new Set([
  ReadLevel.UNSPECIFIED,
  ReadLevel.LINEARIZABLE,
  ReadLevel.SESSION,
  ReadLevel.BOUNDED_STALENESS,
  ReadLevel.EVENTUAL,
]);
