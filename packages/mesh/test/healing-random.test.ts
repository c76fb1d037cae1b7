// Healing under chance: what comes out depends on the set alone, and every operation that was answered TENTATIVE ends once.
import { type Decision, type Operation, type OperationError, Outcome, type TentativeOperation } from "@statemesh/contract";
import { KeptDecision } from "@statemesh/contract/log";
import { GroupState } from "@statemesh/replica";
import { DEFAULT_POLICY, fingerprintOf } from "@statemesh/world";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decideKept } from "../src/healing/decide-kept.ts";
import { setsOf } from "../src/healing/tentative-frames.ts";
import { keptOf } from "../src/healing/kept-operation.ts";
import { sidesOf } from "../src/healing/healer.ts";
import { claim, dig, place } from "./operations.ts";
import { VirtualCluster, isDecision } from "./virtual-cluster.ts";

const REGION = { x: 0, y: 0, z: 0 };

/** Operations that meet often: few places, few resources, few servers. */
const recordOf = fc.record({ kind: fc.nat(2), serverId: fc.integer({ min: 1, max: 3 }), at: fc.nat(8), stampMs: fc.integer({ min: 1_000, max: 1_010 }), nodeId: fc.integer({ min: 4, max: 6 }), name: fc.nat(30) }).map(
  ({ kind, serverId, at, stampMs, nodeId, name }): TentativeOperation => {
    const id = `op-${name}`;
    const made = kind === 0 ? place(id, serverId, REGION, [2 * at, 0, 0]) : kind === 1 ? claim(id, serverId, REGION, `vein-${at % 3}`, "ann") : dig(id, serverId, REGION, [2 * at, 0, 0]);
    const operation: Operation = { ...made, timestampMs: stampMs, allowTentative: true };
    const side = { nodeIds: [nodeId], beganMs: 900, endedMs: 2_000 + nodeId, viewEpoch: 0, decided: false };
    return { operation, stamp: { physicalMs: stampMs, logical: 0 }, fingerprint: fingerprintOf(operation), groupId: 1, nodeId, side };
  },
);

describe("what becomes of kept operations", () => {
  it("is the same to the last byte in whatever order, parts and copies the set comes together", () => {
    const decide = (records: readonly TentativeOperation[]): string => {
      const state = new GroupState({ groupId: 1, decisionWindow: 1_024, touchCapacity: 1_024 });
      const decisions = decideKept(state, DEFAULT_POLICY, 4, records.map((record) => keptOf(record, DEFAULT_POLICY)));
      return `${decisions.map((decision) => Buffer.from(KeptDecision.encode(decision).finish()).toString("hex")).join("\n")}\n${JSON.stringify(sidesOf(records, [1, 2, 3, 4, 5, 6, 7]))}`;
    };
    fc.assert(
      fc.property(fc.array(recordOf, { minLength: 1, maxLength: 40 }).chain((records) => fc.tuple(fc.constant(records), fc.shuffledSubarray(records, { minLength: records.length }), fc.subarray(records))), ([records, shuffled, again]) => {
        const once = decide(records);
        expect(decide(shuffled)).toBe(once);
        expect(decide([...again, ...shuffled])).toBe(once);
        const parts = [...setsOf(shuffled, 1)];
        expect(parts.filter(({ set }) => set.last)).toHaveLength(1);
        expect(decide(parts.reverse().flatMap(({ set }) => set.operations))).toBe(once);
      }),
      { numRuns: 300 },
    );
  });
});

describe("a partition with crashes on both sides", () => {
  it.each([1, 2, 3, 4, 5, 6, 7, 8])("ends with every tentative answer in exactly one report entry, which asking again confirms, on every node; seed %i", (seed) => run(seed));
});

