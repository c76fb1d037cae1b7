import { type ContainerContents, type Decision, type MeshError, type Operation, type OperationError, Outcome, ReadRequest, type Region } from "@statemesh/contract";
import { Command } from "@statemesh/contract/log";
import { conservationOf, flowsOf, read } from "@statemesh/mesh";
import type { GroupState } from "@statemesh/replica";
import { groupOf } from "@statemesh/world";
import { describe, expect, it } from "vitest";
import { createContainer, destroyContainer, mint, moveContainer, pickup, spawn, stow } from "./operations.ts";
import { conserved, ready } from "./transacting.ts";
import { isDecision, VirtualCluster } from "./virtual-cluster.ts";

let serial = 0;

function small(): { cluster: VirtualCluster; one: Region; two: Region; does: (make: (id: string) => Operation) => unknown } {
  const cluster = ready({ groups: 2 });
  if (!cluster.runUntil(() => cluster.members.every((id) => cluster.node(id).membership.version >= 4))) throw new Error("the cluster does not come to version 4");
  const does = (make: (id: string) => Operation): unknown => {
    const id = `o-${++serial}`;
    return outcomeOf(cluster.execute(1, [make(id)]).get(id));
  };
  return { cluster, one: cluster.regionIn(1), two: cluster.regionIn(2), does };
}

function outcomeOf(answer: Decision | OperationError | undefined): unknown {
  return isDecision(answer) && answer.outcome === Outcome.ACCEPTED ? "done" : answer?.reason;
}

function contentsOf(cluster: VirtualCluster, region: Region, containerId: string): ContainerContents[] {
  let found: ContainerContents[] | undefined;
  const groupId = groupOf(region, 2);
  const node = cluster.node(1);
  const port = {
    state: (id: number) => node.group(id).state,
    barrier: (id: number, untilMs: number, done: (error: MeshError | undefined) => void) => node.barrier(id, untilMs, done),
    whenApplied: (id: number, index: number, untilMs: number, done: (error: MeshError | undefined) => void) => node.group(id).whenApplied(index, untilMs, done),
    stalenessMs: () => 0,
    eventualValues: () => [],
  };
  read(port, groupId, region, ReadRequest.fromPartial({ region, containers: [containerId] }), cluster.nowMs + 5_000, (response) => (found = response?.containers ?? []));
  node.dirty();
  cluster.runUntil(() => found !== undefined);
  return found ?? [];
}

