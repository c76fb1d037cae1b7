// The part of the administration that changes who belongs to the cluster, and shows how far a change is.
import {
  type AddMemberRequest, type CancelMemberChangeRequest, type DrainNodeRequest, type DrainNodeResponse, type ListMemberChangesResponse, type ListMembersResponse, type MemberChange, MeshError,
  type RemoveMemberRequest, type ReplaceMemberRequest, type WatchMemberChangeRequest, type WatchMemberChangeResponse,
} from "@statemesh/contract";
import { bestSuccessor, isRunning, type MeshNode } from "@statemesh/mesh";
import * as changes from "@statemesh/node";
import type { ChangeAnswer, NodeRuntime } from "@statemesh/node";
import { type CallContext, type ResponseStream, splitAddress } from "@statemesh/service";
import { checkText } from "@statemesh/world";
import { progressOf } from "./change-progress.ts";
import { deadlineOf } from "./deadlines.ts";
import { identify, statuses } from "./member-calls.ts";

/** What the calls about members need of their node. */
export interface MemberNode {
  readonly mesh: MeshNode;
  readonly runtime: NodeRuntime;
  readonly defaultDeadlineMs: number;
}

const ADDRESS_BYTES = 256;
const CHANGE_ID_BYTES = 64;
/** How often a change that is watched is looked at. */
const WATCH_PERIOD_MS = 250;
/** How long a drained node hands on what it comes to lead: long enough to restart it. */
const DRAIN_MS = 60_000;
const DRAIN_LOOK_MS = 20;

export function listMembers({ mesh }: MemberNode): ListMembersResponse {
  return { members: [...mesh.membership.members()], clusterVersion: mesh.membership.version };
}

/** The node as the calls that change something see it, and by when they have to answer. */
function asked({ mesh, runtime, defaultDeadlineMs }: MemberNode, context: CallContext): [changes.AskedNode, number] {
  return [{ mesh, runtime, identify }, deadlineOf(context, mesh.host.clock.monotonicMs(), defaultDeadlineMs)];
}

export async function addMember(node: MemberNode, request: AddMemberRequest, context: CallContext): Promise<ChangeAnswer> {
  checkAddress(request.address, "address");
  const [self, deadlineMs] = asked(node, context);
  return changes.addMember(self, request, deadlineMs);
}

export async function removeMember(node: MemberNode, request: RemoveMemberRequest, context: CallContext): Promise<ChangeAnswer> {
  const [self, deadlineMs] = asked(node, context);
  return changes.removeMember(self, request, deadlineMs);
}

export async function replaceMember(node: MemberNode, request: ReplaceMemberRequest, context: CallContext): Promise<ChangeAnswer> {
  if (request.address !== "") checkAddress(request.address, "address");
  const [self, deadlineMs] = asked(node, context);
  return changes.replaceMember(self, request, deadlineMs);
}

export async function cancelMemberChange(node: MemberNode, request: CancelMemberChangeRequest, context: CallContext): Promise<ChangeAnswer> {
  const [self, deadlineMs] = asked(node, context);
  return changes.cancelMemberChange(self, request, deadlineMs);
}

function checkAddress(address: string, field: string): void {
  checkText(address, ADDRESS_BYTES, "", field);
  if (splitAddress(address) === undefined) throw MeshError.field(field, "must be host:port");
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
