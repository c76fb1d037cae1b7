import { afterEach, expect, test } from "vitest";
import type { MeshClient } from "@statemesh/client";
import type { Region, StoredCausalEvent, VectorClock } from "@statemesh/contract";
import { startPostgres } from "../../tools/local-postgres.ts";
import { type Cluster, regionsOfGroup, startCluster, until } from "./cluster.ts";

const GROUPS = 2;

let cluster: Cluster;
let stop: () => Promise<void> = async () => undefined;

afterEach(async () => {
  await cluster.close();
  await stop();
});

test("the history of a region's events outlives kill -9 of leaders, of the region store and of all nodes: each once, causes first, and readers go on where they stopped", async () => {
  const postgres = await startPostgres({ databases: ["world"] });
  stop = async () => postgres.stop();
  cluster = await startCluster({ groups: GROUPS, postgres: postgres.urlOf("world") });
  const server = await cluster.server(1);
  const regions = [...regionsOfGroup(1, GROUPS, 1), ...regionsOfGroup(2, GROUPS, 1)];
  const { regionStore } = cluster.mesh;
  if (regionStore === undefined) throw new Error("no region store");
  const through = (): MeshClient[] => cluster.nodes.filter((node) => node.running).map((node) => cluster.only(server, node));
  let published = 0;
  let token: VectorClock | undefined;

  /** One chain over all regions: each event is published through another node, and follows the one before. Not answered: not asked again, so that none is doubled. */
  const tell = async (count: number): Promise<void> => {
    const nodes = through();
    for (let at = 0; at < count; at += 1) {
      const region = regions[published % regions.length] as Region;
      const client = nodes[published % nodes.length] as MeshClient;
      const { causalToken } = await client.publish({ events: [{ type: "event_sequence", region, key: `chapter-${published}`, payload: Buffer.alloc(32) }], ...(token === undefined ? {} : { causalToken: token }) });
      token = causalToken;
      published += 1;
    }
  };
  const history = async (region: Region): Promise<StoredCausalEvent[]> => {
    const events: StoredCausalEvent[] = [];
    for await (const event of server.store.history(region)) events.push(event);
    return events;
  };
  const keysOf = (events: readonly StoredCausalEvent[]): string[] => events.map(({ event }) => event?.event?.key ?? "");
  const expected = (of: number): string[] => Array.from({ length: published }, (_, at) => at).filter((at) => at % regions.length === of).map((at) => `chapter-${at}`);
  const isStored = async (): Promise<boolean> => (await Promise.all(regions.map(history))).every((events, of) => events.length >= expected(of).length);
  /** What the chain is in each region, in its order, nothing twice. */
  const verify = async (): Promise<void> => {
    for (const [of, region] of regions.entries()) expect(keysOf(await history(region)), `history of region ${of}`).toEqual(expected(of));
  };

  await tell(100);
  await until("the first part is stored", isStored);
  await verify();
  const { resumeToken } = await server.store.historyPage(regions[0] as Region, { pageSize: 1_000 });

  // What the leader had not handed over is with the others, and whoever leads next goes on from where the store stands.
  await tell(30);
  const covered = await Promise.all(through().map(async (client) => client.publish({ events: [], ...(token === undefined ? {} : { causalToken: token }) })));
  expect(covered).toHaveLength(3);
  const leader = await cluster.leaderOf(1);
  await leader.kill();
  await tell(30);
  await regionStore.kill();
  await tell(30);
  await leader.start();
  await regionStore.start();
  await tell(10);
  await until("all is stored", isStored);
  await verify();

  await Promise.all(cluster.nodes.map(async (node) => node.kill()));
  await Promise.all(cluster.nodes.map(async (node) => node.start()));
  token = undefined;
  await verify();
  await tell(20);
  await until("the rest is stored", isStored);
  await verify();
  const later: string[] = [];
  for await (const { event } of server.store.history(regions[0] as Region, resumeToken)) later.push(event?.event?.key ?? "");
  expect(later).toEqual(expected(0).slice(50));
});
