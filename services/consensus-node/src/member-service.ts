// The part of the administration that changes who belongs to the cluster. Whatever node is asked puts the wish before the
// leader of group 0, which checks it and puts it on record; the change then goes on by itself.
import {
  type AddMemberRequest, type CancelMemberChangeRequest, type DrainNodeRequest, type DrainNodeResponse, type IdentifyResponse, type ListMemberChangesResponse, type ListMembersResponse, type Member,
  type MemberChange, MemberChangeKind, MemberState, MeshError, type Reason, type RemoveMemberRequest, type ReplaceMemberRequest, type WatchMemberChangeRequest, type WatchMemberChangeResponse,
} from "@statemesh/contract";
import type { CommandResult, MembershipCommand } from "@statemesh/contract/log";
import { bestSuccessor, commandOf, isRunning, type MeshNode } from "@statemesh/mesh";
import type { NodeRuntime } from "@statemesh/node";
import { type CallContext, type ResponseStream, splitAddress } from "@statemesh/service";
import { DIRECTORY_GROUP, checkInteger, checkText } from "@statemesh/world";
import { progressOf } from "./change-progress.ts";
import { deadlineOf } from "./deadlines.ts";
import { identify, statuses } from "./member-calls.ts";

/** What the calls about members need of their node. */
export interface MemberNode {
  readonly mesh: MeshNode;
  readonly runtime: NodeRuntime;
  readonly defaultDeadlineMs: number;
}

const NODE_ID_MAX = 2_000_000;
const ADDRESS_BYTES = 256;
const CHANGE_ID_BYTES = 64;
/** How often a change that is watched is looked at. */
const WATCH_PERIOD_MS = 250;
/** How long a drained node hands on what it comes to lead: long enough to restart it. */
const DRAIN_MS = 60_000;
const DRAIN_LOOK_MS = 20;

interface ChangeAnswer {
  change: MemberChange | undefined;
  dryRun: boolean;
}

export function listMembers({ mesh }: MemberNode): ListMembersResponse {
  return { members: mesh.membership.members(), clusterVersion: mesh.membership.version };
}

export async function addMember(node: MemberNode, request: AddMemberRequest, context: CallContext): Promise<ChangeAnswer> {
  const { address, nodeId, changeId, dryRun } = request;
  checkAddress(address, "address");
  checkInteger(nodeId, 0, NODE_ID_MAX, "", "node_id");
  checkText(changeId, CHANGE_ID_BYTES, "", "change_id");
  const added = await newcomer(node, address, nodeId);
  return begin(node, context, { changeId, kind: MemberChangeKind.ADD, added, removedNodeId: 0, dryRun });
}

export async function removeMember(node: MemberNode, request: RemoveMemberRequest, context: CallContext): Promise<ChangeAnswer> {
  const { nodeId, changeId, dryRun } = request;
  checkInteger(nodeId, 1, NODE_ID_MAX, "", "node_id");
  checkText(changeId, CHANGE_ID_BYTES, "", "change_id");
  return begin(node, context, { changeId, kind: MemberChangeKind.REMOVE, added: undefined, removedNodeId: nodeId, dryRun });
}

export async function replaceMember(node: MemberNode, request: ReplaceMemberRequest, context: CallContext): Promise<ChangeAnswer> {
  const { nodeId, address, newNodeId, changeId, dryRun } = request;
  checkInteger(nodeId, 1, NODE_ID_MAX, "", "node_id");
  checkInteger(newNodeId, 0, NODE_ID_MAX, "", "new_node_id");
  checkText(changeId, CHANGE_ID_BYTES, "", "change_id");
  const { membership } = node.mesh;
  if (address !== "") checkAddress(address, "address");
  else if (membership.isOnRecord && membership.member(nodeId) === undefined) {
    throw new MeshError("UNKNOWN_MEMBER", `node ${nodeId} is not a member`, { metadata: { node_id: String(nodeId), members: membership.voters().join() } });
  }
  const added = await newcomer(node, address === "" ? (membership.member(nodeId)?.address ?? "") : address, newNodeId);
  return begin(node, context, { changeId, kind: MemberChangeKind.REPLACE, added, removedNodeId: nodeId, dryRun });
}

export async function cancelMemberChange(node: MemberNode, { changeId, dryRun }: CancelMemberChangeRequest, context: CallContext): Promise<ChangeAnswer> {
  checkText(changeId, CHANGE_ID_BYTES, "", "change_id");
  if (changeId === "") throw MeshError.field("change_id", "is required");
  return { change: await command(node, context, { $case: "cancel", value: { changeId, dryRun } }), dryRun };
}

function checkAddress(address: string, field: string): void {
  checkText(address, ADDRESS_BYTES, "", field);
  if (splitAddress(address) === undefined) throw MeshError.field(field, "must be host:port");
}

