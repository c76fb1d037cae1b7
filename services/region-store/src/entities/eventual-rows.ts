import type { EventualValue, Region } from "@statemesh/contract";
import type { EventualPlace } from "@statemesh/store";
import { mortonKey, regionOfMortonKey } from "@statemesh/world";
import { byteaArray, int8Array, textArray } from "../sql/array-literal.ts";
import type { SqlSession, Statement } from "../sql/database.ts";

// Later stamp, then lower server id, then deletion, then greater bytes: the order of the nodes.
const WRITE: Statement = {
  name: "eventual_write",
  text: `INSERT INTO eventual_values (region_key, type, key, stamp_ms, stamp_logical, server_id, deleted, value)
    SELECT n.region_key, n.type, n.key, n.stamp_ms, n.stamp_logical, n.server_id, n.deleted = 1, n.value
    FROM unnest($1::INT8[], $2::TEXT[], $3::BYTEA[], $4::INT8[], $5::INT8[], $6::INT8[], $7::INT8[], $8::BYTEA[])
      AS n(region_key, type, key, stamp_ms, stamp_logical, server_id, deleted, value)
    ON CONFLICT (region_key, type, key) DO UPDATE SET stamp_ms = excluded.stamp_ms, stamp_logical = excluded.stamp_logical,
      server_id = excluded.server_id, deleted = excluded.deleted, value = excluded.value
    WHERE (excluded.stamp_ms, excluded.stamp_logical, -excluded.server_id, excluded.deleted, excluded.value)
      > (eventual_values.stamp_ms, eventual_values.stamp_logical, -eventual_values.server_id, eventual_values.deleted, eventual_values.value)`,
};
const FORGET: Statement = {
  name: "eventual_forget",
  text: `DELETE FROM eventual_values e USING (SELECT region_key, type, key FROM eventual_values WHERE deleted AND stamp_ms < $1 LIMIT $2) AS old
    WHERE e.region_key = old.region_key AND e.type = old.type AND e.key = old.key AND e.deleted AND e.stamp_ms < $1`,
};
const COLUMNS = "region_key::TEXT AS region_key, type, key, stamp_ms, stamp_logical, server_id, deleted, value";
const FIRST: Statement = { name: "eventual_first", text: `SELECT ${COLUMNS} FROM eventual_values v ORDER BY v.region_key, v.type, v.key LIMIT $1` };
const AFTER: Statement = {
  name: "eventual_after",
  text: `SELECT ${COLUMNS} FROM eventual_values v WHERE (v.region_key, v.type, v.key) > ($1::INT8, $2::TEXT, $3::BYTEA) ORDER BY v.region_key, v.type, v.key LIMIT $4`,
};

interface EventualRow {
  readonly region_key: string;
  readonly type: string;
  readonly key: Buffer;
  readonly stamp_ms: number;
  readonly stamp_logical: number;
  readonly server_id: number;
  readonly deleted: boolean;
  readonly value: Buffer;
}

/** See MaterializationRows.writeEventual. */
export async function writeEventual(session: SqlSession, values: readonly EventualValue[]): Promise<void> {
  if (values.length === 0) return;
  await session.run(WRITE, [
    int8Array(values.map(({ region }) => mortonKey(region as Region))), textArray(values.map(({ type }) => type)), byteaArray(values.map(({ key }) => Buffer.from(key))),
    int8Array(values.map(({ stamp }) => stamp?.physicalMs ?? 0)), int8Array(values.map(({ stamp }) => stamp?.logical ?? 0)), int8Array(values.map(({ serverId }) => serverId)),
    int8Array(values.map(({ deleted }) => (deleted ? 1 : 0))), byteaArray(values.map(({ value }) => value)),
  ]);
}

/** See MaterializationRows.forgetDeletedEventual. */
export async function forgetDeletedEventual(session: SqlSession, beforeMs: number, limit: number): Promise<void> {
  await session.run(FORGET, [beforeMs, limit]);
}

/** See MaterializationStore.eventualAfter. */
export async function eventualAfter(session: SqlSession, place: EventualPlace | undefined, limit: number): Promise<EventualValue[]> {
  const { rows } =
    place === undefined
      ? await session.run<EventualRow>(FIRST, [limit])
      : await session.run<EventualRow>(AFTER, [String(place.regionKey), place.type, Buffer.from(place.key), limit]);
  return rows.map((row) => ({
    type: row.type, region: regionOfMortonKey(BigInt(row.region_key)), key: row.key.toString("utf8"), value: row.value, deleted: row.deleted,
    serverId: row.server_id, stamp: { physicalMs: row.stamp_ms, logical: row.stamp_logical },
  }));
}
