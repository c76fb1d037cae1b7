import { MeshError } from "@statemesh/contract";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { MeshClient } from "@statemesh/client";
import { type LocalPostgres, startPostgres } from "../../tools/local-postgres.ts";
import { type Cluster, regionsOfGroup, startCluster } from "./cluster.ts";
import { Load, verifyLoad } from "./load.ts";
import { caughtUp, expectSqlEqualsMesh } from "./sql-rows.ts";

const GROUPS = 2;
const DATABASE = "world";

describe("SQL goes away under load", () => {
  let postgres: LocalPostgres;
  let folder: string;
  let cluster: Cluster;
  let servers: MeshClient[];

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "statemesh-sql-"));
    postgres = await startPostgres({ dataDir: join(folder, "data"), databases: [DATABASE] });
  });

  afterEach(async () => {
    await cluster.close();
    await postgres.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  async function start(nodeFlags: readonly string[]): Promise<void> {
    cluster = await startCluster({ groups: GROUPS, postgres: postgres.urlOf(DATABASE), extraFlags: { "consensus-node": nodeFlags } });
    servers = await Promise.all([1, 2, 3].map((id) => cluster.server(id, id)));
  }

  const first = (): MeshClient => {
    const server = servers[0];
    if (server === undefined) throw new Error("no server");
    return server;
  };

  const accountsOf = (load: Load): string[] => load.regions.flatMap((_, at) => Array.from({ length: 12 }, (_each, player) => `r${at}-p${player}`));

  /** The server that SQL has is killed, and started again on its data and port. */
  async function restartPostgres(whileDown: () => Promise<void>): Promise<void> {
    const { port } = postgres;
    postgres.kill();
    await whileDown();
    postgres = await startPostgres({ dataDir: join(folder, "data"), databases: [DATABASE], port });
  }

  test("operations go on, and the store catches up until SQL is what the nodes hold", async () => {
    await start([]);
    const load = new Load([...regionsOfGroup(1, GROUPS, 2), ...regionsOfGroup(2, GROUPS, 2)], 41);
    const leased = load.regions[0];
    load.start(servers, 48);
    await load.more(1_000);

    const taken = { x: 4_000, y: 0, z: 0 };
    await restartPostgres(async () => {
      await load.more(2_000);
      // Who loads now might load what its last owner is still to write.
      const refused: unknown = await first().authority.acquire(taken, { deadlineMs: 1_500 }).catch((error: unknown) => error);
      expect(["STORE_UNAVAILABLE", "OUTCOME_UNKNOWN"]).toContain(MeshError.from(refused).reason);
    });
    await load.more(500);
    expect((await first().authority.acquire(taken)).held).toBe(true);

    // The store itself goes away and comes back.
    const store = cluster.mesh.regionStore;
    if (store === undefined || leased === undefined) throw new Error("no store");
    await store.kill();
    await load.more(1_000);
    await store.start();
    await load.more(300);

    // A leader goes away while the store takes state: the next one continues where the store stands.
    const leader = await cluster.leaderOf(1);
    await leader.kill();
    await load.more(500);
    await leader.start();
    await load.stop();
    await first().authority.acquire({ x: leased.x, y: leased.y, z: leased.z });
    await verifyLoad(cluster, first(), load);
    await caughtUp(cluster);
    await expectSqlEqualsMesh(postgres, DATABASE, first(), [...load.regions, taken], accountsOf(load));
  });

  test("a store that is further behind than the nodes remember gets a full copy and equals them", async () => {
    await start(["--touch-capacity", "1024"]);
    const load = new Load([...regionsOfGroup(1, GROUPS, 2), ...regionsOfGroup(2, GROUPS, 1)], 42);
    load.start(servers, 32);
    await load.more(1_000);
    await restartPostgres(async () => load.more(5_000));
    await load.more(500);
    await load.stop();
    await caughtUp(cluster);
    await expectSqlEqualsMesh(postgres, DATABASE, first(), load.regions, accountsOf(load));
    const copies = await postgres.query<{ copy_id: string }>(DATABASE, "SELECT copy_id FROM watermarks WHERE group_id = 1");
    expect(Number(copies[0]?.copy_id), "the store was never so far behind that it took a full copy").toBeGreaterThan(0);
    await verifyLoad(cluster, first(), load);
  });
});
