// Operations that are kept on the losing side of a partition, from the caller's view: what it hears, and what becomes of them.
import { type Decision, type HealedOperation, type Operation, type OperationError, Outcome, type Region } from "@statemesh/contract";
import { groupOf, parsePolicy } from "@statemesh/world";
import { describe, expect, it } from "vitest";
import { boxIn, claim, dig, mint, place, removeStructure } from "./operations.ts";
import { VirtualCluster, isDecision } from "./virtual-cluster.ts";

const CERTAIN_MS = 2_000;

/** A cluster whose node 1 leads everything, so that a cut decides which side goes on. */
function ready(options: ConstructorParameters<typeof VirtualCluster>[0] = {}): VirtualCluster {
  const cluster = new VirtualCluster({ nodes: 5, groups: 1, ...options });
  cluster.settle();
  cluster.register(1, 2, 3);
  for (let groupId = 0; groupId <= cluster.groups; groupId++) {
    const leader = cluster.leaderOf(groupId);
    if (leader !== 1) cluster.node(leader).group(groupId).transferLeadership(1);
  }
  expect(cluster.runUntil(() => cluster.leaderOf(0) === 1 && cluster.leaderOf(1) === 1)).toBe(true);
  return cluster;
}

/** A region of group `b` whose western neighbour is of group `a`. */
function borderOf(a: number, b: number): Region {
  for (let x = -1_600; x < 1_600; x += 8) if (groupOf({ x: x - 1, y: 0, z: 0 }, 2) === a && groupOf({ x, y: 0, z: 0 }, 2) === b) return { x, y: 0, z: 0 };
  throw new Error("no such border");
}

/** Time as a caller claims it. */
function tentative(cluster: VirtualCluster, operation: Operation): Operation {
  return { ...operation, timestampMs: Math.floor(cluster.nowMs), allowTentative: true };
}

function decisionOf(answer: Decision | OperationError | undefined): Decision {
  if (!isDecision(answer)) throw new Error(`a decision was expected, not ${answer?.reason ?? "nothing"}: ${answer?.message ?? ""}`);
  return answer;
}

function ask(cluster: VirtualCluster, nodeId: number, operation: Operation): Decision {
  return decisionOf(cluster.execute(nodeId, [operation]).get(operation.operationId));
}

function refused(cluster: VirtualCluster, nodeId: number, operation: Operation): OperationError {
  const answer = cluster.execute(nodeId, [operation]).get(operation.operationId);
  if (answer === undefined || isDecision(answer)) throw new Error("a refusal was expected");
  return answer;
}

/** Everything that the group's reports list, on a node. */
function listed(cluster: VirtualCluster, nodeId: number): HealedOperation[] {
  return cluster.node(nodeId).group(1).state.heals.rows.flatMap(({ operations }) => operations.flatMap(({ operation }) => (operation === undefined ? [] : [operation])));
}

function cut(cluster: VirtualCluster, losing: readonly number[]): void {
  cluster.cut(losing, cluster.members.filter((id) => !losing.includes(id)));
  cluster.run(CERTAIN_MS);
}

function healed(cluster: VirtualCluster, count: number): void {
  cluster.heal();
  expect(cluster.runUntil(() => cluster.members.filter((id) => cluster.isUp(id)).every((id) => listed(cluster, id).length === count && cluster.node(id).cutOff.tentative.size === 0))).toBe(true);
  cluster.converge();
}

/** More decisions than are remembered, of one server, on the side that goes on. */
function flood(cluster: VirtualCluster, serverId: number): void {
  for (let i = 0; i < 100; i++) {
    cluster.run(20);
    ask(cluster, 1, { ...mint(`m${i}`, serverId, cluster.regionIn(1), "bob", "gold", 1), timestampMs: Math.floor(cluster.nowMs) });
  }
}

