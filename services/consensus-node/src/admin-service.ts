// What operators ask a node.
import {
  ClusterAdminServiceService,
  type GetStatusResponse,
  type GroupStatus,
  MeshError,
  type TransferLeadershipRequest,
  type TransferLeadershipResponse,
} from "@statemesh/contract";
import type { MeshNode } from "@statemesh/mesh";
import type { NodeRuntime } from "@statemesh/node";
import { type CallContext, type ServiceBinding, bindService, serverStream, unary } from "@statemesh/service";
import { checkInteger } from "@statemesh/world";
import type { BulkCalls } from "./bulk-calls.ts";
import { ConservationWatch, verify } from "./conservation-service.ts";
import { deadlineOf } from "./deadlines.ts";
import { addMember, cancelMemberChange, drainNode, listMemberChanges, listMembers, removeMember, replaceMember, watchMemberChange } from "./member-service.ts";

export interface AdminNode {
  readonly mesh: MeshNode;
  readonly clusterId: string;
  readonly version: string;
  readonly startedAtMs: number;
  readonly defaultDeadlineMs: number;
  readonly runtime: NodeRuntime;
  readonly bulk: BulkCalls;
  clientAddressOf(nodeId: number): string;
  walBytes(): number;
}

/** How often a transfer looks whether leadership has moved. */
const TRANSFER_POLL_MS = 20;

export function adminService(node: AdminNode): ServiceBinding {
  const conservation = new ConservationWatch(node.mesh);
  return bindService(ClusterAdminServiceService, {
    getStatus: unary(() => statusOf(node)),
    transferLeadership: unary((request, context) => transfer(node, request, context)),
    verifyConservation: node.bulk.unary((request, context) => verify(node, request, context)),
    watchConservation: serverStream((request, responses, context) => conservation.watch(request, responses, context)),
    listMembers: unary(() => listMembers(node)),
    addMember: unary((request, context) => addMember(node, request, context)),
    removeMember: unary((request, context) => removeMember(node, request, context)),
    replaceMember: unary((request, context) => replaceMember(node, request, context)),
    cancelMemberChange: unary((request, context) => cancelMemberChange(node, request, context)),
    listMemberChanges: unary(() => listMemberChanges(node)),
    watchMemberChange: serverStream((request, responses, context) => watchMemberChange(node, request, responses, context)),
    drainNode: unary((request, context) => drainNode(node, request, context)),
  });
}

function statusOf(node: AdminNode): GetStatusResponse {
  const { mesh } = node;
  let arbiterFallbacks = 0;
  for (const group of mesh.groups) arbiterFallbacks += group.counts.fallbacks;
  return {
    nodeId: mesh.nodeId,
    clusterId: node.clusterId,
    version: node.version,
    startedAtMs: node.startedAtMs,
    peers: [...node.runtime.links]
      .sort(([a], [b]) => a - b)
      .map(([peer, { transport }]) => ({
        nodeId: peer,
        address: transport.address,
        clientAddress: node.clientAddressOf(peer),
        connected: mesh.isConnected(peer),
        lastHeardMsAgo: Math.floor(mesh.silenceMs(peer) ?? -1),
        policyDigest: node.runtime.policyDigestOf(peer),
      })),
    groups: mesh.groups.map((group) => groupStatus(node, group.groupId)),
    arbiterFallbacks,
    walBytes: node.walBytes(),
    clusterVersion: mesh.membership.version,
    versionMin: mesh.versions.min,
    versionMax: mesh.versions.max,
    view: mesh.views.state(),
    policyDigest: mesh.options.policy.digest,
    arbitersOfOtherPolicy: node.runtime.arbitersOfOtherPolicy,
  };
}

function groupStatus({ mesh, runtime }: AdminNode, groupId: number): GroupStatus {
  const group = mesh.group(groupId);
  const status = group.core.status();
  const leads = status.role === "leader";
  const match = new Map<number, number>();
  if (leads) for (const [peer, progress] of status.progress) match.set(peer, progress.match);
  return {
    groupId,
    role: status.role,
    term: status.term,
    leaderNodeId: status.leader,
    firstIndex: status.firstIndex,
    lastIndex: status.lastIndex,
    commitIndex: status.commitIndex,
    appliedIndex: group.state.appliedIndex,
    voters: [...status.configuration.voters],
    learners: [...status.learners],
    match,
    stateDigest: group.state.digest,
    entities: group.state.entities.size,
    materializedIndex: leads ? mesh.materializedIndex(groupId) : 0,
    pending: group.waiting,
    outgoing: [...status.configuration.outgoing],
    snapshotPercent: new Map(leads ? runtime.snapshotPercent(groupId) : []),
    membershipWaitsFor: leads ? mesh.members.waitsFor(groupId) : "",
  };
}

async function transfer(node: AdminNode, request: TransferLeadershipRequest, context: CallContext): Promise<TransferLeadershipResponse> {
  const { mesh } = node;
  checkInteger(request.groupId, 0, mesh.options.groups, "", "group_id");
  const { groupId, targetNodeId } = request;
  const group = mesh.group(groupId);
  const { voters } = group.core.configuration;
  if (!voters.includes(targetNodeId)) throw MeshError.field("target_node_id", `must be a voter of the group: one of ${voters.join(", ")}`);
  if (group.leader === targetNodeId) return { leaderNodeId: targetNodeId, term: group.core.term };
  if (group.core.role !== "leader") {
    throw new MeshError("NOT_LEADER", `ask the leader of group ${groupId}`, {
      metadata: { leader_node_id: String(group.leader), leader_address: group.leader === 0 ? "" : node.clientAddressOf(group.leader) },
    });
  }
  const result = group.transferLeadership(targetNodeId);
  if (result !== "ok") throw new MeshError("TRANSFER_ABORTED", `leadership of group ${groupId} cannot go to node ${targetNodeId}: ${result}`);
  const deadlineMs = deadlineOf(context, mesh.host.clock.monotonicMs(), node.defaultDeadlineMs);
  while (group.leader !== targetNodeId) {
    if (mesh.host.clock.monotonicMs() >= deadlineMs || (group.core.role === "leader" && group.core.status().transferee === 0)) {
      throw new MeshError("TRANSFER_ABORTED", `leadership of group ${groupId} did not move to node ${targetNodeId} in time`);
    }
    await new Promise((resolve) => setTimeout(resolve, TRANSFER_POLL_MS));
  }
  return { leaderNodeId: targetNodeId, term: group.core.term };
}
