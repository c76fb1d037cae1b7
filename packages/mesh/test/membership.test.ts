// Members come, go and are replaced while the groups work on.
import { MemberChangeKind, MemberChangeState, Outcome } from "@statemesh/contract";
import { BeginMemberChange } from "@statemesh/contract/log";
import { describe, expect, it } from "vitest";
import { mint } from "./operations.ts";
import { VirtualCluster, isDecision } from "./virtual-cluster.ts";

function ready(options: ConstructorParameters<typeof VirtualCluster>[0] = {}): VirtualCluster {
  const cluster = new VirtualCluster(options);
  cluster.settle();
  cluster.register(1);
  const recorded = cluster.runUntil(() => cluster.members.every((id) => cluster.node(id).membership.isOnRecord));
  expect(recorded, "the founders come on record by themselves").toBe(true);
  return cluster;
}

function begin(cluster: VirtualCluster, request: Parameters<typeof BeginMemberChange.fromPartial>[0], through?: number) {
  return cluster.membership({ $case: "begin", value: BeginMemberChange.fromPartial(request) }, through);
}

const added = (nodeId: number) => ({ nodeId, address: `node-${nodeId}:1`, folderId: nodeId });

/** Runs until a change has ended, as a node sees it. */
function finished(cluster: VirtualCluster, changeId: string, through: number): void {
  const done = cluster.runUntil(() => {
    const state = cluster.node(through).membership.change(changeId)?.state;
    return state === MemberChangeState.DONE || state === MemberChangeState.CANCELLED;
  }, 60_000);
  const node = cluster.node(through);
  expect(done, `${changeId}: ${node.groups.map((group) => `${group.groupId} ${JSON.stringify(group.core.configuration)} ${node.members.waitsFor(group.groupId)}`).join("; ")}`).toBe(true);
}

/** Voters of every group, as a node sees them. */
function voters(cluster: VirtualCluster, through: number): string[] {
  return cluster.node(through).groups.map(({ core }) => `${core.configuration.voters.join()}${core.configuration.outgoing.length > 0 ? " joint" : ""}`);
}

/** Keeps one operation after the other under way; answers what was acknowledged. */
function working(cluster: VirtualCluster): { acknowledged: Map<string, number>; stop: () => void } {
  const acknowledged = new Map<string, number>();
  let next = 0;
  let on = true;
  const again = (): void => {
    if (!on) return;
    const groupId = 1 + (next % 2);
    const id = `w-${next++}`;
    const up = [...new Set([...cluster.members, 4, 5])].filter((node) => cluster.isUp(node));
    const through = up[next % up.length] ?? 1;
    const operation = mint(id, 1, cluster.regionIn(groupId), "ada", "gold", 1);
    cluster.node(through).edge.execute([operation], cluster.nowMs + 5_000, {
      decided: (decision) => {
        if (decision.outcome === Outcome.ACCEPTED) acknowledged.set(id, groupId);
        cluster.at(20, again);
      },
      failed: () => cluster.at(20, again),
    });
    cluster.node(through).dirty();
  };
  again();
  return { acknowledged, stop: () => (on = false) };
}

function expectAll(cluster: VirtualCluster, acknowledged: ReadonlyMap<string, number>, through: number): void {
  // Work ends with the node that it goes through, where that one is killed.
  expect(acknowledged.size).toBeGreaterThan(5);
  for (const [id, groupId] of acknowledged) {
    const again = cluster.execute(through, [mint(id, 1, cluster.regionIn(groupId), "ada", "gold", 1)]).get(id);
    expect(isDecision(again) && again.repeated, id).toBe(true);
  }
}

