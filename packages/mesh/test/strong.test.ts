import { Outcome, TerrainModification_Mode } from "@statemesh/contract";
import { describe, expect, it } from "vitest";
import { claim, dig, give, mint, ownCreature, pickup, place, removeStructure, spawn, trade } from "./operations.ts";
import { VirtualCluster, isDecision } from "./virtual-cluster.ts";

function ready(options: ConstructorParameters<typeof VirtualCluster>[0] = {}): VirtualCluster {
  const cluster = new VirtualCluster(options);
  cluster.settle();
  cluster.register(1, 2, 9, 10);
  return cluster;
}

function decisionOf(answers: Map<string, unknown>, id: string) {
  const answer = answers.get(id) as Parameters<typeof isDecision>[0];
  if (!isDecision(answer)) throw new Error(`${id}: ${JSON.stringify(answer, (_, value: unknown) => (value instanceof Map ? [...value] : value))}`);
  return answer;
}

describe("a strong operation", () => {
  it("is decided through any node, and every node comes to hold it", () => {
    const cluster = ready();
    for (const [i, nodeId] of [1, 2, 3].entries()) {
      for (const groupId of [1, 2]) {
        const region = cluster.regionIn(groupId);
        const id = `op-${nodeId}-${groupId}`;
        const decision = decisionOf(cluster.execute(nodeId, [place(id, 1, region, [i * 10, 0, 0])]), id);
        expect(decision).toMatchObject({ outcome: Outcome.ACCEPTED, rule: "uncontested", winnerOperationId: id, repeated: false });
        expect(decision.position?.groupId).toBe(groupId);
        expect(decision.version).toBe(decision.position?.index);
      }
    }
    cluster.converge();
    for (const nodeId of [1, 2, 3]) expect(cluster.node(nodeId).group(1).state.entities.size).toBe(3);
  });

  it("sent again under its id returns the first decision, on any node, and is done once", () => {
    const cluster = ready();
    const region = cluster.regionIn(1);
    const operation = mint("m-1", 1, region, "ada", "ore", 5);
    const first = decisionOf(cluster.execute(1, [operation]), "m-1");
    for (const nodeId of [1, 2, 3]) {
      const again = decisionOf(cluster.execute(nodeId, [operation]), "m-1");
      expect(again).toEqual({ ...first, repeated: true });
    }
    cluster.converge();
    expect(cluster.node(2).group(1).state.ledger.balance("player:ada", "ore")).toBe(5);
  });

  it("sent twice at once is decided once, and both callers hear it", () => {
    const cluster = ready();
    const region = cluster.regionIn(1);
    const operation = mint("m-1", 1, region, "ada", "ore", 5);
    const answers = [cluster.submit(1, [operation]), cluster.submit(2, [operation]), cluster.submit(3, [operation])];
    cluster.runUntil(() => answers.every((answer) => answer.size === 1));
    for (const answer of answers) expect(decisionOf(answer, "m-1").outcome).toBe(Outcome.ACCEPTED);
    cluster.converge();
    expect(cluster.node(1).group(1).state.ledger.balance("player:ada", "ore")).toBe(5);
  });

  it("with a used id and other content is refused by name", () => {
    const cluster = ready();
    const region = cluster.regionIn(1);
    cluster.execute(1, [mint("m-1", 1, region, "ada", "ore", 5)]);
    expect(cluster.execute(2, [mint("m-1", 1, region, "ada", "ore", 6)]).get("m-1")).toMatchObject({ reason: "OPERATION_ID_REUSED" });
    cluster.converge();
    expect(cluster.node(1).group(1).state.ledger.balance("player:ada", "ore")).toBe(5);
  });

  it("of a server that is not registered is refused", () => {
    const cluster = ready();
    expect(cluster.execute(3, [mint("m-1", 77, cluster.regionIn(1), "ada", "ore", 5)]).get("m-1")).toMatchObject({ reason: "SERVER_NOT_REGISTERED" });
  });
});

