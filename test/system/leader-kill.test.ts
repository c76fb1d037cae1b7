import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Cluster, regionsOfGroup, startCluster } from "./cluster.ts";
import { busiestGroup, Load, verifyLoad } from "./load.ts";

const GROUPS = 3;
const KILLS = 3;

describe("the leader of the busiest group is killed over and over while players are at work", () => {
  let cluster: Cluster;

  beforeAll(async () => {
    cluster = await startCluster({ groups: GROUPS });
  });

  afterAll(async () => cluster.close());

  test("nothing that was acknowledged is lost, nothing is doubled, and all nodes hold the same", async () => {
    const patient = await Promise.all([1, 2, 3].map((id) => cluster.server(id, id - 1)));
    const impatient = await Promise.all([4, 5].map((id) => cluster.server(id, id)));
    const regions = [...regionsOfGroup(1, GROUPS, 4), ...regionsOfGroup(2, GROUPS, 1), ...regionsOfGroup(3, GROUPS, 1)];
    const load = new Load(regions, 20_261);
    load.start(patient, 4, impatient);
    await load.more(500);
    for (let kill = 0; kill < KILLS; kill++) {
      const leader = await cluster.leaderOf(busiestGroup(load, GROUPS));
      await leader.kill();
      await load.more(300);
      await leader.start();
      await load.more(200);
    }
    await load.stop();
    expect(load.entries.some(({ error }) => error?.reason === "OUTCOME_UNKNOWN"), "the kills left no question open: the test proves less than it says").toBe(true);
    await verifyLoad(cluster, patient[0] ?? await cluster.server(1), load);
  });
});
