import { type Decision, type Operation, type OperationError, Outcome, type Region } from "@statemesh/contract";
import { commandOf } from "@statemesh/replica";
import { sameRegion } from "@statemesh/world";
import { describe, expect, it } from "vitest";
import { ownCreature, passOver } from "./operations.ts";
import { isDecision, VirtualCluster } from "./virtual-cluster.ts";

/** Two servers, each with the lease of a region of its own group; server 1 owns a wolf in its region. */
function world(seed: number) {
  const cluster = new VirtualCluster({ seed, groups: 3 });
  cluster.settle();
  cluster.register(1, 2);
  cluster.runUntil(() => cluster.members.every((id) => cluster.node(id).membership.version >= 3));
  const [here, there] = [cluster.regionIn(1), cluster.regionIn(2)];
  for (const [serverId, region] of [[1, here], [2, there]] as const) cluster.directory(1, { $case: "acquire", value: { serverId, region, durationMs: 600_000 } });
  cluster.runUntil(() => cluster.node(1).group(1).state.fence(here)?.ownerServerId === 1 && cluster.node(1).group(2).state.fence(there)?.ownerServerId === 2);
  cluster.run(500);
  expect(outcome(one(cluster, { ...ownCreature("born", 1, here, "wolf", 1), authorityEpoch: 1 }))).toBe("ACCEPTED");
  return { cluster, here, there };
}

function one(cluster: VirtualCluster, operation: Operation): Decision | OperationError | undefined {
  const node = cluster.members.find((id) => cluster.isUp(id)) ?? 0;
  return cluster.execute(node, [operation]).get(operation.operationId);
}

function outcome(answer: Decision | OperationError | undefined): string {
  if (answer === undefined) return "nothing";
  if (!isDecision(answer)) return answer.reason;
  return answer.outcome === Outcome.ACCEPTED ? "ACCEPTED" : answer.reason;
}

/** Where a node has the wolf, and whose it is there. */
function places(cluster: VirtualCluster, nodeId: number): string[] {
  return cluster.node(nodeId).groups.flatMap(({ groupId, state }) => {
    const wolf = state.entities.get("creature", "wolf");
    return wolf === undefined ? [] : [`group ${groupId}: server ${wolf.serverId}`];
  });
}

/** Waits until it is there and nowhere else: who called hears at the decision, and the other group lets go right after. */
function isAt(cluster: VirtualCluster, nodeId: number, place: string): boolean {
  return cluster.runUntil(() => places(cluster, nodeId).join() === place);
}

const over = (id: string, from: Region, to: Region, fields: Partial<Operation> = {}): Operation => ({ ...passOver(id, 1, from, "wolf", 2, to), authorityEpoch: 1, ...fields });

