// Keys and boxes of types of a studio's own: what they keep out, and what they don't, in one group and over the border of two.
import { type Bounds, type Operation, Operation as Operations, Outcome, type Region } from "@statemesh/contract";
import { groupOf, parsePolicy } from "@statemesh/world";
import { describe, expect, it } from "vitest";
import { boxIn } from "./operations.ts";
import { quiet } from "./transacting.ts";
import { isDecision, VirtualCluster } from "./virtual-cluster.ts";

const POLICY = parsePolicy("version: 1\ntypes:\n  turret: {consistency: strong, chain: [timestamp]}\n  cart: {consistency: strong, chain: [timestamp]}\n", "test.yaml");

function ready(): { cluster: VirtualCluster; left: Region; right: Region } {
  const cluster = new VirtualCluster({ groups: 2, node: { policy: POLICY }, arbiter: () => undefined });
  cluster.settle();
  cluster.register(1, 2);
  cluster.runUntil(() => cluster.members.every((id) => cluster.node(id).membership.version >= 4));
  for (let sector = 1; ; sector++) {
    const [left, right] = [{ x: sector * 8 - 1, y: 0, z: 0 }, { x: sector * 8, y: 0, z: 0 }];
    if (groupOf(left, 2) === 1 && groupOf(right, 2) === 2) return { cluster, left, right };
  }
}

function put(id: string, serverId: number, homeRegion: Region, bounds: Bounds | undefined, keys: string[] = [], type = "turret", toRegion?: Region): Operation {
  const fields = Operations.fromPartial({ operationId: id, serverId, homeRegion, type, footprint: { keys, regions: [], bounds } });
  return { ...fields, body: { $case: "custom", value: { entityId: type === "cart" ? "cart" : id, state: Uint8Array.of(1), toRegion, expectation: 0, observedVersion: 0 } } };
}

function outcomes(cluster: VirtualCluster, ...operations: Operation[]): string[] {
  const answers = cluster.execute(1, operations);
  return operations.map(({ operationId }) => {
    const answer = answers.get(operationId);
    return answer === undefined || !isDecision(answer) ? (answer?.reason ?? "nothing") : answer.outcome === Outcome.ACCEPTED ? "done" : answer.reason;
  });
}

describe("a box or a key of a studio's own type", () => {
  it("is fought for by those that are undecided together, and keeps nobody out once it is decided", () => {
    const { cluster, left } = ready();
    const box = boxIn(left, 10, 10, 10);
    expect(outcomes(cluster, put("a", 1, left, box), put("b", 2, left, box)).toSorted()).toEqual(["CONFLICT", "done"]);
    expect(outcomes(cluster, put("c", 2, left, box))).toEqual(["done"]);
    expect(outcomes(cluster, put("d", 1, left, undefined, ["plot"]), put("e", 2, left, undefined, ["plot"])).toSorted()).toEqual(["CONFLICT", "done"]);
    expect(outcomes(cluster, put("f", 2, left, undefined, ["plot"]))).toEqual(["done"]);
  });

  it("locks what it reaches in another group while it is undecided, leaves nothing there, and compares its chain with nobody's there", () => {
    const { cluster, left, right } = ready();
    const across = boxIn(right, -2, 10, 10);
    // From both sides at once: one waits for the other, and then stands in the same place.
    const both = [cluster.submit(1, [put("a", 1, left, across)], 10_000), cluster.submit(2, [put("b", 2, right, across)], 10_000)];
    expect(cluster.runUntil(() => both.every(({ size }) => size === 1), 12_000)).toBe(true);
    expect(both.flatMap((answers) => [...answers.values()]).map((answer) => (isDecision(answer) ? answer.outcome : answer.reason))).toEqual([Outcome.ACCEPTED, Outcome.ACCEPTED]);
    expect(outcomes(cluster, put("c", 1, right, across))).toEqual(["done"]);
    cluster.runUntil(() => quiet(cluster));
    cluster.converge();
    for (const { state } of cluster.node(1).groups) expect([...state.footprints.values()]).toEqual([]);
    const standing = cluster.node(1).groups.map(({ state }) => [...state.entities.values()].map(({ entityId }) => entityId).toSorted());
    expect(standing.flat().toSorted()).toEqual(["a", "b", "c"]);
  });
});

describe("an entity of a studio's own type", () => {
  it("is written and removed in the region that it is in, and goes to another by a move alone", () => {
    const { cluster, left, right } = ready();
    const beside = { ...left, x: left.x - 1 };
    const cart = (id: string, home: Region, to?: Region): Operation => put(id, 1, home, undefined, [], "cart", to);
    expect(outcomes(cluster, cart("new", left))).toEqual(["done"]);
    expect(outcomes(cluster, cart("elsewhere", beside))).toEqual(["ALREADY_EXISTS"]);
    expect(outcomes(cluster, cart("from elsewhere", beside, right))).toEqual(["NOT_FOUND"]);
    expect(outcomes(cluster, cart("away", left, right))).toEqual(["done"]);
    expect(outcomes(cluster, cart("away again", left, right))[0]).toMatch(/^(NOT_FOUND|ALREADY_EXISTS)$/);
    expect(outcomes(cluster, cart("again", right))).toEqual(["done"]);
  });
});