/** Who answers at the address, as a member to be. Throws where that node cannot become one. */
async function newcomer({ mesh, runtime }: MemberNode, address: string, nodeId: number): Promise<Member> {
  // The leader of group 0 says why there are none.
  if (!mesh.membership.isOnRecord) return { nodeId, address, folderId: 0, state: MemberState.JOINING };
  // Taken in already, and maybe just starting as what it was told to be: the same wish again.
  const onItsWay = mesh.membership.members().find((member) => member.address === address && member.state === MemberState.JOINING);
  if (onItsWay !== undefined) return { ...onItsWay, nodeId };
  const found = await identify(address);
  checkNewcomer(found, runtime.identify(), address);
  const { version } = mesh.membership;
  if (found.protocolMax < version) {
    throw new MeshError("VERSION_TOO_LOW", `the node at ${address} speaks up to version ${found.protocolMax}, and the cluster works at version ${version}: start it with a newer build`, {
      metadata: { cluster_version: String(version), needed_version: String(version) },
    });
  }
  const isMember = mesh.membership.members().some(({ folderId }) => folderId === found.folderId);
  if (found.founded && !isMember) throw new MeshError("PEER_REFUSED", `the node at ${address} belongs to a cluster already: a node that joins begins with an empty data folder`);
  return { nodeId, address, folderId: found.folderId, state: MemberState.JOINING };
}

/** What all nodes of a cluster have in common. */
function checkNewcomer(found: IdentifyResponse, own: IdentifyResponse, address: string): void {
  const differs = (what: string, theirs: unknown, ours: unknown): void => {
    if (theirs !== ours) throw new MeshError("PEER_REFUSED", `the node at ${address} is started with ${what} ${String(theirs)}, this cluster has ${String(ours)}`);
  };
  differs("--cluster-id", found.clusterId, own.clusterId);
  differs("--groups", found.groups, own.groups);
  differs("--decision-window", found.decisionWindow, own.decisionWindow);
  differs("--lease-reads", found.leaseReads, own.leaseReads);
}

async function begin(node: MemberNode, context: CallContext, value: BeginRequest): Promise<ChangeAnswer> {
  return { change: await command(node, context, { $case: "begin", value }), dryRun: value.dryRun };
}

type Body = NonNullable<MembershipCommand["command"]>;
type BeginRequest = Extract<Body, { $case: "begin" }>["value"];

/** Puts a command before the leader of group 0, and waits until this node has applied what came of it. */
async function command(node: MemberNode, context: CallContext, body: Body): Promise<MemberChange | undefined> {
  const { mesh } = node;
  const deadlineMs = deadlineOf(context, mesh.host.clock.monotonicMs(), node.defaultDeadlineMs);
  const result = await new Promise<CommandResult>((resolve, reject) => {
    mesh.relay.command(DIRECTORY_GROUP, commandOf({ $case: "membership", value: { command: body, nowMs: 0 } }), deadlineMs, (answer, error) => {
      if (answer !== undefined) resolve(answer);
      else reject(error ?? new MeshError("INTERNAL", "a command about members without a result"));
    });
    mesh.dirty();
  });
  const { position } = result;
  if (position !== undefined) await new Promise<void>((resolve) => mesh.group(position.groupId).whenApplied(position.index, deadlineMs, () => resolve()));
  if (result.reason !== "") throw new MeshError(result.reason as Reason, result.message, { metadata: Object.fromEntries(result.metadata) });
  return result.memberChange;
}

// ---- progress ----

export async function listMemberChanges(node: MemberNode): Promise<ListMemberChangesResponse> {
  const { membership } = node.mesh;
  const { running } = membership;
  return { changes: [...membership.changes].reverse(), progress: running === undefined ? [] : await progress(node, running) };
}

async function progress({ mesh, runtime }: MemberNode, change: MemberChange) {
  return progressOf(change, mesh.options.groups, await statuses(runtime.peers.known().map(({ address }) => address)));
}

export async function watchMemberChange(node: MemberNode, { changeId }: WatchMemberChangeRequest, responses: ResponseStream<WatchMemberChangeResponse>, context: CallContext): Promise<void> {
  context.onShutdown(() => responses.end());
  checkText(changeId, CHANGE_ID_BYTES, "", "change_id");
  let last = "";
  while (!responses.over) {
    const change = node.mesh.membership.change(changeId);
    if (change === undefined) throw new MeshError("NOT_FOUND", `change ${changeId} is not known`, { metadata: { change_id: changeId } });
    const message: WatchMemberChangeResponse = { change, progress: isRunning(change) ? await progress(node, change) : [] };
    const text = JSON.stringify(message);
    if (text !== last && responses.writable) {
      last = text;
      responses.write(message);
    }
    if (!isRunning(change) && last === text) return responses.end();
    await new Promise((resolve) => setTimeout(resolve, WATCH_PERIOD_MS));
  }
}

// ---- drain ----

export async function drainNode({ mesh, defaultDeadlineMs }: MemberNode, { dryRun }: DrainNodeRequest, context: CallContext): Promise<DrainNodeResponse> {
  const led = (): number[] => mesh.groups.filter(({ core }) => core.role === "leader").map(({ groupId }) => groupId);
  const before = led();
  if (dryRun) {
    const stuck = before.filter((groupId) => bestSuccessor(mesh.group(groupId), () => true) === 0);
    return { movedGroupIds: before.filter((groupId) => !stuck.includes(groupId)), keptGroupIds: stuck, dryRun };
  }
  mesh.leadership.drain(DRAIN_MS);
  const deadlineMs = deadlineOf(context, mesh.host.clock.monotonicMs(), defaultDeadlineMs);
  while (led().length > 0 && mesh.host.clock.monotonicMs() < deadlineMs - DRAIN_LOOK_MS) await new Promise((resolve) => setTimeout(resolve, DRAIN_LOOK_MS));
  const kept = led();
  return { movedGroupIds: before.filter((groupId) => !kept.includes(groupId)), keptGroupIds: kept, dryRun };
}
