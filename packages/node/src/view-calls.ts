// What callers hear of views and splits from a node.
import { MeshError, PartitionEvent, type Region, type ReportHeartbeatRequest, type ReportHeartbeatResponse, Side, type WatchViewResponse } from "@statemesh/contract";
import type { MeshNode } from "@statemesh/mesh";
import { checkInteger, checkList, groupOf } from "@statemesh/world";

const NODES_MAX = 16;
const SERVERS_MAX = 2_048;
/** Regions of one list at most. */
const REGIONS_LISTED = 1_024;

/** A game shard says that it is there. Throws where it says something that cannot be. */
export function reportHeartbeat(mesh: MeshNode, { heartbeat }: ReportHeartbeatRequest): ReportHeartbeatResponse {
  if (heartbeat === undefined) throw MeshError.field("heartbeat", "is required");
  const { serverId, nodeId, incarnation, sequence, hearsNodes, hearsServers } = heartbeat;
  if (nodeId !== 0) throw MeshError.field("heartbeat.node_id", "must be 0: nodes tell one another by their own streams");
  checkInteger(serverId, 1, 4_294_967_295, "heartbeat", "server_id");
  checkInteger(incarnation, 0, Number.MAX_SAFE_INTEGER, "heartbeat", "incarnation");
  checkInteger(sequence, 0, Number.MAX_SAFE_INTEGER, "heartbeat", "sequence");
  checkList(hearsNodes, NODES_MAX, "heartbeat", "hears_nodes");
  checkList(hearsServers, SERVERS_MAX, "heartbeat", "hears_servers");
  const { nodeId: answering, side, view } = mesh.views.state();
  // A link counts if both ends hear one another; one who does not say whom it hears is taken at its call.
  const hearsThisNode = hearsNodes.length === 0 || hearsNodes.includes(answering);
  if (hearsThisNode && mesh.directory.directory.server(serverId)?.incarnation === incarnation) mesh.views.heardServer(serverId, 0);
  return { nodeId: answering, side, viewEpoch: view?.epoch ?? 0, heartbeatMs: mesh.views.times.heartbeatMs };
}

/**
 * What a stream of WatchView is told now.
 *
 * @param serverId the shard that asks; 0: none
 * @param before the side that it was told last; undefined: nothing yet
 */
export function watchView(mesh: MeshNode, serverId: number, before: Side | undefined): WatchViewResponse {
  const state = mesh.views.state();
  const unheard = new Set(state.unheardServerIds);
  const own: Region[] = [];
  const others: Region[] = [];
  for (const { region, serverId: owner } of mesh.directory.directory.leases()) {
    if (owner === 0) continue;
    if (owner === serverId && (state.side === Side.LOSING || mesh.cutOff.partition.losingSide(groupOf(region, mesh.options.groups)) !== undefined)) own.push(region);
    if (unheard.has(owner)) others.push(region);
  }
  return {
    event: eventOf(before, state.side),
    state,
    ownRegions: own.slice(0, REGIONS_LISTED),
    unheardRegions: others.slice(0, REGIONS_LISTED),
    moreRegions: own.length > REGIONS_LISTED || others.length > REGIONS_LISTED,
  };
}

function eventOf(before: Side | undefined, now: Side): PartitionEvent {
  if (before === undefined) return PartitionEvent.STATE;
  if (before === Side.WHOLE && now !== Side.WHOLE) return PartitionEvent.STARTED;
  return before !== Side.WHOLE && now === Side.WHOLE ? PartitionEvent.ENDED : PartitionEvent.CHANGED;
}
