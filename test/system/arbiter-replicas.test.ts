import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { MeshClient } from "@statemesh/client";
import { ConflictArbiterServiceService } from "@statemesh/contract";
import { call } from "@statemesh/service";
import { type Cluster, regionsOfGroup, startCluster, until } from "./cluster.ts";
import { Load, verifyLoad } from "./load.ts";

const GROUPS = 2;

describe("three arbiters", () => {
  let cluster: Cluster;
  let servers: MeshClient[];

  beforeAll(async () => {
    cluster = await startCluster({ groups: GROUPS, arbiters: 3, extraFlags: { "consensus-node": ["--arbiter-timeout-ms", "1000"] } });
    servers = await Promise.all([1, 2, 3].map((id) => cluster.server(id, id)));
  });

  afterAll(async () => cluster.close());

  async function fallbacks(): Promise<number> {
    const all = await Promise.all(cluster.nodes.map((node) => cluster.status(node)));
    return all.reduce((sum, { arbiterFallbacks }) => sum + arbiterFallbacks, 0);
  }

  /** Batches that an arbiter has decided since it started. */
  async function decided(at: number): Promise<number> {
    const arbiter = cluster.mesh.arbiters[at] ?? expect.fail("no such arbiter");
    return (await call(cluster.stubs(arbiter.address).arbiter, ConflictArbiterServiceService.getStatistics, {}, { timeoutMs: 5_000, writes: false })).batches;
  }

  test("share the work; where one is killed and one hangs, the third does it, and the others get their part again when they are back", async () => {
    const load = new Load([...regionsOfGroup(1, GROUPS, 2), ...regionsOfGroup(2, GROUPS, 2)], 47);
    load.start(servers, 12);
    await until("all three decide", async () => (await Promise.all([0, 1, 2].map(decided))).every((batches) => batches > 20));

    await cluster.mesh.arbiters[0]?.kill();
    cluster.mesh.arbiters[1]?.pause();
    const atThird = await decided(2);
    await load.more(1_000);
    expect(await decided(2)).toBeGreaterThan(atThird);
    // One that answers is enough: nobody decides alone but while the loss is found out.
    await until("no leader decides alone any more", async () => {
      const counted = await fallbacks();
      await load.more(300);
      return (await fallbacks()) === counted;
    });

    await cluster.mesh.arbiters[0]?.start();
    cluster.mesh.arbiters[1]?.resume();
    const before = await decided(1);
    await until("both are asked again", async () => (await decided(0)) > 20 && (await decided(1)) > before + 20);
    await load.stop();
    await verifyLoad(cluster, servers[0] ?? (await cluster.server(1)), load);
  });
});
