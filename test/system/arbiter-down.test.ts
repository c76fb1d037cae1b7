import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { MeshClient } from "@statemesh/client";
import { ConflictArbiterServiceService, Outcome, type Region } from "@statemesh/contract";
import { call } from "@statemesh/service";
import { type Cluster, regionsOfGroup, startCluster, until } from "./cluster.ts";
import { Load, verifyLoad } from "./load.ts";

const GROUPS = 2;

describe("the arbiter goes away", () => {
  let cluster: Cluster;
  let servers: MeshClient[];

  beforeAll(async () => {
    cluster = await startCluster({ groups: GROUPS, extraFlags: { "consensus-node": ["--arbiter-timeout-ms", "200"] } });
    servers = await Promise.all([1, 2, 3].map((id) => cluster.server(id, id)));
  });

  afterAll(async () => cluster.close());

  const arbiter = () => {
    const process = cluster.mesh.arbiter;
    if (process === undefined) throw new Error("no arbiter");
    return process;
  };

  /** Batches that leaders decided themselves, as the nodes tell it to operators. */
  async function fallbacks(): Promise<number> {
    const all = await Promise.all(cluster.nodes.map((node) => cluster.status(node)));
    return all.reduce((sum, { arbiterFallbacks }) => sum + arbiterFallbacks, 0);
  }

  /** The same, as they tell it to Prometheus. */
  async function fallbackMetric(): Promise<number> {
    const pages = await Promise.all(cluster.nodes.map(async (node) => await (await fetch(`http://${node.metricsAddress}/metrics`)).text()));
    return pages.reduce((sum, page) => sum + Number(/^statemesh_arbiter_fallbacks_total (\d+)$/m.exec(page)?.[1] ?? Number.NaN), 0);
  }

  async function arbitrated(): Promise<number> {
    return (await call(cluster.stubs(arbiter().address).arbiter, ConflictArbiterServiceService.getStatistics, {}, { timeoutMs: 5_000, writes: false })).batches;
  }

  /** Two structures in one place, one after the other, and two that are nowhere near: what the rules say of them. */
  async function rulings(region: Region, name: string): Promise<unknown[]> {
    const [first, second] = servers;
    if (first === undefined || second === undefined) throw new Error("no servers");
    const place = { region, epoch: 0 };
    const box = (x: number) => ({ minX: region.x * 2_000 + x, minY: 900, minZ: 900, maxX: region.x * 2_000 + x + 4, maxY: 904, maxZ: 904 });
    const told = [];
    for (const [server, id, x] of [[first, "a", 100], [second, "b", 102], [first, "c", 200], [second, "d", 103]] as const) {
      const operationId = `${name}-${id}`;
      const decision = await server.execute(server.operations.structurePlacement(place, { structureId: operationId, kind: "wall", bounds: box(x) }, { operationId }));
      told.push([id, decision.outcome, decision.rule, decision.winnerOperationId.replace(`${name}-`, ""), decision.conflict, decision.reason]);
    }
    return told;
  }

  test("killed under load: work goes on by the same rules and is counted; back again, it is asked again", async () => {
    const [one, two, three, four] = regionsOfGroup(1, GROUPS, 4);
    if (one === undefined || two === undefined || three === undefined || four === undefined) throw new Error("no regions");
    const withArbiter = await rulings(one, "with");
    expect(withArbiter[1]).toEqual(["b", Outcome.REJECTED, "incumbent", "a", 2, "CONFLICT"]);
    const load = new Load([...regionsOfGroup(1, GROUPS, 2), ...regionsOfGroup(2, GROUPS, 2)], 31);
    load.start(servers, 12);
    await load.more(500);
    const before = await fallbacks();

    await arbiter().kill();
    await load.more(1_000);
    expect(await fallbacks()).toBeGreaterThan(before);
    expect(await rulings(two, "killed")).toEqual(withArbiter);

    await arbiter().start();
    await until("the arbiter is asked again", async () => (await arbitrated()) > 0);
    // Once it answers, nobody decides alone any more.
    await until("no leader decides alone any more", async () => {
      const counted = await fallbacks();
      await load.more(300);
      return (await fallbacks()) === counted;
    });

    const beforePause = await fallbacks();
    arbiter().pause();
    await load.more(300);
    expect(await rulings(three, "paused")).toEqual(withArbiter);
    expect(await fallbacks()).toBeGreaterThan(beforePause);
    arbiter().resume();
    const asked = await arbitrated();
    await until("the arbiter is asked again", async () => (await arbitrated()) > asked);
    await load.stop();
    expect(await rulings(four, "back")).toEqual(withArbiter);
    expect(await fallbackMetric()).toBe(await fallbacks());
    await verifyLoad(cluster, servers[0] ?? await cluster.server(1), load);
  });
});
