// How players doubled items elsewhere, or lost them, each as a script: whoever tries it here finds the items once.
import { type Decision, type Operation, type OperationError, Outcome, PlayerInventory_Action, type Region } from "@statemesh/contract";
import { conservationOf } from "@statemesh/mesh";
import { describe, expect, it } from "vitest";
import { give, mint, pickup, send, spawn } from "./operations.ts";
import { isDecision, VirtualCluster } from "./virtual-cluster.ts";

function ready(options: ConstructorParameters<typeof VirtualCluster>[0] = {}): { cluster: VirtualCluster; one: Region; two: Region } {
  const cluster = new VirtualCluster({ groups: 2, ...options });
  cluster.settle();
  cluster.register(1, 2);
  cluster.runUntil(() => cluster.members.every((id) => cluster.node(id).membership.version >= 3));
  return { cluster, one: cluster.regionIn(1), two: cluster.regionIn(2) };
}

function drop(id: string, serverId: number, region: Region, playerId: string, itemId: string, quantity: number): Operation {
  const operation = spawn(id, serverId, region, itemId, "diamond", quantity);
  if (operation.body?.$case === "playerInventory") operation.body.value = { ...operation.body.value, action: PlayerInventory_Action.DROP, playerId };
  return operation;
}

/** Where the diamonds are: in inventories by group and player, and on the ground by item. Fails where they do not add up. */
function diamonds(cluster: VirtualCluster): Record<string, number> {
  cluster.runUntil(() => cluster.members.every((id) => !cluster.isUp(id) || cluster.node(id).groups.every(({ state }) => state.transactions.isQuiet)));
  cluster.converge();
  const id = cluster.members.find((each) => cluster.isUp(each)) ?? 0;
  const states = cluster.node(id).groups.map(({ state }) => state);
  expect(conservationOf(states)).toMatchObject({ addsUp: true, isExplained: true });
  const found: Record<string, number> = {};
  for (const state of states) for (const { account, quantity } of state.ledger.rows()) found[`${state.groupId} ${account}`] = quantity;
  return found;
}

function outcomeOf(answer: Decision | OperationError | undefined): unknown {
  return isDecision(answer) ? (answer.outcome === Outcome.ACCEPTED ? "done" : answer.reason) : answer?.reason;
}

