// What must never get into a log: an entry that no replica can apply ends every node, and again after every restart.
import { CustomAction_Expectation, Operation as Operations, type Operation, type Region } from "@statemesh/contract";
import type { Command } from "@statemesh/contract/log";
import { commandOf } from "@statemesh/replica";
import { parsePolicy } from "@statemesh/world";
import { describe, expect, it } from "vitest";
import { operationBytes } from "../src/strong/decision-queue.ts";
import { give, mint, trade } from "./operations.ts";
import { VirtualCluster, isDecision } from "./virtual-cluster.ts";

function ready(options: ConstructorParameters<typeof VirtualCluster>[0] = {}): VirtualCluster {
  const cluster = new VirtualCluster(options);
  cluster.settle();
  cluster.register(1, 2, 9);
  return cluster;
}

/** Three groups, and transactions over them. */
function spanning(options: ConstructorParameters<typeof VirtualCluster>[0] = {}): VirtualCluster {
  const cluster = ready({ groups: 3, ...options });
  if (!cluster.runUntil(() => cluster.members.every((id) => cluster.node(id).membership.version >= 3))) throw new Error("the cluster does not come to version 3");
  return cluster;
}

const POLICY = parsePolicy("version: 1\ntypes:\n  spell:\n    consistency: strong\n    chain: [timestamp]\n", "policy.yaml");

function spell(operationId: string, serverId: number, homeRegion: Region, entityId: string, state: string): Operation {
  const body = { $case: "custom" as const, value: { entityId, state: new TextEncoder().encode(state), toRegion: undefined, expectation: CustomAction_Expectation.UNSPECIFIED, observedVersion: 0 } };
  return { ...Operations.fromPartial({ operationId, serverId, homeRegion, type: "spell" }), body };
}

function neighbour(region: Region): Region {
  return { ...region, x: region.x + 1 };
}

