/** What the region store's SQL holds, compared with what the nodes replicate. */
import type { MeshClient } from "@statemesh/client";
import { Entity, type Region, RegionStoreServiceService } from "@statemesh/contract";
import { call } from "@statemesh/service";
import { mortonKey } from "@statemesh/world";
import { expect } from "vitest";
import type { LocalPostgres } from "../../tools/local-postgres.ts";
import { LOCAL_CLUSTER } from "../../tools/mesh-processes.ts";
import { type Cluster, until } from "./cluster.ts";

/** Waits until the store's watermark is the leader's applied index in every group that holds regions. */
export async function caughtUp(cluster: Cluster): Promise<void> {
  const store = cluster.mesh.regionStore;
  if (store === undefined) throw new Error("no region store");
  let seen = "";
  await until("the store has caught up", async () => {
    const answer = await call(cluster.stubs(store.address).store, RegionStoreServiceService.getWatermarks, { clusterId: LOCAL_CLUSTER }, { timeoutMs: 5_000, writes: false }).catch((error: unknown) => {
      seen = `${String(error)}; ${store.logTail()}`;
      return undefined;
    });
    if (answer === undefined) return false;
    const all = await Promise.all(cluster.nodes.map((node) => cluster.status(node)));
    const leaders = all.flatMap((each) => each.groups).filter((group) => group.role === "leader" && group.groupId > 0);
    seen = leaders.map((group) => `group ${group.groupId}: ${answer.watermarks.get(group.groupId)} of ${group.appliedIndex}`).join(", ");
    return leaders.length === cluster.groups && leaders.every((group) => answer.watermarks.get(group.groupId) === group.appliedIndex && group.materializedIndex === group.appliedIndex);
  }, () => seen);
}

/** Every entity of the regions as the mesh holds it, by name. */
async function entitiesOf(server: MeshClient, regions: readonly Region[]): Promise<Map<string, Entity>> {
  const entities = new Map<string, Entity>();
  for (const region of regions) {
    let pageToken = "";
    do {
      const page = await server.read({ region, pageSize: 1_000, pageToken });
      for (const entity of page.entities) entities.set(`${entity.kind}:${entity.entityId}`, entity);
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
  }
  return entities;
}

/** Entities, balances, totals and epochs in SQL are those of the replicated state; minted less burned is what is there. */
export async function expectSqlEqualsMesh(postgres: LocalPostgres, database: string, server: MeshClient, regions: readonly Region[], accounts: readonly string[]): Promise<void> {
  const entities = await entitiesOf(server, regions);
  const rows = await postgres.query<{ kind: string; entity_id: string; payload: Buffer; version: string; region_key: string }>(database, "SELECT kind, entity_id, payload, version, region_key FROM entities");
  expect(rows.map((row) => `${row.kind}:${row.entity_id}`).sort()).toEqual([...entities.keys()].sort());
  for (const row of rows) {
    const entity = entities.get(`${row.kind}:${row.entity_id}`);
    expect(Entity.decode(row.payload), `${row.kind} ${row.entity_id}`).toEqual(entity === undefined ? undefined : Entity.decode(Buffer.from(Entity.encode(entity).finish())));
    expect(Number(row.version)).toBe(entity?.version);
    if (entity?.region !== undefined) expect(BigInt(row.region_key)).toBe(mortonKey(entity.region));
  }

  const held = new Set<string>();
  const epochs: string[] = [];
  for (const region of regions) {
    for (let at = 0; at < accounts.length; at += 256) {
      const { balances } = await server.read({ region, accounts: accounts.slice(at, at + 256) });
      for (const { accountId, itemKind, quantity, version } of balances) held.add(`${accountId} ${itemKind} ${quantity} ${version}`);
    }
    const { epoch, ownerServerId } = await server.read({ region, accounts: ["nobody"] });
    if (epoch > 0) epochs.push(`${mortonKey(region)} ${epoch} ${ownerServerId}`);
  }
  const balances = await postgres.query<{ account_id: string; item_kind: string; quantity: string; version: string }>(database, "SELECT account_id, item_kind, quantity, version FROM balances");
  // Regions of one group share its accounts: a set.
  expect(balances.map((row) => `${row.account_id} ${row.item_kind} ${row.quantity} ${row.version}`).sort()).toEqual([...held].sort());
  const fences = await postgres.query<{ region_key: string; fence_epoch: string; owner_server_id: string }>(database, "SELECT region_key, fence_epoch, owner_server_id FROM regions WHERE fence_epoch > 0");
  expect(fences.map((row) => `${row.region_key} ${row.fence_epoch} ${row.owner_server_id}`).sort()).toEqual(epochs.sort());

  const { items, conserved } = await server.verifyConservation();
  expect(conserved).toBe(true);
  const totals = await postgres.query<{ item_kind: string; minted: string; burned: string; held: string; on_ground: string }>(database, `
    SELECT t.item_kind, t.minted, t.burned, COALESCE(b.held, 0) AS held, COALESCE(g.on_ground, 0) AS on_ground
    FROM (SELECT item_kind, sum(minted) AS minted, sum(burned) AS burned FROM item_totals GROUP BY item_kind) t
    LEFT JOIN (SELECT item_kind, sum(quantity) AS held FROM balances GROUP BY item_kind) b USING (item_kind)
    LEFT JOIN (SELECT label AS item_kind, sum(quantity) AS on_ground FROM entities WHERE kind = 'item' GROUP BY label) g USING (item_kind)
    ORDER BY t.item_kind`);
  expect(totals.map((row) => [row.item_kind, Number(row.minted), Number(row.burned), Number(row.held), Number(row.on_ground)])).toEqual(items.map((item) => [item.itemKind, item.minted, item.burned, item.held, item.onGround]));
  for (const row of totals) expect(Number(row.minted) - Number(row.burned), `${row.item_kind} in SQL`).toBe(Number(row.held) + Number(row.on_ground));
}
