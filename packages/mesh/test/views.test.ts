// What a cluster agrees on about who is there, with real groups over a virtual network.
import { MemberChangeKind, MemberChangeState, Side } from "@statemesh/contract";
import { BeginMemberChange } from "@statemesh/contract/log";
import { describe, expect, it } from "vitest";
import { VirtualCluster } from "./virtual-cluster.ts";

function ready(nodes = 3): VirtualCluster {
  const cluster = new VirtualCluster({ nodes });
  cluster.settle();
  const all = cluster.members.join();
  expect(cluster.runUntil(() => cluster.members.every((id) => cluster.node(id).views.view.alive.join() === all), 20_000)).toBe(true);
  return cluster;
}

function sides(cluster: VirtualCluster): string[] {
  return cluster.members.filter((id) => cluster.isUp(id)).map((id) => cluster.node(id).views.side);
}

/** The view that all nodes named know. */
function agreed(cluster: VirtualCluster, alive: readonly number[], by: readonly number[] = alive): boolean {
  return by.every((id) => cluster.node(id).views.view.alive.join() === alive.join());
}

describe("the view of a cluster", () => {
  it("names all once all are there, by their votes", () => {
    const { view } = ready().node(2).views;
    expect(view).toMatchObject({ epoch: 1, alive: [1, 2, 3], removed: [] });
    expect(view.votedBy.length).toBeGreaterThanOrEqual(2);
  });

  it("of a split is the winning side's within four seconds, removes the rest after ten, and takes it back after healing", () => {
    const cluster = ready(5);
    cluster.cut([1, 2], [3, 4, 5]);
    const startMs = cluster.nowMs;
    expect(cluster.runUntil(() => agreed(cluster, [3, 4, 5]), 6_000)).toBe(true);
    expect(cluster.nowMs - startMs).toBeLessThan(4_000);
    expect(sides(cluster)).toEqual(["losing", "losing", "winning", "winning", "winning"]);
    expect(cluster.node(1).views.view.epoch, "who lost learns of no new view").toBe(1);
    expect(cluster.node(1).views.state()).toMatchObject({ side: Side.LOSING, suspected: [3, 4, 5], parts: expect.arrayContaining([{ nodeIds: [1, 2], wins: false }]) as unknown });
    expect(cluster.runUntil(() => cluster.node(4).views.view.removed.join() === "1,2", 15_000)).toBe(true);
    cluster.heal();
    expect(cluster.runUntil(() => agreed(cluster, [1, 2, 3, 4, 5]), 10_000)).toBe(true);
    expect(cluster.node(1).views.view.removed).toEqual([]);
    expect(new Set(sides(cluster))).toEqual(new Set(["whole"]));
    cluster.settle();
    expect(new Set(cluster.members.map((id) => cluster.node(id).directory.digest)).size).toBe(1);
  });

  it("of an even split is the half with the lowest id's", () => {
    const cluster = ready(4);
    cluster.cut([1, 4], [2, 3]);
    expect(cluster.runUntil(() => agreed(cluster, [1, 4]), 6_000)).toBe(true);
    expect(sides(cluster)).toEqual(["winning", "losing", "losing", "winning"]);
  });

  it("stays where no part has a majority, and every node knows that it lost", () => {
    const cluster = ready(5);
    cluster.cut([1, 2], [3, 4, 5]);
    cluster.cut([3, 4], [5]);
    cluster.run(6_000);
    expect(cluster.members.map((id) => cluster.node(id).views.view.epoch)).toEqual([1, 1, 1, 1, 1]);
    expect(new Set(sides(cluster))).toEqual(new Set(["losing"]));
  });

  it("leaves out whom some do not hear, and that node leads nothing any more while it still serves", () => {
    const cluster = ready(3);
    cluster.cut([2], [3]);
    expect(cluster.runUntil(() => agreed(cluster, [1, 2], [1, 2, 3]), 8_000)).toBe(true);
    const led = (): number[] => Array.from({ length: cluster.groups + 1 }, (_, groupId) => cluster.leaderOf(groupId));
    expect(cluster.runUntil(() => led().every((id) => id === 1 || id === 2), 10_000)).toBe(true);
    expect(sides(cluster)).not.toContain("losing");
  });

  it("leaves out a node that is not heard though it hears, and that node knows", () => {
    const cluster = ready(3);
    for (const other of [1, 2]) cluster.loseFrames(3, other, true);
    expect(cluster.runUntil(() => agreed(cluster, [1, 2]), 8_000)).toBe(true);
    expect(cluster.runUntil(() => sides(cluster).join() === "winning,winning,losing", 2_000)).toBe(true);
    for (const other of [1, 2]) cluster.loseFrames(3, other, false);
    expect(cluster.runUntil(() => agreed(cluster, [1, 2, 3]), 10_000)).toBe(true);
  });

  it("keeps a node that restarts within the suspicion time", () => {
    const cluster = ready(3);
    cluster.kill(3);
    cluster.run(700);
    cluster.start(3);
    cluster.run(8_000);
    expect(cluster.node(3).views.view.epoch).toBe(1);
    expect(sides(cluster)).toEqual(["whole", "whole", "whole"]);
  });

  it("outlives a restart of all, from log and snapshot", () => {
    const cluster = ready(3);
    cluster.cut([3], [1, 2]);
    expect(cluster.runUntil(() => agreed(cluster, [1, 2]), 6_000)).toBe(true);
    const { epoch } = cluster.node(1).views.view;
    for (const id of cluster.members) cluster.kill(id);
    for (const id of cluster.members) cluster.start(id);
    expect(cluster.runUntil(() => agreed(cluster, [1, 2], [1, 2]), 5_000)).toBe(true);
    expect(cluster.node(1).views.view.epoch).toBe(epoch);
  });

  it("blames nobody while this node was held up", () => {
    const cluster = ready(3);
    cluster.hold(2);
    cluster.run(5_000);
    cluster.release(2);
    cluster.run(100);
    expect(cluster.node(2).views.suspected).toEqual([]);
    expect(cluster.runUntil(() => agreed(cluster, [1, 2, 3]), 10_000)).toBe(true);
  });
});

