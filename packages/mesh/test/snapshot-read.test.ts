// Reads of several groups in one cut, beside transactions that move items between these groups.
import { type MeshError, type ReadSnapshotResponse, type Region } from "@statemesh/contract";
import { describe, expect, it } from "vitest";
import { commandOf, readSnapshot, type SnapshotHold, type SnapshotPart } from "../src/index.ts";
import { claim, give, mint, place, send } from "./operations.ts";
import { ready } from "./transacting.ts";
import type { VirtualCluster } from "./virtual-cluster.ts";

interface Answer {
  response: ReadSnapshotResponse | undefined;
  error: MeshError | undefined;
}

/** `holds`: the leaders are asked to let what is read stand still, where it does not. */
function snapshot(cluster: VirtualCluster, nodeId: number, parts: readonly SnapshotPart[], deadlineMs = 10_000, holds = false): Answer {
  const answer: Answer = { response: undefined, error: undefined };
  const node = cluster.node(nodeId);
  const port = {
    state: (id: number) => node.group(id).state,
    barrier: (id: number, untilMs: number, done: (error: MeshError | undefined) => void) => node.barrier(id, untilMs, done),
    whenApplied: (id: number, index: number, untilMs: number, done: (error: MeshError | undefined) => void) => node.group(id).whenApplied(index, untilMs, done),
    monotonicMs: () => cluster.nowMs,
    ...(holds && {
      hold: (id: number, { holdMs, regions, accounts }: SnapshotHold, untilMs: number, done: () => void) => {
        node.relay.command(id, commandOf({ $case: "hold", value: { holdId: `${nodeId} ${parts.length}`, holdMs, regions: [...regions], accounts: [...accounts] } }), untilMs, () => done());
        node.dirty();
      },
    }),
  };
  readSnapshot(port, parts, cluster.nowMs + deadlineMs, (response, error) => {
    if (answer.response !== undefined || answer.error !== undefined) throw new Error("answered twice");
    answer.response = response;
    answer.error = error;
  });
  node.dirty();
  return answer;
}

function until(cluster: VirtualCluster, answer: Answer): Answer {
  cluster.runUntil(() => answer.response !== undefined || answer.error !== undefined);
  return answer;
}

const accountsIn = (cluster: VirtualCluster, player: string): SnapshotPart[] => [1, 2, 3].map((groupId) => ({ region: cluster.regionIn(groupId), groupId, entities: [], accounts: [player] }));

function ore(response: ReadSnapshotResponse | undefined): number[] {
  return (response?.parts ?? []).map(({ balances }) => balances.find(({ itemKind }) => itemKind === "ore")?.quantity ?? 0);
}

