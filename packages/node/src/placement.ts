// Calls about where regions are: given out, evened out, and where the most happens. `deadlineMs` is monotonic throughout.
import {
  type AssignRegionsRequest,
  type AssignRegionsResponse,
  type BalanceRequest,
  type BalanceResponse,
  type HotRegion,
  type ListHotRegionsRequest,
  type ListHotRegionsResponse,
  MeshError,
  HandoffPhase,
  type Region,
  type RegionMove,
  type ServerStanding,
} from "@statemesh/contract";
import { AUTHORITY_VERSION } from "@statemesh/mesh";
import { type PlannedMove, planBalance } from "@statemesh/replica";
import { checkInteger, checkRegion, formatRegion, parseRegion } from "@statemesh/world";
import { type AuthorityNode, assign, authorityOf, command } from "./authority.ts";

const ASSIGNED_MAX = 1_024;
const MOVES_MAX = 256;
const MOVES_DEFAULT = 16;
const MOVE_TIMEOUT_MS = 30_000;
const HOT_MAX = 256;
const HOT_DEFAULT = 20;

export async function assignRegions(node: AuthorityNode, { regions }: AssignRegionsRequest, deadlineMs: number): Promise<AssignRegionsResponse> {
  if (regions.length < 1 || regions.length > ASSIGNED_MAX) throw MeshError.field("regions", `1..${ASSIGNED_MAX}`);
  for (const [at, region] of regions.entries()) checkRegion(region, `regions[${at}]`);
  return { assigned: await assign(node, regions, deadlineMs) };
}

export async function balance(node: AuthorityNode, { dryRun, movesMax }: BalanceRequest, deadlineMs: number): Promise<BalanceResponse> {
  if (movesMax !== 0) checkInteger(movesMax, 1, MOVES_MAX, "", "moves_max");
  const { mesh } = node;
  const { version } = mesh.membership;
  if (version < AUTHORITY_VERSION) {
    throw new MeshError("VERSION_TOO_LOW", `the cluster works at version ${version}; regions are handed over from version ${AUTHORITY_VERSION} on`, { metadata: { cluster_version: String(version), needed_version: String(AUTHORITY_VERSION) } });
  }
  const { tables } = mesh.directory.directory;
  const silent = new Set(mesh.authority.silentServers());
  const planned = planBalance(tables, movesMax === 0 ? MOVES_DEFAULT : movesMax, silent);
  const servers = standings(node, planned);
  const moves: RegionMove[] = [];
  // One after the other: what is refused says so, and the rest goes on.
  for (const [at, move] of planned.entries()) moves.push(dryRun ? { ...move, handoffId: "", refused: "" } : await begin(node, move, `balance-${Math.floor(mesh.host.clock.wallMs())}-${at}`, deadlineMs));
  return { moves, servers };
}

async function begin(node: AuthorityNode, move: PlannedMove, handoffId: string, deadlineMs: number): Promise<RegionMove> {
  const { region, epoch, fromServerId, toServerId } = move;
  const handoff = { handoffId, region, epoch, fromServerId, toServerId, phase: HandoffPhase.PREPARED, reason: "", timeoutMs: MOVE_TIMEOUT_MS };
  try {
    await command(node, deadlineMs, { $case: "prepare", value: { handoff } });
    return { ...move, handoffId, refused: "" };
  } catch (error) {
    return { ...move, handoffId: "", refused: MeshError.from(error).reason };
  }
}

function standings({ mesh }: AuthorityNode, planned: readonly PlannedMove[]): ServerStanding[] {
  const { tables } = mesh.directory.directory;
  return [...tables.servers()]
    .sort((a, b) => a.serverId - b.serverId)
    .map((server) => {
      const regions = tables.leases.ownedCount(server.serverId);
      const players = tables.leases.playersOf(server.serverId);
      const change = { regions: 0, players: 0 };
      for (const move of planned) {
        const sign = move.toServerId === server.serverId ? 1 : move.fromServerId === server.serverId ? -1 : 0;
        change.regions += sign;
        change.players += sign * move.players;
      }
      return { server, regions, players, load: tables.load(server.serverId), regionsAfter: regions + change.regions, playersAfter: players + change.players };
    });
}

export function listHotRegions(node: AuthorityNode, { limit }: ListHotRegionsRequest): ListHotRegionsResponse {
  if (limit !== 0) checkInteger(limit, 1, HOT_MAX, "", "limit");
  const rates = node.mesh.authority.heat.rates(node.mesh.host.clock.monotonicMs());
  const heat = new Map<string, { region: Region; rate: number; players: number }>();
  for (const { region, players } of node.mesh.directory.directory.leases()) if (players > 0) heat.set(formatRegion(region), { region, rate: 0, players });
  for (const [text, rate] of rates) {
    const region = parseRegion(text);
    if (region !== undefined) heat.set(text, { region, rate, players: heat.get(text)?.players ?? 0 });
  }
  const hottest = [...heat.entries()].sort(([a, one], [b, other]) => other.rate + other.players - one.rate - one.players || (a < b ? -1 : 1));
  const regions = hottest.slice(0, limit === 0 ? HOT_DEFAULT : limit).map(([, { region, rate, players }]): HotRegion => ({ authority: authorityOf(node, region), operationsPerSecond: rate, players }));
  return { regions };
}