describe("where operations meet", () => {
  it("the earlier claimed time wins inside the window, whoever is heard first", () => {
    const cluster = ready();
    const region = cluster.regionIn(1);
    const leader = cluster.leaderOf(1);
    const now = Math.floor(cluster.nowMs);
    const answers = cluster.execute(leader, [
      claim("late", 1, region, "vein", "ada", { timestampMs: now }),
      claim("early", 2, region, "vein", "bob", { timestampMs: now - 50 }),
    ]);
    expect(decisionOf(answers, "early")).toMatchObject({ outcome: Outcome.ACCEPTED, rule: "timestamp" });
    expect(decisionOf(answers, "late")).toMatchObject({ outcome: Outcome.REJECTED, rule: "timestamp", winnerOperationId: "early", reason: "CONFLICT" });
  });

  it("at one time the lowest server id wins, as a number", () => {
    const cluster = ready();
    const region = cluster.regionIn(1);
    const timestampMs = Math.floor(cluster.nowMs) - 10;
    const answers = cluster.execute(cluster.leaderOf(1), [
      claim("ten", 10, region, "vein", "ada", { timestampMs }),
      claim("nine", 9, region, "vein", "bob", { timestampMs }),
    ]);
    expect(decisionOf(answers, "nine").outcome).toBe(Outcome.ACCEPTED);
    expect(decisionOf(answers, "ten")).toMatchObject({ outcome: Outcome.REJECTED, rule: "server_id", winnerOperationId: "nine" });
  });

  it("what is committed stands, however early a newcomer claims to be", () => {
    const cluster = ready();
    const region = cluster.regionIn(1);
    cluster.execute(1, [claim("first", 1, region, "vein", "ada")]);
    const late = decisionOf(cluster.execute(2, [claim("second", 2, region, "vein", "bob", { timestampMs: Math.floor(cluster.nowMs) - 10_000 })]), "second");
    expect(late).toMatchObject({ outcome: Outcome.REJECTED, rule: "incumbent", winnerOperationId: "first" });
  });

  it("overlapping structures exclude each other, touching ones don't", () => {
    const cluster = ready();
    const region = cluster.regionIn(1);
    const answers = cluster.execute(1, [place("a", 1, region, [0, 0, 0]), place("b", 2, region, [3, 0, 0]), place("c", 2, region, [4, 0, 0])]);
    const outcomes = ["a", "b", "c"].map((id) => decisionOf(answers, id).outcome);
    expect(outcomes).toEqual([Outcome.ACCEPTED, Outcome.REJECTED, Outcome.ACCEPTED]);
  });

  it("two digs that overlap are both in force, a paint over a fresh dig of another server is not", () => {
    const cluster = ready();
    const region = cluster.regionIn(1);
    const leader = cluster.leaderOf(1);
    const digs = cluster.execute(leader, [dig("d1", 1, region, [0, 0, 0]), dig("d2", 2, region, [2, 0, 0])]);
    expect(decisionOf(digs, "d1").outcome).toBe(Outcome.MERGED);
    expect(decisionOf(digs, "d2").outcome).toBe(Outcome.MERGED);
    const paint = cluster.execute(leader, [dig("p", 9, region, [1, 0, 0], TerrainModification_Mode.PAINT)]);
    expect(decisionOf(paint, "p")).toMatchObject({ outcome: Outcome.REJECTED, rule: "incumbent" });
    cluster.run(1_000);
    const later = cluster.execute(leader, [dig("q", 9, region, [1, 0, 0], TerrainModification_Mode.PAINT)]);
    expect(decisionOf(later, "q").outcome).toBe(Outcome.ACCEPTED);
  });

  it("an item on the ground goes to exactly one of many who grab it", () => {
    const cluster = ready();
    const region = cluster.regionIn(1);
    cluster.execute(1, [spawn("sp", 1, region, "sword", "sword", 1)]);
    const grabs = [1, 2, 9, 10].map((serverId, i) => pickup(`g${serverId}`, serverId, region, "sword", `player-${i}`));
    const answers = [1, 2, 3, 1].map((nodeId, i) => cluster.submit(nodeId, grabs.slice(i, i + 1)));
    cluster.runUntil(() => answers.every((answer) => answer.size === 1));
    const decisions = answers.map((answer, i) => decisionOf(answer, grabs[i]?.operationId ?? ""));
    const winners = decisions.filter(({ outcome }) => outcome === Outcome.ACCEPTED);
    expect(winners).toHaveLength(1);
    for (const loser of decisions.filter(({ outcome }) => outcome === Outcome.REJECTED)) expect(loser.winnerOperationId).toBe(winners[0]?.operationId);
    cluster.converge();
    const held = [0, 1, 2, 3].map((i) => cluster.node(1).group(1).state.ledger.balance(`player:player-${i}`, "sword"));
    expect(held.reduce((sum, quantity) => sum + quantity, 0)).toBe(1);
  });

  it("a creature changes hands only by its owner", () => {
    const cluster = ready();
    const region = cluster.regionIn(1);
    decisionOf(cluster.execute(1, [ownCreature("own", 1, region, "wolf", 1)]), "own");
    expect(decisionOf(cluster.execute(2, [ownCreature("steal", 2, region, "wolf", 2)]), "steal")).toMatchObject({ outcome: Outcome.REJECTED, winnerOperationId: "own" });
    expect(decisionOf(cluster.execute(1, [ownCreature("hand", 1, region, "wolf", 2)]), "hand").outcome).toBe(Outcome.ACCEPTED);
    expect(decisionOf(cluster.execute(2, [ownCreature("free", 2, region, "wolf", 0)]), "free").outcome).toBe(Outcome.ACCEPTED);
  });
});