describe("containers", () => {
  it("move with everything in them, by one row of the log however much that is", () => {
    const { cluster, one, does } = small();
    expect(does((id) => createContainer(id, 1, one, "wagon", "ground"))).toBe("done");
    expect(does((id) => createContainer(id, 1, one, "chest", "c:wagon"))).toBe("done");
    for (let i = 0; i < 20; i++) expect(does((id) => stow(id, 1, one, undefined, { containerId: "chest" }, `kind-${i}`, i + 1))).toBe("done");
    expect(does((id) => moveContainer(id, 1, one, "wagon", "ground", "p:ada"))).toBe("done");
    const { core, state } = cluster.node(cluster.leaderOf(1)).group(1);
    const { command } = Command.decode(core.entries(state.appliedIndex, state.appliedIndex, 1_000_000)[0]?.data ?? new Uint8Array(0));
    expect(command?.$case === "operations" && command.value.operations.map(({ effects }) => effects.length)).toEqual([1]);
    expect(contentsOf(cluster, one, "wagon")).toMatchObject([{ containerId: "wagon", inContainerId: "", items: [] }, { containerId: "chest", inContainerId: "wagon", kind: "chest" }]);
    expect(contentsOf(cluster, one, "chest")[0]?.items).toHaveLength(20);
    conserved(cluster);
  });

  it("are taken from where they are by the first, and the second hears who that was", () => {
    const { cluster, one, does } = small();
    does((id) => createContainer(id, 1, one, "chest", "ground"));
    const answers = cluster.execute(1, [moveContainer("ada takes", 1, one, "chest", "ground", "p:ada"), moveContainer("bob takes", 2, one, "chest", "ground", "p:bob")]);
    expect([outcomeOf(answers.get("ada takes")), answers.get("bob takes")]).toMatchObject(["done", { reason: "CONFLICT", winnerOperationId: "ada takes" }]);
    expect(cluster.execute(2, [moveContainer("bob again", 2, one, "chest", "ground", "p:bob")]).get("bob again")).toMatchObject({ reason: "NOT_HOLDER", winnerOperationId: "ada takes" });
  });

  it("are never in themselves, not even by moves that come together", () => {
    const { cluster, one, does } = small();
    for (const id of ["a", "b"]) {
      does((op) => createContainer(op, 1, one, id, "p:ada"));
      does((op) => createContainer(op, 1, one, `in ${id}`, `c:${id}`));
    }
    expect(does((id) => moveContainer(id, 1, one, "a", "p:ada", "c:in a"))).toBe("CONTAINER_CYCLE");
    // They name nothing in common.
    const answers = [moveContainer("a-b", 1, one, "a", "p:ada", "c:in b"), moveContainer("b-a", 2, one, "b", "p:ada", "c:in a")].map((operation, i) => cluster.submit(i + 1, [operation]));
    cluster.runUntil(() => answers.every(({ size }) => size === 1));
    expect(new Set(answers.flatMap((each) => [...each.values()].map(outcomeOf)))).toEqual(new Set(["CONTAINER_CYCLE", "done"]));
  });

  it("are not shown in a region while they are prepared to leave it, whatever region they are taken from", () => {
    const { cluster, one, two, does } = small();
    const beside = { ...one, y: one.y + 1 };
    expect(groupOf(beside, 2)).toBe(1);
    does((id) => createContainer(id, 1, beside, "wagon", "p:ada"));
    does((id) => createContainer(id, 1, one, "chest", "c:wagon"));
    const { state } = cluster.node(cluster.leaderOf(1)).group(1);
    expect(state.entities.get("container", "chest")).toMatchObject({ region: one });
    const isHeld = (region: Region): boolean => {
      let answered = false;
      const port = { state: () => state, barrier: (_: number, __: number, done: (error: undefined) => void) => done(undefined), whenApplied: () => undefined, stalenessMs: () => 0, eventualValues: () => [] };
      read(port, 1, region, ReadRequest.fromPartial({ region }), cluster.nowMs + 5_000, () => (answered = true));
      return !answered;
    };
    const moved = cluster.submit(1, [moveContainer("off", 1, beside, "wagon", "p:ada", "p:ada", contentsOf(cluster, beside, "wagon"), two)]);
    expect(cluster.runUntil(() => state.transactions.preparedCount === 1)).toBe(true);
    expect([isHeld(beside), isHeld(one)]).toEqual([true, true]);
    cluster.runUntil(() => moved.size === 1);
    expect([outcomeOf(moved.get("off")), isHeld(beside), isHeld(one)]).toEqual(["done", false, false]);
  });

  it("have limits: 8 deep, 64 in one another, 64 kinds in each", () => {
    const { one, does } = small();
    does((id) => createContainer(id, 1, one, "d1", "ground"));
    for (let depth = 2; depth <= 8; depth++) expect(does((id) => createContainer(id, 1, one, `d${depth}`, `c:d${depth - 1}`))).toBe("done");
    expect(does((id) => createContainer(id, 1, one, "d9", "c:d8"))).toBe("CONTAINER_TOO_DEEP");
    for (let i = 9; i <= 64; i++) expect(does((id) => createContainer(id, 1, one, `e${i}`, "c:d1"))).toBe("done");
    expect(does((id) => createContainer(id, 1, one, "e65", "c:d2"))).toBe("CONTAINER_FULL");
    // From one place to another in it they are the same ones.
    expect(does((id) => moveContainer(id, 1, one, "e64", "c:d1", "c:d2"))).toBe("done");
    for (let i = 1; i <= 64; i++) expect(does((id) => stow(id, 1, one, undefined, { containerId: "d1" }, `k${i}`, 1))).toBe("done");
    expect(does((id) => stow(id, 1, one, undefined, { containerId: "d1" }, "k65", 1))).toBe("CONTAINER_FULL");
    expect(does((id) => stow(id, 1, one, undefined, { containerId: "d1" }, "k64", 1))).toBe("done");
  });

  it("that hold something are burned only where the operation says what, and exactly", () => {
    const { cluster, one, does } = small();
    does((id) => createContainer(id, 1, one, "wagon", "p:ada"));
    does((id) => createContainer(id, 1, one, "chest", "c:wagon"));
    does((id) => stow(id, 1, one, undefined, { containerId: "chest" }, "ore", 5));
    expect(does((id) => destroyContainer(id, 1, one, "wagon", "p:ada"))).toBe("NOT_EMPTY");
    const contents = contentsOf(cluster, one, "wagon");
    does((id) => stow(id, 1, one, { containerId: "chest" }, { playerId: "ada" }, "ore", 1));
    expect(does((id) => destroyContainer(id, 1, one, "wagon", "p:ada", contents))).toBe("CONTENTS_CHANGED");
    expect(does((id) => destroyContainer(id, 1, one, "wagon", "p:ada", contentsOf(cluster, one, "wagon")))).toBe("done");
    expect(does((id) => stow(id, 1, one, { containerId: "chest" }, { playerId: "ada" }, "ore", 1))).toBe("NOT_FOUND");
    expect(cluster.node(1).group(1).state.ledger.totals("ore")).toMatchObject({ minted: 5, burned: 4 });
    conserved(cluster);
  });

  it("go to another group with everything in them, as the operation states it, or not at all", () => {
    const { cluster, one, two, does } = small();
    does((id) => createContainer(id, 1, one, "wagon", "ground"));
    does((id) => createContainer(id, 1, one, "chest", "c:wagon"));
    does((id) => createContainer(id, 1, one, "bag", "c:chest"));
    does((id) => stow(id, 1, one, undefined, { containerId: "bag" }, "gem", 3));
    does((id) => stow(id, 1, one, undefined, { containerId: "wagon" }, "ore", 7));
    const contents = contentsOf(cluster, one, "wagon");
    does((id) => stow(id, 1, one, { containerId: "wagon" }, { playerId: "ada" }, "ore", 2));
    expect(does((id) => moveContainer(id, 1, one, "wagon", "ground", "ground", contents, two))).toBe("CONTENTS_CHANGED");
    expect(contentsOf(cluster, two, "wagon")).toEqual([]);
    const now = contentsOf(cluster, one, "wagon");
    expect(does((id) => moveContainer(id, 1, one, "wagon", "ground", "ground", now, two))).toBe("done");
    cluster.converge();
    expect(contentsOf(cluster, one, "wagon")).toEqual([]);
    expect(contentsOf(cluster, two, "wagon")).toEqual(now);
    expect(does((id) => stow(id, 1, two, { containerId: "bag" }, { playerId: "bob" }, "gem", 3))).toBe("done");
    // And items alone, from a container of one group to one of another.
    does((id) => createContainer(id, 1, one, "shelf", "ground"));
    expect(does((id) => stow(id, 1, two, { containerId: "wagon" }, { containerId: "shelf" }, "ore", 5, one))).toBe("done");
    expect(conservationOf(cluster.node(1).groups.map(({ state }) => state))).toMatchObject({ addsUp: true, isExplained: true });
    conserved(cluster);
  });

  it("come back to the group that they once left, and are refused where their name is taken", () => {
    const { cluster, one, two, does } = small();
    does((id) => createContainer(id, 1, one, "chest", "p:ada"));
    expect(does((id) => moveContainer(id, 1, one, "chest", "p:ada", "p:ada", contentsOf(cluster, one, "chest"), two))).toBe("done");
    expect(does((id) => moveContainer(id, 1, two, "chest", "p:ada", "p:bob", contentsOf(cluster, two, "chest"), one))).toBe("done");
    does((id) => createContainer(id, 1, two, "shelf", "p:ada"));
    does((id) => createContainer(id, 1, one, "shelf", "p:ada"));
    expect(does((id) => moveContainer(id, 1, two, "shelf", "p:ada", "p:ada", contentsOf(cluster, two, "shelf"), one))).toBe("ALREADY_EXISTS");
  });

  it("are there once every node knows them, and refused by name before", () => {
    const cluster = new VirtualCluster({ groups: 1 });
    cluster.speaks(3, { min: 1, max: 3 });
    cluster.kill(3);
    cluster.start(3);
    cluster.settle();
    cluster.register(1);
    cluster.runUntil(() => cluster.members.every((id) => cluster.node(id).membership.version >= 3));
    const region = cluster.regionIn(1);
    expect(outcomeOf(cluster.execute(1, [createContainer("c", 1, region, "chest", "ground")]).get("c"))).toBe("VERSION_TOO_LOW");
    expect(outcomeOf(cluster.execute(1, [stow("s", 1, region, undefined, { containerId: "chest" }, "ore", 1)]).get("s"))).toBe("VERSION_TOO_LOW");
    expect(outcomeOf(cluster.execute(1, [mint("m", 1, region, "ada", "ore", 1)]).get("m"))).toBe("done");
  });
});

