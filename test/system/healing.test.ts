// Operations that are kept on the losing side of a partition, by real processes: stopped, cut off from each other, and killed at each step.
import type { MeshClient } from "@statemesh/client";
import { ConsistencyServiceService, type Decision, type HealedOperation, MeshError, type Operation, Outcome, ReadLevel, type Region } from "@statemesh/contract";
import { call } from "@statemesh/service";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { healReportCommand } from "../../services/consensus-node/src/heal-report-command.ts";
import type { MeshNode } from "../../tools/mesh-processes.ts";
import { type Cluster, pause, regionsOfGroup, startCluster, until } from "./cluster.ts";

const GROUPS = 1;
/** More than a page of a report. */
const KEPT = 270;

/** Places are 20 m from each other. */
function wall(shard: MeshClient, region: Region, id: string, place: number, allowTentative: boolean, shift = 0): Operation {
  const minX = region.x * 2_000 + 20 * (place % 50) + shift;
  const minY = region.y * 2_000;
  const minZ = region.z * 2_000 + 20 * Math.floor(place / 50);
  const bounds = { minX, minY, minZ, maxX: minX + 4, maxY: minY + 4, maxZ: minZ + 4 };
  return shard.operations.structurePlacement({ region, epoch: 0 }, { structureId: id, kind: "wall", bounds }, { operationId: id, allowTentative });
}

async function reasonOf(call: Promise<unknown>): Promise<string> {
  return await call.then(() => "", (error: unknown) => MeshError.from(error).reason);
}

describe("a node that is cut off keeps operations", () => {
  let cluster: Cluster;

  beforeAll(async () => {
    cluster = await startCluster({ groups: GROUPS });
  });

  afterAll(async () => cluster.close());

  /** Everything that the reports list. */
  async function listed(client: MeshClient): Promise<HealedOperation[]> {
    const operations: HealedOperation[] = [];
    for (const { reportId } of await client.healing.reports(1)) for await (const page of client.healing.report(reportId)) operations.push(...page.operations);
    return operations;
  }

  test("and each of them ends in one decision that a heal report lists, also where that node is killed before, while and after it heals", async () => {
    const shard = await cluster.server(1);
    const rival = await cluster.server(2);
    const [region = { x: 0, y: 0, z: 0 }] = regionsOfGroup(1, GROUPS, 1);
    const leader = await cluster.leaderOf(1);
    await cluster.settled();
    const holder = cluster.nodes.find((node) => node !== leader);
    if (holder === undefined) throw new Error("no node to cut off");
    const others = cluster.nodes.filter((node) => node !== holder);
    const there = cluster.only(shard, holder);

    // The holder stands alone: the others do nothing.
    for (const node of others) node.pause();
    // One attempt a call: the client would ask until its deadline. What goes out before the partition is certain may be done later.
    let probes = 0;
    await until("the node knows that it is cut off", async () => {
      const operation = wall(shard, region, `probe-${probes}`, KEPT + probes++, false);
      return (await reasonOf(call(cluster.stubs(holder.clientAddress).consistency, ConsistencyServiceService.execute, { operation }, { timeoutMs: 1_000, writes: true }))) === "MINORITY_PARTITION";
    });
    const operations = Array.from({ length: KEPT }, (_, i) => wall(shard, region, `kept-${i}`, i, true));
    const askAll = async (): Promise<Decision[]> => await Promise.all(operations.map(async (operation) => there.execute(operation)));
    for (const decision of await askAll()) expect(decision).toMatchObject({ outcome: Outcome.TENTATIVE, reason: "" });
    const update = { type: "creature_position", region, key: "wolf", value: Uint8Array.of(1), deleted: false, timestampMs: Date.now() };
    expect(await there.publish({ updates: [update] })).toMatchObject({ updates: 1 });
    expect(await there.read({ region, level: ReadLevel.EVENTUAL })).toMatchObject({ entities: [] });

    // It is killed, and still has them.
    await holder.kill();
    holder.launch();
    for (const decision of await askAll()) expect(decision).toMatchObject({ outcome: Outcome.TENTATIVE, repeated: true });

    // The others go on without it, and build where some of the kept ones would stand.
    holder.pause();
    for (const node of others) node.resume();
    const elsewhere = cluster.only(rival, others[0] ?? holder);
    for (const i of [3, 7]) expect(await elsewhere.execute(wall(rival, region, `won-${i}`, i, false, 2))).toMatchObject({ outcome: Outcome.ACCEPTED });
    // One of the kept ones comes there too, under its id.
    expect(await cluster.only(shard, others[1] ?? holder).execute(operations[11] ?? wall(shard, region, "", 0, true))).toMatchObject({ outcome: Outcome.ACCEPTED });

    // They meet again; the holder is killed while it heals.
    holder.resume();
    await pause(400);
    await holder.kill();
    await holder.start();
    let entries: HealedOperation[] = [];
    await until("every kept operation is listed", async () => {
      entries = await listed(rival);
      return entries.length >= KEPT;
    }, () => `${entries.length} are`);
    expect(entries.map(({ operationId }) => operationId).sort()).toEqual(operations.map(({ operationId }) => operationId).sort());
    for (const { operationId, outcome, winnerOperationId, reason, decidedBefore, nodeId, type } of entries) {
      const lost = ["kept-3", "kept-7"].includes(operationId);
      const winner = lost ? operationId.replace("kept", "won") : operationId;
      expect({ operationId, outcome, winnerOperationId, reason, type, nodeId }).toEqual({
        operationId, outcome: lost ? Outcome.REJECTED : Outcome.ACCEPTED, winnerOperationId: winner, reason: lost ? "CONFLICT" : "", type: "structure_placement", nodeId: holder.nodeId,
      });
      expect(decidedBefore, operationId).toBe(operationId === "kept-11");
    }

    // Whoever asks again hears the same, at every node, and so do those who follow.
    for (const node of cluster.nodes) await confirm(node, shard, operations, entries);
    const seen: string[] = [];
    for await (const { operationId } of there.healing.watch(["kept-0", "kept-3"])) {
      seen.push(operationId);
      if (seen.length === 2) break;
    }
    expect(seen.sort()).toEqual(["kept-0", "kept-3"]);
    await holder.kill();
    await holder.start();
    expect(await listed(cluster.only(shard, holder))).toEqual(entries);
    await cluster.settled();

    let printed = "";
    const status = await healReportCommand(["--address", holder.clientAddress, "--report", "all"], (text) => (printed += text), (text) => (printed += text));
    expect([status, printed]).toEqual([0, expect.stringContaining(`kept-3  REJECTED CONFLICT by incumbent, winner won-3  structure_placement, server 1, region_${region.x}_${region.y}_${region.z}, kept by node ${holder.nodeId}`)]);
  });

  async function confirm(node: MeshNode, shard: MeshClient, operations: readonly Operation[], entries: readonly HealedOperation[]): Promise<void> {
    const client = cluster.only(shard, node);
    const decisions = await Promise.all(operations.map(async (operation) => client.execute(operation)));
    for (const decision of decisions) {
      const entry = entries.find(({ operationId }) => operationId === decision.operationId);
      expect(decision).toMatchObject({ outcome: entry?.outcome, winnerOperationId: entry?.winnerOperationId, repeated: true });
    }
  }
});
