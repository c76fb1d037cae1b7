import { Outcome } from "@statemesh/contract";
import { describe, expect, it } from "vitest";
import { mint } from "./operations.ts";
import { VirtualCluster, isDecision } from "./virtual-cluster.ts";

const KNOWN = { isEndKnown: true, isVoteKnown: true };
const UNKNOWN = { isEndKnown: false, isVoteKnown: false };

interface Scene {
  readonly cluster: VirtualCluster;
  readonly leader: number;
  /** Acknowledged the write. */
  readonly witness: number;
  /** Never heard of it. */
  readonly behind: number;
  readonly region: ReturnType<VirtualCluster["regionIn"]>;
}

/** A write of group 1 is on the leader and on one follower; both die, the follower's log is damaged, and the third node comes back. */
function scene(seed: number, known: { isEndKnown: boolean; isVoteKnown: boolean }): Scene {
  const cluster = new VirtualCluster({ seed });
  cluster.settle();
  cluster.register(1);
  const region = cluster.regionIn(1);
  cluster.converge();
  const leader = cluster.leaderOf(1);
  const [witness = 0, behind = 0] = cluster.members.filter((id) => id !== leader);
  cluster.kill(behind);
  expect(isDecision(cluster.execute(leader, [mint("w", 1, region, "ada", "gold", 5)]).get("w"))).toBe(true);
  cluster.kill(leader);
  cluster.kill(witness);
  cluster.damage(witness, 1, 1, known);
  cluster.start(behind);
  cluster.start(witness);
  return { cluster, leader, witness, behind, region };
}

describe.each([
  ["whose end is known", KNOWN],
  ["whose end and vote are lost", UNKNOWN],
])("a damaged log %s", (_, known) => {
  it("helps nobody into leadership who lacks what it acknowledged, and is repaired when the leader returns", () => {
    for (let seed = 1; seed <= 12; seed++) {
      const { cluster, leader, witness, behind, region } = scene(seed, known);
      expect(cluster.node(witness).repairs.damagedGroups, `seed ${seed}`).toEqual([1]);
      cluster.run(10_000);
      expect(cluster.leaderOf(1), `seed ${seed}: nobody may lead without the write`).toBe(0);
      expect(cluster.leaderOf(2), `seed ${seed}: other groups go on`).not.toBe(0);
      cluster.start(leader);
      cluster.settle();
      const again = cluster.execute(behind, [mint("w", 1, region, "ada", "gold", 5)]).get("w");
      expect(again, `seed ${seed}`).toMatchObject({ outcome: Outcome.ACCEPTED, repeated: true });
      cluster.converge();
      if (known.isVoteKnown) expect(cluster.runUntil(() => cluster.node(witness).repairs.damagedGroups.length === 0), `seed ${seed}: repaired`).toBe(true);
      expect(cluster.node(witness).group(1).state.ledger.balance("player:ada", "gold")).toBe(5);
    }
  });
});

describe("a repaired log", () => {
  it("counts fully again: it votes, leads and remembers the repair over a restart", () => {
    for (let seed = 1; seed <= 6; seed++) {
      const { cluster, leader, witness, behind, region } = scene(seed, KNOWN);
      cluster.start(leader);
      cluster.settle();
      cluster.converge();
      expect(cluster.runUntil(() => cluster.node(witness).repairs.damagedGroups.length === 0), `seed ${seed}`).toBe(true);
      cluster.run(100);
      cluster.kill(witness);
      cluster.kill(leader);
      cluster.start(witness);
      expect(cluster.node(witness).repairs.damagedGroups).toEqual([]);
      cluster.settle();
      expect(cluster.execute(behind, [mint("w", 1, region, "ada", "gold", 5)]).get("w")).toMatchObject({ repeated: true });
    }
  });

  it("whose vote was lost votes again from the first term on that no peer was in", () => {
    const { cluster, leader, witness } = scene(3, UNKNOWN);
    cluster.start(leader);
    cluster.settle();
    cluster.converge();
    cluster.run(1_000);
    // The election that follows is of a new term.
    cluster.kill(cluster.leaderOf(1));
    cluster.settle();
    expect(cluster.runUntil(() => !cluster.isUp(witness) || cluster.node(witness).repairs.damagedGroups.length === 0)).toBe(true);
  });
});

describe("damage in one group", () => {
  it("lets the node lead and vote in the others meanwhile, and a log that the group does not need is made good by its leader", () => {
    const cluster = new VirtualCluster({ seed: 5 });
    cluster.settle();
    cluster.register(1);
    for (const groupId of [1, 2]) for (let n = 0; n < 5; n++) cluster.execute(1, [mint(`m-${groupId}-${n}`, 1, cluster.regionIn(groupId), "ada", "gold", 1)]);
    cluster.converge();
    const damaged = cluster.members.find((id) => id !== cluster.leaderOf(1)) ?? 0;
    cluster.kill(damaged);
    cluster.damage(damaged, 1, 3, KNOWN);
    cluster.start(damaged);
    expect(cluster.runUntil(() => cluster.node(damaged).repairs.damagedGroups.length === 0)).toBe(true);
    cluster.converge();
    expect(cluster.node(damaged).group(1).state.ledger.balance("player:ada", "gold")).toBe(5);
  });
});
