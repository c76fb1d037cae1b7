// Transactions across groups in a cluster of three: what the tests of them have in common.
import { type Decision, type Operation, type OperationError, Outcome } from "@statemesh/contract";
import { VERSIONS } from "@statemesh/replica";
import { expect } from "vitest";
import { isDecision, VirtualCluster } from "./virtual-cluster.ts";

export function ready(options: ConstructorParameters<typeof VirtualCluster>[0] = {}): VirtualCluster {
  const cluster = new VirtualCluster({ groups: 3, ...options });
  cluster.settle();
  cluster.register(1, 2);
  const raised = cluster.runUntil(() => cluster.members.every((id) => !cluster.isUp(id) || cluster.node(id).membership.version >= VERSIONS.max));
  if (!raised) throw new Error(`the cluster does not come to version ${VERSIONS.max}`);
  return cluster;
}

export function balance(cluster: VirtualCluster, groupId: number, player: string, kind = "ore", nodeId = 1): number {
  return cluster.node(nodeId).group(groupId).state.ledger.balance(`player:${player}`, kind);
}

/** Everything that was minted is held or on its way, and nothing is on its way once all is quiet. */
export function conserved(cluster: VirtualCluster, nodeId = 1): void {
  cluster.runUntil(() => quiet(cluster));
  cluster.converge();
  const sums = new Map<string, number>();
  for (let groupId = 1; groupId <= cluster.groups; groupId++) {
    const { ledger, transactions } = cluster.node(nodeId).group(groupId).state;
    expect(transactions.isQuiet).toBe(true);
    for (const { itemKind, minted, burned } of ledger.totalsRows()) sums.set(itemKind, (sums.get(itemKind) ?? 0) + minted - burned);
    for (const { itemKind, quantity } of ledger.rows()) sums.set(itemKind, (sums.get(itemKind) ?? 0) - quantity);
    for (const { groupId: peer, itemKind, sent } of ledger.transitRows()) {
      const received = [...cluster.node(nodeId).group(peer).state.ledger.transitRows()].find((row) => row.groupId === groupId && row.itemKind === itemKind)?.received ?? 0;
      expect(received).toBe(sent);
    }
  }
  for (const [kind, sum] of sums) expect({ kind, sum }).toEqual({ kind, sum: 0 });
}

export function quiet(cluster: VirtualCluster): boolean {
  return cluster.members.every((id) => !cluster.isUp(id) || cluster.node(id).groups.every((group) => group.state.transactions.isQuiet));
}

export function outcomes(answers: readonly (Decision | OperationError)[]): unknown[] {
  const named: Partial<Record<Outcome, string>> = { [Outcome.ACCEPTED]: "ACCEPTED", [Outcome.MERGED]: "MERGED", [Outcome.REJECTED]: "REJECTED" };
  return answers.map((answer) => (isDecision(answer) ? named[answer.outcome] : answer.reason));
}

export function submit(cluster: VirtualCluster, nodeId: number, transactionId: string, operations: readonly Operation[]): (Decision | OperationError)[] {
  const answers: (Decision | OperationError)[] = [];
  const node = cluster.node(nodeId);
  node.edge.transact(transactionId, operations, cluster.nowMs + 20_000, { decided: (decision) => answers.push(decision), failed: (_, error) => answers.push(error) });
  node.dirty();
  return answers;
}
