import { type Decision, type MeshError, type Operation, type OperationError, Outcome, ReadRequest, type Region } from "@statemesh/contract";
import { conservationOf, read } from "@statemesh/mesh";
import { commandOf } from "@statemesh/replica";
import { describe, expect, it } from "vitest";
import { claim, give, mint, place, send, trade } from "./operations.ts";
import { balance, conserved, outcomes, quiet, ready, submit } from "./transacting.ts";
import { isDecision, type VirtualCluster } from "./virtual-cluster.ts";

describe("a transaction over several groups", () => {
  it("is done in all of them, and every operation hears where", () => {
    const cluster = ready();
    const [one, two, three] = [1, 2, 3].map((groupId) => cluster.regionIn(groupId));
    if (one === undefined || two === undefined || three === undefined) throw new Error("three groups");
    const answers = cluster.transact(2, "t-1", [mint("a", 1, three, "ada", "ore", 5), place("b", 1, one, [0, 0, 0]), claim("c", 1, two, "vein", "ada")]);
    expect(outcomes(answers)).toEqual(["ACCEPTED", "ACCEPTED", "ACCEPTED"]);
    expect(answers.map((answer) => isDecision(answer) && answer.position?.groupId)).toEqual([3, 1, 2]);
    cluster.converge();
    for (const nodeId of [1, 2, 3]) {
      expect(balance(cluster, 3, "ada", "ore", nodeId)).toBe(5);
      expect(cluster.node(nodeId).group(1).state.entities.get("structure", "s-b")).toBeDefined();
      expect(cluster.node(nodeId).group(2).state.entities.get("claim", "vein")?.version).toBe(versionOf(answers[2]));
    }
  });

  it("of which one operation fails is done nowhere, and says which", () => {
    const cluster = ready();
    const [one, two] = [cluster.regionIn(1), cluster.regionIn(2)];
    cluster.execute(1, [claim("first", 2, two, "vein", "bob")]);
    const answers = cluster.transact(3, "t-1", [mint("a", 1, one, "ada", "ore", 5), claim("c", 1, two, "vein", "ada")]);
    expect(answers).toMatchObject([
      { operationId: "a", outcome: Outcome.REJECTED, reason: "TRANSACTION_ABORTED" },
      { operationId: "c", outcome: Outcome.REJECTED, reason: "CONFLICT", winnerOperationId: "first" },
    ]);
    cluster.converge();
    expect(balance(cluster, 1, "ada")).toBe(0);
    conserved(cluster);
    // The failure in the first group is found before the others are asked.
    expect(outcomes(cluster.transact(1, "t-2", [give("d", 1, one, "ada", "bob", "ore", 1), mint("e", 1, two, "ada", "ore", 1)]))).toEqual(["REJECTED", "REJECTED"]);
    expect(balance(cluster, 2, "ada")).toBe(0);
  });

  it("sent again returns the first decisions, through any node; with other content it is refused", () => {
    const cluster = ready();
    const [one, two] = [cluster.regionIn(1), cluster.regionIn(2)];
    const operations = [mint("a", 1, one, "ada", "ore", 5), mint("b", 1, two, "ada", "ore", 7)];
    const first = cluster.transact(1, "t-1", operations);
    for (const nodeId of [1, 2, 3]) {
      expect(cluster.transact(nodeId, "t-1", operations)).toEqual(first.map((answer) => ({ ...answer, repeated: true })));
    }
    expect(outcomes(cluster.transact(1, "t-1", [mint("a", 1, one, "ada", "ore", 6), mint("b", 1, two, "ada", "ore", 7)]))).toEqual(["OPERATION_ID_REUSED", "OPERATION_ID_REUSED"]);
    // The same name for something else, of which no operation was ever heard.
    expect(outcomes(cluster.transact(1, "t-1", [mint("c", 1, one, "ada", "ore", 6), mint("d", 1, two, "ada", "ore", 7)]))).toEqual(["OPERATION_ID_REUSED", "OPERATION_ID_REUSED"]);
    expect(outcomes(cluster.transact(1, "t-2", [mint("e", 1, one, "ada", "gold", 6)]))).toEqual(["ACCEPTED"]);
    expect(outcomes(cluster.transact(1, "t-2", [mint("f", 1, one, "ada", "gold", 6)]))).toEqual(["OPERATION_ID_REUSED"]);
    // An operation of it is no operation alone.
    expect(cluster.execute(1, [mint("b", 1, two, "ada", "ore", 7)]).get("b")).toMatchObject({ reason: "OPERATION_ID_REUSED" });
    cluster.converge();
    expect([balance(cluster, 1, "ada"), balance(cluster, 2, "ada")]).toEqual([5, 7]);
  });

  it("sent twice at once is done once", () => {
    const cluster = ready();
    const [one, two] = [cluster.regionIn(1), cluster.regionIn(2)];
    const operations = [mint("a", 1, one, "ada", "ore", 5), mint("b", 1, two, "ada", "ore", 7)];
    const answers = [1, 2, 3].map((nodeId) => submit(cluster, nodeId, "t-1", operations));
    cluster.runUntil(() => answers.every((heard) => heard.length === 2));
    for (const heard of answers) expect(outcomes(heard)).toEqual(["ACCEPTED", "ACCEPTED"]);
    cluster.converge();
    expect([balance(cluster, 1, "ada"), balance(cluster, 2, "ada")]).toEqual([5, 7]);
  });

  it("keeps out what meets it, and what meets it goes on after it", () => {
    const cluster = ready();
    const [one, two] = [cluster.regionIn(1), cluster.regionIn(2)];
    cluster.execute(1, [mint("m", 1, one, "ada", "ore", 10)]);
    // The second group cannot be asked: the first one stays prepared.
    const follower = cluster.members.find((id) => id !== cluster.leaderOf(2)) ?? 0;
    const heard = submit(cluster, cluster.leaderOf(1), "t-1", [give("a", 1, one, "ada", "bob", "ore", 4), mint("b", 1, two, "bob", "ore", 1)]);
    cluster.runUntil(() => cluster.node(follower).group(1).state.transactions.preparedCount === 1);
    const after = cluster.submit(cluster.leaderOf(1), [give("late", 2, one, "ada", "eve", "ore", 10)]);
    const beside = cluster.submit(cluster.leaderOf(1), [mint("beside", 2, one, "joe", "ore", 1)]);
    cluster.runUntil(() => heard.length === 2 && after.size === 1 && beside.size === 1);
    expect(outcomes(heard)).toEqual(["ACCEPTED", "ACCEPTED"]);
    expect(after.get("late")).toMatchObject({ outcome: Outcome.REJECTED, reason: "INSUFFICIENT_ITEMS" });
    expect(beside.get("beside")).toMatchObject({ outcome: Outcome.ACCEPTED });
  });

  it("that want the same two things in opposite order all end", () => {
    const cluster = ready();
    const [one, two] = [cluster.regionIn(1), cluster.regionIn(2)];
    cluster.execute(1, [mint("m1", 1, one, "ada", "ore", 100)]);
    cluster.execute(1, [mint("m2", 1, two, "bob", "ore", 100)]);
    const heard = Array.from({ length: 24 }, (_, i) => {
      const there = send(`x${i}`, 1, one, "ada", two, "bob", "ore", 1);
      const back = send(`y${i}`, 2, two, "bob", one, "ada", "ore", 1);
      return submit(cluster, 1 + (i % 3), `t-${i}`, i % 2 === 0 ? [there, back] : [back, there]);
    });
    expect(cluster.runUntil(() => heard.every((each) => each.length === 2))).toBe(true);
    for (const each of heard) expect(outcomes(each)).toEqual(["ACCEPTED", "ACCEPTED"]);
    cluster.converge();
    conserved(cluster);
    expect([balance(cluster, 1, "ada"), balance(cluster, 2, "bob")]).toEqual([100, 100]);
  });
});

