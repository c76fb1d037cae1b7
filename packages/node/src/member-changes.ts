// Changes of who belongs to the cluster, as operators ask for them. Whatever node is asked puts the wish before the leader of
// group 0, which checks it and puts it on record; the change then goes on by itself.
import {
  type AddMemberRequest, type CancelMemberChangeRequest, type IdentifyResponse, type Member, type MemberChange, MemberChangeKind, MemberState, MeshError, type Reason, type RemoveMemberRequest,
  type ReplaceMemberRequest,
} from "@statemesh/contract";
import type { CommandResult, MembershipCommand } from "@statemesh/contract/log";
import { commandOf, type MeshNode } from "@statemesh/mesh";
import { DIRECTORY_GROUP, checkInteger, checkText } from "@statemesh/world";

/** The node that was asked. */
export interface AskedNode {
  readonly mesh: MeshNode;
  readonly runtime: { identify(): IdentifyResponse };
  /** Who answers at an address; UNREACHABLE where nobody does. */
  identify(address: string): Promise<IdentifyResponse>;
}

/** The change as it stands on record now; undefined of a trial that would change nothing. */
export interface ChangeAnswer {
  readonly change: MemberChange | undefined;
  readonly dryRun: boolean;
}

const NODE_ID_MAX = 2_000_000;
const CHANGE_ID_BYTES = 64;

/** `deadlineMs`, here and below: of the node's monotonic clock. */
export async function addMember(node: AskedNode, request: AddMemberRequest, deadlineMs: number): Promise<ChangeAnswer> {
  const { address, nodeId, changeId, dryRun } = request;
  checkInteger(nodeId, 0, NODE_ID_MAX, "", "node_id");
  checkText(changeId, CHANGE_ID_BYTES, "", "change_id");
  const added = await newcomer(node, address, nodeId);
  return begin(node, deadlineMs, { changeId, kind: MemberChangeKind.ADD, added, removedNodeId: 0, dryRun });
}

export async function removeMember(node: AskedNode, request: RemoveMemberRequest, deadlineMs: number): Promise<ChangeAnswer> {
  const { nodeId, changeId, dryRun } = request;
  checkInteger(nodeId, 1, NODE_ID_MAX, "", "node_id");
  checkText(changeId, CHANGE_ID_BYTES, "", "change_id");
  return begin(node, deadlineMs, { changeId, kind: MemberChangeKind.REMOVE, added: undefined, removedNodeId: nodeId, dryRun });
}

export async function replaceMember(node: AskedNode, request: ReplaceMemberRequest, deadlineMs: number): Promise<ChangeAnswer> {
  const { nodeId, address, newNodeId, changeId, dryRun } = request;
  checkInteger(nodeId, 1, NODE_ID_MAX, "", "node_id");
  checkInteger(newNodeId, 0, NODE_ID_MAX, "", "new_node_id");
  checkText(changeId, CHANGE_ID_BYTES, "", "change_id");
  const { membership } = node.mesh;
  if (address === "" && membership.isOnRecord && membership.member(nodeId) === undefined) {
    throw new MeshError("UNKNOWN_MEMBER", `node ${nodeId} is not a member`, { metadata: { node_id: String(nodeId), members: membership.voters().join() } });
  }
  const added = await newcomer(node, address === "" ? (membership.member(nodeId)?.address ?? "") : address, newNodeId);
  return begin(node, deadlineMs, { changeId, kind: MemberChangeKind.REPLACE, added, removedNodeId: nodeId, dryRun });
}

export async function cancelMemberChange(node: AskedNode, { changeId, dryRun }: CancelMemberChangeRequest, deadlineMs: number): Promise<ChangeAnswer> {
  checkText(changeId, CHANGE_ID_BYTES, "", "change_id");
  if (changeId === "") throw MeshError.field("change_id", "is required");
  return { change: await command(node, deadlineMs, { $case: "cancel", value: { changeId, dryRun } }), dryRun };
}

/** Who answers at the address, as a member to be. Throws where that node cannot become one. */
async function newcomer({ mesh, runtime, identify }: AskedNode, address: string, nodeId: number): Promise<Member> {
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

async function begin(node: AskedNode, deadlineMs: number, value: BeginRequest): Promise<ChangeAnswer> {
  return { change: await command(node, deadlineMs, { $case: "begin", value }), dryRun: value.dryRun };
}

type Body = NonNullable<MembershipCommand["command"]>;
type BeginRequest = Extract<Body, { $case: "begin" }>["value"];

/** Puts a command before the leader of group 0, and waits until this node has applied what came of it. */
async function command(node: AskedNode, deadlineMs: number, body: Body): Promise<MemberChange | undefined> {
  const { mesh } = node;
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