function run(seed: number): void {
  const cluster = new VirtualCluster({ nodes: 5, groups: 2, seed: seed * 977 });
  const chance = (n: number): number => Math.floor(cluster.random() * n);
  cluster.settle();
  cluster.register(1, 2, 3);
  const regions = [cluster.regionIn(1), cluster.regionIn(2)];
  const answers = new Map<string, { nodeId: number; operation: Operation; heard: Map<string, Decision | OperationError> }>();
  const nodes = [...cluster.members].sort(() => cluster.random() - 0.5);
  const sides = chance(3) === 0 ? [nodes.slice(0, 3), nodes.slice(3, 4), nodes.slice(4)] : [nodes.slice(0, 3), nodes.slice(3)];
  for (const side of sides) cluster.cut(side, cluster.members.filter((id) => !side.includes(id)));
  cluster.run(chance(3_000));
  for (let i = 0; i < 60; i++) {
    const id = `op-${i}`;
    const region = regions[chance(2)] ?? REGION;
    const serverId = 1 + chance(3);
    const kind = chance(3);
    const made = kind === 0 ? place(id, serverId, region, [2 * chance(12), 0, 0]) : kind === 1 ? claim(id, serverId, region, `vein-${chance(6)}`, "ann") : dig(id, serverId, region, [3 * chance(10), 0, 0]);
    const operation: Operation = { ...made, timestampMs: Math.floor(cluster.nowMs), allowTentative: true };
    const nodeId = cluster.members[chance(5)] ?? 1;
    if (cluster.isUp(nodeId)) answers.set(`${id} ${nodeId}`, { nodeId, operation, heard: cluster.submit(nodeId, [operation], 4_000) });
    // The same one elsewhere too.
    const other = cluster.members[chance(5)] ?? 1;
    if (chance(5) === 0 && cluster.isUp(other)) answers.set(`${id} ${other} again`, { nodeId: other, operation, heard: cluster.submit(other, [operation], 4_000) });
    cluster.run(chance(150));
    if (chance(15) === 0) {
      const victim = cluster.members[chance(5)] ?? 1;
      if (cluster.isUp(victim)) cluster.kill(victim);
      else cluster.start(victim);
    }
  }
  cluster.heal();
  for (let i = 0; i < 3; i++) {
    cluster.run(chance(900));
    const victim = cluster.members[chance(5)] ?? 1;
    if (cluster.isUp(victim)) cluster.kill(victim);
  }
  cluster.run(500);
  for (const id of cluster.members) if (!cluster.isUp(id)) cluster.start(id);
  expect(cluster.runUntil(() => cluster.members.every((id) => cluster.node(id).cutOff.tentative.size === 0), 60_000), `seed ${seed}`).toBe(true);
  cluster.converge();

  const kept = new Map<string, Operation>();
  for (const { operation, heard } of answers.values()) {
    const answer = heard.get(operation.operationId);
    if (isDecision(answer) && answer.outcome === Outcome.TENTATIVE) kept.set(operation.operationId, operation);
  }
  expect(kept.size, `seed ${seed}`).toBeGreaterThan(0);
  const listed = [1, 2].flatMap((groupId) => cluster.node(1).group(groupId).state.heals.rows.flatMap(({ operations }) => operations));
  const ids = listed.map(({ operation }) => operation?.operationId ?? "");
  expect(new Set(ids).size, `seed ${seed}`).toBe(ids.length);
  for (const [id, operation] of kept) {
    const entry = listed.find((each) => each.operation?.operationId === id)?.operation;
    expect([Outcome.ACCEPTED, Outcome.MERGED, Outcome.REJECTED], `seed ${seed}, ${id}`).toContain(entry?.outcome);
    for (const nodeId of cluster.members) {
      const again = cluster.execute(nodeId, [operation]).get(id);
      expect(again, `seed ${seed}, ${id} at node ${nodeId}`).toMatchObject({ outcome: entry?.outcome, winnerOperationId: entry?.winnerOperationId, reason: entry?.reason });
    }
  }
  // Who was told a final decision during the partition was told the same.
  for (const { operation, heard } of answers.values()) {
    const answer = heard.get(operation.operationId);
    const entry = listed.find((each) => each.operation?.operationId === operation.operationId)?.operation;
    if (isDecision(answer) && answer.outcome !== Outcome.TENTATIVE && entry !== undefined) expect(entry.outcome, `seed ${seed}, ${operation.operationId}`).toBe(answer.outcome);
  }
}

it("a report names the side that decided, and none where every side was too small", () => {
  const kept = (nodeId: number, nodeIds: number[]): TentativeOperation => ({
    operation: undefined, stamp: undefined, fingerprint: 0, groupId: 1, nodeId, side: { nodeIds, beganMs: 5, endedMs: 9, viewEpoch: 1, decided: false },
  });
  const named = (records: TentativeOperation[]): [number[], boolean][] => sidesOf(records, [1, 2, 3]).map(({ nodeIds, decided }) => [nodeIds, decided]);
  expect(named([kept(1, [1])])).toEqual([[[1], false], [[2, 3], true]]);
  expect(named([kept(1, [1]), kept(2, [2]), kept(3, [3])])).toEqual([[[1], false], [[2], false], [[3], false]]);
});
