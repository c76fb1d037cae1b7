// What reaches over the border of two groups: decided in both, or in neither, and in the way of whoever comes later in either.
import { type Bounds, type Decision, type Operation, Outcome, type Region, TerrainModification_Mode } from "@statemesh/contract";
import { VERSIONS } from "@statemesh/replica";
import { groupOf } from "@statemesh/world";
import { describe, expect, it } from "vitest";
import { boxIn, claim, dig, place, removeStructure } from "./operations.ts";
import { outcomes, quiet, ready } from "./transacting.ts";
import { isDecision, VirtualCluster } from "./virtual-cluster.ts";

/** Two regions side by side, the left one of group `a`, the right one of group `b`; they meet in a plane of constant x. */
function border(a: number, b: number, groups = 3): [Region, Region] {
  for (let sector = -200; sector < 200; sector++) {
    const left = { x: sector * 8 - 1, y: 0, z: 0 };
    const right = { x: sector * 8, y: 0, z: 0 };
    if (groupOf(left, groups) === a && groupOf(right, groups) === b) return [left, right];
  }
  throw new Error(`no border of groups ${a} and ${b}`);
}

/** A box of 4 m whose middle lies on the border, `at` metres along it. */
function across(right: Region, at: number): Bounds {
  return boxIn(right, -2, at, 0);
}

function build(id: string, serverId: number, home: Region, bounds: Bounds, fields: Partial<Operation> = {}): Operation {
  const operation = place(id, serverId, home, [0, 0, 0], fields);
  if (operation.body?.$case === "structurePlacement") operation.body.value.bounds = bounds;
  return operation;
}

function brush(id: string, serverId: number, home: Region, bounds: Bounds, mode?: TerrainModification_Mode): Operation {
  const operation = dig(id, serverId, home, [0, 0, 0], mode);
  if (operation.body?.$case === "terrainModification") operation.body.value.bounds = bounds;
  return operation;
}

function once(cluster: VirtualCluster, nodeId: number, operation: Operation): unknown {
  return cluster.execute(nodeId, [operation]).get(operation.operationId);
}

function footprints(cluster: VirtualCluster, groupId: number, nodeId = 1): string[] {
  return [...cluster.node(nodeId).group(groupId).state.footprints.values()].map(({ operationId }) => operationId).sort();
}