describe("an entity that crosses a border", () => {
  it("goes to the server there at once where one group keeps both regions", () => {
    const { cluster, here } = world(1);
    const beside = { ...here, x: here.x + 1 };
    expect(outcome(one(cluster, over("over", here, beside)))).toBe("ACCEPTED");
    cluster.converge();
    const wolf = cluster.node(1).group(1).state.entities.get("creature", "wolf");
    expect(wolf).toMatchObject({ serverId: 2 });
    expect(wolf?.region !== undefined && sameRegion(wolf.region, beside)).toBe(true);
  });

  it("goes from group to group, once, and comes back", () => {
    const { cluster, here, there } = world(2);
    expect(outcome(one(cluster, over("over", here, there)))).toBe("ACCEPTED");
    expect(isAt(cluster, 1, "group 2: server 2")).toBe(true);
    // The same call once more is the same decision; another is too late.
    expect(one(cluster, over("over", here, there))).toMatchObject({ repeated: true, outcome: Outcome.ACCEPTED });
    expect(outcome(one(cluster, over("again", here, there)))).toBe("NOT_FOUND");
    const back = { ...passOver("back", 2, there, "wolf", 1, here), authorityEpoch: 1 };
    expect(outcome(one(cluster, back))).toBe("ACCEPTED");
    expect(isAt(cluster, 2, "group 1: server 1")).toBe(true);
  });

  it("is handed over by its owner only, under the epoch of the region that it leaves", () => {
    const { cluster, here, there } = world(3);
    expect(outcome(one(cluster, over("stale", here, there, { authorityEpoch: 0 })))).toBe("FENCED");
    expect(outcome(one(cluster, over("other", here, there, { serverId: 2 })))).toBe("FENCED");
    // Somebody else's wolf of that name is there already.
    expect(outcome(one(cluster, { ...ownCreature("twin", 2, there, "wolf", 2), authorityEpoch: 1 }))).toBe("ACCEPTED");
    expect(["ALREADY_EXISTS", "CONFLICT"]).toContain(outcome(one(cluster, over("clash", here, there))));
    cluster.converge();
    expect(places(cluster, 1)).toEqual(["group 1: server 1", "group 2: server 2"]);
  });

  it("is taken, given up and written only under the authority over the region that it is in", () => {
    const { cluster, here } = world(5);
    const beside = { ...here, x: here.x + 1 };
    cluster.directory(1, { $case: "acquire", value: { serverId: 1, region: beside, durationMs: 600_000 } });
    cluster.runUntil(() => cluster.node(1).group(1).state.fence(beside)?.ownerServerId === 1);
    const under = (operation: Operation): Operation => ({ ...operation, authorityEpoch: 1 });
    // Its owner holds the region beside it too; in a while somebody else may hold the one that it is in.
    expect(outcome(one(cluster, under(ownCreature("take", 1, beside, "wolf", 1))))).toBe("ALREADY_EXISTS");
    expect(outcome(one(cluster, under(ownCreature("release", 1, beside, "wolf", 0))))).toBe("NOT_FOUND");
    expect(outcome(one(cluster, under(passOver("move", 1, beside, "wolf", 2, here))))).toBe("NOT_FOUND");
    expect(outcome(one(cluster, under(ownCreature("again", 1, here, "wolf", 1))))).toBe("ACCEPTED");
    cluster.converge();
    expect(places(cluster, 1)).toEqual(["group 1: server 1"]);
  });

  it("goes by a third group that the footprint names, and is never there", () => {
    const { cluster, here, there } = world(4);
    const footprint = { bounds: undefined, regions: [cluster.regionIn(3)], keys: [] };
    expect(outcome(one(cluster, over("over", here, there, { footprint })))).toBe("ACCEPTED");
    cluster.run(2_000);
    cluster.converge();
    for (const id of cluster.members) expect(places(cluster, id)).toEqual(["group 2: server 2"]);
    expect(cluster.failures).toEqual([]);
  });

  const moments: [string, (cluster: VirtualCluster, nodeId: number) => boolean][] = [
    ["the region that it leaves is prepared", (cluster, id) => cluster.node(id).group(1).state.transactions.preparedCount > 0],
    ["the region that it comes to is prepared", (cluster, id) => cluster.node(id).group(2).state.transactions.preparedCount > 0],
    ["it is decided", (cluster, id) => [...cluster.node(id).group(1).state.transactions.coordinatedRows()].some(({ state }) => state !== 0)],
  ];
  it.each(moments)("is in one place, whichever leader dies once %s", (_, when) => {
    for (let seed = 1; seed <= 4; seed++) {
      const { cluster, here, there } = world(10 + seed);
      const operation = over("over", here, there);
      cluster.node(cluster.leaderOf(1)).edge.execute([operation], cluster.nowMs + 10_000, { decided: () => undefined, failed: () => undefined });
      cluster.node(cluster.leaderOf(1)).dirty();
      expect(cluster.runUntil(() => cluster.members.some((id) => cluster.isUp(id) && when(cluster, id)))).toBe(true);
      const victim = cluster.leaderOf((seed % 2) + 1);
      cluster.kill(victim);
      cluster.run(8_000);
      cluster.start(victim);
      cluster.settle();
      cluster.converge();
      const moved = outcome(one(cluster, operation));
      cluster.converge();
      for (const id of cluster.members) expect(places(cluster, id), `seed ${seed}`).toEqual(moved === "ACCEPTED" ? ["group 2: server 2"] : ["group 1: server 1"]);
    }
  });

  it("whose owner is fenced on the way is with it or with its successor's region, never with both", () => {
    for (let seed = 1; seed <= 4; seed++) {
      const { cluster, here, there } = world(20 + seed);
      const operation = over("over", here, there);
      const node = cluster.node(1);
      node.edge.execute([operation], cluster.nowMs + 10_000, { decided: () => undefined, failed: () => undefined });
      node.dirty();
      // The region goes to another server while the wolf is on its way.
      node.relay.command(1, commandOf({ $case: "fence", value: { region: here, epoch: 2, ownerServerId: 2 } }), cluster.nowMs + 10_000, () => undefined);
      cluster.run(8_000);
      cluster.converge();
      for (const id of cluster.members) expect(places(cluster, id).length, `seed ${seed}`).toBe(1);
    }
  });
});