describe("the log", () => {
  it("holds no operation that lives off one that a fence refuses", () => {
    const cluster = ready();
    const region = cluster.regionIn(1);
    const leader = cluster.leaderOf(1);
    const group = cluster.node(leader).group(1);
    const answers = cluster.submit(leader, [mint("a", 1, region, "ada", "gold", 10), give("b", 2, neighbour(region), "ada", "bob", "gold", 10)]);
    cluster.run(0);
    // The arbiter has both; now the region of the first goes to another server.
    group.command(commandOf({ $case: "fence", value: { region, epoch: 1, ownerServerId: 9 } }), () => undefined);
    cluster.runUntil(() => answers.size === 2);
    expect(answers.get("a")).toMatchObject({ reason: "FENCED" });
    expect(answers.get("b")).toMatchObject({ reason: "INSUFFICIENT_ITEMS" });
    cluster.converge();
  });

  it("holds no operation that lives off one whose region was fenced while both waited", () => {
    const cluster = ready();
    const region = cluster.regionIn(1);
    const leader = cluster.leaderOf(1);
    const node = cluster.node(leader);
    const fence: Command = commandOf({ $case: "fence", value: { region, epoch: 1, ownerServerId: 9 } });
    const first = cluster.submit(leader, [mint("hot", 2, neighbour(region), "ada", "gold", 1)]);
    cluster.run(0);
    // Both wait for the account that is in flight; the fence is applied before they are taken up.
    const answers = cluster.submit(leader, [mint("a", 1, region, "ada", "gold", 10), give("b", 2, neighbour(region), "ada", "bob", "gold", 10)]);
    node.group(1).command(fence, () => undefined);
    cluster.runUntil(() => first.size === 1 && answers.size === 2);
    expect(answers.get("a")).toMatchObject({ reason: "FENCED" });
    expect(answers.get("b")).toMatchObject({ reason: "INSUFFICIENT_ITEMS" });
    cluster.converge();
  });

  it("refuses to mint beyond 2^53-1 of a kind also where transactions of one batch do it together", () => {
    const cluster = ready();
    const region = cluster.regionIn(1);
    const leader = cluster.leaderOf(1);
    const node = cluster.node(leader);
    const much = 2 ** 52 + 1;
    const reasons: string[] = [];
    for (const name of ["ada", "bob"]) {
      node.edge.transact(`tx-${name}`, [mint(`m-${name}`, 1, region, name, "dust", much)], cluster.nowMs + 10_000, {
        decided: (decision) => reasons.push(decision.reason),
        failed: (_, error) => reasons.push(error.reason),
      });
    }
    node.dirty();
    expect(cluster.runUntil(() => reasons.length === 2)).toBe(true);
    expect(reasons).toEqual(["", "BALANCE_OVERFLOW"]);
    cluster.converge();
  });

  it("refuses to mint beyond 2^53-1 of a kind also where transactions over several groups do it in one batch", () => {
    const cluster = spanning();
    const [one, two] = [cluster.regionIn(1), cluster.regionIn(2)];
    const much = 2 ** 52 + 1;
    const reasons = new Map<string, string>();
    const node = cluster.node(cluster.leaderOf(1));
    for (const name of ["ada", "bob"]) {
      node.edge.transact(`tx-${name}`, [mint(`m-${name}`, 1, one, name, "dust", much), mint(`n-${name}`, 1, two, name, "ore", 1)], cluster.nowMs + 10_000, {
        decided: ({ operationId, reason }) => reasons.set(operationId, reason),
        failed: (operationId, error) => reasons.set(operationId, error.reason),
      });
    }
    node.dirty();
    expect(cluster.runUntil(() => reasons.size === 4)).toBe(true);
    expect(new Set([reasons.get("m-ada"), reasons.get("m-bob")])).toEqual(new Set(["", "BALANCE_OVERFLOW"]));
    cluster.converge();
    // What was set apart for the one that failed is free again, and no more than that.
    const answers = cluster.execute(1, [mint("rest", 1, one, "eve", "dust", 2 ** 52 - 2)]);
    expect(answers.get("rest")).toMatchObject({ reason: "" });
    expect(cluster.execute(1, [mint("over", 1, one, "eve", "dust", 1)]).get("over")).toMatchObject({ reason: "BALANCE_OVERFLOW" });
    cluster.converge();
  });

  it.each([["alone", 0], ["beside another operation", 1]])("frees what a transaction was to mint where it does not get into the log, %s", (_, beside) => {
    const cluster = spanning();
    const [one, two] = [cluster.regionIn(1), cluster.regionIn(2)];
    const leader = cluster.node(cluster.leaderOf(1));
    const { core } = leader.group(1);
    const propose = core.propose.bind(core);
    const heard: string[] = [];
    const much = Number.MAX_SAFE_INTEGER;
    core.propose = () => ({ ok: false, reason: "uncommitted_limit" });
    leader.edge.transact("tx", [mint("m", 1, one, "ada", "dust", much), mint("n", 1, two, "ada", "ore", 1)], cluster.nowMs + 1_000, { decided: () => undefined, failed: (_id, { reason }) => heard.push(reason) });
    const single = cluster.submit(leader.nodeId, Array.from({ length: beside }, () => mint("single", 1, one, "bob", "ore", 1)), 1_000);
    leader.dirty();
    expect(cluster.runUntil(() => heard.length === 2 && single.size === beside, 5_000)).toBe(true);
    core.propose = propose;
    expect(cluster.execute(leader.nodeId, [mint("again", 1, one, "ada", "dust", much)]).get("again")).toMatchObject({ reason: "" });
    cluster.converge();
  });

  it("lets an entity of an operator's type go from group to group by a third that the footprint names", () => {
    const cluster = spanning({ node: { policy: POLICY } });
    const [one, two, three] = [cluster.regionIn(1), cluster.regionIn(2), cluster.regionIn(3)];
    expect(isDecision(cluster.execute(1, [spell("put", 1, one, "fog", "thick")]).get("put"))).toBe(true);
    const move = { ...spell("move", 1, one, "fog", "thin"), footprint: { keys: [], regions: [three], bounds: undefined } };
    if (move.body?.$case === "custom") Object.assign(move.body.value, { toRegion: two });
    expect(cluster.execute(1, [move]).get("move")).toMatchObject({ reason: "" });
    cluster.run(2_000);
    cluster.converge();
    expect([1, 2, 3].map((groupId) => cluster.node(1).group(groupId).state.entities.get("spell", "fog") !== undefined)).toEqual([false, true, false]);
  });

  it("removes an entity of an operator's type once, however many ask in one batch", () => {
    const cluster = ready({ node: { policy: POLICY } });
    const region = cluster.regionIn(1);
    const leader = cluster.leaderOf(1);
    expect(isDecision(cluster.execute(leader, [spell("put", 1, region, "fog", "thick")]).get("put"))).toBe(true);
    const answers = cluster.execute(leader, [spell("r1", 1, region, "fog", ""), spell("r2", 1, region, "fog", ""), spell("r3", 2, region, "fog", "")]);
    const reasons = ["r1", "r2", "r3"].map((id) => answers.get(id)?.reason);
    expect(reasons.filter((reason) => reason === "")).toHaveLength(1);
    expect(reasons.filter((reason) => reason === "NOT_FOUND")).toHaveLength(2);
    cluster.converge();
  });

  it("sees a server's own write to an entity when its next operation of the same batch removes it", () => {
    const cluster = ready({ node: { policy: POLICY } });
    const region = cluster.regionIn(1);
    const answers = cluster.execute(cluster.leaderOf(1), [spell("w", 1, region, "fog", "thick"), spell("r", 1, region, "fog", "")]);
    expect(["w", "r"].map((id) => answers.get(id)?.reason)).toEqual(["", ""]);
    cluster.converge();
    expect(cluster.node(1).group(1).state.entities.get("spell", "fog")).toBeUndefined();
  });

  it("takes no command that this version cannot apply, from a peer of a newer one", () => {
    const cluster = ready();
    const leader = cluster.leaderOf(1);
    const peer = cluster.members.find((id) => id !== leader) ?? 0;
    // Field 15 of a command, as a later version might have it; a fence without a region; and no message at all.
    for (const value of [new Uint8Array([0x7a, 0]), new Uint8Array([0x1a, 2, 0x10, 1]), new Uint8Array([0xff])]) {
      cluster.node(leader).onFrame(peer, { hello: undefined, raft: [], answers: [], deltas: [], causal: [], heartbeats: [], tentative: [], calls: [{ callId: 7, groupId: 1, timeoutMs: 1_000, hops: 1, call: { $case: "command", value } }] });
    }
    cluster.run(1_000);
    cluster.converge();
    expect(cluster.failures).toEqual([]);
  });

  it("goes on where a peer of a newer version sends an operation that this one does not know", () => {
    const cluster = ready();
    const region = cluster.regionIn(1);
    const leader = cluster.leaderOf(1);
    const peer = cluster.members.find((id) => id !== leader) ?? 0;
    const bodiless = Operations.fromPartial({ operationId: "n1", serverId: 1, homeRegion: region, type: "trade" });
    const unknownAction = mint("n2", 1, region, "ada", "gold", 1);
    if (unknownAction.body?.$case === "playerInventory") Object.assign(unknownAction.body.value, { action: 77 });
    const operations = [bodiless, unknownAction].map((operation) => ({ operation, stamp: { physicalMs: cluster.nowMs, logical: 0 }, fingerprint: 1, timeoutMs: 0 }));
    cluster.node(leader).onFrame(peer, { hello: undefined, raft: [], answers: [], deltas: [], causal: [], heartbeats: [], tentative: [], calls: [{ callId: 7, groupId: 1, timeoutMs: 1_000, hops: 1, call: { $case: "operations", value: { operations } } }] });
    cluster.run(500);
    expect(isDecision(cluster.execute(leader, [mint("m", 1, region, "ada", "gold", 1)]).get("m"))).toBe(true);
    cluster.converge();
    expect(cluster.node(leader).group(1).state.ledger.balance("player:ada", "gold")).toBe(1);
  });

  it("counts what a trade becomes, so that an entry always fits into a peer's frame", () => {
    const region = { x: 0, y: 0, z: 0 };
    const stacks = Array.from({ length: 16 }, (_, i) => ({ itemKind: "k".repeat(60) + String(i), quantity: 1 }));
    const operation = trade("t", 1, region, ["ada", "gold", 1], ["bob", "wood", 1]);
    if (operation.body?.$case !== "trade") throw new Error("not a trade");
    operation.body.value.firstGives = stacks;
    operation.body.value.secondGives = stacks;
    // 32 postings, each with two accounts and a kind of up to 71 and 64 bytes.
    expect(operationBytes({ operation } as Parameters<typeof operationBytes>[0])).toBeGreaterThanOrEqual(32 * (71 + 71 + 64));
  });
});