describe("the ledger", () => {
  it("never lets a balance go below zero, in one batch or across batches", () => {
    const cluster = ready();
    const region = cluster.regionIn(1);
    cluster.execute(1, [mint("m", 1, region, "ada", "gold", 10)]);
    const gives = Array.from({ length: 8 }, (_, i) => give(`g${i}`, 1, region, "ada", `p${i}`, "gold", 3));
    const answers = cluster.execute(1, gives);
    const accepted = gives.filter(({ operationId }) => decisionOf(answers, operationId).outcome === Outcome.ACCEPTED);
    expect(accepted).toHaveLength(3);
    for (const { operationId } of gives) {
      const decision = decisionOf(answers, operationId);
      if (decision.outcome === Outcome.REJECTED) expect(decision).toMatchObject({ rule: "balance", reason: "INSUFFICIENT_ITEMS" });
    }
    expect(cluster.node(cluster.leaderOf(1)).group(1).state.ledger.balance("player:ada", "gold")).toBe(1);
  });

  it("keeps the order of one server's operations, whatever their ids and times", () => {
    const cluster = ready();
    const region = cluster.regionIn(1);
    const timestampMs = Math.floor(cluster.nowMs);
    const answers = cluster.execute(1, [
      mint("z-first", 1, region, "ada", "gold", 1),
      give("a-second", 1, region, "ada", "bob", "gold", 1, { timestampMs: timestampMs - 100 }),
    ]);
    expect(decisionOf(answers, "a-second").outcome).toBe(Outcome.ACCEPTED);
  });

  it("trades both sides or neither", () => {
    const cluster = ready();
    const region = cluster.regionIn(1);
    cluster.execute(1, [mint("m1", 1, region, "ada", "gold", 5), mint("m2", 1, region, "bob", "fish", 1)]);
    expect(decisionOf(cluster.execute(1, [trade("t1", 1, region, ["ada", "gold", 5], ["bob", "fish", 2])]), "t1")).toMatchObject({ outcome: Outcome.REJECTED, reason: "INSUFFICIENT_ITEMS" });
    expect(decisionOf(cluster.execute(1, [trade("t2", 1, region, ["ada", "gold", 5], ["bob", "fish", 1])]), "t2").outcome).toBe(Outcome.ACCEPTED);
    const { ledger } = cluster.node(cluster.leaderOf(1)).group(1).state;
    expect([ledger.balance("player:ada", "gold"), ledger.balance("player:ada", "fish"), ledger.balance("player:bob", "gold")]).toEqual([0, 1, 5]);
  });

  it("refuses to mint beyond 2^53-1 of a kind, also when two batches are in flight", () => {
    const cluster = ready();
    const region = cluster.regionIn(1);
    const half = 2 ** 52;
    const answers = [1, 2, 3].map((i) => cluster.submit(cluster.leaderOf(1), [mint(`m${i}`, 1, region, `p${i}`, "dust", half)]));
    cluster.runUntil(() => answers.every((answer) => answer.size === 1));
    const outcomes = answers.map((answer, i) => decisionOf(answer, `m${i + 1}`));
    expect(outcomes.filter(({ outcome }) => outcome === Outcome.ACCEPTED)).toHaveLength(1);
    expect(outcomes.filter(({ reason }) => reason === "BALANCE_OVERFLOW")).toHaveLength(2);
  });

  it("never gives an item id to a second item", () => {
    const cluster = ready();
    const region = cluster.regionIn(1);
    cluster.execute(1, [spawn("s1", 1, region, "ring", "ring", 1)]);
    cluster.execute(1, [pickup("p1", 1, region, "ring", "ada")]);
    expect(decisionOf(cluster.execute(1, [spawn("s2", 1, region, "ring", "ring", 1)]), "s2")).toMatchObject({ outcome: Outcome.REJECTED, reason: "ALREADY_EXISTS" });
  });
});