describe("changing the members of a running cluster", () => {
  it("adds a node to every group, while work goes on", () => {
    const cluster = ready();
    const work = working(cluster);
    cluster.run(500);
    cluster.join(4);
    const { reason, memberChange } = begin(cluster, { kind: MemberChangeKind.ADD, added: added(4) });
    expect(reason).toBe("");
    finished(cluster, memberChange?.changeId ?? "", 4);
    work.stop();
    cluster.converge();
    expect(voters(cluster, 4)).toEqual(["1,2,3,4", "1,2,3,4", "1,2,3,4"]);
    expectAll(cluster, work.acknowledged, 4);
    // What it has voted for and acknowledged holds across a restart, without founders.
    cluster.kill(4);
    cluster.start(4);
    cluster.settle();
    expect(voters(cluster, 4)).toEqual(["1,2,3,4", "1,2,3,4", "1,2,3,4"]);
  });

  it("removes the leader of everything, which hands over first and keeps quiet afterwards", () => {
    const cluster = ready();
    const work = working(cluster);
    cluster.run(500);
    const leader = cluster.leaderOf(0);
    for (let groupId = 1; groupId <= 2; groupId++) cluster.node(cluster.leaderOf(groupId)).group(groupId).core.transferLeadership(leader);
    cluster.runUntil(() => [1, 2].every((groupId) => cluster.leaderOf(groupId) === leader), 3_000);
    const { memberChange } = begin(cluster, { kind: MemberChangeKind.REMOVE, removedNodeId: leader });
    const stays = cluster.members.find((id) => id !== leader) ?? 0;
    finished(cluster, memberChange?.changeId ?? "", stays);
    cluster.run(5_000);
    work.stop();
    const rest = cluster.members.filter((id) => id !== leader).join();
    expect(voters(cluster, stays)).toEqual([rest, rest, rest]);
    expect(cluster.node(stays).membership.members().map(({ nodeId }) => nodeId).join()).toBe(rest);
    expect(cluster.node(leader).groups.some(({ core }) => core.role === "leader")).toBe(false);
    expectAll(cluster, work.acknowledged, stays);
  });

  it("removes a leader that hears nothing of the directory for a while", () => {
    for (const onRecord of [true, false]) {
      const cluster = ready();
      const [leaver, leader, third] = [1, 2, 3];
      cluster.node(cluster.leaderOf(0)).group(0).core.transferLeadership(leader);
      cluster.node(cluster.leaderOf(1)).group(1).core.transferLeadership(leaver);
      expect(cluster.runUntil(() => cluster.leaderOf(0) === leader && cluster.leaderOf(1) === leaver, 3_000)).toBe(true);
      const deafen = (lost: boolean): void => {
        cluster.loseFrames(leader, leaver, lost);
        cluster.loseFrames(leaver, leader, lost);
      };
      if (!onRecord) deafen(true);
      const changeId = begin(cluster, { kind: MemberChangeKind.REMOVE, removedNodeId: leaver }, leader).memberChange?.changeId ?? "";
      deafen(true);
      cluster.run(2_000);
      deafen(false);
      finished(cluster, changeId, third);
      expect(voters(cluster, third)).toEqual(["2,3", "2,3", "2,3"]);
    }
  });

  it("replaces a node whose disk is gone in one step, by a new identity", () => {
    const cluster = ready();
    const work = working(cluster);
    cluster.run(500);
    const lost = 2;
    cluster.kill(lost);
    cluster.run(500);
    cluster.join(4);
    const { reason, memberChange } = begin(cluster, { kind: MemberChangeKind.REPLACE, removedNodeId: lost, added: added(4) });
    expect(reason).toBe("");
    finished(cluster, memberChange?.changeId ?? "", 4);
    work.stop();
    expect(voters(cluster, 4)).toEqual(["1,3,4", "1,3,4", "1,3,4"]);
    expectAll(cluster, work.acknowledged, 4);
  });

  it("drives a change to its end through the death of whoever leads", () => {
    for (let seed = 1; seed <= 4; seed++) {
      const cluster = ready({ seed });
      const work = working(cluster);
      cluster.join(4);
      cluster.join(5);
      const first = begin(cluster, { kind: MemberChangeKind.ADD, added: added(4) }).memberChange?.changeId ?? "";
      for (let kill = 0; kill < 3; kill++) {
        cluster.runUntil(() => cluster.leaderOf(0) !== 0);
        const leader = cluster.leaderOf(kill % 2);
        if (leader === 0) continue;
        cluster.run(100 + 150 * kill);
        cluster.kill(leader);
        cluster.run(1_500);
        cluster.start(leader);
      }
      finished(cluster, first, 4);
      const second = begin(cluster, { kind: MemberChangeKind.REPLACE, removedNodeId: 1, added: added(5) }).memberChange?.changeId ?? "";
      finished(cluster, second, 5);
      work.stop();
      expect(voters(cluster, 5), `seed ${seed}`).toEqual(["2,3,4,5", "2,3,4,5", "2,3,4,5"]);
      expectAll(cluster, work.acknowledged, 5);
    }
  });

  it("turns an addition back that cannot end", () => {
    const cluster = ready();
    // Nobody answers as node 4.
    const changeId = begin(cluster, { kind: MemberChangeKind.ADD, added: added(4) }).memberChange?.changeId ?? "";
    cluster.run(3_000);
    expect(cluster.node(1).membership.change(changeId)?.state).toBe(MemberChangeState.RUNNING);
    expect(voters(cluster, 1)).toEqual(["1,2,3", "1,2,3", "1,2,3"]);
    expect([1, 2, 3].map((id) => cluster.node(id).members.waitsFor(1)).join("")).toContain("node 4 has not caught up");
    expect(cluster.membership({ $case: "cancel", value: { changeId, dryRun: false } }).reason).toBe("");
    finished(cluster, changeId, 1);
    expect(cluster.node(1).groups.every(({ core }) => core.configuration.learners.length === 0)).toBe(true);
    expect(cluster.node(1).membership.members().map(({ nodeId }) => nodeId)).toEqual([1, 2, 3]);
  });

  it("turns a replacement back only while who would come back answers, or no group has let go of it", () => {
    for (const returns of [false, true]) {
      const cluster = ready();
      const gone = cluster.members.find((id) => id !== cluster.leaderOf(0)) ?? 0;
      cluster.kill(gone);
      cluster.run(500);
      cluster.join(4);
      const changeId = begin(cluster, { kind: MemberChangeKind.REPLACE, removedNodeId: gone, added: added(4) }).memberChange?.changeId ?? "";
      const directory = cluster.leaderOf(0);
      const isLetGo = (): boolean => cluster.node(directory).groups.some(({ core }) => !core.configuration.voters.includes(gone));
      expect(cluster.runUntil(() => isLetGo() && cluster.leaderOf(0) === directory, 30_000)).toBe(true);
      expect(cluster.node(directory).membership.change(changeId)?.state).toBe(MemberChangeState.RUNNING);
      for (const dryRun of [true, false]) {
        const refused = cluster.membership({ $case: "cancel", value: { changeId, dryRun } }, directory);
        expect(refused).toMatchObject({ reason: "MEMBER_GONE", metadata: new Map([["change_id", changeId], ["node_id", String(gone)], ["groups", expect.any(String)]]) });
      }
      if (returns) {
        cluster.start(gone);
        expect(cluster.runUntil(() => cluster.node(directory).isConnected(gone), 5_000)).toBe(true);
        const { reason, memberChange } = cluster.membership({ $case: "cancel", value: { changeId, dryRun: false } }, directory);
        expect(reason === "" ? memberChange?.state : reason).toBe(MemberChangeState.CANCELLING);
      }
      finished(cluster, changeId, directory);
      expect(cluster.node(directory).membership.members().map(({ nodeId }) => nodeId)).toEqual([1, 2, 3, 4].filter((id) => id !== (returns ? 4 : gone)));
    }
  });

  it("refuses what would lose the quorum, and a dry run changes nothing", () => {
    const cluster = ready();
    const before = cluster.node(cluster.leaderOf(0)).directory.digest;
    const dry = begin(cluster, { kind: MemberChangeKind.REMOVE, removedNodeId: 3, dryRun: true });
    expect(dry.memberChange).toMatchObject({ changeId: "remove-3", votersAfter: [1, 2] });
    expect(cluster.node(cluster.leaderOf(0)).directory.digest).toBe(before);
    cluster.kill(2);
    cluster.settle();
    // With node 2 silent, 3 alone would be half of {2, 3} without the lowest.
    expect(begin(cluster, { kind: MemberChangeKind.REMOVE, removedNodeId: 1, dryRun: true })).toMatchObject({ reason: "WOULD_LOSE_QUORUM", metadata: new Map([["voters_before", "1,2,3"], ["voters_after", "2,3"], ["silent", "2"]]) });
    expect(begin(cluster, { kind: MemberChangeKind.REMOVE, removedNodeId: 1 }).reason).toBe("WOULD_LOSE_QUORUM");
    expect(begin(cluster, { kind: MemberChangeKind.REMOVE, removedNodeId: 2, dryRun: true }).reason).toBe("");
  });
});