describe("items that go to another group", () => {
  it("are taken here and given there, or neither", () => {
    const cluster = ready();
    const [one, two] = [cluster.regionIn(1), cluster.regionIn(2)];
    cluster.execute(1, [mint("m", 1, two, "ada", "ore", 10)]);
    expect(cluster.execute(3, [send("s", 1, two, "ada", one, "ada", "ore", 4)]).get("s")).toMatchObject({ outcome: Outcome.ACCEPTED, position: { groupId: 2 } });
    expect(cluster.execute(3, [send("too much", 1, two, "ada", one, "bob", "ore", 7)]).get("too much")).toMatchObject({ outcome: Outcome.REJECTED, reason: "INSUFFICIENT_ITEMS" });
    expect(cluster.execute(2, [send("s", 1, two, "ada", one, "ada", "ore", 4)]).get("s")).toMatchObject({ outcome: Outcome.ACCEPTED, repeated: true });
    cluster.converge();
    expect([balance(cluster, 1, "ada"), balance(cluster, 2, "ada"), balance(cluster, 1, "bob")]).toEqual([4, 6, 0]);
    conserved(cluster);
  });

  it("change hands in a trade between players of two groups", () => {
    const cluster = ready();
    const [one, two] = [cluster.regionIn(1), cluster.regionIn(2)];
    cluster.execute(1, [mint("m1", 1, two, "ada", "ore", 10)]);
    cluster.execute(1, [mint("m2", 1, one, "bob", "gold", 2)]);
    expect(cluster.execute(1, [trade("t", 1, two, ["ada", "ore", 3], ["bob", "gold", 1], one)]).get("t")).toMatchObject({ outcome: Outcome.ACCEPTED });
    expect(cluster.execute(1, [trade("u", 1, two, ["ada", "ore", 3], ["bob", "gold", 2], one)]).get("u")).toMatchObject({ outcome: Outcome.REJECTED, reason: "INSUFFICIENT_ITEMS" });
    cluster.converge();
    expect([balance(cluster, 2, "ada"), balance(cluster, 2, "ada", "gold"), balance(cluster, 1, "bob"), balance(cluster, 1, "bob", "gold")]).toEqual([7, 1, 3, 1]);
    conserved(cluster);
  });

  it("may go back and forth for ever: what went in all may pass 2^53", () => {
    const cluster = ready();
    const [one, two] = [cluster.regionIn(1), cluster.regionIn(2)];
    const all = Number.MAX_SAFE_INTEGER;
    cluster.execute(1, [mint("m", 1, one, "ada", "ore", all)]);
    for (let round = 0; round < 3; round++) {
      expect(cluster.execute(1, [send(`there${round}`, 1, one, "ada", two, "bob", "ore", all)]).get(`there${round}`)).toMatchObject({ outcome: Outcome.ACCEPTED });
      if (round < 2) expect(cluster.execute(1, [send(`back${round}`, 1, two, "bob", one, "ada", "ore", all)]).get(`back${round}`)).toMatchObject({ outcome: Outcome.ACCEPTED });
    }
    conserved(cluster);
    expect([balance(cluster, 1, "ada"), balance(cluster, 2, "bob")]).toEqual([0, all]);
    for (const nodeId of [1, 2, 3]) {
      const sum = conservationOf(cluster.node(nodeId).groups.map(({ state }) => state));
      expect(sum).toMatchObject({ addsUp: true, isExplained: true, items: [{ minted: all, held: all, inTransit: 0, conserved: true }] });
    }
  });

  it("leave no trace in a third group that the footprint names", () => {
    const cluster = ready();
    const [one, two, three] = [cluster.regionIn(1), cluster.regionIn(2), cluster.regionIn(3)];
    const footprint = { bounds: undefined, regions: [three], keys: [] };
    cluster.execute(1, [mint("m1", 1, one, "ada", "ore", 10)]);
    cluster.execute(1, [mint("m2", 1, two, "bob", "gold", 10)]);
    expect(cluster.execute(1, [send("s", 1, one, "ada", two, "bob", "ore", 4, { footprint })]).get("s")).toMatchObject({ outcome: Outcome.ACCEPTED });
    expect(cluster.execute(1, [give("g", 1, one, "ada", "eve", "ore", 1, { footprint })]).get("g")).toMatchObject({ outcome: Outcome.ACCEPTED });
    expect(cluster.execute(1, [{ ...trade("t", 1, one, ["ada", "ore", 1], ["bob", "gold", 1], two), footprint }]).get("t")).toMatchObject({ outcome: Outcome.ACCEPTED });
    conserved(cluster);
    expect([...cluster.node(1).group(3).state.ledger.transitRows()]).toEqual([]);
    for (const nodeId of [1, 2, 3]) expect(conservationOf(cluster.node(nodeId).groups.map(({ state }) => state))).toMatchObject({ addsUp: true, isExplained: true });
  });
});

