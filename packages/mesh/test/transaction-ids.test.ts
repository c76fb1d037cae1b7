// Ids of transactions and operations that are used again: by another group's transaction, or once their decisions are forgotten.
import { Outcome, type Region } from "@statemesh/contract";
import { commandOf } from "@statemesh/replica";
import { DEFAULT_POLICY, fingerprintOf, footprintOf, validateOperation } from "@statemesh/world";
import { describe, expect, it } from "vitest";
import { claim, mint, send } from "./operations.ts";
import { balance, conserved, outcomes, ready, submit } from "./transacting.ts";
import type { VirtualCluster } from "./virtual-cluster.ts";

describe("a transaction that is driven out of a full queue", () => {
  it("hears at once, and may come again at once under its id", () => {
    const cluster = ready({ node: { queueCapacity: 2 } });
    const regions = [1, 2, 3].map((groupId) => cluster.regionIn(groupId));
    const [one, two, three] = regions;
    if (one === undefined || two === undefined || three === undefined) throw new Error("three groups");
    const group = cluster.node(cluster.leaderOf(1)).group(1);
    const heard: string[] = [];
    const asks = (id: string, serverId: number, from: Region, there: Region): void => {
      const operation = send(id, serverId, from, "ada", there, "ada", "ore", 1);
      const type = validateOperation(operation, DEFAULT_POLICY);
      const pending = { operation, type, touched: footprintOf(operation, type), stamp: { physicalMs: Math.floor(cluster.nowMs), logical: 0 }, fingerprint: fingerprintOf(operation), priority: 0 };
      const says = (answer: string): number => heard.push(`${id} ${answer}`);
      group.submit([pending], `t-${id}`, { decided: ({ reason }) => says(reason), failed: (_, { reason }) => says(reason) }, cluster.nowMs + 5_000);
    };
    asks("first", 1, one, two);
    asks("last", 1, one, three);
    expect(heard).toEqual([]);
    // Driven out by one that comes to nothing here: another group coordinates it.
    asks("astray", 2, two, three);
    expect(heard).toEqual(["last OVERLOADED", "astray INTERNAL"]);
    asks("last", 1, one, three);
    expect(cluster.runUntil(() => heard.length === 4)).toBe(true);
    expect(heard.slice(2).sort()).toEqual(["first INSUFFICIENT_ITEMS", "last INSUFFICIENT_ITEMS"]);
  });
});

describe("one id for two transactions", () => {
  const stuck = (cluster: VirtualCluster, groupId: number, account: string, ms: number): void => {
    const leader = cluster.node(cluster.leaderOf(groupId));
    const transaction = { key: "t:stuck", coordinatorGroup: 1, beginIndex: 1 };
    const locks = [{ keys: ["key:stuck"], shared: [`account:${account}`], layer: "", bounds: [] }];
    leader.group(groupId).command(
      commandOf({ $case: "transaction", value: { nowMs: 0, step: { $case: "prepare", value: { transaction, stamp: { physicalMs: 1, logical: 0 }, deadlineMs: Math.floor(cluster.nowMs) + ms, groups: [1, groupId], decided: [], locks, index: 0 } } } }),
      () => undefined,
    );
    leader.dirty();
    cluster.run(200);
  };

  it("of different coordinating groups: the second is refused, and loses the first nothing", () => {
    const cluster = ready();
    const [one, two, three] = [1, 2, 3].map((groupId) => cluster.regionIn(groupId));
    if (one === undefined || two === undefined || three === undefined) throw new Error("three groups");
    cluster.execute(1, [mint("m", 1, one, "ada", "ore", 10)]);
    // The third group cannot prepare yet: the first transaction stays prepared in the second group.
    stuck(cluster, 3, "joe", 1_000);
    const first = submit(cluster, cluster.leaderOf(1), "same", [send("a", 1, one, "ada", two, "bob", "ore", 10), mint("b", 1, three, "joe", "gold", 1)]);
    expect(cluster.runUntil(() => cluster.node(cluster.leaderOf(2)).group(2).state.transactions.preparedCount === 1)).toBe(true);
    const second = submit(cluster, cluster.leaderOf(2), "same", [claim("c", 2, two, "vein", "eve"), claim("d", 2, three, "seam", "eve")]);
    expect(cluster.runUntil(() => first.length === 2 && second.length === 2)).toBe(true);
    expect(outcomes(second)).toEqual(["OPERATION_ID_REUSED", "OPERATION_ID_REUSED"]);
    expect(outcomes(first)).toEqual(["ACCEPTED", "ACCEPTED"]);
    conserved(cluster);
    expect([balance(cluster, 1, "ada"), balance(cluster, 2, "bob")]).toEqual([0, 10]);
  });

  it("whose part a group does not know any more when it is to commit it is not called done, and the operator hears", () => {
    const cluster = ready();
    const [one, two, three] = [1, 2, 3].map((groupId) => cluster.regionIn(groupId));
    if (one === undefined || two === undefined || three === undefined) throw new Error("three groups");
    stuck(cluster, 3, "joe", 1_000);
    const heard = submit(cluster, cluster.leaderOf(1), "lost", [mint("a", 1, one, "ada", "ore", 1), mint("b", 1, two, "ada", "ore", 1), mint("c", 1, three, "joe", "ore", 1)]);
    const second = (): ReturnType<VirtualCluster["node"]> => cluster.node(cluster.leaderOf(2));
    expect(cluster.runUntil(() => second().group(2).state.transactions.preparedCount === 1)).toBe(true);
    const row = second().group(2).state.transactions.prepared("t:lost");
    if (row === undefined) throw new Error("not prepared");
    const { key, coordinatorGroup, beginIndex } = row;
    second().group(2).command(commandOf({ $case: "transaction", value: { nowMs: 0, step: { $case: "release", value: { transaction: { key, coordinatorGroup, beginIndex }, commit: false, forget: true } } } }), () => undefined);
    second().dirty();
    cluster.run(21_000);
    expect(outcomes(heard)).toEqual(["OUTCOME_UNKNOWN", "OUTCOME_UNKNOWN", "OUTCOME_UNKNOWN"]);
    expect(cluster.complaints).toContainEqual(expect.objectContaining({ fields: { group: 2, coordinator: 1, transaction: "t:lost", reason: "INTERNAL" } }));
  });

  it("a group that is full for a moment delays a transaction, and rejects it not", () => {
    const cluster = ready({ node: { queueCapacity: 1 } });
    const [one, two] = [cluster.regionIn(1), cluster.regionIn(2)];
    stuck(cluster, 2, "bob", 1_000);
    const waiting = cluster.submit(cluster.leaderOf(2), [mint("w", 2, two, "bob", "ore", 1)]);
    cluster.run(100);
    const heard = submit(cluster, cluster.leaderOf(1), "t-1", [claim("c", 1, one, "vein", "ada"), claim("d", 1, two, "seam", "ada")]);
    cluster.run(500);
    expect(heard).toEqual([]);
    expect(cluster.runUntil(() => heard.length === 2 && waiting.size === 1)).toBe(true);
    expect(outcomes(heard)).toEqual(["ACCEPTED", "ACCEPTED"]);
  });
});