describe("an operation that may be kept, on the losing side", () => {
  it("is answered TENTATIVE, again under its id, and finally ACCEPTED on every node", () => {
    const cluster = ready();
    cut(cluster, [4, 5]);
    const region = cluster.regionIn(1);
    const operation = tentative(cluster, place("w", 1, region, [0, 0, 0]));
    const first = ask(cluster, 4, operation);
    expect(first).toMatchObject({ outcome: Outcome.TENTATIVE, rule: "uncontested", winnerOperationId: "w", reason: "", version: 0, position: undefined, repeated: false });
    cluster.run(5_000);
    expect(ask(cluster, 4, { ...operation, allowTentative: false })).toEqual({ ...first, repeated: true });
    healed(cluster, 1);
    for (const id of cluster.members) {
      expect(listed(cluster, id)).toMatchObject([{ operationId: "w", type: "structure_placement", serverId: 1, outcome: Outcome.ACCEPTED, rule: "uncontested", nodeId: 4, decidedBefore: false, stamp: first.stamp }]);
      expect(ask(cluster, id, operation)).toMatchObject({ outcome: Outcome.ACCEPTED, repeated: true, stamp: first.stamp });
    }
    const report = cluster.node(1).group(1).state.heals.rows[0]?.head;
    expect(report).toMatchObject({ groupId: 1, accepted: 1, rejected: 0 });
    expect(report?.sides).toMatchObject([{ nodeIds: [4, 5], decided: false }, { nodeIds: [1, 2, 3], decided: true }]);
    expect((report?.endedMs ?? 0) - (report?.beganMs ?? 0)).toBeGreaterThan(5_000);
  });

  it("loses to what was committed on the other side, by name, and its caller is told", () => {
    const cluster = ready();
    cut(cluster, [4, 5]);
    const region = cluster.regionIn(1);
    expect(ask(cluster, 4, tentative(cluster, place("lost", 1, region, [0, 0, 0]))).outcome).toBe(Outcome.TENTATIVE);
    const { watch } = cluster.node(4).cutOff.tentative;
    const id = watch.open(1, [], () => undefined);
    expect(watch.next(id)).toMatchObject({ complete: true, decisions: [{ operationId: "lost", outcome: Outcome.TENTATIVE, reason: "" }] });
    expect(ask(cluster, 1, place("won", 2, region, [2, 0, 0])).outcome).toBe(Outcome.ACCEPTED);
    healed(cluster, 1);
    const final = { outcome: Outcome.REJECTED, reason: "CONFLICT", rule: "incumbent", winnerOperationId: "won" };
    expect(listed(cluster, 2)).toMatchObject([final]);
    expect(watch.next(id)).toMatchObject({ complete: false, decisions: [final] });
    expect(watch.next(id)).toBeUndefined();
  });

  it("that would win and then meets a better one of its side is told so, before anything is healed", () => {
    const cluster = ready();
    cut(cluster, [4, 5]);
    const region = cluster.regionIn(1);
    const earlier = tentative(cluster, claim("earlier", 2, region, "vein", "bob"));
    cluster.run(50);
    const later = tentative(cluster, claim("later", 1, region, "vein", "ann"));
    expect(ask(cluster, 4, later)).toMatchObject({ outcome: Outcome.TENTATIVE, reason: "" });
    const { watch } = cluster.node(4).cutOff.tentative;
    const id = watch.open(1, ["later"], () => undefined);
    watch.next(id);
    // On another node of the side: the two hear of each other's operations.
    expect(ask(cluster, 5, earlier)).toMatchObject({ outcome: Outcome.TENTATIVE, reason: "" });
    cluster.run(500);
    const lost = { outcome: Outcome.TENTATIVE, reason: "CONFLICT", winnerOperationId: "earlier", rule: "timestamp" };
    expect(watch.next(id)).toMatchObject({ decisions: [lost] });
    expect(ask(cluster, 4, later)).toMatchObject({ ...lost, repeated: true });
    healed(cluster, 2);
    expect(ask(cluster, 1, later)).toMatchObject({ outcome: Outcome.REJECTED, reason: "CONFLICT", winnerOperationId: "earlier" });
  });

  it("that removes what stands on the border of two groups is told once the place is free in both", () => {
    const cluster = ready({ groups: 2, node: { policy: parsePolicy("version: 1\ntypes:\n  structure_removal: {tentative: true}\n", "p") } });
    const right = borderOf(1, 2);
    const left = { ...right, x: right.x - 1 };
    const building = place("first", 1, left, [0, 0, 0]);
    if (building.body?.$case === "structurePlacement") building.body.value.bounds = boxIn(right, -2, 10, 0);
    expect(ask(cluster, 1, building).outcome).toBe(Outcome.ACCEPTED);
    const footprints = (): number => [...cluster.node(1).group(2).state.footprints.values()].length;
    expect(cluster.runUntil(() => footprints() === 1)).toBe(true);
    cluster.converge();
    cut(cluster, [4, 5]);
    const removal = tentative(cluster, removeStructure("gone", 1, left, "s-first"));
    expect(ask(cluster, 4, removal).outcome).toBe(Outcome.TENTATIVE);
    cluster.heal();
    expect(cluster.runUntil(() => cluster.node(1).group(1).counts.underWay > 0)).toBe(true);
    const heard = cluster.submit(1, [removal]);
    expect(cluster.runUntil(() => heard.size === 1)).toBe(true);
    expect(heard.get("gone")).toMatchObject({ outcome: Outcome.ACCEPTED });
    expect(footprints()).toBe(0);
  });

  it("is decided with the losers of all sides: the winner set, not what is left of two sides' winners", () => {
    const cluster = ready();
    // Three sides: 1 2 3, 4, 5. A beats B beats C; A and C do not meet.
    cluster.cut([4], [1, 2, 3, 5]);
    cluster.cut([5], [1, 2, 3]);
    cluster.run(CERTAIN_MS);
    const region = cluster.regionIn(1);
    const a = tentative(cluster, place("a", 1, region, [0, 0, 0]));
    cluster.run(10);
    const b = tentative(cluster, place("b", 2, region, [3, 0, 0]));
    cluster.run(10);
    const c = tentative(cluster, place("c", 3, region, [6, 0, 0]));
    expect(ask(cluster, 4, a).reason).toBe("");
    expect(ask(cluster, 5, b).reason).toBe("");
    expect(ask(cluster, 5, c)).toMatchObject({ reason: "CONFLICT", winnerOperationId: "b" });
    healed(cluster, 3);
    const outcomes = Object.fromEntries(listed(cluster, 3).map(({ operationId, outcome }) => [operationId, outcome]));
    expect(outcomes).toEqual({ a: Outcome.ACCEPTED, b: Outcome.REJECTED, c: Outcome.ACCEPTED });
  });

  it("outlives the node that kept it: a crash during the partition, while it heals, and after", () => {
    for (const crashMs of [0, 200, 1_000, 1_100, 1_200, 1_400, 2_000]) {
      const cluster = ready({ seed: 7 + crashMs });
      cut(cluster, [4, 5]);
      const region = cluster.regionIn(1);
      const operations = Array.from({ length: 5 }, (_, i) => tentative(cluster, place(`w${i}`, 1, region, [20 * i, 0, 0])));
      for (const operation of operations) expect(ask(cluster, 4, operation).outcome).toBe(Outcome.TENTATIVE);
      cluster.kill(4);
      cluster.run(500);
      cluster.start(4);
      cluster.run(CERTAIN_MS);
      expect(ask(cluster, 4, operations[0] ?? place("", 1, region, [0, 0, 0]))).toMatchObject({ outcome: Outcome.TENTATIVE, repeated: true });
      cluster.heal();
      cluster.run(crashMs);
      cluster.kill(4);
      cluster.run(300);
      cluster.start(4);
      healed(cluster, 5);
      for (const operation of operations) expect(ask(cluster, 4, operation).outcome, `crash at ${crashMs}`).toBe(Outcome.ACCEPTED);
    }
  });

  it("is decided once where the leader changes while it heals", () => {
    for (const crashMs of [300, 1_000, 1_050, 1_100, 1_150, 1_250]) {
      const cluster = ready({ seed: 100 + crashMs });
      cut(cluster, [4, 5]);
      const region = cluster.regionIn(1);
      const operations = Array.from({ length: 20 }, (_, i) => tentative(cluster, claim(`c${i}`, 1 + (i % 3), region, `vein-${i >> 1}`, "ann")));
      for (const operation of operations) cluster.execute(4 + (operations.indexOf(operation) % 2), [operation]);
      cluster.heal();
      cluster.run(crashMs);
      cluster.kill(1);
      cluster.run(3_000);
      cluster.start(1);
      const kept = listed(cluster, 4).length;
      expect(cluster.runUntil(() => [4, 5].every((id) => cluster.node(id).cutOff.tentative.size === 0)), `crash at ${crashMs}, ${kept} listed`).toBe(true);
      cluster.converge();
      const reported = listed(cluster, 2);
      expect(new Set(reported.map(({ operationId }) => operationId)).size).toBe(reported.length);
      expect(reported.filter(({ outcome }) => outcome === Outcome.ACCEPTED)).toHaveLength(10);
    }
  });

  it("that was also sent to the other side has the decision of there, whatever it would have got", () => {
    const cluster = ready();
    cut(cluster, [4, 5]);
    const region = cluster.regionIn(1);
    const operation = tentative(cluster, claim("both", 1, region, "vein", "ann"));
    expect(ask(cluster, 4, operation).outcome).toBe(Outcome.TENTATIVE);
    const decided = ask(cluster, 2, operation);
    expect(decided.outcome).toBe(Outcome.ACCEPTED);
    healed(cluster, 1);
    expect(listed(cluster, 3)).toMatchObject([{ operationId: "both", outcome: Outcome.ACCEPTED, decidedBefore: true, position: decided.position }]);
    expect(ask(cluster, 4, operation)).toMatchObject({ outcome: Outcome.ACCEPTED, position: decided.position });
  });

  it("keeps the stamp that it was given, however old it is when it is healed, and is not taken for forgotten", () => {
    const cluster = ready({ node: { decisionWindow: 32 } });
    const region = cluster.regionIn(1);
    cut(cluster, [4, 5]);
    const operation = tentative(cluster, claim("old", 1, region, "vein", "ann"));
    const { stamp } = ask(cluster, 4, operation);
    flood(cluster, 2);
    expect(cluster.node(1).group(1).state.forgottenThroughMs).toBeGreaterThan(operation.timestampMs);
    healed(cluster, 1);
    expect(listed(cluster, 1)).toMatchObject([{ operationId: "old", outcome: Outcome.ACCEPTED, stamp }]);
  });

  it("whose server had later ones decided and forgotten on the other side is not done again, and never called rejected: it may be in force", () => {
    const cluster = ready({ node: { decisionWindow: 32 } });
    const region = cluster.regionIn(1);
    cut(cluster, [4, 5]);
    const operation = tentative(cluster, claim("both", 1, region, "vein", "ann"));
    ask(cluster, 4, operation);
    ask(cluster, 1, operation);
    flood(cluster, 1);
    healed(cluster, 1);
    expect(listed(cluster, 1)).toMatchObject([{ operationId: "both", outcome: Outcome.UNKNOWN, reason: "DECISION_FORGOTTEN", rule: "forgotten" }]);
    expect(cluster.node(1).group(1).state.entities.get("claim", "vein")?.operationId).toBe("both");
    expect(cluster.node(1).group(1).state.decisions.get("both")).toBeUndefined();
    for (const node of [1, 4]) expect(cluster.execute(node, [operation]).get("both"), `asked of node ${node}`).toMatchObject({ reason: "DECISION_FORGOTTEN" });
  });

  it("is decided by the rules alone: that its region went to another server meanwhile does not count", () => {
    const cluster = ready();
    const region = cluster.regionIn(1);
    const { lease } = cluster.directory(1, { $case: "acquire", value: { serverId: 1, region, durationMs: 3_000 } });
    const epoch = lease?.epoch ?? 0;
    expect(cluster.runUntil(() => cluster.node(4).group(1).state.fence(region)?.ownerServerId === 1)).toBe(true);
    cut(cluster, [4, 5]);
    expect(ask(cluster, 4, tentative(cluster, { ...claim("kept", 1, region, "vein", "ann"), authorityEpoch: epoch })).outcome).toBe(Outcome.TENTATIVE);
    cluster.run(5_000);
    const next = cluster.directory(1, { $case: "acquire", value: { serverId: 2, region, durationMs: 60_000 } });
    expect(next.lease?.epoch).toBeGreaterThan(epoch);
    healed(cluster, 1);
    expect(listed(cluster, 1)).toMatchObject([{ operationId: "kept", outcome: Outcome.ACCEPTED }]);
  });

  it("comes with its report in a snapshot", () => {
    const cluster = ready({ node: { snapshotLogBytes: 4_096, trailingEntries: 4, trailingBytes: 0 } });
    const region = cluster.regionIn(1);
    cut(cluster, [4, 5]);
    ask(cluster, 4, tentative(cluster, place("w", 1, region, [0, 0, 0])));
    healed(cluster, 1);
    cluster.kill(5);
    for (let i = 0; i < 200; i++) ask(cluster, 1, mint(`m${i}`, 2, region, "bob", "gold", 1));
    cluster.start(5);
    cluster.converge();
    expect(cluster.snapshotsSent).toBeGreaterThan(0);
    expect(listed(cluster, 5)).toEqual(listed(cluster, 1));
  });
});