function versionOf(answer: Decision | OperationError | undefined): number {
  return isDecision(answer) ? answer.version : 0;
}

describe("reads and sums while items are on their way", () => {
  it("no reader sees them in one group and misses them in another", () => {
    for (let seed = 1; seed <= 6; seed++) {
      const cluster = ready({ seed });
      const [one, two] = [cluster.regionIn(1), cluster.regionIn(2)];
      cluster.execute(1, [mint("m", 1, one, "ada", "ore", 10)]);
      submit(cluster, cluster.leaderOf(1), "t-1", [send("a", 1, one, "ada", two, "bob", "ore", 4), mint("b", 1, two, "bob", "gold", 1)]);
      let answered = 0;
      // One read after the other, first of the sender, then of the receiver, through any node.
      for (let round = 0; round < 12; round++) {
        const left = linearizable(cluster, 1 + (round % 3), 1, one, "ada");
        const got = linearizable(cluster, 1 + ((round + seed) % 3), 2, two, "bob");
        if (left === undefined || got === undefined) continue;
        answered++;
        if (left === 6) expect(got).toBe(4);
      }
      expect(answered).toBeGreaterThan(0);
    }
  });

  it("they add up at every moment on every node, and what is on its way is accounted for soon", () => {
    const cluster = ready({ seed: 7 });
    const [one, two, three] = [cluster.regionIn(1), cluster.regionIn(2), cluster.regionIn(3)];
    cluster.execute(1, [mint("m1", 1, one, "ada", "ore", 50)]);
    cluster.execute(1, [mint("m2", 1, three, "eve", "ore", 50)]);
    const heard = Array.from({ length: 20 }, (_, i) =>
      submit(cluster, 1 + (i % 3), `t-${i}`, [send(`x${i}`, 1, one, "ada", two, `bob${i % 4}`, "ore", 1), send(`y${i}`, 2, three, "eve", one, "ada", "ore", 2)]));
    let inTransit = 0;
    let unexplained = 0;
    let moments = 0;
    cluster.runUntil(() => {
      for (const nodeId of [1, 2, 3]) {
        const sum = conservationOf(cluster.node(nodeId).groups.map(({ state }) => state));
        moments++;
        expect(sum.addsUp).toBe(true);
        for (const item of sum.items) {
          expect(item.held + item.onGround + item.inTransit).toBe(item.minted - item.burned);
          if (item.inTransit !== 0) inTransit++;
        }
        if (!sum.isExplained) unexplained++;
      }
      return heard.every((each) => each.length === 2) && quiet(cluster);
    });
    // The test looked while something was on its way.
    expect(inTransit).toBeGreaterThan(0);
    expect(unexplained).toBeLessThan(moments / 2);
    for (const nodeId of [1, 2, 3]) expect(conservationOf(cluster.node(nodeId).groups.map(({ state }) => state))).toMatchObject({ addsUp: true, isExplained: true });
    conserved(cluster);
  });
});