describe("items of a region, a player and a container", () => {
  it("are counted where they lie, who holds them, and in what, with how they came there", () => {
    const { cluster, one, two, does } = small();
    does((id) => spawn(id, 1, one, "pile", "ore", 9));
    cluster.runUntil(() => cluster.members.every((id) => cluster.node(id).group(1).state.ledger.flowsSince > 0));
    const states = (): GroupState[] => cluster.node(1).groups.map(({ state }) => state);
    const since = states()[1]?.ledger.flowsSince;
    does((id) => spawn(id, 1, one, "heap", "ore", 4));
    does((id) => pickup(id, 1, one, "pile", "ann"));
    does((id) => createContainer(id, 1, one, "wagon", "ground"));
    does((id) => createContainer(id, 1, one, "chest", "c:wagon"));
    does((id) => stow(id, 1, one, { playerId: "ann" }, { containerId: "chest" }, "ore", 5));
    does((id) => stow(id, 1, one, { containerId: "chest" }, { containerId: "wagon" }, "ore", 2));
    does((id) => stow(id, 1, one, { playerId: "ann" }, { playerId: "ann" }, "ore", 1, two));
    does((id) => stow(id, 1, one, { playerId: "ann" }, undefined, "ore", 1));
    cluster.converge();
    const none = { opening: 0, minted: 0, burned: 0, received: 0, given: 0, arriving: 0, leaving: 0, conserved: true };
    expect(flowsOf(states(), { playerId: "ann" })).toMatchObject([{ ...none, itemKind: "ore", groupId: 1, sinceIndex: since, received: 9, given: 6, burned: 1, held: 2 }, { groupId: 2, held: 1, conserved: true }]);
    expect(flowsOf(states(), { containerId: "wagon" })).toEqual([{ ...none, itemKind: "ore", groupId: 1, sinceIndex: since, received: 7, given: 2, held: 5 }]);
    // The pile lay there before anybody counted.
    expect(flowsOf(states(), { region: one })).toEqual([{ ...none, itemKind: "ore", groupId: 1, sinceIndex: since, opening: 9, minted: 4, received: 7, given: 11, held: 9 }]);
    expect(flowsOf(states(), { region: two })).toEqual([]);
  });
});
