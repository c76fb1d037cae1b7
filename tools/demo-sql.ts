/** Looks at the rows themselves: what the region store has materialised, past its API. */
import type { GetStatusResponse, VerifyConservationResponse } from "@statemesh/contract";
import pg from "pg";
import { settle } from "./demo-checks.ts";

/** Items of one kind over all groups, as SQL has them. */
interface SqlItems {
  readonly kind: string;
  readonly minted: number;
  readonly burned: number;
  readonly held: number;
  readonly ground: number;
}

const ITEMS = `
SELECT kind, SUM(minted) AS minted, SUM(burned) AS burned, SUM(held) AS held, SUM(ground) AS ground
FROM (
  SELECT item_kind AS kind, minted, burned, 0 AS held, 0 AS ground FROM item_totals
  UNION ALL SELECT item_kind, 0, 0, quantity, 0 FROM balances
  UNION ALL SELECT label, 0, 0, 0, quantity FROM entities WHERE kind = 'item'
) AS rows
GROUP BY kind ORDER BY kind`;

async function withSql<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000 });
  // A server that goes away in between fails the query that is under way; idle, it must not end this process.
  client.on("error", () => undefined);
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** The store has taken everything that the groups have committed: watermark by watermark, entity by entity. */
export async function checkCaughtUp(url: string, status: () => Promise<GetStatusResponse>): Promise<string> {
  let entities = 0;
  await withSql(url, async (client) => {
    await settle(async () => {
      const troubles: string[] = [];
      const { groups } = await status();
      const { rows: watermarks } = await client.query<{ group_id: string; log_index: string }>("SELECT group_id, log_index FROM watermarks");
      const { rows: counts } = await client.query<{ group_id: string; count: string }>("SELECT group_id, COUNT(*) AS count FROM entities GROUP BY group_id");
      entities = 0;
      for (const group of groups) {
        const watermark = Number(watermarks.find((row) => Number(row.group_id) === group.groupId)?.log_index ?? 0);
        const count = Number(counts.find((row) => Number(row.group_id) === group.groupId)?.count ?? 0);
        entities += count;
        if (count !== group.entities) troubles.push(`group ${group.groupId}: SQL has ${count} entities, the node ${group.entities}`);
        // Entries that change nothing for the store (a new term, a refused write) need no batch.
        else if (watermark < group.materializedIndex) troubles.push(`group ${group.groupId}: SQL stands at ${watermark}, the leader says ${group.materializedIndex}`);
      }
      return troubles;
    });
  });
  return `${entities} entities`;
}

/** Items minted less items burned are the items held, in the rows of SQL; and they are what the mesh says. */
export async function checkSqlConservation(url: string, mesh: () => Promise<VerifyConservationResponse>): Promise<string> {
  let kinds = 0;
  await withSql(url, async (client) => {
    await settle(async () => {
      const expected = await mesh();
      const { rows } = await client.query<Record<keyof SqlItems, string>>(ITEMS);
      const items = rows.map((row) => ({ kind: row.kind, minted: Number(row.minted), burned: Number(row.burned), held: Number(row.held), ground: Number(row.ground) }));
      kinds = items.length;
      const troubles: string[] = [];
      for (const it of items) {
        const own = expected.items.find((each) => each.itemKind === it.kind);
        if (it.minted - it.burned !== it.held + it.ground) troubles.push(`${it.kind}: minted ${it.minted}, burned ${it.burned}, held ${it.held}, on the ground ${it.ground}`);
        else if (own?.minted !== it.minted || own.held !== it.held || own.onGround !== it.ground) troubles.push(`${it.kind}: SQL holds ${it.held} and ${it.ground} on the ground, the mesh ${own?.held ?? 0} and ${own?.onGround ?? 0}`);
      }
      if (expected.items.some((own) => !items.some((it) => it.kind === own.itemKind))) troubles.push("a kind of the mesh is not in SQL");
      return troubles;
    });
  });
  return `${kinds} kinds of items, summed over the rows`;
}
