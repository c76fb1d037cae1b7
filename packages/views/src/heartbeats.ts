// Reports as they travel.
import type { Heartbeat } from "@statemesh/contract";
import type { NodeReport } from "./report-table.ts";

/** Nodes in one list of a heartbeat at most; what goes beyond is cut off. */
const NODES_MAX = 16;

export function heartbeatOf({ nodeId, incarnation, sequence, hears, steady, epoch, vote }: NodeReport, hearsServers: readonly number[]): Heartbeat {
  return { nodeId, serverId: 0, incarnation, sequence, hearsNodes: [...hears], steadyNodes: [...steady], hearsServers: [...hearsServers], viewEpoch: epoch, vote: [...vote] };
}

export function reportOf({ nodeId, incarnation, sequence, hearsNodes, steadyNodes, viewEpoch, vote }: Heartbeat): NodeReport {
  return { nodeId, incarnation, sequence, hears: hearsNodes.slice(0, NODES_MAX), steady: steadyNodes.slice(0, NODES_MAX), epoch: viewEpoch, vote: vote.slice(0, NODES_MAX) };
}