describe("a node that is drained", () => {
  it("leads nothing until the time is over, though the others would spread leadership, and work goes on", () => {
    const cluster = ready({ node: { balanceTicks: 20 } });
    const work = working(cluster);
    const drained = cluster.leaderOf(1);
    cluster.node(drained).leadership.drain(8_000);
    const leads = (): boolean => cluster.node(drained).groups.some(({ serves }) => serves);
    expect(cluster.runUntil(() => !leads(), 3_000)).toBe(true);
    cluster.settle();
    // What it is handed meanwhile it hands on.
    for (let look = 0; look < 5; look++) {
      cluster.run(1_000);
      expect(cluster.runUntil(() => !leads(), 1_500), `after ${look} s`).toBe(true);
    }
    cluster.run(4_000);
    expect(cluster.node(drained).leadership.isDraining).toBe(false);
    work.stop();
    cluster.converge();
    expectAll(cluster, work.acknowledged, drained);
  });
});

describe("nodes of different versions", () => {
  it("put nothing into a log that one of them cannot read, and go on by themselves once all can", () => {
    const cluster = new VirtualCluster({});
    cluster.speaks(3, { min: 1, max: 1 });
    cluster.kill(3);
    cluster.start(3);
    cluster.settle();
    cluster.register(1);
    cluster.run(3_000);
    expect(cluster.node(1).membership.version).toBe(1);
    expect(begin(cluster, { kind: MemberChangeKind.REMOVE, removedNodeId: 2 }, cluster.leaderOf(0))).toMatchObject({ reason: "VERSION_TOO_LOW", metadata: new Map([["cluster_version", "1"], ["needed_version", "2"], ["node_ids", "3"]]) });
    cluster.converge();
    cluster.speaks(3, { min: 1, max: 2 });
    cluster.kill(3);
    cluster.start(3);
    expect(cluster.runUntil(() => cluster.node(3).membership.isOnRecord)).toBe(true);
    expect(cluster.node(3).membership.version).toBe(2);
  });

  it("stop a node that comes back too old, with words that say what to do", () => {
    const cluster = ready();
    cluster.converge();
    cluster.kill(3);
    cluster.speaks(3, { min: 1, max: 1 });
    cluster.start(3);
    expect(() => cluster.run(3_000)).toThrow(/entry \d+ of group 0 needs version 2, and this node reads up to version 1: start it with a build/);
  });
});