describe("a structure on the border of two groups", () => {
  for (const [a, b] of [[1, 2], [2, 1]] as const) {
    it(`keeps out who builds later in either, and tells whom they lost to: home in group ${a}`, () => {
      const cluster = ready();
      const [left, right] = border(a, b);
      expect(once(cluster, 2, build("first", 1, left, across(right, 10)))).toMatchObject({ outcome: Outcome.ACCEPTED, position: { groupId: a } });
      expect(once(cluster, 3, place("here", 2, left, [1_998, 11, 0]))).toMatchObject({ outcome: Outcome.REJECTED, reason: "CONFLICT", winnerOperationId: "first" });
      expect(once(cluster, 3, place("there", 2, right, [0, 11, 0]))).toMatchObject({ outcome: Outcome.REJECTED, reason: "CONFLICT", winnerOperationId: "first" });
      expect(once(cluster, 1, place("beside", 2, right, [2, 10, 0]))).toMatchObject({ outcome: Outcome.ACCEPTED });
      // It stands in one place; the other group knows its footprint alone.
      cluster.converge();
      for (const nodeId of [1, 2, 3]) {
        expect(cluster.node(nodeId).group(a).state.entities.get("structure", "s-first")).toBeDefined();
        expect(cluster.node(nodeId).group(b).state.entities.get("structure", "s-first")).toBeUndefined();
        expect(footprints(cluster, a, nodeId)).toEqual([]);
        expect(footprints(cluster, b, nodeId)).toEqual(["first"]);
      }
      expect(once(cluster, 1, build("first", 1, left, across(right, 10)))).toMatchObject({ outcome: Outcome.ACCEPTED, repeated: true });
    });

    it(`loses to what stands in the other group, and leaves nothing: home in group ${a}`, () => {
      const cluster = ready();
      const [left, right] = border(a, b);
      expect(once(cluster, 1, place("stands", 2, right, [1, 10, 0]))).toMatchObject({ outcome: Outcome.ACCEPTED });
      expect(once(cluster, 1, build("late", 1, left, across(right, 10)))).toMatchObject({ outcome: Outcome.REJECTED, reason: "CONFLICT", winnerOperationId: "stands" });
      cluster.converge();
      expect(footprints(cluster, b)).toEqual([]);
      expect(once(cluster, 1, place("free", 1, left, [1_996, 10, 0]))).toMatchObject({ outcome: Outcome.ACCEPTED });
    });

    it(`once removed is in nobody's way: home in group ${a}`, () => {
      const cluster = ready();
      const [left, right] = border(a, b);
      once(cluster, 1, build("first", 1, left, across(right, 10)));
      expect(once(cluster, 2, removeStructure("gone", 1, left, "s-first"))).toMatchObject({ outcome: Outcome.ACCEPTED, position: { groupId: a } });
      expect(once(cluster, 3, place("next", 2, right, [0, 10, 0]))).toMatchObject({ outcome: Outcome.ACCEPTED });
      expect(once(cluster, 3, removeStructure("gone", 1, left, "s-first"))).toMatchObject({ outcome: Outcome.ACCEPTED, repeated: true });
      expect(once(cluster, 3, removeStructure("again", 1, left, "s-first"))).toMatchObject({ outcome: Outcome.REJECTED, winnerOperationId: "gone" });
      expect(cluster.runUntil(() => quiet(cluster))).toBe(true);
      cluster.converge();
      for (const nodeId of [1, 2, 3]) expect(footprints(cluster, b, nodeId)).toEqual([]);
    });
  }

  it("has a name of its home group: others of that name are others", () => {
    const cluster = ready();
    const [left, right] = border(1, 2);
    const [left2, right2] = border(3, 2);
    const named = (id: string, home: Region, bounds: Bounds): Operation => {
      const operation = build(id, 1, home, bounds);
      if (operation.body?.$case === "structurePlacement") operation.body.value.structureId = "tower";
      return operation;
    };
    for (const operation of [named("one", left, across(right, 10)), named("two", right, boxIn(right, 50, 10, 0)), named("three", left2, across(right2, 10))]) {
      expect(once(cluster, 1, operation)).toMatchObject({ outcome: Outcome.ACCEPTED });
    }
    expect(footprints(cluster, 2, cluster.leaderOf(2))).toEqual(["one", "three"]);
    expect(once(cluster, 1, removeStructure("gone", 1, left, "tower"))).toMatchObject({ outcome: Outcome.ACCEPTED });
    expect(footprints(cluster, 2, cluster.leaderOf(2))).toEqual(["three"]);
  });

  it("of two that want one place at once one stands, in both groups, whoever asks first where", () => {
    for (let seed = 1; seed <= 12; seed++) {
      const cluster = ready({ seed });
      const [left, right] = border(1, 2);
      const rivals = [build("west", 1, left, across(right, 10)), build("east", 2, right, across(right, 11))];
      const answers = rivals.map((operation, i) => cluster.submit(1 + ((seed + i) % 3), [operation]));
      expect(cluster.runUntil(() => answers.every((heard) => heard.size === 1))).toBe(true);
      const heard = answers.flatMap((each) => [...each.values()]);
      expect(new Set(outcomes(heard))).toEqual(new Set(["ACCEPTED", "REJECTED"]));
      const winner = heard.filter(isDecision).find((answer) => answer.outcome === Outcome.ACCEPTED);
      const id = isDecision(winner) ? winner.operationId : "";
      expect(heard.find((answer) => answer !== winner)).toMatchObject({ winnerOperationId: id });
      cluster.converge();
      expect(footprints(cluster, 1).concat(footprints(cluster, 2))).toEqual([id]);
    }
  });

  it("survives in the other group's snapshot", () => {
    const cluster = ready({ node: { snapshotLogBytes: 512, trailingEntries: 0 } });
    const [left, right] = border(2, 1);
    once(cluster, 1, build("first", 1, left, across(right, 10)));
    for (let i = 0; i < 20; i++) once(cluster, 1, claim(`c${i}`, 1, right, `vein${i}`, "ada"));
    cluster.converge();
    for (const id of cluster.members) cluster.kill(id);
    for (const id of cluster.members) cluster.start(id);
    cluster.settle();
    expect(once(cluster, 3, place("there", 2, right, [0, 11, 0]))).toMatchObject({ outcome: Outcome.REJECTED, winnerOperationId: "first" });
  });
});

