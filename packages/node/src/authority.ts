// The directory of game servers and region leases. Every node answers for it. `deadlineMs` is monotonic throughout.
import {
  type AcquireRequest,
  type AcquireResponse,
  type GameServer,
  type Lease,
  MeshError,
  type Reason,
  type Region,
  type RegionAuthority,
  type RegisterRequest,
  type RegisterResponse,
  type ReleaseRequest,
  type ReleaseResponse,
  type RenewRequest,
  type RenewResponse,
  type RouteRequest,
  type RouteResponse,
  type UnregisterRequest,
  type UnregisterResponse,
} from "@statemesh/contract";
import type { Command, CommandResult, DirectoryCommand } from "@statemesh/contract/log";
import { AUTHORITY_VERSION, commandOf, type MeshNode, needsAuthority } from "@statemesh/mesh";
import type { Timers } from "@statemesh/ports";
import {
  DIRECTORY_GROUP,
  checkInteger,
  checkName,
  checkPosition,
  checkRegion,
  checkText,
  groupOf,
  overlappingNeighbours,
  parseRegion,
  regionOf,
} from "@statemesh/world";
import { storeStands } from "./store-standing.ts";

export interface AuthorityNode {
  readonly mesh: MeshNode;
  readonly leaseMs: number;
  readonly registrationTtlMs: number;
  readonly timers: Timers;
  /** A new owner waits until the region store, where there is one, stands at its epoch. */
  readonly grantsNeedStore: boolean;
  clientAddressOf(nodeId: number): string;
}

const RENEW_LEASES = 1_024;
const SERVER_ID_MAX = 4_294_967_295;
/** Of a lease, the part that its grant may wait for the region store. */
const STORE_WAIT_SHARE = 3;
const MAX_REGIONS = 65_536;
const PLAYERS_MAX = 1_000_000;
const TICK_US_MAX = 60_000_000;

export async function register(node: AuthorityNode, request: RegisterRequest, deadlineMs: number): Promise<RegisterResponse> {
  checkServer(request.serverId);
  checkName(request.name, 1, 64, "", "name");
  checkText(request.address, 256, "", "address");
  checkInteger(request.incarnation, 1, Number.MAX_SAFE_INTEGER, "", "incarnation");
  checkInteger(request.maxRegions, 0, MAX_REGIONS, "", "max_regions");
  const server: GameServer = {
    serverId: request.serverId,
    name: request.name,
    address: request.address,
    priority: node.mesh.options.policy.priorityOf(request.serverId),
    incarnation: request.incarnation,
    maxRegions: request.maxRegions,
  };
  const result = await command(node, deadlineMs, { $case: "register", value: { server, ttlMs: node.registrationTtlMs } }).catch((thrown: unknown) => {
    throw heldByEarlierStart(node, request, MeshError.from(thrown));
  });
  await applied(node, deadlineMs, result);
  node.mesh.views.heardServer(request.serverId, node.registrationTtlMs);
  return { server: result.server, ttlMs: node.registrationTtlMs };
}

/** Says how long a registration may still be in the way, and of which server it is. */
function heldByEarlierStart({ registrationTtlMs }: AuthorityNode, { serverId }: RegisterRequest, error: MeshError): MeshError {
  if (error.reason !== "SERVER_ALREADY_REGISTERED") return error;
  const hint = `the registration ends with Unregister, or ${registrationTtlMs} ms after its server was last heard of`;
  const isSameId = error.message.startsWith(`server ${serverId} `);
  return new MeshError(error.reason, `${error.message}: ${hint}`, { metadata: { ...error.metadata, ttl_ms: String(registrationTtlMs), same_id: String(isSameId) }, cause: error });
}

export async function unregister(node: AuthorityNode, { serverId, incarnation }: UnregisterRequest, deadlineMs: number): Promise<UnregisterResponse> {
  checkServer(serverId);
  checkInteger(incarnation, 1, Number.MAX_SAFE_INTEGER, "", "incarnation");
  // As if it had run out, so that every build knows it.
  await command(node, deadlineMs, { $case: "expire", value: { leases: [], servers: [{ serverId, incarnation }], failover: false, silentServerIds: [], handoffIds: [] } });
  return {};
}

