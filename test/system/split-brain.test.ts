import { connect, type MeshClient } from "@statemesh/client";
import { type Decision, MeshError, Outcome, PartitionEvent, PartitionServiceClient, PartitionServiceService, PartitionState, type PartitionVerdict, Side, type ViewState, type WatchViewResponse } from "@statemesh/contract";
import { call } from "@statemesh/service";
import { credentials } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { LinkProxies } from "../../tools/link-proxies.ts";
import { type Cluster, LIMIT_MS, regionsOfGroup, startCluster, until } from "./cluster.ts";

const GROUPS = 2;
const NODES = [1, 2, 3, 4];

describe("four nodes whose links break", () => {
  let cluster: Cluster;
  const links = new LinkProxies();
  const watched = new Map<number, WatchViewResponse[]>();
  const closing: (() => void)[] = [];
  let claims = 0;

  beforeAll(async () => {
    cluster = await startCluster({ nodes: 4, groups: GROUPS, way: async (from, to, address) => links.way(from, to, address) });
    for (let groupId = 0; groupId <= GROUPS; groupId++) await cluster.leaderOf(groupId);
    await agreed(NODES, NODES);
    for (const nodeId of [1, 3]) watch(nodeId);
  });

  afterAll(async () => {
    for (const close of closing) close();
    await cluster.close();
    await links.close();
  });

  /** What a shard of one node is told. */
  function watch(nodeId: number): void {
    const told: WatchViewResponse[] = [];
    watched.set(nodeId, told);
    const client = clientOf(nodeId);
    const view = client.watchView();
    closing.push(() => view.close());
    const read = async (): Promise<void> => {
      for await (const message of view) told.push(message);
    };
    void read().catch((error: unknown) => process.stderr.write(`watch of node ${nodeId}: ${String(error)}\n`));
  }

  /** A game server that knows one node only. */
  function clientOf(nodeId: number, deadlineMs = LIMIT_MS): MeshClient {
    const client = connect({ endpoints: [cluster.node(nodeId).clientAddress], serverId: 100 + nodeId, name: `shard-${nodeId}`, deadlineMs });
    closing.push(() => client.close());
    return client;
  }

  async function viewOf(nodeId: number): Promise<ViewState | undefined> {
    return (await cluster.statusNow(cluster.node(nodeId)))?.view;
  }

  /** Waits until the nodes named know of a view with these alive. */
  async function agreed(alive: readonly number[], by: readonly number[]): Promise<number> {
    const startMs = performance.now();
    let seen = "";
    await until(`nodes ${by.join()} agree that ${alive.join()} are alive`, async () => {
      const views = await Promise.all(by.map(viewOf));
      seen = JSON.stringify(views.map((state) => state?.view));
      return views.every((state) => state?.view?.alive.join() === alive.join());
    }, () => seen);
    return performance.now() - startMs;
  }

  async function sideIs(nodeId: number, side: Side): Promise<void> {
    await until(`node ${nodeId} is on side ${side}`, async () => (await viewOf(nodeId))?.side === side);
  }

  async function verdict(): Promise<PartitionVerdict | undefined> {
    const client = new PartitionServiceClient(cluster.mesh.arbiter?.address ?? "", credentials.createInsecure());
    try {
      return (await call(client, PartitionServiceService.getPartitionVerdict, { clusterId: "" }, { timeoutMs: 2_000, writes: false })).verdict;
    } catch (error) {
      if (MeshError.from(error).reason === "INTERNAL") throw error;
      return undefined;
    } finally {
      client.close();
    }
  }

  const claim = async (client: MeshClient): Promise<Decision> => {
    const [region] = regionsOfGroup(1, GROUPS, 1);
    return client.execute(client.operations.resourceClaim({ region: region ?? { x: 0, y: 0, z: 0 }, epoch: 0 }, { resourceId: `ore-${claims++}`, playerId: "ada" }));
  };

  test("an even split: the half with the lowest id goes on, the other knows that it lost, shards and arbiter say so, and all of it ends with the split", async () => {
    const winner = clientOf(2);
    const loser = clientOf(3);
    await winner.authority.register();
    await loser.authority.register();
    const own = regionsOfGroup(2, GROUPS, 1)[0] ?? { x: 0, y: 0, z: 0 };
    await loser.authority.acquire(own);
    await until("the arbiter sees the cluster whole", async () => (await verdict())?.state === PartitionState.WHOLE);

    const cutMs = performance.now();
    links.part([1, 2], [3, 4]);
    await Promise.all([3, 4].map(async (nodeId) => sideIs(nodeId, Side.LOSING)));
    const noticedMs = performance.now() - cutMs;
    await agreed([1, 2], [1, 2]);
    process.stdout.write(`an even split of four: the losing half noticed after ${noticedMs.toFixed(0)} ms, the view followed after ${(performance.now() - cutMs).toFixed(0)} ms\n`);

    expect(await claim(winner)).toMatchObject({ outcome: Outcome.ACCEPTED });
    const refused = await claim(clientOf(3, 5_000)).then(() => "decided", (error: unknown) => MeshError.from(error).reason);
    expect(["MINORITY_PARTITION", "SERVER_NOT_REGISTERED"]).toContain(refused);
    await until("the arbiter sees both halves", async () => (await verdict())?.state === PartitionState.SPLIT);
    expect(await verdict()).toMatchObject({ alive: [1, 2], unheard: [], parts: [{ nodeIds: [1, 2], wins: true }, { nodeIds: [3, 4], wins: false }] });
    await until("the shard of the losing half was told", () => watched.get(3)?.some(({ state }) => state?.side === Side.LOSING) === true);
    expect(watched.get(3)?.find(({ state }) => state?.side === Side.LOSING)).toMatchObject({ state: { nodeId: 3 } });

    await until("the silent half is removed", async () => (await viewOf(1))?.view?.removed.join() === "3,4");
    links.heal();
    await agreed(NODES, NODES);
    await Promise.all(NODES.map(async (nodeId) => sideIs(nodeId, Side.WHOLE)));
    await until("both shards were told of the end", () => [1, 3].every((nodeId) => watched.get(nodeId)?.some(({ event }) => event === PartitionEvent.ENDED) === true));
    await until("the arbiter sees the cluster whole", async () => (await verdict())?.state === PartitionState.WHOLE);
    await loser.authority.register();
    expect(await claim(loser)).toMatchObject({ outcome: Outcome.ACCEPTED });
    await cluster.settled();
  });

  test("without an arbiter nodes see to it themselves, also where a node hears and is not heard", async () => {
    await cluster.mesh.arbiter?.kill();
    links.cut((from) => from === 4);
    await agreed([1, 2, 3], [1, 2, 3]);
    await sideIs(4, Side.LOSING);
    links.heal();
    await agreed(NODES, NODES);
    const { arbiter } = cluster.mesh;
    if (arbiter !== undefined) await cluster.mesh.restart(arbiter);
    await until("an arbiter that starts anew knows all of it again", async () => (await verdict())?.state === PartitionState.WHOLE);
  });

  test("one slow node takes nobody down: work goes on, and in the end it is in the view as before", async () => {
    const client = clientOf(1);
    await client.authority.register();
    for (let round = 0; round < 4; round++) {
      cluster.node(4).pause();
      const pausedMs = performance.now();
      do expect((await claim(client)).outcome).toBe(Outcome.ACCEPTED);
      while (performance.now() - pausedMs < 2_000);
      cluster.node(4).resume();
      await until("the slow node answers", async () => (await viewOf(4)) !== undefined);
    }
    await agreed(NODES, NODES);
    await Promise.all(NODES.map(async (nodeId) => sideIs(nodeId, Side.WHOLE)));
    await cluster.settled();
  });
});