describe("in a transaction", () => {
  it("a border structure that loses takes everything with it", () => {
    const cluster = ready();
    const [left, right] = border(3, 2);
    const elsewhere = cluster.regionIn(1);
    once(cluster, 1, place("stands", 2, right, [1, 10, 0]));
    const answers = cluster.transact(1, "t-1", [claim("a", 1, elsewhere, "vein", "ada"), build("b", 1, left, across(right, 10))]);
    expect(answers).toMatchObject([{ outcome: Outcome.REJECTED, reason: "TRANSACTION_ABORTED" }, { outcome: Outcome.REJECTED, reason: "CONFLICT", winnerOperationId: "stands" }]);
    cluster.converge();
    expect(footprints(cluster, 2)).toEqual([]);
  });

  it("removals free the places everywhere: of one group, and of several", () => {
    for (const others of [0, 1]) {
      const cluster = ready();
      const [left, right] = border(3, 2);
      const elsewhere = cluster.regionIn(1);
      once(cluster, 1, build("x", 1, left, across(right, 10)));
      once(cluster, 1, build("y", 1, left, across(right, 30)));
      const operations = [removeStructure("rx", 1, left, "s-x"), removeStructure("ry", 1, left, "s-y"), ...(others === 0 ? [] : [claim("c", 1, elsewhere, "vein", "ada")])];
      const first = cluster.transact(2, "t-1", operations);
      expect(outcomes(first)).toEqual(operations.map(() => "ACCEPTED"));
      expect(once(cluster, 3, place("next", 2, right, [0, 10, 0]))).toMatchObject({ outcome: Outcome.ACCEPTED });
      expect(once(cluster, 3, place("more", 2, right, [0, 30, 0]))).toMatchObject({ outcome: Outcome.ACCEPTED });
      expect(outcomes(cluster.transact(3, "t-1", operations))).toEqual(operations.map(() => "ACCEPTED"));
      expect(cluster.runUntil(() => quiet(cluster))).toBe(true);
      cluster.converge();
      expect(footprints(cluster, 2)).toEqual([]);
    }
  });

  it("a removal that fails with the others keeps the footprint", () => {
    const cluster = ready();
    const [left, right] = border(3, 2);
    once(cluster, 1, build("x", 1, left, across(right, 10)));
    const answers = cluster.transact(2, "t-1", [removeStructure("rx", 1, left, "s-x"), removeStructure("no", 1, left, "s-nothing")]);
    expect(outcomes(answers)).toEqual(["REJECTED", "REJECTED"]);
    expect(once(cluster, 3, place("next", 2, right, [0, 10, 0]))).toMatchObject({ outcome: Outcome.REJECTED, winnerOperationId: "x" });
  });
});

describe("terrain on the border", () => {
  it("merges with what the other group digs, and keeps out what fills", () => {
    const cluster = ready();
    const [left, right] = border(1, 2);
    expect(once(cluster, 1, brush("dig", 1, left, across(right, 10)))).toMatchObject({ outcome: Outcome.ACCEPTED });
    expect(once(cluster, 1, brush("deeper", 2, right, boxIn(right, 0, 10, 0)))).toMatchObject({ outcome: Outcome.MERGED });
    expect(once(cluster, 1, brush("fill", 2, right, boxIn(right, 0, 11, 0), TerrainModification_Mode.FILL))).toMatchObject({ outcome: Outcome.REJECTED, winnerOperationId: "dig" });
    // And a border edit goes with what it finds there; the verdict that is told is that of its home.
    expect(once(cluster, 1, brush("back", 1, left, across(right, 10)))).toMatchObject({ outcome: Outcome.ACCEPTED });
    expect(once(cluster, 1, brush("heap", 1, left, across(right, 11), TerrainModification_Mode.FILL))).toMatchObject({ outcome: Outcome.REJECTED, winnerOperationId: "deeper" });
  });

  it("is compared with as long as edits count as concurrent", () => {
    const cluster = ready();
    const [left, right] = border(2, 1);
    once(cluster, 1, brush("dig", 1, left, across(right, 10)));
    cluster.run(10_000);
    expect(once(cluster, 1, brush("fill", 2, right, boxIn(right, 0, 11, 0), TerrainModification_Mode.FILL))).toMatchObject({ outcome: Outcome.ACCEPTED });
  });
});