describe("a transaction whose decisions are forgotten", () => {
  it("in its coordinating group, where none of its operations has its home, is not decided once more", () => {
    const cluster = ready({ node: { decisionWindow: 8 } });
    const [one, two] = [cluster.regionIn(1), cluster.regionIn(2)];
    cluster.execute(1, [mint("m", 1, two, "ada", "ore", 10)]);
    const operation = send("s", 1, two, "ada", one, "bob", "ore", 4, { timestampMs: Math.floor(cluster.nowMs) });
    expect(cluster.execute(1, [operation]).get("s")).toMatchObject({ outcome: Outcome.ACCEPTED });
    for (let i = 0; i < 24; i++) cluster.execute(1, [mint(`m${i}`, 1, one, "eve", "ore", 1)]);
    expect(cluster.node(1).group(2).state.decisions.get("s")).toBeDefined();
    expect(cluster.execute(1, [operation]).get("s")).toMatchObject({ reason: "DECISION_FORGOTTEN" });
    expect(cluster.node(cluster.leaderOf(1)).group(1).state.decisions.get("s")).toBeUndefined();
    conserved(cluster);
  });

  it("by half is called forgotten, and not another use of its id", () => {
    const cluster = ready({ node: { decisionWindow: 8 } });
    const region = cluster.regionIn(1);
    for (let i = 0; i < 7; i++) cluster.execute(1, [mint(`m${i}`, 1, region, "eve", "ore", 1)]);
    const timestampMs = Math.floor(cluster.nowMs);
    const operations = [claim("a", 1, region, "vein", "ada", { timestampMs }), claim("b", 1, region, "seam", "ada", { timestampMs })];
    expect(outcomes(cluster.transact(1, "t-1", operations))).toEqual(["ACCEPTED", "ACCEPTED"]);
    for (let i = 0; i < 7; i++) cluster.execute(1, [mint(`n${i}`, 1, region, "eve", "ore", 1)]);
    const { decisions } = cluster.node(cluster.leaderOf(1)).group(1).state;
    expect([decisions.get("a"), decisions.get("b") === undefined]).toEqual([undefined, false]);
    expect(outcomes(cluster.transact(1, "t-1", operations))).toEqual(["DECISION_FORGOTTEN", "DECISION_FORGOTTEN"]);
    // What is kept of it and contradicts is another use.
    expect(outcomes(cluster.transact(1, "t-1", [claim("z", 1, region, "lode", "ada")]))).toEqual(["OPERATION_ID_REUSED"]);
  });
});
