import { afterEach, expect, test } from "vitest";
import { type EventualValue, type Region, RegionStoreServiceService } from "@statemesh/contract";
import { call } from "@statemesh/service";
import { startPostgres } from "../../tools/local-postgres.ts";
import { LOCAL_CLUSTER } from "../../tools/mesh-processes.ts";
import { type Cluster, regionsOfGroup, startCluster, until } from "./cluster.ts";

const GROUPS = 2;

let cluster: Cluster;
let stop: () => Promise<void> = async () => undefined;

afterEach(async () => {
  await cluster.close();
  await stop();
});

test("eventual values and deletions survive kill -9 of all nodes once they are written behind", async () => {
  const postgres = await startPostgres({ databases: ["world"] });
  stop = async () => postgres.stop();
  cluster = await startCluster({ groups: GROUPS, postgres: postgres.urlOf("world") });
  const server = await cluster.server(1);
  const regions = [...regionsOfGroup(1, GROUPS, 2), ...regionsOfGroup(2, GROUPS, 2)];
  const update = (region: Region, key: string, value: string | undefined) => ({
    type: "creature_position", region, key, value: Buffer.from(value ?? ""), deleted: value === undefined, timestampMs: 0,
  });
  const publish = async (round: string): Promise<void> => {
    for (const region of regions) {
      await server.publish({ updates: Array.from({ length: 100 }, (_, at) => update(region, `wolf-${at}`, at % 10 === 0 && round === "second" ? undefined : `${round} ${at}`)) });
    }
  };
  const stored = async (): Promise<EventualValue[]> => {
    const { regionStore } = cluster.mesh;
    if (regionStore === undefined) throw new Error("no region store");
    const values: EventualValue[] = [];
    let pageToken = "";
    do {
      const request = { clusterId: LOCAL_CLUSTER, pageSize: 1_000, pageToken };
      const page = await call(cluster.stubs(regionStore.address).store, RegionStoreServiceService.loadEventualValues, request, { timeoutMs: 5_000, writes: false });
      values.push(...page.values);
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    return values;
  };
  const hasRound = async (round: string): Promise<boolean> => {
    const values = await stored();
    return values.length === 400 && values.every((value) => value.deleted || Buffer.from(value.value).toString("utf8").startsWith(round)) && values.filter(({ deleted }) => deleted).length === (round === "second" ? 40 : 0);
  };
  const texts = async (): Promise<string[][]> => {
    const all: string[][] = [];
    for (const node of cluster.nodes) {
      const client = cluster.only(server, node);
      const found: string[] = [];
      for (const region of regions) {
        const { values } = await client.read({ region, level: 4, includeEventual: true });
        found.push(...values.map((value) => `${region.x} ${value.key} ${Buffer.from(value.value).toString("utf8")}`));
      }
      all.push(found.sort());
    }
    return all;
  };

  await publish("first");
  await until("the first round is written behind", () => hasRound("first"));
  await publish("second");
  await until("the second round is written behind", () => hasRound("second"));
  const before = (await texts())[0];
  expect(before).toHaveLength(360);
  await Promise.all(cluster.nodes.map(async (node) => node.kill()));
  await Promise.all(cluster.nodes.map(async (node) => node.start()));
  await until("every node has what the store had", async () => {
    const now = await texts();
    return now.every((each) => each.join() === before?.join());
  });
});
