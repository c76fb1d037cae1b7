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

  const refused = async (node: MeshNode): Promise<boolean> => (await metricOf(node)) === 1;

  async function metricOf(node: MeshNode): Promise<number> {
    const page = await (await fetch(`http://${node.metricsAddress}/metrics`)).text();
    return Number(/^statemesh_region_store_refused (\d)$/m.exec(page)?.[1] ?? Number.NaN);
  }

  /** Whoever leads now: leadership may move at any time, so no node is remembered. */
  async function untilLeaderIsRefused(): Promise<void> {
    await until("the leader is refused", async () => await refused(await cluster.leaderOf(1)));
  }

  async function untilNobodyIsRefused(): Promise<void> {
    await until("nobody is refused", async () => !(await Promise.all(cluster.nodes.map(refused))).includes(true));
  }

  /** The most lines at level error that hold the text, of any node. */
  const complaints = (text: string): number => Math.max(...cluster.nodes.map((node) => node.logTail().split("\n").filter((line) => line.includes('"level":"error"') && line.includes(text)).length));

  const rows = async () => await sql("SELECT (SELECT count(*) FROM entities) AS entities, (SELECT log_index FROM watermarks WHERE group_id = 1) AS log_index");

  test("another cluster's: it takes nothing, each node says so once and to Prometheus, and goes on when that is put right", async () => {
    await place();
    await caughtUp(cluster);
    expect(await sql("SELECT cluster_id FROM owning_cluster")).toEqual([{ cluster_id: "local" }]);
    await untilNobodyIsRefused();

    await sql("UPDATE owning_cluster SET cluster_id = 'another'");
    await place();
    await untilLeaderIsRefused();
    const before = await rows();
    await place();
    await untilLeaderIsRefused();
    expect([await rows(), complaints("another cluster")]).toEqual([before, 1]);
    expect(before).toEqual([{ entities: "1", log_index: expect.anything() as unknown }]);

    await sql("UPDATE owning_cluster SET cluster_id = 'local'");
    await caughtUp(cluster);
    await untilNobodyIsRefused();
    expect(complaints("another cluster")).toBe(1);
  });

  test("ahead of the log, as after the cluster was wiped: nothing is sent to it until it is emptied", async () => {
    await sql("UPDATE watermarks SET log_index = 1000000 WHERE group_id = 1");
    const before = await rows();
    await place();
    await untilLeaderIsRefused();
    await place();
    expect([await rows(), complaints("ahead of the log")]).toEqual([before, 1]);

    // The watermark last: while it is ahead, nothing is sent that would be deleted here.
    for (const table of ["entities", "watermarks"]) await sql(`DELETE FROM ${table} WHERE group_id = 1`);
    await caughtUp(cluster);
    await untilNobodyIsRefused();
    expect((await rows())[0]?.["entities"]).toBe(String(placed));
  });
});
