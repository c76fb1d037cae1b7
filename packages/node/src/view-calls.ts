// What callers hear of views and splits from a node.
import { MeshError, PartitionEvent, type Region, type ReportHeartbeatRequest, type ReportHeartbeatResponse, Side, type ViewState, type WatchViewResponse } from "@statemesh/contract";
import type { MeshNode } from "@statemesh/mesh";
import type { GroupState } from "@statemesh/replica";
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

/** What is used of a node to tell about its view. */
export interface ViewingNode {
  readonly views: { state(): ViewState };
  readonly directory: Pick<GroupState, "directory">;
  readonly cutOff: { readonly partition: { losingSide(groupId: number): object | undefined } };
  readonly options: { readonly groups: number };
}

/** What all streams of WatchView are told alike. */
export interface ViewPicture {
  readonly state: ViewState;
  /** Regions of shards that nobody hears, one more than are listed. */
  readonly unheardRegions: readonly Region[];
  /** By group: it cannot be written from here. */
  readonly cutOffGroups: readonly boolean[];
}

export function pictureOf(mesh: ViewingNode): ViewPicture {
  const state = mesh.views.state();
  const cutOffGroups = Array.from({ length: mesh.options.groups + 1 }, (_, groupId) => state.side === Side.LOSING || mesh.cutOff.partition.losingSide(groupId) !== undefined);
  return { state, unheardRegions: ownedBy(mesh, state.unheardServerIds, () => true), cutOffGroups };
}

/**
 * What a stream of WatchView is told now.
 *
 * @param serverId the shard that asks; 0: none
 * @param before the side that it was told last; undefined: nothing yet
 */
export function watchView(mesh: ViewingNode, { state, unheardRegions, cutOffGroups }: ViewPicture, serverId: number, before: Side | undefined): WatchViewResponse {
  const own = serverId === 0 ? [] : ownedBy(mesh, [serverId], (region) => cutOffGroups[groupOf(region, mesh.options.groups)] === true);
  return {
    event: eventOf(before, state.side),
    state,
    ownRegions: own.slice(0, REGIONS_LISTED),
    unheardRegions: unheardRegions.slice(0, REGIONS_LISTED),
    moreRegions: own.length > REGIONS_LISTED || unheardRegions.length > REGIONS_LISTED,
  };
}

/** Regions of shards that are wanted, at most one more than are listed. */
function ownedBy(mesh: ViewingNode, serverIds: readonly number[], wants: (region: Region) => boolean): Region[] {
  const { leases } = mesh.directory.directory.tables;
  const regions: Region[] = [];
  for (const serverId of serverIds) {
    for (const { region } of leases.ownedBy(serverId)) {
      if (wants(region) && regions.push(region) > REGIONS_LISTED) return regions;
    }
  }
  return regions;
}

function eventOf(before: Side | undefined, now: Side): PartitionEvent {
  if (before === undefined) return PartitionEvent.STATE;
  if (before === Side.WHOLE && now !== Side.WHOLE) return PartitionEvent.STARTED;
  return before !== Side.WHOLE && now === Side.WHOLE ? PartitionEvent.ENDED : PartitionEvent.CHANGED;
}
