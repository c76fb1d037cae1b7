// On which side of a split a node stands, as far as it can tell without asking anybody.
import type { Quorum } from "@statemesh/raft";
import type { LinkGraph } from "./link-graph.ts";

/**
 * - `whole`: it is linked with every member.
 * - `winning`: not with all, but it reaches those who can decide.
 * - `losing`: it does not. Strong writes have nowhere to go.
 */
export type Side = "whole" | "winning" | "losing";

/**
 * A node reaches those who decide where it and its links are enough, or it is linked with one whose links are: a write goes to a leader in
 * one step, and a leader needs a quorum in one step. So no node of a healthy part is told that it lost because it hears few others.
 */
export function sideOf(graph: LinkGraph, quorum: Quorum, nodeId: number): Side {
  const linked = graph.linkedWith(nodeId);
  if (linked.length >= graph.members.filter((member) => member !== nodeId).length) return "whole";
  return reachesQuorum(graph, quorum, nodeId) || linked.some((other) => reachesQuorum(graph, quorum, other)) ? "winning" : "losing";
}

/** Whether a node and those it is linked with can decide: it could lead. */
export function reachesQuorum(graph: LinkGraph, quorum: Quorum, nodeId: number): boolean {
  return quorum.decides((voter) => voter === nodeId || graph.linked(voter, nodeId));
}
