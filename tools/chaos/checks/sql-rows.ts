/** The rows of SQL themselves, past the region store's API: they are what the nodes hold, at the watermark. */
import type { MeshClient } from "@statemesh/client";
import { Entity } from "@statemesh/contract";
import { mortonKey } from "@statemesh/world";
import { type ChaosMesh, DATABASE, GROUPS } from "../chaos-mesh.ts";
import type { Setting } from "../load/setting.ts";
import { settled } from "./check.ts";
import { type Expected, regionsOf, stateOf } from "./final-state.ts";

/** The store has taken all that the groups have applied. */
export async function caughtUp(mesh: ChaosMesh, limitMs: number): Promise<string[]> {
  return await settled(async () => {
    const rows = await mesh.postgres.query<{ group_id: string; log_index: string }>(DATABASE, "SELECT group_id, log_index FROM watermarks");
    const troubles: string[] = [];
    const leaders = await mesh.leaders();
    for (let groupId = 1; groupId <= GROUPS; groupId++) {
      const status = await mesh.status(leaders.get(groupId) ?? 1);
      const group = status?.groups.find((each) => each.groupId === groupId);
      const watermark = Number(rows.find((row) => Number(row.group_id) === groupId)?.log_index ?? 0);
      if (group === undefined || watermark !== group.appliedIndex) troubles.push(`group ${groupId}: SQL stands at ${watermark}, the leader at ${group?.appliedIndex ?? "nothing"}`);
    }
    return troubles;
  }, limitMs);
}

/** Entities, balances, totals and epochs. */
export async function compareSql(mesh: ChaosMesh, client: MeshClient, setting: Setting, expected: Expected): Promise<{ rows: number; troubles: string[] }> {
  const troubles: string[] = [];
  const differ = (what: string, wanted: ReadonlySet<string>, got: ReadonlySet<string>): void => {
    troubles.push(...[...wanted].filter((each) => !got.has(each)).map((each) => `SQL lacks ${what} ${each}`), ...[...got].filter((each) => !wanted.has(each)).map((each) => `SQL has ${what} ${each}, the nodes do not`));
  };
  const held = await stateOf(client, regionsOf(setting), [...expected.accounts]);
  const text = (entity: Entity): string => `${entity.kind} ${entity.entityId} ${Buffer.from(Entity.encode(entity).finish()).toString("base64")}`;
  const entityRows = await mesh.postgres.query<{ payload: Buffer; version: string; region_key: string }>(DATABASE, "SELECT payload, version, region_key FROM entities");
  const inSql = entityRows.map((row) => ({ row, entity: Entity.decode(row.payload) }));
  differ("entity", new Set(held.entities.map(text)), new Set(inSql.map(({ entity }) => text(entity))));
  for (const { row, entity } of inSql) {
    if (Number(row.version) !== entity.version || entity.region === undefined || BigInt(row.region_key) !== mortonKey(entity.region)) troubles.push(`SQL's columns of ${entity.kind} ${entity.entityId} are not those of its payload`);
  }
  const balanceRows = await mesh.postgres.query<{ account_id: string; item_kind: string; quantity: string; version: string }>(DATABASE, "SELECT account_id, item_kind, quantity, version FROM balances");
  // Accounts that the probes of faults use are not the load's.
  const own = balanceRows.filter((row) => expected.accounts.has(row.account_id));
  differ("balance", new Set([...held.balances].map(([key, quantity]) => `${key} ${quantity} ${held.versions.get(key) ?? 0}`)), new Set(own.map((row) => `${row.account_id} ${row.item_kind} ${row.quantity} ${row.version}`)));

  const { items } = await client.verifyConservation();
  const totals = await mesh.postgres.query<{ kind: string; minted: string; burned: string; held: string; ground: string }>(DATABASE, `
    SELECT kind, SUM(minted) AS minted, SUM(burned) AS burned, SUM(held) AS held, SUM(ground) AS ground
    FROM (
      SELECT item_kind AS kind, minted, burned, 0 AS held, 0 AS ground FROM item_totals
      UNION ALL SELECT item_kind, 0, 0, quantity, 0 FROM balances
      UNION ALL SELECT label, 0, 0, 0, quantity FROM entities WHERE kind = 'item'
    ) AS rows GROUP BY kind`);
  differ("total", new Set(items.map((it) => `${it.itemKind} ${it.minted} ${it.burned} ${it.held} ${it.onGround}`)), new Set(totals.map((row) => `${row.kind} ${row.minted} ${row.burned} ${row.held} ${row.ground}`)));

  const { epoch, ownerServerId } = await client.read({ region: setting.leased.region, accounts: ["nobody"] });
  const fences = await mesh.postgres.query<{ region_key: string; fence_epoch: string; owner_server_id: string }>(DATABASE, "SELECT region_key, fence_epoch, owner_server_id FROM regions WHERE fence_epoch > 0");
  differ("fence", new Set(epoch === 0 ? [] : [`${mortonKey(setting.leased.region)} ${epoch} ${ownerServerId}`]), new Set(fences.map((row) => `${row.region_key} ${row.fence_epoch} ${row.owner_server_id}`)));
  return { rows: entityRows.length + balanceRows.length, troubles };
}
