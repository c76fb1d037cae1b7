// What an operation expects of an entity of a studio's own type: what is not as expected is not done, and the caller hears how it is.
import { CustomAction_Expectation, type Operation, Operation as Operations, Outcome, type Region } from "@statemesh/contract";
import { groupOf, parsePolicy } from "@statemesh/world";
import { describe, expect, it } from "vitest";
import { quiet } from "./transacting.ts";
import { isDecision, VirtualCluster } from "./virtual-cluster.ts";

const POLICY = parsePolicy("version: 1\ntypes:\n  cart: {consistency: strong, chain: [timestamp]}\n  vault: {consistency: strong, chain: [timestamp], merge: counter}\n", "test.yaml");

const { ABSENT, EXISTS, UNSPECIFIED } = CustomAction_Expectation;

interface Expected {
  readonly expectation?: CustomAction_Expectation;
  readonly observedVersion?: number;
  readonly toRegion?: Region;
  readonly state?: string;
  readonly type?: string;
  readonly entityId?: string;
  readonly serverId?: number;
}

function ready(): { cluster: VirtualCluster; left: Region; right: Region } {
  const cluster = new VirtualCluster({ groups: 2, node: { policy: POLICY }, arbiter: () => undefined });
  cluster.settle();
  cluster.register(1, 2);
  cluster.runUntil(() => cluster.members.every((id) => cluster.node(id).membership.version >= 5));
  for (let sector = 1; ; sector++) {
    const [left, right] = [{ x: sector * 8 - 1, y: 0, z: 0 }, { x: sector * 8, y: 0, z: 0 }];
    if (groupOf(left, 2) === 1 && groupOf(right, 2) === 2) return { cluster, left, right };
  }
}

function write(operationId: string, homeRegion: Region, { expectation = UNSPECIFIED, observedVersion = 0, toRegion, state = operationId, type = "cart", entityId = "cart-1", serverId = 1 }: Expected = {}): Operation {
  const value = { entityId, state: new TextEncoder().encode(state), toRegion, expectation, observedVersion };
  return { ...Operations.fromPartial({ operationId, serverId, homeRegion, type }), body: { $case: "custom", value } };
}

/** `done`, or the reason why not. */
function outcomes(cluster: VirtualCluster, ...operations: Operation[]): string[] {
  const answers = cluster.execute(1, operations);
  return operations.map(({ operationId }) => {
    const answer = answers.get(operationId);
    return answer === undefined || !isDecision(answer) ? (answer?.reason ?? "nothing") : answer.outcome === Outcome.REJECTED ? answer.reason : "done";
  });
}

function reasons(answers: ReturnType<VirtualCluster["transact"]>): Record<string, string> {
  return Object.fromEntries(answers.map((answer, at) => [isDecision(answer) ? answer.operationId : `answer ${at}`, answer.reason]));
}

function standing(cluster: VirtualCluster, entityId = "cart-1"): string[] {
  cluster.runUntil(() => quiet(cluster));
  cluster.converge();
  return cluster.node(1).groups.flatMap(({ state }) => [...state.entities.values()].filter((one) => one.entityId === entityId).map(({ operationId }) => `${operationId} in group ${state.groupId}`));
}

describe("a save that expects its entity to be there", () => {
  it("creates none: not of what never was, not of what was removed, and not where it moved away from, to another region or another group", () => {
    const { cluster, left, right } = ready();
    const beside = { ...left, x: left.x - 1 };
    expect(outcomes(cluster, write("too early", left, { expectation: EXISTS }))).toEqual(["NOT_FOUND"]);
    expect(outcomes(cluster, write("new", left, { expectation: ABSENT }))).toEqual(["done"]);
    expect(outcomes(cluster, write("save", left, { expectation: EXISTS }), write("from beside", beside, { expectation: EXISTS }))).toEqual(["done", "NOT_FOUND"]);
    expect(outcomes(cluster, write("to beside", left, { toRegion: beside, expectation: EXISTS }))).toEqual(["done"]);
    expect(outcomes(cluster, write("late", left, { expectation: EXISTS }))).toEqual(["NOT_FOUND"]);
    expect(outcomes(cluster, write("to the right", beside, { toRegion: right, expectation: EXISTS }))).toEqual(["done"]);
    expect(outcomes(cluster, write("later", left, { expectation: EXISTS }), write("also late", beside, { expectation: EXISTS }))).toEqual(["NOT_FOUND", "NOT_FOUND"]);
    expect(outcomes(cluster, write("there", right, { expectation: EXISTS }))).toEqual(["done"]);
    expect(standing(cluster)).toEqual(["there in group 2"]);
    expect(outcomes(cluster, write("gone", right, { state: "", expectation: EXISTS }), write("after all", right, { expectation: EXISTS }))).toEqual(["done", "NOT_FOUND"]);
    expect(standing(cluster)).toEqual([]);
  });

  it("is refused with what it says, whoever it is sent together with, alone and in a transaction", () => {
    const { cluster, left, right } = ready();
    // Together: the one that creates it is decided first, and the one that moves it away.
    expect(outcomes(cluster, write("new", left, { expectation: ABSENT }), write("save", left, { expectation: EXISTS }))).toEqual(["done", "done"]);
    const inOne = cluster.transact(1, "one group", [write("other", left, { entityId: "cart-2" }), write("not there", left, { entityId: "cart-3", expectation: EXISTS })]);
    expect(reasons(inOne)).toEqual({ other: "TRANSACTION_ABORTED", "not there": "NOT_FOUND" });
    const inTwo = cluster.transact(1, "two groups", [write("here", left, { expectation: EXISTS }), write("not there either", right, { entityId: "cart-3", expectation: EXISTS })]);
    expect(reasons(inTwo)).toEqual({ here: "TRANSACTION_ABORTED", "not there either": "NOT_FOUND" });
    expect(reasons(cluster.transact(1, "all there", [write("here too", left, { expectation: EXISTS }), write("new there", right, { entityId: "cart-4", expectation: ABSENT })]))).toEqual({ "here too": "", "new there": "" });
    expect(standing(cluster)).toEqual(["here too in group 1"]);
    expect(standing(cluster, "cart-2")).toEqual([]);
  });
});

