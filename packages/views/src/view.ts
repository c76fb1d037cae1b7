// What a cluster agrees on about who is there. Views are numbered, and each is counted against the voters of the one before it.
import type { Quorum } from "@statemesh/raft";
import type { NodeReport } from "./report-table.ts";

export interface View {
  /** Grows by one with every view. 0: none was agreed on yet. */
  readonly epoch: number;
  /** Ascending. Every two of them hear one another. */
  readonly alive: readonly number[];
  /** Of the others, those who have been silent for so long that nothing is left to them. Ascending. */
  readonly removed: readonly number[];
  /** Whose votes made it, ascending. */
  readonly votedBy: readonly number[];
}

export const NO_VIEW: View = { epoch: 0, alive: [], removed: [], votedBy: [] };

/**
 * Who votes for a set of members as the view that follows an epoch. A member has one vote an epoch: what its newest report says. Votes of those
 * who are not in the set, or know another view to be in force, do not count.
 */
export function votersFor(alive: readonly number[], epoch: number, reports: Iterable<NodeReport>): number[] {
  const votedBy = new Set<number>();
  for (const { nodeId, epoch: known, vote } of reports) {
    if (known === epoch && alive.includes(nodeId) && sameMembers(vote, alive)) votedBy.add(nodeId);
  }
  return [...votedBy].sort((a, b) => a - b);
}

/**
 * Why a view cannot follow another; undefined: it can.
 *
 * @param quorums whose voters count: of each at least one has to be decided by
 * @param members whom a view may name
 */
export function refuseView(next: View, before: View, quorums: readonly Quorum[], members: readonly number[]): string | undefined {
  const { epoch, alive, removed, votedBy } = next;
  if (epoch !== before.epoch + 1) return `epoch ${epoch} does not follow ${before.epoch}`;
  if (!isAscending(alive) || !isAscending(removed) || !isAscending(votedBy)) return "ids are not ascending";
  if (alive.length === 0) return "nobody is alive";
  const stranger = [...alive, ...removed].find((nodeId) => !members.includes(nodeId));
  if (stranger !== undefined) return `node ${stranger} is not a member`;
  const both = removed.find((nodeId) => alive.includes(nodeId));
  if (both !== undefined) return `node ${both} is alive and removed`;
  const outsider = votedBy.find((nodeId) => !alive.includes(nodeId));
  if (outsider !== undefined) return `node ${outsider} votes for a view that it is not in`;
  if (!quorums.some((quorum) => quorum.decides((voter) => votedBy.includes(voter)))) return `nodes ${votedBy.join(", ")} cannot decide`;
  return undefined;
}

export function sameMembers(one: readonly number[], other: readonly number[]): boolean {
  return one.length === other.length && one.every((nodeId, at) => nodeId === other[at]);
}

function isAscending(nodeIds: readonly number[]): boolean {
  return nodeIds.every((nodeId, at) => at === 0 || nodeId > (nodeIds[at - 1] ?? 0));
}