describe("a snapshot of several groups", () => {
  it.each([1, 2, 3])("never sees half of a transaction, through whatever node; through node %i", (nodeId) => {
    const cluster = ready();
    const regions: Region[] = [1, 2, 3].map((groupId) => cluster.regionIn(groupId));
    cluster.execute(1, regions.map((region, at) => mint(`m${at}`, 1, region, "ada", "ore", 100)));
    const sums: number[] = [];
    let moves = 0;
    const answers: Answer[] = [];
    for (let round = 0; round < 60; round++) {
      const from = regions[round % 3];
      const to = regions[(round + 1) % 3];
      if (from === undefined || to === undefined) throw new Error("no region");
      cluster.submit(1 + (round % 3), [send(`s${++moves}`, 1, from, "ada", to, "ada", "ore", 1 + (round % 5))]);
      answers.push(snapshot(cluster, nodeId, accountsIn(cluster, "ada")));
      cluster.run(1 + (round % 7) * 2);
    }
    for (const answer of answers) {
      until(cluster, answer);
      if (answer.response !== undefined) sums.push(ore(answer.response).reduce((sum, each) => sum + each, 0));
      else expect(answer.error?.reason).toBe("SNAPSHOT_CONTENDED");
    }
    expect(sums.length).toBeGreaterThan(20);
    expect(new Set(sums)).toEqual(new Set([300]));
  });

  it("holds whatever was answered before it began, through any node, and says where it stands", () => {
    const cluster = ready();
    for (let n = 1; n <= 3; n++) {
      for (const groupId of [1, 2, 3]) cluster.execute(groupId, [mint(`m${n} ${groupId}`, 1, cluster.regionIn(groupId), "ada", "ore", 1)]);
      for (const nodeId of [1, 2, 3]) {
        const { response } = until(cluster, snapshot(cluster, nodeId, accountsIn(cluster, "ada")));
        expect(ore(response)).toEqual([n, n, n]);
        expect(response?.positions.map(({ groupId }) => groupId)).toEqual([1, 2, 3]);
      }
    }
  });

  it("reads regions whole: what lies in them, and who owns them", () => {
    const cluster = ready();
    for (const groupId of [1, 2]) cluster.execute(1, [claim(`c${groupId}`, 1, cluster.regionIn(groupId), `vein-${groupId}`, "ada")]);
    const parts = [1, 2].map((groupId) => ({ region: cluster.regionIn(groupId), groupId, entities: [], accounts: [] }));
    const { response } = until(cluster, snapshot(cluster, 3, parts));
    expect(response?.parts.map(({ entities, epoch }) => [entities.map(({ entityId }) => entityId), epoch])).toEqual([[["vein-1"], 0], [["vein-2"], 0]]);
  });

  it("is refused where its answer would be larger than a message, with all that its entities carry", () => {
    const cluster = ready();
    const region = cluster.regionIn(1);
    const attributes = new Map(Array.from({ length: 16 }, (_, at) => [`attribute-${at}`, "x".repeat(1_024)] as const));
    for (let n = 0; n < 150; n++) {
      const wall = place(`w${n}`, 1, region, [(n % 15) * 10, 0, Math.floor(n / 15) * 10]);
      if (wall.body?.$case === "structurePlacement") wall.body.value.attributes = attributes;
      cluster.execute(1, [wall]);
    }
    const { response, error } = until(cluster, snapshot(cluster, 1, [{ region, groupId: 1, entities: [], accounts: [] }]));
    expect([response === undefined, error?.reason]).toEqual([true, "MESSAGE_TOO_LARGE"]);
  });

  it("succeeds while what it reads is written all the time, and everybody who writes goes on", () => {
    const cluster = ready();
    const regions: Region[] = [1, 2, 3].map((groupId) => cluster.regionIn(groupId));
    cluster.execute(1, regions.map((region, at) => mint(`m${at}`, 1, region, "ada", "ore", 1_000)));
    let number = 0;
    const written: Map<string, unknown>[] = [];
    // So often that nothing stands still for the time of two rounds; who writes elsewhere is held by nobody.
    const write = (): void => {
      for (const [at, region] of regions.entries()) written.push(cluster.submit(1 + ((number + at) % 3), [give(`w${++number}`, 1, region, "ada", "bob", "ore", 1)]));
      cluster.run(1);
    };
    for (let n = 0; n < 20; n++) write();
    const plain = snapshot(cluster, 2, accountsIn(cluster, "ada"), 1_000);
    for (let n = 0; n < 2_000 && plain.error === undefined && plain.response === undefined; n++) write();
    expect(plain.error?.reason).toBe("SNAPSHOT_CONTENDED");
    const held = snapshot(cluster, 2, accountsIn(cluster, "ada"), 1_000, true);
    for (let n = 0; n < 1_000 && held.error === undefined && held.response === undefined; n++) write();
    expect(held.error).toBeUndefined();
    expect(ore(held.response)).toHaveLength(3);
    expect(cluster.runUntil(() => written.every((answers) => answers.size === 1))).toBe(true);
  });

  it("of one group needs no second look", () => {
    const cluster = ready();
    const region = cluster.regionIn(1);
    cluster.execute(1, [mint("m", 1, region, "ada", "ore", 5)]);
    for (let n = 0; n < 20; n++) cluster.submit(2, [give(`g${n}`, 1, region, "ada", "bob", "ore", 0 + 1)]);
    const { response } = until(cluster, snapshot(cluster, 2, [{ region, groupId: 1, entities: [], accounts: ["ada", "bob"] }]));
    expect(response?.parts[0]?.balances.reduce((sum, { quantity }) => sum + quantity, 0)).toBe(5);
  });

  it("without a quorum fails in time, and says so", () => {
    const cluster = ready();
    cluster.cut([1], [2, 3]);
    const answer = until(cluster, snapshot(cluster, 1, accountsIn(cluster, "ada"), 3_000));
    expect(["NO_QUORUM", "MINORITY_PARTITION"]).toContain(answer.error?.reason);
  });
});
