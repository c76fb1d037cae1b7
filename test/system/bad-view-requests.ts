/** Requests about views and partitions that must be refused. */
import { GetPartitionVerdictRequest, type Reason, ReportHeartbeatRequest, ReportHeartbeatsRequest, WatchPartitionsRequest } from "@statemesh/contract";
import type { KnownWorld } from "./bad-operations.ts";
import type { Of } from "./bad-requests.ts";

const MANY = Array.from({ length: 17 }, (_, at) => at + 1);

/** Every message here says something that cannot be. */
export function badViewRequests(of: Of, { serverId }: KnownWorld): void {
  of("ViewService/ReportHeartbeat", (cases) => {
    const add = (name: string, field: string, object: object): void => cases.add<ReportHeartbeatRequest>(ReportHeartbeatRequest, name, "INVALID_FIELD", field, { heartbeat: { serverId, incarnation: 1, sequence: 1, ...object } });
    cases.add<ReportHeartbeatRequest>(ReportHeartbeatRequest, "no heartbeat", "INVALID_FIELD", "heartbeat", {});
    add("no server", "heartbeat.server_id", { serverId: 0 });
    add("a node", "heartbeat.node_id", { nodeId: 1 });
    add("17 nodes", "heartbeat.hears_nodes", { hearsNodes: MANY });
    add("2,049 servers", "heartbeat.hears_servers", { hearsServers: Array.from({ length: 2_049 }, (_, at) => at + 1) });
  });
  of("ViewService/GetView", () => undefined);
  of("ViewService/WatchView", () => undefined);
  of("PartitionService/ReportHeartbeats", (cases) => {
    const heartbeat = { nodeId: 1, incarnation: 1, sequence: 1 };
    const good = { clusterId: "bad", nodeId: 1, heartbeats: [heartbeat], members: [1], voters: [1], beatMs: 300, suspicionMs: 1_500, removalMs: 10_000 };
    const add = (name: string, field: string, object: object): void => cases.add<ReportHeartbeatsRequest>(ReportHeartbeatsRequest, name, "INVALID_FIELD", field, { ...good, ...object });
    add("no cluster", "cluster_id", { clusterId: "" });
    add("no node", "node_id", { nodeId: 0 });
    add("17 heartbeats", "heartbeats", { heartbeats: MANY.map(() => heartbeat) });
    add("a heartbeat of nobody", "heartbeats[0].node_id", { heartbeats: [{ ...heartbeat, nodeId: 0 }] });
    add("a heartbeat that hears 17 nodes", "heartbeats[0].hears_nodes", { heartbeats: [{ ...heartbeat, hearsNodes: MANY }] });
    add("17 steady nodes", "heartbeats[0].steady_nodes", { heartbeats: [{ ...heartbeat, steadyNodes: MANY }] });
    add("a vote for 17 nodes", "heartbeats[0].vote", { heartbeats: [{ ...heartbeat, vote: MANY }] });
    add("17 members", "members", { members: MANY });
    add("17 voters", "voters", { voters: MANY });
    add("node 0 as outgoing voter", "outgoing", { outgoing: [0] });
    add("a view of 17 nodes", "view.alive", { view: { epoch: 1, alive: MANY } });
    add("no beat", "beat_ms", { beatMs: 0 });
    add("no suspicion", "suspicion_ms", { suspicionMs: 0 });
    add("no removal", "removal_ms", { removalMs: 0 });
  });
  of("PartitionService/GetPartitionVerdict", (cases) => {
    const add = (name: string, reason: Reason, field: string | undefined, clusterId: string): void => cases.add<GetPartitionVerdictRequest>(GetPartitionVerdictRequest, name, reason, field, { clusterId });
    add("a cluster that is not", "NOT_FOUND", undefined, "nowhere");
    add("a name of 65 bytes", "INVALID_FIELD", "cluster_id", "c".repeat(65));
  });
  of("PartitionService/WatchPartitions", (cases) => {
    cases.add<WatchPartitionsRequest>(WatchPartitionsRequest, "a name of 65 bytes", "INVALID_FIELD", "cluster_id", { clusterId: "c".repeat(65) });
  });
}
