import { afterEach, describe, expect, test } from "vitest";
import type { MeshClient } from "@statemesh/client";
import { MeshError, type Operation } from "@statemesh/contract";
import { type Cluster, LIMIT_MS, pause, regionsOfGroup, startCluster, until } from "./cluster.ts";
import { Load, verifyLoad } from "./load.ts";

const GROUPS = 3;

/** The lease of a region, as soon as nobody else's runs. */
async function acquireFree(server: MeshClient, region: { x: number; y: number; z: number }) {
  let lease: Awaited<ReturnType<MeshClient["authority"]["acquire"]>> | undefined;
  await until("the region is free", async () => {
    try {
      lease = await server.authority.acquire(region);
      return true;
    } catch (error) {
      if (MeshError.from(error).reason === "LEASE_HELD") return false;
      throw error;
    }
  });
  if (lease === undefined) throw new Error("no lease");
  return lease;
}

describe("all nodes are started again", () => {
  let cluster: Cluster;

  afterEach(async () => cluster.close());

  test("after an orderly stop: state, decisions and epochs are intact, and an old epoch stays fenced", async () => {
    cluster = await startCluster({ groups: GROUPS });
    const first = await cluster.server(1);
    const second = await cluster.server(2, 1);
    const load = new Load(regionsOfGroup(1, GROUPS, 2), 11);
    load.start([first, second], 4);
    await load.more(500);
    await load.stop();
    const owned = { x: 40, y: 3, z: -7 };
    const lease = await first.authority.acquire(owned);
    const digests = await cluster.settled();

    await Promise.all(cluster.nodes.map((node) => node.stop()));
    expect(cluster.nodes.some((node) => node.running)).toBe(false);
    await Promise.all(cluster.nodes.map((node) => node.start()));

    const after = await cluster.settled();
    for (let groupId = 1; groupId <= GROUPS; groupId++) expect(after.get(groupId), `state of group ${groupId}`).toBe(digests.get(groupId));
    await verifyLoad(cluster, first, load);

    // The old owner stops renewing, and another takes over with a greater epoch.
    first.authority.close();
    const taken = await acquireFree(second, owned);
    expect(taken.epoch).toBeGreaterThan(lease.epoch);
    const stale: Operation = first.operations.mint({ region: owned, epoch: lease.epoch }, { playerId: "p", itemKind: "gold", quantity: 1 });
    for (const node of cluster.nodes) {
      await expect(cluster.only(first, node).execute(stale), `node ${node.nodeId}`).rejects.toMatchObject({ reason: "FENCED", metadata: { current_epoch: String(taken.epoch), owner_server_id: "2" } });
    }
    expect((await second.execute(second.operations.mint(taken, { playerId: "p", itemKind: "gold", quantity: 1 }))).rule).toBe("uncontested");

    await Promise.all(cluster.nodes.map((node) => node.stop()));
    await Promise.all(cluster.nodes.map((node) => node.start()));
    const { authority } = await second.route({ $case: "region", value: owned });
    expect(authority?.epoch).toBe(taken.epoch);
    const next = await acquireFree(second, owned);
    expect(next.epoch).toBeGreaterThanOrEqual(taken.epoch);
    await expect(second.execute(stale)).rejects.toMatchObject({ reason: "FENCED" });
  });

  test("after kill -9 of all nodes at once: every acknowledged write is there", async () => {
    cluster = await startCluster({ groups: GROUPS });
    const servers = await Promise.all([1, 2, 3].map((id) => cluster.server(id, id)));
    const load = new Load([...regionsOfGroup(1, GROUPS, 1), ...regionsOfGroup(2, GROUPS, 1), ...regionsOfGroup(3, GROUPS, 1)], 12);
    load.start(servers, 4);
    for (let round = 0; round < 2; round++) {
      await load.more(300);
      await Promise.all(cluster.nodes.map((node) => node.kill()));
      await pause(50);
      await Promise.all(cluster.nodes.map((node) => node.start()));
    }
    await load.more(200);
    await load.stop();
    await verifyLoad(cluster, servers[0] ?? await cluster.server(1), load);
  });

  test("a log that was compacted into snapshots comes back whole", async () => {
    cluster = await startCluster({ groups: 1, extraFlags: { "consensus-node": ["--snapshot-log-bytes", "65536", "--trailing-entries", "16"] } });
    const server = await cluster.server(1);
    const load = new Load(regionsOfGroup(1, 1, 2), 13);
    load.start([server], 8);
    await load.more(800);
    // A node that was away while the others compacted their logs is caught up with a snapshot.
    await cluster.node(3).kill();
    await load.more(800);
    await load.stop();
    await cluster.node(3).start();
    await until("the log was compacted", async () => ((await cluster.status(cluster.node(1))).groups.find((group) => group.groupId === 1)?.firstIndex ?? 0) > 16, () => "", LIMIT_MS);
    const digests = await cluster.settled();
    await Promise.all(cluster.nodes.map((node) => node.kill()));
    await Promise.all(cluster.nodes.map((node) => node.start()));
    expect((await cluster.settled()).get(1)).toBe(digests.get(1));
    await verifyLoad(cluster, server, load);
  });
});