export async function route(node: AuthorityNode, request: RouteRequest, deadlineMs: number): Promise<RouteResponse> {
  const { place } = request;
  let region: Region;
  let overlapping: Region[] = [];
  switch (place?.$case) {
    case "position":
      checkPosition(place.value, "position");
      region = regionOf(place.value);
      overlapping = overlappingNeighbours(place.value);
      break;
    case "region":
      checkRegion(place.value, "region");
      region = place.value;
      break;
    case "regionText": {
      const parsed = parseRegion(place.value);
      if (parsed === undefined) throw MeshError.field("region_text", "must be region_X_Y_Z, as region_-1_0_3");
      region = parsed;
      break;
    }
    default:
      throw MeshError.field("place", "one of position, region and region_text is required");
  }
  let authority = authorityOf(node, region);
  // Its answer is as new as the gift; this node may be a little behind.
  if (request.assign && authority.owner === undefined) authority = (await assign(node, [region], deadlineMs))[0] ?? authorityOf(node, region);
  const groupId = groupOf(region, node.mesh.options.groups);
  const leader = node.mesh.group(groupId).leader;
  return {
    authority,
    overlapping: overlapping.map((neighbour) => authorityOf(node, neighbour)),
    groupId,
    leaderNodeId: leader,
    leaderAddress: leader === 0 ? "" : node.clientAddressOf(leader),
  };
}

/** Gives out those of the regions that nobody owns. */
export async function assign(node: AuthorityNode, regions: readonly Region[], deadlineMs: number): Promise<RegionAuthority[]> {
  return (await command(node, deadlineMs, { $case: "assign", value: { regions: [...regions], durationMs: node.leaseMs, silentServerIds: [] } })).assigned;
}

export function authorityOf(node: AuthorityNode, region: Region): RegionAuthority {
  const remaining = node.mesh.authority.leases.remainingMs(region, node.mesh.host.clock.monotonicMs());
  return node.mesh.directory.directory.authority(region, remaining);
}

export async function acquire(node: AuthorityNode, request: AcquireRequest, deadlineMs: number): Promise<AcquireResponse> {
  checkServer(request.serverId);
  checkRegion(request.region, "region");
  const result = await command(node, deadlineMs, {
    $case: "acquire",
    value: { serverId: request.serverId, region: request.region, durationMs: node.leaseMs },
  });
  const { lease } = result;
  if (lease === undefined) throw new MeshError("INTERNAL", "a grant without a lease");
  // The fence first, then the answer: when the new owner begins, no write of the old one can be decided any more.
  await fence(node, deadlineMs, lease, lease.serverId);
  // Not so long that the lease runs out meanwhile: who asks again renews it.
  const storeMs = Math.min(deadlineMs, node.mesh.host.clock.monotonicMs() + node.leaseMs / STORE_WAIT_SHARE);
  if (node.grantsNeedStore) await storeStands(node, request.region, lease.epoch, lease.serverId, storeMs);
  return { lease };
}

export async function renew(node: AuthorityNode, request: RenewRequest, deadlineMs: number): Promise<RenewResponse> {
  checkServer(request.serverId);
  if (request.leases.length > RENEW_LEASES) throw MeshError.field("leases", `at most ${RENEW_LEASES}`);
  for (const [i, lease] of request.leases.entries()) {
    checkRegion(lease.region, `leases[${i}].region`);
    checkInteger(lease.epoch, 1, Number.MAX_SAFE_INTEGER, `leases[${i}]`, "epoch");
    checkInteger(lease.players, 0, PLAYERS_MAX, `leases[${i}]`, "players");
  }
  const { load } = request;
  if (load !== undefined) {
    checkInteger(load.players, 0, PLAYERS_MAX, "load", "players");
    checkInteger(load.tickUs, 0, TICK_US_MAX, "load", "tick_us");
    checkInteger(load.cpuPermille, 0, 1_000, "load", "cpu_permille");
  }
  // Leases go on at every version: what an older node could not read is left out.
  const keeps = node.mesh.membership.version >= AUTHORITY_VERSION;
  const leases = keeps ? request.leases : request.leases.map((lease) => ({ ...lease, players: 0 }));
  const result = await command(node, deadlineMs, {
    $case: "renew",
    value: { serverId: request.serverId, leases, durationMs: node.leaseMs, ttlMs: node.registrationTtlMs, load: keeps ? load : undefined },
  });
  node.mesh.views.heardServer(request.serverId, node.leaseMs);
  const { renewed, lost, assigned, handoffs, position } = result;
  return { renewed, lost, assigned, handoffs, position };
}

