import { Outcome } from "@statemesh/contract";
import { describe, expect, it } from "vitest";
import { mint } from "./operations.ts";
import { VirtualCluster, isDecision } from "./virtual-cluster.ts";

describe("a node that comes back without its data", () => {
  it("never helps to elect a leader that lacks what it had acknowledged", () => {
    for (let seed = 1; seed <= 5; seed++) {
      const cluster = new VirtualCluster({ seed });
      cluster.settle();
      cluster.register(1);
      const region = cluster.regionIn(1);
      const leader = cluster.leaderOf(1);
      const [behind, witness] = cluster.members.filter((id) => id !== leader) as [number, number];
      cluster.kill(behind);
      const first = cluster.execute(leader, [mint("w", 1, region, "ada", "gold", 5)]).get("w");
      expect(isDecision(first) && first.outcome, `seed ${seed}`).toBe(Outcome.ACCEPTED);
      cluster.kill(leader);
      cluster.kill(witness);
      cluster.start(behind);
      cluster.wipe(witness);
      cluster.run(10_000);
      expect(cluster.leaderOf(1), `seed ${seed}: nobody may lead without the write`).toBe(0);
      cluster.start(leader);
      cluster.settle();
      const again = cluster.execute(behind, [mint("w", 1, region, "ada", "gold", 5)]).get("w");
      expect(again, `seed ${seed}`).toMatchObject({ repeated: true, position: isDecision(first) ? first.position : undefined });
      cluster.converge();
    }
  });

  it("is brought up to the state of the others while its leader stays", () => {
    const cluster = new VirtualCluster({});
    cluster.settle();
    cluster.register(1);
    const region = cluster.regionIn(1);
    const leader = cluster.leaderOf(1);
    cluster.execute(leader, [mint("a", 1, region, "ada", "gold", 5)]);
    cluster.converge();
    const lost = cluster.members.find((id) => id !== leader && id !== cluster.leaderOf(0) && id !== cluster.leaderOf(2)) ?? cluster.members.find((id) => id !== leader) ?? 0;
    cluster.kill(lost);
    cluster.wipe(lost);
    cluster.execute(leader, [mint("b", 1, region, "ada", "gold", 5)]);
    cluster.converge();
    expect(cluster.node(lost).group(1).state.ledger.balance("player:ada", "gold")).toBe(10);
  });
});