describe("members change while the cluster is split", () => {
  /** Has a change made through a node, and waits for its end there. */
  function change(cluster: VirtualCluster, through: number, request: Parameters<typeof BeginMemberChange.fromPartial>[0]): void {
    const { reason, message, memberChange } = cluster.membership({ $case: "begin", value: BeginMemberChange.fromPartial(request) }, through);
    expect(reason, message).toBe("");
    const changeId = memberChange?.changeId ?? "";
    expect(cluster.runUntil(() => cluster.node(through).membership.change(changeId)?.state === MemberChangeState.DONE, 60_000)).toBe(true);
  }

  it("cascades from seven to four, three and two nodes, where the operator takes out those who are gone", () => {
    const cluster = ready(7);
    cluster.register(1);
    const rest = (from: number): number[] => Array.from({ length: 8 - from }, (_, at) => from + at);
    for (const [alive, gone] of [[4, [7, 6, 5]], [3, [4]], [2, [3]]] as const) {
      const stay = Array.from({ length: alive }, (_, at) => at + 1);
      cluster.cut(stay, rest(alive + 1));
      expect(cluster.runUntil(() => agreed(cluster, stay), 10_000), `${alive} go on`).toBe(true);
      for (const removedNodeId of gone) change(cluster, 1, { kind: MemberChangeKind.REMOVE, removedNodeId });
      expect(cluster.node(1).membership.voters()).toEqual(stay);
    }
    cluster.run(2_000);
    expect(sides(cluster).slice(0, 2)).toEqual(["whole", "whole"]);
    expect(cluster.node(5).views.side).toBe("losing");
    expect(cluster.node(2).views.view).toMatchObject({ alive: [1, 2], removed: [] });
  });

  it("takes a node in that joins, and lets go of one that leaves", () => {
    const cluster = ready(3);
    cluster.cut([3], [1, 2]);
    expect(cluster.runUntil(() => agreed(cluster, [1, 2]), 10_000)).toBe(true);
    cluster.join(4);
    cluster.cut([3], [4]);
    change(cluster, 1, { kind: MemberChangeKind.ADD, added: { nodeId: 4, address: "node-4:1", folderId: 4 } });
    expect(cluster.runUntil(() => agreed(cluster, [1, 2, 4]), 10_000)).toBe(true);
    change(cluster, 1, { kind: MemberChangeKind.REMOVE, removedNodeId: 2 });
    expect(cluster.runUntil(() => agreed(cluster, [1, 4]), 10_000)).toBe(true);
    expect(cluster.node(3).views.side).toBe("losing");
  });
});

describe("a cluster of an older version", () => {
  it("says nothing of links and agrees on no view, until the last node speaks the new one", () => {
    const cluster = new VirtualCluster({ nodes: 3 });
    for (const id of cluster.members) {
      cluster.kill(id);
      cluster.speaks(id, { min: 1, max: 2 });
    }
    for (const id of cluster.members) cluster.start(id);
    cluster.settle();
    cluster.run(5_000);
    expect(cluster.members.map((id) => cluster.node(id).membership.version)).toEqual([2, 2, 2]);
    expect(cluster.members.map((id) => cluster.node(id).views.view.epoch)).toEqual([0, 0, 0]);
    for (const id of cluster.members) {
      cluster.kill(id);
      cluster.speaks(id, { min: 1, max: 3 });
      cluster.start(id);
    }
    expect(cluster.runUntil(() => agreed(cluster, [1, 2, 3]), 20_000)).toBe(true);
  });
});
