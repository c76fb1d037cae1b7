// The calls of a region's handoff. Every node answers them. `deadlineMs` is monotonic throughout.
import {
  type AbortHandoffRequest,
  type AbortHandoffResponse,
  type AcceptHandoffRequest,
  type AcceptHandoffResponse,
  type CommitHandoffRequest,
  type CommitHandoffResponse,
  type Handoff,
  HandoffPhase,
  MeshError,
  type TransferRequest,
  type TransferResponse,
} from "@statemesh/contract";
import { ID_BYTES_MAX, checkInteger, checkName, checkRegion, checkText } from "@statemesh/world";
import { type AuthorityNode, checkServer, command, fence } from "./authority.ts";

const TIMEOUT_MIN_MS = 100;
const TIMEOUT_MAX_MS = 600_000;
const TIMEOUT_DEFAULT_MS = 10_000;
const REASON_BYTES = 256;

export async function transfer(node: AuthorityNode, request: TransferRequest, deadlineMs: number): Promise<TransferResponse> {
  const { handoffId, region, fromServerId, toServerId, epoch, timeoutMs } = request;
  checkHandoffId(handoffId);
  checkRegion(region, "region");
  checkServer(fromServerId, "from_server_id");
  checkServer(toServerId, "to_server_id");
  checkInteger(epoch, 1, Number.MAX_SAFE_INTEGER, "", "epoch");
  if (timeoutMs !== 0) checkInteger(timeoutMs, TIMEOUT_MIN_MS, TIMEOUT_MAX_MS, "", "timeout_ms");
  const handoff: Handoff = { handoffId, region, fromServerId, toServerId, epoch, phase: HandoffPhase.PREPARED, reason: "", timeoutMs: timeoutMs === 0 ? TIMEOUT_DEFAULT_MS : timeoutMs };
  return { handoff: (await command(node, deadlineMs, { $case: "prepare", value: { handoff } })).handoff };
}

export async function acceptHandoff(node: AuthorityNode, { handoffId, serverId }: AcceptHandoffRequest, deadlineMs: number): Promise<AcceptHandoffResponse> {
  checkHandoffId(handoffId);
  checkServer(serverId);
  return { handoff: (await command(node, deadlineMs, { $case: "ready", value: { handoffId, serverId } })).handoff };
}

export async function commitHandoff(node: AuthorityNode, { handoffId, serverId }: CommitHandoffRequest, deadlineMs: number): Promise<CommitHandoffResponse> {
  checkHandoffId(handoffId);
  checkServer(serverId);
  const { handoff } = await command(node, deadlineMs, { $case: "finish", value: { handoffId, serverId, commit: true, reason: "" } });
  if (handoff?.region === undefined) throw new MeshError("INTERNAL", "a committed handoff without its region");
  // From here on nothing of the old owner can be decided.
  await fence(node, deadlineMs, { region: handoff.region, serverId: handoff.toServerId, epoch: handoff.epoch + 1, durationMs: node.leaseMs }, handoff.toServerId);
  return { handoff, owner: node.mesh.directory.directory.server(handoff.toServerId) };
}

export async function abortHandoff(node: AuthorityNode, { handoffId, serverId, reason }: AbortHandoffRequest, deadlineMs: number): Promise<AbortHandoffResponse> {
  checkHandoffId(handoffId);
  if (serverId !== 0) checkServer(serverId);
  checkText(reason, REASON_BYTES, "", "reason");
  return { handoff: (await command(node, deadlineMs, { $case: "finish", value: { handoffId, serverId, commit: false, reason } })).handoff };
}

function checkHandoffId(handoffId: string): void {
  checkName(handoffId, 1, ID_BYTES_MAX, "", "handoff_id");
}
