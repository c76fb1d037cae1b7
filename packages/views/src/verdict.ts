// Which part of a cluster goes on. The larger one, on an even split the one with the lowest id, never a plurality: that is
// the rule of the log's quorum, and the same code (packages/raft/src/quorum).
import type { Quorum } from "@statemesh/raft";
import type { LinkGraph } from "./link-graph.ts";

/** Members that reach one another, directly or over others. */
export interface Part {
  /** Ascending. */
  readonly members: readonly number[];
  /** Those who go on are in it. */
  readonly wins: boolean;
}

export interface Verdict {
  /** Who goes on, ascending: every two of them hear one another, and together they decide. Empty: nobody does. */
  readonly alive: readonly number[];
  /** By their lowest ids. */
  readonly parts: readonly Part[];
}

/**
 * Of the sets of members of which every two are linked, the one that decides. There may be several, where two nodes each hear a majority
 * and not one another; but any two deciding sets share a voter, so each could go on, and one has to be taken: the one with most voters, of
 * these the one with most members, then with most of those who are in the view now (nobody changes places without need), then with the lowest ids.
 *
 * A set, not all who are connected somehow: between any two of those alive something may be handed over, and whoever of them leads reaches all.
 * Where no such set decides, nobody is chosen, though a leader in the middle of a star may still commit; the view stays as it is.
 */
export function verdictOf(graph: LinkGraph, quorum: Quorum, inView: ReadonlySet<number> = NOBODY): Verdict {
  let alive: readonly number[] = [];
  for (const clique of graph.cliques()) {
    if (quorum.decides((voter) => clique.includes(voter)) && isBetter(clique, alive, quorum, inView)) alive = clique;
  }
  const [first] = alive;
  return { alive, parts: graph.components().map((members) => ({ members, wins: first !== undefined && members.includes(first) })) };
}

const NOBODY: ReadonlySet<number> = new Set();

function isBetter(one: readonly number[], other: readonly number[], quorum: Quorum, inView: ReadonlySet<number>): boolean {
  const voters = count(one, (nodeId) => quorum.has(nodeId)) - count(other, (nodeId) => quorum.has(nodeId));
  if (voters !== 0) return voters > 0;
  if (one.length !== other.length) return one.length > other.length;
  const stay = count(one, (nodeId) => inView.has(nodeId)) - count(other, (nodeId) => inView.has(nodeId));
  if (stay !== 0) return stay > 0;
  const at = one.findIndex((nodeId, place) => nodeId !== other[place]);
  return at >= 0 && (one[at] ?? 0) < (other[at] ?? 0);
}

function count(nodeIds: readonly number[], holds: (nodeId: number) => boolean): number {
  let sum = 0;
  for (const nodeId of nodeIds) if (holds(nodeId)) sum++;
  return sum;
}
