/** Requests about handoffs that must be refused. */
import { AbortHandoffRequest, AcceptHandoffRequest, CommitHandoffRequest, AssignRegionsRequest, BalanceRequest, ListHotRegionsRequest, type Reason, TransferRequest, WatchRequest } from "@statemesh/contract";
import type { KnownWorld } from "./bad-operations.ts";
import type { Of } from "./bad-requests.ts";
import { varintField } from "./raw-call.ts";

const LONG = "x".repeat(65);
const PAST_2_53 = 2n ** 53n;

/** Every message here asks for something that must not be done. */
export function badHandoffRequests(of: Of, { serverId, otherServerId, owned, ownedEpoch, free }: KnownWorld): void {
  of("AuthorityDirectoryService/Transfer", (cases) => {
    const good = { handoffId: "bad-handoff", region: owned, fromServerId: serverId, epoch: ownedEpoch, toServerId: otherServerId };
    const add = (name: string, reason: Reason, field: string | undefined, object: object): void => cases.add<TransferRequest>(TransferRequest, name, reason, field, { ...good, ...object });
    add("no id", "INVALID_FIELD", "handoff_id", { handoffId: "" });
    add("a long id", "INVALID_FIELD", "handoff_id", { handoffId: LONG });
    add("no region", "INVALID_FIELD", "region", { region: undefined });
    add("no owner", "INVALID_FIELD", "from_server_id", { fromServerId: 0 });
    add("no target", "INVALID_FIELD", "to_server_id", { toServerId: 0 });
    add("the owner as target", "INVALID_FIELD", "to_server_id", { toServerId: serverId });
    add("epoch 0", "INVALID_FIELD", "epoch", { epoch: 0 });
    add("no time", "INVALID_FIELD", "timeout_ms", { timeoutMs: 1 });
    add("more than ten minutes", "INVALID_FIELD", "timeout_ms", { timeoutMs: 600_001 });
    add("a target that is not registered", "SERVER_NOT_REGISTERED", undefined, { toServerId: 4_294_967_295 });
    add("another's region", "FENCED", undefined, { fromServerId: otherServerId, toServerId: serverId });
    add("an epoch that is not", "FENCED", undefined, { epoch: ownedEpoch + 1 });
    add("a region that nobody owns", "FENCED", undefined, { region: free });
    cases.raw("an epoch beyond 2^53", "MALFORMED_MESSAGE", undefined, [varintField(4, PAST_2_53)]);
  });
  of("AuthorityDirectoryService/Watch", (cases) => {
    const add = (name: string, reason: Reason, field: string | undefined, object: object): void => cases.add<WatchRequest>(WatchRequest, name, reason, field, object);
    add("344 regions", "INVALID_FIELD", "regions", { regions: Array.from({ length: 344 }, (_, x) => ({ x, y: 0, z: 0 })) });
    add("neighbours of nothing", "INVALID_FIELD", "neighbours", { neighbours: true });
    add("a token that is none", "INVALID_RESUME_TOKEN", "resume_token", { resumeToken: "nonsense" });
  });
  of("AuthorityDirectoryService/AssignRegions", (cases) => {
    const add = (name: string, field: string, object: object): void => cases.add<AssignRegionsRequest>(AssignRegionsRequest, name, "INVALID_FIELD", field, object);
    add("no regions", "regions", {});
    add("1,025 regions", "regions", { regions: Array.from({ length: 1_025 }, (_, x) => ({ x, y: 0, z: 0 })) });
    add("a region beyond the world", "regions[0].x", { regions: [{ x: 1_048_576, y: 0, z: 0 }] });
  });
  of("AuthorityDirectoryService/Balance", (cases) => {
    cases.add<BalanceRequest>(BalanceRequest, "257 moves", "INVALID_FIELD", "moves_max", { dryRun: true, movesMax: 257 });
  });
  of("AuthorityDirectoryService/ListHotRegions", (cases) => {
    cases.add<ListHotRegionsRequest>(ListHotRegionsRequest, "257 regions", "INVALID_FIELD", "limit", { limit: 257 });
  });
  of("AuthorityDirectoryService/AcceptHandoff", (cases) => {
    const add = (name: string, reason: Reason, field: string | undefined, object: object): void => cases.add<AcceptHandoffRequest>(AcceptHandoffRequest, name, reason, field, { handoffId: "unknown", serverId, ...object });
    add("no id", "INVALID_FIELD", "handoff_id", { handoffId: "" });
    add("no server", "INVALID_FIELD", "server_id", { serverId: 0 });
    add("a handoff that is not", "NOT_FOUND", undefined, {});
  });
  of("AuthorityDirectoryService/CommitHandoff", (cases) => {
    const add = (name: string, reason: Reason, field: string | undefined, object: object): void => cases.add<CommitHandoffRequest>(CommitHandoffRequest, name, reason, field, { handoffId: "unknown", serverId, ...object });
    add("no id", "INVALID_FIELD", "handoff_id", { handoffId: "" });
    add("no server", "INVALID_FIELD", "server_id", { serverId: 0 });
    add("a handoff that is not", "NOT_FOUND", undefined, {});
  });
  of("AuthorityDirectoryService/AbortHandoff", (cases) => {
    const add = (name: string, reason: Reason, field: string | undefined, object: object): void => cases.add<AbortHandoffRequest>(AbortHandoffRequest, name, reason, field, { handoffId: "unknown", serverId, ...object });
    add("no id", "INVALID_FIELD", "handoff_id", { handoffId: "" });
    add("a reason of 257 bytes", "INVALID_FIELD", "reason", { reason: "r".repeat(257) });
    add("a handoff that is not", "NOT_FOUND", undefined, {});
  });
}
