import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { MeshNode } from "../../tools/mesh-processes.ts";
import { type Cluster, LIMIT_MS, regionsOfGroup, startCluster, until } from "./cluster.ts";
import { Load, verifyLoad } from "./load.ts";

const GROUPS = 1_000;
/** Groups that are worked on. */
const BUSY = 20;

/** A metric without labels, or with the labels as they are shown. */
async function metric(node: MeshNode, name: string): Promise<number> {
  const text = await (await fetch(`http://${node.metricsAddress}/metrics`)).text();
  return Number(text.split("\n").find((line) => line.startsWith(`${name} `))?.split(" ")[1] ?? Number.NaN);
}

describe("a thousand groups on three nodes", () => {
  let cluster: Cluster;

  beforeAll(async () => {
    cluster = await startCluster({ groups: GROUPS, arbiter: false });
  }, 3 * LIMIT_MS);

  afterAll(async () => cluster.close());

  /** Groups that each running node leads, as it says itself. */
  const led = async (): Promise<number[]> =>
    Promise.all(cluster.nodes.filter((node) => node.running).map(async (node) => (await cluster.statusNow(node))?.groups.filter(({ role }) => role === "leader").length ?? 0));

  test("all have leaders, spread evenly, and fall asleep", async () => {
    let spread: number[] = [];
    await until("leaders are spread", async () => {
      spread = await led();
      return spread.reduce((sum, count) => sum + count, 0) === GROUPS + 1 && Math.max(...spread) - Math.min(...spread) < 2;
    }, () => spread.join(), 2 * LIMIT_MS);
    let asleep: number[] = [];
    await until("all groups sleep", async () => {
      asleep = await Promise.all(cluster.nodes.map(async (node) => metric(node, "statemesh_raft_groups_asleep")));
      return asleep.every((count) => count === GROUPS + 1);
    }, () => asleep.join(), 2 * LIMIT_MS);
    // No series a group.
    expect(await metric(cluster.node(1), 'statemesh_raft_has_leader{group="all"}')).toBe(1);
  }, 5 * LIMIT_MS);

  test("wake for work, and lose nothing when a node dies that led a third of them", async () => {
    const server = await cluster.server(1, 0, LIMIT_MS);
    const regions = Array.from({ length: BUSY }, (_, at) => regionsOfGroup(1 + at * 47, GROUPS, 1)).flat();
    const load = new Load(regions, 5);
    load.start([server], 4);
    await load.more(200);
    const victim = await cluster.leaderOf(1);
    await victim.kill();
    await load.more(200);
    const others = cluster.nodes.filter((node) => node !== victim);
    await until("the others lead every group", async () => (await led()).reduce((sum, count) => sum + count, 0) === GROUPS + 1, () => others.map(({ nodeId }) => nodeId).join(), 2 * LIMIT_MS);
    await victim.start();
    await load.more(200);
    await load.stop();
    await verifyLoad(cluster, server, load);
    await cluster.settled();
  }, 6 * LIMIT_MS);
});
