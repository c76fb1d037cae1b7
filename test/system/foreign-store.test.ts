import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { MeshClient } from "@statemesh/client";
import { Outcome } from "@statemesh/contract";
import type { MeshNode } from "../../tools/mesh-processes.ts";
import { type LocalPostgres, startPostgres } from "../../tools/local-postgres.ts";
import { type Cluster, regionsOfGroup, startCluster, until } from "./cluster.ts";
import { caughtUp } from "./sql-rows.ts";

const GROUPS = 1;
const DATABASE = "world";

describe("the database is not this cluster's", () => {
  let postgres: LocalPostgres;
  let folder: string;
  let cluster: Cluster;
  let server: MeshClient;
  let placed = 0;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "statemesh-foreign-"));
    postgres = await startPostgres({ dataDir: join(folder, "data"), databases: [DATABASE] });
    cluster = await startCluster({ groups: GROUPS, postgres: postgres.urlOf(DATABASE) });
    server = await cluster.server(1);
  });

  afterAll(async () => {
    await cluster.close();
    await postgres.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  const sql = async (text: string): Promise<Record<string, unknown>[]> => await postgres.query(DATABASE, text);

  async function place(): Promise<void> {
    const [region] = regionsOfGroup(1, GROUPS, 1);
    if (region === undefined) throw new Error("no region");
    const x = region.x * 2_000 + 10 * ++placed;
    const bounds = { minX: x, minY: region.y * 2_000 + 1, minZ: region.z * 2_000 + 1, maxX: x + 1, maxY: region.y * 2_000 + 2, maxZ: region.z * 2_000 + 2 };
    const operation = server.operations.structurePlacement({ region, epoch: 0 }, { structureId: `s${placed}`, kind: "wall", bounds });
    expect(await server.execute(operation)).toMatchObject({ outcome: Outcome.ACCEPTED });
  }

  async function refused(node: MeshNode): Promise<number> {
    const page = await (await fetch(`http://${node.metricsAddress}/metrics`)).text();
    return Number(/^statemesh_region_store_refused (\d)$/m.exec(page)?.[1] ?? Number.NaN);
  }

  /** Lines of the log at level error that hold the text. */
  const complaints = (node: MeshNode, text: string): number => node.logTail().split("\n").filter((line) => line.includes('"level":"error"') && line.includes(text)).length;

  const rows = async () => await sql("SELECT (SELECT count(*) FROM entities) AS entities, (SELECT log_index FROM watermarks WHERE group_id = 1) AS log_index");

  test("another cluster's: it takes nothing, the node says so once and to Prometheus, and goes on when that is put right", async () => {
    await place();
    await caughtUp(cluster);
    const leader = await cluster.leaderOf(1);
    expect([await sql("SELECT cluster_id FROM owning_cluster"), await refused(leader)]).toEqual([[{ cluster_id: "local" }], 0]);

    await sql("UPDATE owning_cluster SET cluster_id = 'another'");
    const before = await rows();
    await place();
    await until("the leader is refused", async () => (await refused(leader)) === 1);
    await place();
    expect([await rows(), complaints(leader, "another cluster")]).toEqual([before, 1]);

    await sql("UPDATE owning_cluster SET cluster_id = 'local'");
    await caughtUp(cluster);
    expect([await refused(leader), complaints(leader, "another cluster")]).toEqual([0, 1]);
  });

  test("ahead of the log, as after the cluster was wiped: nothing is sent to it until it is emptied", async () => {
    const leader = await cluster.leaderOf(1);
    await sql("UPDATE watermarks SET log_index = 1000000 WHERE group_id = 1");
    const before = await rows();
    await place();
    await until("the leader sees it", async () => (await refused(leader)) === 1);
    await place();
    expect([await rows(), complaints(leader, "ahead of the log")]).toEqual([before, 1]);

    for (const table of ["watermarks", "entities"]) await sql(`DELETE FROM ${table} WHERE group_id = 1`);
    await caughtUp(cluster);
    expect([await refused(leader), (await rows())[0]?.["entities"]]).toEqual([0, String(placed)]);
  });
});