describe("other operations that name regions of other groups", () => {
  it("are decided at home, and leave nothing elsewhere", () => {
    const cluster = ready();
    const [left, right] = border(2, 1);
    const footprint = { bounds: undefined, regions: [right], keys: ["gate"] };
    expect(once(cluster, 1, claim("c", 1, left, "vein", "ada", { footprint }))).toMatchObject({ outcome: Outcome.ACCEPTED, position: { groupId: 2 } });
    expect(once(cluster, 1, claim("d", 1, left, "vein", "eve", { footprint }))).toMatchObject({ outcome: Outcome.REJECTED, winnerOperationId: "c" });
    // A claim of that name in the other group is another claim.
    expect(once(cluster, 1, claim("e", 1, right, "vein", "eve", { footprint: { ...footprint, regions: [left] } }))).toMatchObject({ outcome: Outcome.ACCEPTED });
    expect(footprints(cluster, 1, cluster.leaderOf(1))).toEqual([]);
  });
});

describe("leaders fail", () => {
  const moments: [string, (cluster: VirtualCluster) => boolean][] = [
    ["the first group is prepared", (cluster) => some(cluster, 1, ({ preparedCount }) => preparedCount > 0)],
    ["the second group is prepared", (cluster) => some(cluster, 2, ({ preparedCount }) => preparedCount > 0)],
    ["it is decided", (cluster) => some(cluster, 1, (transactions) => [...transactions.coordinatedRows()].some(({ state }) => state !== 0))],
  ];
  for (const [name, when] of moments) {
    for (const victim of [1, 2]) {
      it(`the structure stands in both groups or in neither: the leader of group ${victim} dies once ${name}`, () => {
        for (let seed = 1; seed <= 3; seed++) {
          for (const [a, b] of [[1, 2], [2, 1]] as const) {
            const cluster = ready({ seed, node: { snapshotLogBytes: 512, trailingEntries: 0 } });
            const [left, right] = border(a, b);
            const operation = build("first", 1, left, across(right, 10));
            cluster.submit(cluster.leaderOf(1), [operation]);
            expect(cluster.runUntil(() => when(cluster))).toBe(true);
            restart(cluster, victim);
            const stands = (once(cluster, 3, operation) as Decision).outcome === Outcome.ACCEPTED;
            expect(cluster.runUntil(() => quiet(cluster))).toBe(true);
            cluster.converge();
            for (const nodeId of [1, 2, 3]) {
              expect(cluster.node(nodeId).group(a).state.entities.get("structure", "s-first") !== undefined).toBe(stands);
              expect(footprints(cluster, b, nodeId)).toEqual(stands ? ["first"] : []);
            }
          }
        }
      });
    }
  }

  for (const victim of [1, 2]) {
    it(`while a removal is cleared, and it is told only once the place is free: the leader of group ${victim}`, () => {
      for (let seed = 1; seed <= 4; seed++) {
        const cluster = ready({ seed, node: { snapshotLogBytes: 512, trailingEntries: 0 } });
        const [left, right] = border(1, 2);
        once(cluster, 1, build("first", 1, left, across(right, 10)));
        const removal = removeStructure("gone", 1, left, "s-first");
        cluster.submit(cluster.leaderOf(1), [removal]);
        expect(cluster.runUntil(() => some(cluster, 1, ({ coordinatedCount }) => coordinatedCount > 0))).toBe(true);
        restart(cluster, victim);
        expect(once(cluster, 3, removal)).toMatchObject({ outcome: Outcome.ACCEPTED });
        expect(once(cluster, 2, place("next", 2, right, [0, 10, 0]))).toMatchObject({ outcome: Outcome.ACCEPTED });
        expect(cluster.runUntil(() => quiet(cluster))).toBe(true);
        cluster.converge();
        for (const nodeId of [1, 2, 3]) expect(footprints(cluster, 2, nodeId)).toEqual([]);
      }
    });
  }

  it("a removal of what another group has not yet released waits there, and leaves no footprint", () => {
    let tried = 0;
    for (let seed = 1; seed <= 12 && tried < 3; seed++) {
      const cluster = ready({ seed });
      const [left, right] = border(1, 2);
      const [home, other] = [cluster.leaderOf(1), cluster.leaderOf(2)];
      if (home === other) continue;
      tried++;
      const building = cluster.submit(home, [build("first", 1, left, across(right, 10))]);
      expect(cluster.runUntil(() => [...transactionsOf(cluster, home, 1).coordinatedRows()].some(({ state }) => state !== 0))).toBe(true);
      // The release is lost on its way; it is sent again after some seconds.
      cluster.loseFrames(home, other, true);
      cluster.run(3);
      cluster.loseFrames(home, other, false);
      const removing = cluster.submit(home, [removeStructure("gone", 1, left, "s-first")]);
      const before = cluster.node(other).group(2).core.lastIndex;
      cluster.run(1_000);
      expect(transactionsOf(cluster, other, 2).preparedCount).toBe(1);
      // Waiting writes nothing.
      expect(cluster.node(other).group(2).core.lastIndex).toBe(before);
      expect(cluster.node(home).group(1).state.entities.get("structure", "s-first")).toBeUndefined();
      // Who built it has heard what was decided; who took it down hears once the place is free.
      expect([building.size, removing.size]).toEqual([1, 0]);
      expect(cluster.runUntil(() => building.size === 1 && removing.size === 1)).toBe(true);
      expect(removing.get("gone")).toMatchObject({ outcome: Outcome.ACCEPTED });
      expect(once(cluster, 2, place("next", 2, right, [0, 10, 0]))).toMatchObject({ outcome: Outcome.ACCEPTED });
      cluster.converge();
      expect(footprints(cluster, 2)).toEqual([]);
    }
    expect(tried).toBeGreaterThan(0);
  });
});