describe("items are not doubled", () => {
  it("by putting them into a chest and switching servers before the first one has saved", () => {
    const { cluster, one, two } = ready();
    cluster.execute(1, [mint("m", 1, one, "ada", "diamond", 8)]);
    // The chest is an account. The first server puts them in and dies at once; the player is on the second one by then, which knows nothing of it.
    const leader = cluster.leaderOf(1);
    cluster.submit(leader, [give("chest", 1, one, "ada", "chest", "diamond", 8)]);
    cluster.run(2);
    cluster.kill(leader);
    const through = cluster.members.find((id) => cluster.isUp(id)) ?? 0;
    const answer = cluster.execute(through, [send("take along", 2, one, "ada", two, "ada", "diamond", 8)]).get("take along");
    // Asked again by whoever wants to know: the chest got them, or the player took them along.
    const chest = outcomeOf(cluster.execute(through, [give("chest", 1, one, "ada", "chest", "diamond", 8)]).get("chest"));
    expect([["done", "INSUFFICIENT_ITEMS"], ["INSUFFICIENT_ITEMS", "done"]]).toContainEqual([outcomeOf(answer), chest]);
    cluster.start(leader);
    cluster.settle();
    expect(diamonds(cluster)).toEqual(chest === "done" ? { "1 player:chest": 8 } : { "2 player:ada": 8 });
  });

  it("by laying them down just before the servers restart", () => {
    const { cluster, one } = ready();
    cluster.execute(1, [mint("m", 1, one, "ada", "diamond", 8)]);
    cluster.submit(1, [drop("d", 1, one, "ada", "i-1", 8)]);
    cluster.run(1.5);
    for (const id of cluster.members) cluster.kill(id);
    for (const id of cluster.members) cluster.start(id);
    cluster.settle();
    cluster.converge();
    // The player logs in again and lays them down once more, as the client did not hear of it: the same id, or another one.
    const again = outcomeOf(cluster.execute(2, [drop("d", 1, one, "ada", "i-1", 8)]).get("d"));
    const twice = outcomeOf(cluster.execute(2, [drop("d-2", 1, one, "ada", "i-2", 8)]).get("d-2"));
    expect([again, twice]).toEqual(["done", "INSUFFICIENT_ITEMS"]);
    expect(diamonds(cluster)).toEqual({ "1 ground:i-1": 8 });
  });

  it("by two who pick up the same, through two nodes, one of which is cut off from then on", () => {
    const { cluster, one } = ready();
    cluster.execute(1, [spawn("s", 1, one, "i-1", "diamond", 3)]);
    const answers = [cluster.submit(1, [pickup("p-1", 1, one, "i-1", "ada")]), cluster.submit(3, [pickup("p-2", 2, one, "i-1", "bob")])];
    cluster.cut([3], [1, 2]);
    cluster.run(3_000);
    cluster.heal();
    cluster.runUntil(() => answers.every((answer) => answer.size === 1), 15_000);
    const outcomes = [outcomeOf(cluster.execute(2, [pickup("p-1", 1, one, "i-1", "ada")]).get("p-1")), outcomeOf(cluster.execute(2, [pickup("p-2", 2, one, "i-1", "bob")]).get("p-2"))];
    expect(outcomes.filter((outcome) => outcome === "done")).toHaveLength(1);
    expect(Object.values(diamonds(cluster))).toEqual([3]);
  });

  it("by a periodic save that comes after the one at logout: what was decided is never written over", () => {
    const { cluster, one } = ready();
    cluster.execute(1, [mint("m", 1, one, "ada", "diamond", 8)]);
    // A save is a statement about the past. Here it is an operation with an id, and its repeat, however late, is no second one.
    const before = give("give", 1, one, "ada", "bob", "diamond", 8);
    cluster.execute(1, [before]);
    cluster.execute(2, [give("back", 2, one, "bob", "ada", "diamond", 5)]);
    expect(cluster.execute(3, [before]).get("give")).toMatchObject({ outcome: Outcome.ACCEPTED, repeated: true });
    expect(diamonds(cluster)).toEqual({ "1 player:ada": 5, "1 player:bob": 3 });
  });

  it("by joining elsewhere while the home server is down, and coming back", () => {
    const { cluster, one, two } = ready({ nodes: 3 });
    cluster.execute(1, [mint("m", 1, one, "ada", "diamond", 8)]);
    // Home is down: no quorum of the group that keeps the player's account.
    cluster.cut([1], [2, 3]);
    cluster.cut([2], [3]);
    // Elsewhere the player has another purse, which is empty, and fills it; it is never taken for the first one.
    const lost = cluster.submit(2, [send("move", 2, one, "ada", two, "ada", "diamond", 8)], 2_000);
    cluster.runUntil(() => lost.size === 1, 4_000);
    expect(["OUTCOME_UNKNOWN", "NO_QUORUM", "MINORITY_PARTITION"]).toContain(outcomeOf(lost.get("move")));
    cluster.heal();
    cluster.settle();
    cluster.converge();
    cluster.execute(1, [mint("found", 2, two, "ada", "diamond", 1)]);
    const moved = outcomeOf(cluster.execute(1, [send("move", 2, one, "ada", two, "ada", "diamond", 8)]).get("move"));
    expect(moved).toBe("done");
    expect(diamonds(cluster)).toEqual({ "2 player:ada": 9 });
  });

  it("by a server that stalled, was replaced, and writes what it had in mind", () => {
    const { cluster, one, two } = ready();
    cluster.directory(1, { $case: "acquire", value: { serverId: 1, region: one, durationMs: 1_000 } });
    cluster.runUntil(() => cluster.node(1).group(1).state.fence(one)?.ownerServerId === 1);
    cluster.execute(1, [mint("m", 1, one, "ada", "diamond", 8)].map((operation) => ({ ...operation, authorityEpoch: 1 })));
    // Its lease runs out, another server takes the region, and moves everything away.
    cluster.run(4_000);
    cluster.directory(1, { $case: "acquire", value: { serverId: 2, region: one, durationMs: 10_000 } });
    cluster.runUntil(() => cluster.node(1).group(1).state.fence(one)?.ownerServerId === 2);
    const epoch = cluster.node(1).group(1).state.fence(one)?.epoch ?? 0;
    expect(outcomeOf(cluster.execute(1, [send("away", 2, one, "ada", two, "ada", "diamond", 8, { authorityEpoch: epoch })]).get("away"))).toBe("done");
    expect(outcomeOf(cluster.execute(1, [drop("late", 1, one, "ada", "i-1", 8)].map((operation) => ({ ...operation, authorityEpoch: 1 }))).get("late"))).toBe("FENCED");
    expect(diamonds(cluster)).toEqual({ "2 player:ada": 8 });
  });
});