/** What a player holds, by a linearizable read; undefined where it waited for too long. */
function linearizable(cluster: VirtualCluster, nodeId: number, groupId: number, region: Region, player: string): number | undefined {
  const node = cluster.node(nodeId);
  let heard: { ore: number | undefined } | undefined;
  const port = {
    state: (id: number) => node.group(id).state,
    barrier: (id: number, untilMs: number, done: (error: MeshError | undefined) => void) => node.barrier(id, untilMs, done),
    whenApplied: (id: number, index: number, untilMs: number, done: (error: MeshError | undefined) => void) => node.group(id).whenApplied(index, untilMs, done),
    stalenessMs: () => 0,
    eventualValues: () => [],
  };
  read(port, groupId, region, ReadRequest.fromPartial({ region, accounts: [player] }), cluster.nowMs + 2_000, (response) => {
    heard = { ore: response === undefined ? undefined : (response.balances.find(({ itemKind }) => itemKind === "ore")?.quantity ?? 0) };
  });
  node.dirty();
  cluster.runUntil(() => heard !== undefined);
  return heard?.ore;
}

describe("a transaction whose leaders fail", () => {
  /** Runs one transaction, with `fault` at the moment when `when` first holds, and answers what a caller who asks again hears in the end. */
  function tried(seed: number, when: (cluster: VirtualCluster) => boolean, fault: (cluster: VirtualCluster) => void): { cluster: VirtualCluster; answers: (Decision | OperationError)[] } {
    const cluster = ready({ seed, nodes: 3, node: { snapshotLogBytes: 512, trailingEntries: 0 } });
    const [one, two] = [cluster.regionIn(1), cluster.regionIn(2)];
    cluster.execute(1, [mint("m", 1, one, "ada", "ore", 10)]);
    const operations = [send("a", 1, one, "ada", two, "bob", "ore", 4), mint("b", 1, two, "bob", "gold", 1)];
    submit(cluster, cluster.leaderOf(1), "t-1", operations);
    expect(cluster.runUntil(() => when(cluster))).toBe(true);
    fault(cluster);
    cluster.run(8_000);
    for (const id of cluster.members) if (!cluster.isUp(id)) cluster.start(id);
    cluster.settle();
    cluster.converge();
    const answers = cluster.transact(3, "t-1", operations);
    conserved(cluster);
    return { cluster, answers };
  }

  const killLeader = (groupId: number) => (cluster: VirtualCluster): void => cluster.kill(cluster.leaderOf(groupId));
  const prepared = (groupId: number) => (cluster: VirtualCluster): boolean =>
    cluster.members.some((id) => cluster.isUp(id) && cluster.node(id).group(groupId).state.transactions.preparedCount > 0);
  const decided = (cluster: VirtualCluster): boolean =>
    cluster.members.some((id) => cluster.isUp(id) && [...cluster.node(id).group(1).state.transactions.coordinatedRows()].some(({ state }) => state !== 0));

  const moments: [string, (cluster: VirtualCluster) => boolean][] = [["the coordinating group is prepared", prepared(1)], ["the other group is prepared", prepared(2)], ["it is decided", decided]];
  for (const [name, when] of moments) {
    for (const groupId of [1, 2]) {
      it(`is done everywhere or nowhere: the leader of group ${groupId} dies once ${name}`, () => {
        for (let seed = 1; seed <= 4; seed++) {
          const { cluster, answers } = tried(seed, when, killLeader(groupId));
          const [first, second] = outcomes(answers);
          expect(first).toBe(second);
          const moved = first === "ACCEPTED" ? 4 : 0;
          expect(["ACCEPTED", "REJECTED"]).toContain(first);
          for (const nodeId of [1, 2, 3]) {
            expect([balance(cluster, 1, "ada", "ore", nodeId), balance(cluster, 2, "bob", "ore", nodeId), balance(cluster, 2, "bob", "gold", nodeId)]).toEqual([10 - moved, moved, moved / 4]);
          }
        }
      });
    }
  }

  it("still holds its locks under the next leader, and under one that came by a snapshot", () => {
    const cluster = ready({ node: { snapshotLogBytes: 256, trailingEntries: 0 } });
    const [one, two] = [cluster.regionIn(1), cluster.regionIn(2)];
    cluster.execute(1, [mint("m", 1, one, "ada", "ore", 10)]);
    submit(cluster, cluster.leaderOf(1), "t-1", [send("a", 1, one, "ada", two, "bob", "ore", 4), mint("b", 1, two, "bob", "gold", 1)]);
    cluster.runUntil(() => prepared(1)(cluster) && !prepared(2)(cluster));
    const holds = (id: number): boolean => cluster.isUp(id) && cluster.node(id).group(1).state.transactions.preparedCount === 1;
    cluster.runUntil(() => cluster.members.every(holds));
    for (const id of cluster.members) cluster.kill(id);
    for (const id of cluster.members) cluster.start(id);
    // Restored from disk: nothing forgets what it promised.
    cluster.runUntil(() => cluster.leaderOf(1) !== 0);
    expect(holds(cluster.leaderOf(1)) || decided(cluster) || quiet(cluster)).toBe(true);
    cluster.settle();
    conserved(cluster);
  });

  it("is aborted past its deadline by the log of its coordinating group, and what comes late changes nothing", () => {
    const cluster = ready({ nodes: 3 });
    const [one, two] = [cluster.regionIn(1), cluster.regionIn(2)];
    cluster.execute(1, [mint("m", 1, two, "bob", "ore", 10)]);
    // Something in the second group holds bob's account for ever: a transaction of group 3 that nobody finishes.
    const leader = cluster.node(cluster.leaderOf(2));
    const lock = { keys: ["key:bob"], shared: ["account:bob"], layer: "", bounds: [] };
    const transaction = { key: "t:stuck", coordinatorGroup: 3, beginIndex: 1 };
    leader.group(2).command(
      commandOf({ $case: "transaction", value: { nowMs: 0, step: { $case: "prepare", value: { transaction, stamp: { physicalMs: 1, logical: 0 }, deadlineMs: Math.floor(cluster.nowMs) + 8_000, groups: [2, 3], decided: [], locks: [lock], index: 0 } } } }),
      () => undefined,
    );
    leader.dirty();
    const heard = submit(cluster, 1, "t-1", [mint("a", 1, one, "ada", "ore", 4), give("b", 1, two, "bob", "eve", "ore", 1)]);
    expect(cluster.runUntil(() => heard.length === 2, 12_000)).toBe(true);
    expect(heard).toMatchObject([{ rule: "deadline", reason: "TRANSACTION_ABORTED" }, { rule: "deadline", reason: "TRANSACTION_ABORTED" }]);
    // The stuck one is asked for, found nowhere, and let go; what waited behind it is over by then.
    expect(cluster.runUntil(() => quiet(cluster))).toBe(true);
    cluster.run(2_000);
    expect([balance(cluster, 1, "ada"), balance(cluster, 2, "bob")]).toEqual([0, 10]);
    conserved(cluster);
  });

  it("and a region changes hands only after it", () => {
    const cluster = ready();
    const [one, two] = [cluster.regionIn(1), cluster.regionIn(2)];
    const heard = submit(cluster, cluster.leaderOf(1), "t-1", [mint("a", 1, one, "ada", "ore", 4), mint("b", 1, two, "ada", "ore", 4)]);
    cluster.runUntil(() => prepared(1)(cluster));
    cluster.directory(1, { $case: "acquire", value: { serverId: 2, region: one, durationMs: 3_000 } });
    const fenced = cluster.runUntil(() => cluster.node(1).group(1).state.fence(one)?.ownerServerId === 2);
    expect(fenced).toBe(true);
    expect(outcomes(heard)).toEqual(["ACCEPTED", "ACCEPTED"]);
    expect(cluster.execute(1, [mint("late", 1, one, "ada", "ore", 4)]).get("late")).toMatchObject({ reason: "FENCED" });
  });

  it("and a late fence of an earlier owner keeps nobody out meanwhile", () => {
    const cluster = ready();
    const [one, two] = [cluster.regionIn(1), cluster.regionIn(2)];
    const leader = cluster.leaderOf(1);
    const group = cluster.node(leader).group(1);
    const fence = (epoch: number, ownerServerId: number): string[] => {
      const heard: string[] = [];
      group.command(commandOf({ $case: "fence", value: { region: one, epoch, ownerServerId } }), (_, error) => heard.push(error?.reason ?? ""));
      return heard;
    };
    const of = (operation: Operation): Operation => ({ ...operation, authorityEpoch: 2 });
    fence(1, 1);
    fence(2, 2);
    expect(cluster.runUntil(() => group.state.fence(one)?.epoch === 2)).toBe(true);
    expect(cluster.execute(leader, [of(mint("m", 2, one, "ada", "ore", 10))]).get("m")).toMatchObject({ outcome: Outcome.ACCEPTED });
    const heard = submit(cluster, leader, "t-1", [of(send("s", 2, one, "ada", two, "bob", "ore", 1))]);
    expect(cluster.runUntil(() => group.state.transactions.preparedCount > 0)).toBe(true);
    const late = fence(1, 1);
    expect(cluster.execute(leader, [of(claim("own", 2, one, "vein", "ada"))]).get("own")).toMatchObject({ outcome: Outcome.ACCEPTED });
    expect(cluster.runUntil(() => heard.length === 1 && late.length === 1)).toBe(true);
    expect([outcomes(heard), late]).toEqual([["ACCEPTED"], [""]]);
    expect(group.state.fence(one)).toMatchObject({ epoch: 2, ownerServerId: 2 });
    // A fence that does follow waits, however often it is asked for, and another server is not let in by an earlier one.
    const again = submit(cluster, leader, "t-2", [of(send("s2", 2, one, "ada", two, "bob", "ore", 1))]);
    expect(cluster.runUntil(() => group.state.transactions.preparedCount > 0)).toBe(true);
    expect([fence(4, 2), fence(4, 2), fence(3, 1)]).toEqual([["TRANSACTION_PENDING"], ["TRANSACTION_PENDING"], ["TRANSACTION_PENDING"]]);
    expect(cluster.execute(leader, [of(claim("old", 2, one, "seam", "ada"))]).get("old")).toMatchObject({ reason: "FENCED", message: expect.stringContaining("epoch 4") as string });
    expect(cluster.runUntil(() => again.length === 1)).toBe(true);
    expect(outcomes(again)).toEqual(["ACCEPTED"]);
  });
});