describe("a transaction", () => {
  it("commits all of its operations, or none", () => {
    const cluster = ready();
    const region = cluster.regionIn(1);
    cluster.execute(1, [mint("m", 1, region, "ada", "gold", 5)]);
    const failing = cluster.transact(2, "tx-1", [give("x1", 1, region, "ada", "bob", "gold", 5), give("x2", 1, region, "ada", "bob", "gold", 1)]);
    expect(failing.map((answer) => isDecision(answer) && answer.reason)).toEqual(["TRANSACTION_ABORTED", "INSUFFICIENT_ITEMS"]);
    const again = cluster.transact(3, "tx-1", [give("x1", 1, region, "ada", "bob", "gold", 5), give("x2", 1, region, "ada", "bob", "gold", 1)]);
    expect(again.every((answer) => isDecision(answer) && answer.repeated)).toBe(true);
    const good = cluster.transact(3, "tx-2", [give("y1", 1, region, "ada", "bob", "gold", 5), give("y2", 1, region, "bob", "cy", "gold", 5)]);
    expect(good.every((answer) => isDecision(answer) && answer.outcome === Outcome.ACCEPTED)).toBe(true);
    cluster.converge();
    expect(cluster.node(1).group(1).state.ledger.balance("player:cy", "gold")).toBe(5);
  });

  it("takes a structure down and puts another in its place in one step", () => {
    const cluster = ready();
    const region = cluster.regionIn(1);
    cluster.execute(1, [place("old", 1, region, [0, 0, 0])]);
    const blocked = cluster.transact(1, "swap-1", [place("new", 1, region, [0, 0, 0]), removeStructure("rm", 1, region, "s-none")]);
    expect(blocked.every((answer) => isDecision(answer) && answer.outcome === Outcome.REJECTED)).toBe(true);
    expect(cluster.node(cluster.leaderOf(1)).group(1).state.entities.get("structure", "s-old")).toBeDefined();
  });
});

describe("leadership", () => {
  it("spreads over the nodes by itself, and no operation is lost or doubled on the way", () => {
    const cluster = new VirtualCluster({ groups: 5, node: { balanceTicks: 20 } });
    cluster.settle();
    cluster.register(1);
    const region = cluster.regionIn(1);
    const answers: Map<string, unknown>[] = [];
    for (let i = 0; i < 40; i++) {
      answers.push(cluster.submit(1 + (i % 3), [mint(`m${i}`, 1, region, "ada", "gold", 1)]));
      cluster.run(250);
    }
    expect(cluster.runUntil(() => answers.every((answer) => answer.size === 1))).toBe(true);
    for (const [i, answer] of answers.entries()) expect(decisionOf(answer, `m${i}`).outcome).toBe(Outcome.ACCEPTED);
    cluster.settle();
    const led = cluster.members.map((id) => Array.from({ length: 6 }, (_, g) => cluster.leaderOf(g)).filter((leader) => leader === id).length);
    expect(Math.max(...led) - Math.min(...led)).toBeLessThanOrEqual(1);
    cluster.converge();
    expect(cluster.node(1).group(1).state.ledger.balance("player:ada", "gold")).toBe(40);
  });
});