describe("an operation that expects its entity to be new", () => {
  it("is refused where the home region's group has one, in whichever region, and names who made it", () => {
    const { cluster, left } = ready();
    expect(outcomes(cluster, write("a", left, { expectation: ABSENT, serverId: 1 }), write("b", left, { expectation: ABSENT, serverId: 2 })).toSorted()).toEqual(["ALREADY_EXISTS", "done"]);
    const [first] = standing(cluster);
    const answers = cluster.execute(1, [write("c", { ...left, x: left.x - 1 }, { expectation: ABSENT })]);
    expect(answers.get("c")).toMatchObject({ outcome: Outcome.REJECTED, rule: "existence", reason: "ALREADY_EXISTS", winnerOperationId: first?.split(" ")[0], version: 0 });
  });
});

describe("an operation that says which version it read", () => {
  it("is done on that version alone, and hears of the one that stands, also when it asks again", () => {
    const { cluster, left } = ready();
    const version = (id: string): number => {
      const answer = cluster.execute(1, [write(id, left)]).get(id);
      return answer !== undefined && isDecision(answer) ? answer.version : 0;
    };
    expect(outcomes(cluster, write("nothing there", left, { observedVersion: 1 }))).toEqual(["NOT_FOUND"]);
    const read = version("first");
    const written = version("second");
    const late = write("late", left, { observedVersion: read });
    for (const repeated of [false, true]) {
      expect(cluster.execute(1, [late]).get("late")).toMatchObject({ outcome: Outcome.REJECTED, rule: "version", reason: "VERSION_MISMATCH", version: written, winnerOperationId: "second", repeated });
    }
    expect(outcomes(cluster, { ...write("late", left, { observedVersion: written }) })).toEqual(["OPERATION_ID_REUSED"]);
    // Of two that read the same, one is done; and what is removed or moved is what was read.
    expect(outcomes(cluster, write("x", left, { observedVersion: written }), write("y", left, { observedVersion: written, serverId: 2 })).toSorted()).toEqual(["VERSION_MISMATCH", "done"]);
    expect(outcomes(cluster, write("remove", left, { state: "", observedVersion: written }))).toEqual(["VERSION_MISMATCH"]);
    expect(standing(cluster)).toHaveLength(1);
  });

  it("hears of it from another group too, and a move of it is one of that version", () => {
    const { cluster, left, right } = ready();
    const first = cluster.execute(1, [write("first", left)]).get("first");
    const read = first !== undefined && isDecision(first) ? first.version : 0;
    expect(outcomes(cluster, write("second", left))).toEqual(["done"]);
    expect(outcomes(cluster, write("move of the first", left, { toRegion: right, observedVersion: read }))).toEqual(["VERSION_MISMATCH"]);
    const stands = cluster.node(1).groups.flatMap(({ state }) => state.entities.get("cart", "cart-1") ?? []);
    expect(stands).toHaveLength(1);
    expect(outcomes(cluster, write("move of the second", left, { toRegion: right, observedVersion: stands[0]?.version ?? 0 }))).toEqual(["done"]);
    expect(standing(cluster)).toEqual(["move of the second in group 2"]);
  });
});

describe("types that merge", () => {
  it("take updates of what is there, and first ones, and no version", () => {
    const { cluster, left } = ready();
    const add = (id: string, expected: Expected): Operation => write(id, left, { type: "vault", state: '{"add":1}', ...expected });
    expect(outcomes(cluster, add("early", { expectation: EXISTS }))).toEqual(["NOT_FOUND"]);
    expect(outcomes(cluster, add("first", { expectation: ABSENT }))).toEqual(["done"]);
    expect(outcomes(cluster, add("second", { expectation: EXISTS }), add("first again", { expectation: ABSENT }))).toEqual(["done", "ALREADY_EXISTS"]);
    expect(outcomes(cluster, write("from beside", { ...left, x: left.x - 1 }, { type: "vault", state: '{"add":1}', expectation: EXISTS }))).toEqual(["done"]);
    expect(outcomes(cluster, add("versioned", { observedVersion: 3 }))).toEqual(["INVALID_FIELD"]);
  });
});

describe("a cluster below version 5", () => {
  it("refuses by name what says what it expects, and takes all else", () => {
    const cluster = new VirtualCluster({ groups: 1, node: { policy: POLICY } });
    cluster.speaks(3, { min: 1, max: 4 });
    cluster.kill(3);
    cluster.start(3);
    cluster.settle();
    cluster.register(1);
    cluster.runUntil(() => cluster.members.every((id) => cluster.node(id).membership.version >= 4));
    const region = cluster.regionIn(1);
    expect(outcomes(cluster, write("a", region, { expectation: ABSENT }), write("b", region, { expectation: EXISTS }), write("c", region, { observedVersion: 1 }), write("d", region))).toEqual(["VERSION_TOO_LOW", "VERSION_TOO_LOW", "VERSION_TOO_LOW", "done"]);
  });
});