describe("what is not kept", () => {
  it("is refused like all else on the losing side, and says why", () => {
    const cluster = ready();
    const region = cluster.regionIn(1);
    cut(cluster, [4, 5]);
    const notKept = (operation: Operation): string => {
      const { reason, metadata } = refused(cluster, 4, operation);
      expect(reason).toBe("MINORITY_PARTITION");
      return metadata.get("not_kept") ?? "";
    };
    expect(notKept(place("plain", 1, region, [0, 0, 0]))).toBe("");
    expect(notKept(tentative(cluster, mint("money", 1, region, "ann", "gold", 1)))).toBe("TYPE_NOT_KEPT");
    expect(notKept(tentative(cluster, removeStructure("away", 1, region, "s-w")))).toBe("TYPE_NOT_KEPT");
    ask(cluster, 4, tentative(cluster, place("w", 1, region, [0, 0, 0])));
    expect(notKept(tentative(cluster, place("on-top", 1, region, [2, 0, 0])))).toBe("BUILDS_ON_KEPT");
    // Digs merge.
    ask(cluster, 4, tentative(cluster, dig("d1", 1, region, [100, 0, 0])));
    expect(ask(cluster, 4, tentative(cluster, dig("d2", 1, region, [102, 0, 0]))).rule).toBe("merge");
    expect(refused(cluster, 4, { ...place("no-time", 1, region, [50, 0, 0]), allowTentative: true })).toMatchObject({ reason: "INVALID_FIELD" });
    expect(refused(cluster, 4, tentative(cluster, { ...place("w", 1, region, [0, 0, 0]), authorityEpoch: 7 }))).toMatchObject({ reason: "OPERATION_ID_REUSED" });
  });

  it("is everything while a member speaks an older version", () => {
    const cluster = new VirtualCluster({ groups: 1, node: { versions: { min: 1, max: 2 } } });
    cluster.settle();
    cluster.register(1);
    const leader = cluster.leaderOf(1);
    const [losing = 0] = cluster.members.filter((id) => id !== leader && id !== cluster.leaderOf(0));
    cut(cluster, [losing]);
    const error = refused(cluster, losing, tentative(cluster, place("w", 1, cluster.regionIn(1), [0, 0, 0])));
    expect([error.reason, error.metadata.get("not_kept")]).toEqual(["MINORITY_PARTITION", "VERSION_TOO_LOW"]);
  });

  it("is what comes beyond the limit: OVERLOADED, and there is room again afterwards", () => {
    const cluster = ready();
    const region = cluster.regionIn(1);
    cut(cluster, [4, 5]);
    const claims = Array.from({ length: 1_030 }, (_, i) => tentative(cluster, claim(`c${i}`, 1, region, `vein-${i}`, "ann")));
    const answers = cluster.execute(4, claims);
    const kept = [...answers.values()].filter(isDecision);
    expect(kept).toHaveLength(1_024);
    expect([...answers.values()].filter((answer) => !isDecision(answer)).every((answer) => !isDecision(answer) && answer.reason === "OVERLOADED")).toBe(true);
    healed(cluster, 1_024);
    expect(cluster.node(3).group(1).state.heals.rows).toHaveLength(1);
  });

  it("is an operation in a transaction", () => {
    const cluster = ready();
    const region = cluster.regionIn(1);
    expect(() => cluster.transact(1, "t", [tentative(cluster, place("w", 1, region, [0, 0, 0]))])).toThrow("operations[0].allow_tentative");
  });
});