describe("faults", () => {
  it("an operation outlives the leader that had it, and is not doubled", () => {
    for (let seed = 1; seed <= 10; seed++) {
      const cluster = ready({ seed });
      const region = cluster.regionIn(1);
      const leader = cluster.leaderOf(1);
      const edge = cluster.members.find((id) => id !== leader) ?? 0;
      const operations = Array.from({ length: 20 }, (_, i) => mint(`m${i}`, 1, region, "ada", "gold", 1));
      const answers = cluster.submit(edge, operations);
      cluster.run(seed);
      cluster.kill(leader);
      expect(cluster.runUntil(() => answers.size === 20), `seed ${seed}`).toBe(true);
      for (const { operationId } of operations) expect(decisionOf(answers, operationId).outcome, `seed ${seed}`).toBe(Outcome.ACCEPTED);
      cluster.start(leader);
      cluster.converge();
      for (const id of cluster.members) expect(cluster.node(id).group(1).state.ledger.balance("player:ada", "gold"), `seed ${seed}`).toBe(20);
    }
  });

  it("a minority refuses, and says that it has no quorum or does not know", () => {
    const cluster = ready();
    const region = cluster.regionIn(1);
    const leader = cluster.leaderOf(1);
    const others = cluster.members.filter((id) => id !== leader);
    cluster.cut([leader], others);
    const answers = cluster.execute(leader, [mint("m", 1, region, "ada", "gold", 1)], 3_000);
    expect(["NO_QUORUM", "OUTCOME_UNKNOWN"]).toContain((answers.get("m") as { reason: string }).reason);
    cluster.heal();
    const after = cluster.execute(leader, [mint("m", 1, region, "ada", "gold", 1)]);
    expect(decisionOf(after, "m").outcome).toBe(Outcome.ACCEPTED);
    cluster.converge();
    expect(cluster.node(1).group(1).state.ledger.balance("player:ada", "gold")).toBe(1);
  });

  it("goes on without an arbiter, by the same rules, and counts it", () => {
    const cluster = ready({ arbiter: () => undefined });
    const region = cluster.regionIn(1);
    const answers = cluster.execute(cluster.leaderOf(1), [place("a", 1, region, [0, 0, 0]), place("b", 2, region, [1, 0, 0])]);
    expect(decisionOf(answers, "b")).toMatchObject({ outcome: Outcome.REJECTED, winnerOperationId: "a" });
    expect(cluster.node(cluster.leaderOf(1)).group(1).counts.fallbacks).toBeGreaterThan(0);
  });

  it("does not believe an arbiter that answers another question", () => {
    const cluster = ready({ arbiter: () => ({ sets: [{ verdicts: [] }] }) });
    const region = cluster.regionIn(1);
    const answers = cluster.execute(1, [place("a", 1, region, [0, 0, 0]), place("b", 2, region, [1, 0, 0])]);
    expect([decisionOf(answers, "a").outcome, decisionOf(answers, "b").outcome]).toEqual([Outcome.ACCEPTED, Outcome.REJECTED]);
  });

  it("asks an arbiter only where there is something to compare, and is no worse off without one otherwise", () => {
    let asked = 0;
    const cluster = ready({
      arbiter: () => {
        asked++;
        return undefined;
      },
    });
    const region = cluster.regionIn(1);
    const leader = cluster.leaderOf(1);
    expect(decisionOf(cluster.execute(leader, [place("a", 1, region, [0, 0, 0])]), "a")).toMatchObject({ outcome: Outcome.ACCEPTED, rule: "uncontested" });
    expect([asked, cluster.node(leader).group(1).counts.fallbacks]).toEqual([0, 0]);
    // What is in force there is something to compare with.
    expect(decisionOf(cluster.execute(leader, [place("b", 2, region, [1, 0, 0])]), "b")).toMatchObject({ outcome: Outcome.REJECTED, rule: "incumbent", winnerOperationId: "a" });
    expect([asked, cluster.node(leader).group(1).counts.fallbacks]).toEqual([1, 1]);
  });

  it("all nodes restart with their state", () => {
    const cluster = ready();
    const region = cluster.regionIn(1);
    cluster.execute(1, [mint("m", 1, region, "ada", "gold", 7), place("a", 1, region, [0, 0, 0])]);
    cluster.converge();
    const digest = cluster.node(1).group(1).state.digest;
    for (const id of cluster.members) cluster.kill(id);
    for (const id of cluster.members) cluster.start(id);
    cluster.settle();
    cluster.converge();
    for (const id of cluster.members) expect(cluster.node(id).group(1).state.digest).toBe(digest);
    expect(decisionOf(cluster.execute(2, [mint("m", 1, region, "ada", "gold", 7)]), "m").repeated).toBe(true);
  });

  it("a node that was away beyond the log takes a snapshot and holds the same", () => {
    const cluster = ready({ node: { snapshotLogBytes: 4_000, trailingEntries: 2 } });
    const region = cluster.regionIn(1);
    const away = cluster.members.find((id) => id !== cluster.leaderOf(1) && id !== cluster.leaderOf(0)) ?? 3;
    cluster.kill(away);
    const from = cluster.members.find((id) => id !== away) ?? 1;
    for (let i = 0; i < 60; i++) cluster.execute(from, [mint(`m${i}`, 1, region, "ada", "gold", 1), place(`s${i}`, 1, region, [i * 5, 0, 0])]);
    expect(cluster.node(from).group(1).snapshotMeta).toBeDefined();
    cluster.start(away);
    cluster.run(5_000);
    cluster.converge();
    expect(cluster.node(away).group(1).state.ledger.balance("player:ada", "gold")).toBe(60);
    expect(cluster.node(away).group(1).core.firstIndex).toBeGreaterThan(1);
  });
});