function some(cluster: VirtualCluster, groupId: number, which: (transactions: ReturnType<typeof transactionsOf>) => boolean): boolean {
  return cluster.members.some((id) => cluster.isUp(id) && which(transactionsOf(cluster, id, groupId)));
}

function transactionsOf(cluster: VirtualCluster, nodeId: number, groupId: number) {
  return cluster.node(nodeId).group(groupId).state.transactions;
}

/** The leader of a group dies, and comes back much later. */
function restart(cluster: VirtualCluster, groupId: number): void {
  cluster.kill(cluster.leaderOf(groupId));
  cluster.run(8_000);
  for (const id of cluster.members) if (!cluster.isUp(id)) cluster.start(id);
  cluster.settle();
  cluster.converge();
}

describe("a cluster below version 4", () => {
  it("refuses what spans groups by name, and takes it once every node speaks version 4", () => {
    const cluster = new VirtualCluster({ groups: 3 });
    cluster.speaks(3, { min: 1, max: 3 });
    cluster.kill(3);
    cluster.start(3);
    cluster.settle();
    cluster.register(1, 2);
    expect(cluster.runUntil(() => cluster.members.every((id) => cluster.node(id).membership.version === 3))).toBe(true);
    const [left, right] = border(1, 2);
    expect(once(cluster, 1, build("first", 1, left, across(right, 10)))).toMatchObject({ reason: "SPANS_GROUPS" });
    expect(once(cluster, 1, claim("c", 1, left, "vein", "ada", { footprint: { bounds: undefined, regions: [right], keys: [] } }))).toMatchObject({ reason: "SPANS_GROUPS" });
    cluster.converge();
    cluster.kill(3);
    cluster.speaks(3, VERSIONS);
    cluster.start(3);
    expect(cluster.runUntil(() => cluster.node(1).membership.version >= 4)).toBe(true);
    expect(once(cluster, 1, build("first", 1, left, across(right, 10)))).toMatchObject({ outcome: Outcome.ACCEPTED });
  });
});