export async function release(node: AuthorityNode, request: ReleaseRequest, deadlineMs: number): Promise<ReleaseResponse> {
  checkServer(request.serverId);
  checkRegion(request.region, "region");
  checkInteger(request.epoch, 1, Number.MAX_SAFE_INTEGER, "", "epoch");
  const result = await command(node, deadlineMs, {
    $case: "release",
    value: { serverId: request.serverId, region: request.region, epoch: request.epoch },
  });
  if (result.released && result.lease !== undefined) await fence(node, deadlineMs, result.lease, 0);
  return { released: result.released };
}

/** Throws INVALID_FIELD. */
export function checkServer(serverId: number, field = "server_id"): void {
  checkInteger(serverId, 1, SERVER_ID_MAX, "", field);
}

/** Puts a command through the log of the directory. Rejects with what the command itself was refused for. */
export async function command(node: AuthorityNode, deadlineMs: number, body: NonNullable<DirectoryCommand["command"]>): Promise<CommandResult> {
  const { version } = node.mesh.membership;
  if (version < AUTHORITY_VERSION && needsAuthority({ command: body, nowMs: 0 })) {
    throw new MeshError("VERSION_TOO_LOW", `the cluster works at version ${version}; handoffs, backups and regions that are given out need version ${AUTHORITY_VERSION}: start every node with a newer build`, {
      metadata: { cluster_version: String(version), needed_version: String(AUTHORITY_VERSION) },
    });
  }
  const result = await relayed(node, DIRECTORY_GROUP, deadlineMs, commandOf({ $case: "directory", value: { command: body, nowMs: 0 } }));
  if (result === undefined) throw new MeshError("INTERNAL", "a command of the directory without a result");
  if (result.reason === "") return result;
  const { holder } = result;
  const field = result.metadata.get("field");
  throw new MeshError(result.reason as Reason, result.message, {
    metadata:
      holder === undefined
        ? Object.fromEntries(result.metadata)
        : { region: holder.regionText, owner_server_id: String(holder.owner?.serverId ?? 0), current_epoch: String(holder.epoch) },
    ...(field === undefined ? {} : { field }),
    ...(holder === undefined ? {} : { retryDelayMs: Math.max(50, holder.leaseRemainingMs) }),
  });
}

export async function fence(node: AuthorityNode, deadlineMs: number, lease: Lease, ownerServerId: number): Promise<void> {
  const { region, epoch } = lease;
  if (region === undefined) throw new MeshError("INTERNAL", "a lease without a region");
  if (node.mesh.authority.isFenced({ region, epoch, serverId: ownerServerId })) return;
  await relayed(node, groupOf(region, node.mesh.options.groups), deadlineMs, commandOf({ $case: "fence", value: { region, epoch, ownerServerId } }));
}

async function relayed(node: AuthorityNode, groupId: number, deadlineMs: number, body: Command): Promise<CommandResult | undefined> {
  const { mesh } = node;
  return new Promise((resolve, reject) => {
    mesh.relay.command(groupId, body, deadlineMs, (result, error) => {
      if (error === undefined) resolve(result);
      else reject(error);
    });
    mesh.dirty();
  });
}

/** Waits until this node has applied the command too, so that the caller's next call here sees it. */
async function applied(node: AuthorityNode, deadlineMs: number, { position }: CommandResult): Promise<void> {
  if (position === undefined) return;
  // The command took effect: a node that is slow to apply it is no reason to say otherwise.
  await new Promise<void>((resolve) => node.mesh.group(position.groupId).whenApplied(position.index, deadlineMs, () => resolve()));
}
