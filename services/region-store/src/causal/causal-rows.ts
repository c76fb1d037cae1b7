import { type DeliveredEvent, type Region, VectorClock } from "@statemesh/contract";
import type { CausalEventRow, CausalGapRow, CausalGroupRow, CausalMarkRow } from "@statemesh/store";
import { mortonKey, regionOfMortonKey } from "@statemesh/world";
import { byteaArray, int8Array, textArray } from "../sql/array-literal.ts";
import type { SqlSession, Statement } from "../sql/database.ts";

const LOCK: Statement = { name: "causal_lock", text: "SELECT group_id, term, position FROM causal_groups WHERE group_id = ANY($1::INT8[]) ORDER BY group_id FOR UPDATE" };
const MAKE: Statement = {
  name: "causal_make",
  text: "INSERT INTO causal_groups (group_id, term, position, trimmed_through) SELECT n.group_id, 0, 0, 0 FROM unnest($1::INT8[]) AS n(group_id) ON CONFLICT (group_id) DO NOTHING",
};
const MARKS: Statement = {
  name: "causal_marks",
  text: `SELECT m.group_id, m.origin, m.sequence FROM causal_marks m JOIN unnest($1::INT8[], $2::INT8[]) AS n(group_id, origin) ON m.group_id = n.group_id AND m.origin = n.origin`,
};
const PUT_GROUPS: Statement = {
  name: "causal_put_groups",
  text: `UPDATE causal_groups g SET term = n.term, position = n.position FROM unnest($1::INT8[], $2::INT8[], $3::INT8[]) AS n(group_id, term, position)
    WHERE g.group_id = n.group_id`,
};
const PUT_MARKS: Statement = {
  name: "causal_put_marks",
  text: `INSERT INTO causal_marks (group_id, origin, sequence) SELECT n.group_id, n.origin, n.sequence FROM unnest($1::INT8[], $2::INT8[], $3::INT8[]) AS n(group_id, origin, sequence)
    ON CONFLICT (group_id, origin) DO UPDATE SET sequence = excluded.sequence`,
};
const ADD: Statement = {
  name: "causal_add",
  text: `INSERT INTO causal_events (group_id, position, region_key, origin, sequence, server_id, type, key, payload, dependencies, stored_at_ms)
    SELECT n.group_id, n.position, n.region_key, n.origin, n.sequence, n.server_id, n.type, n.key, n.payload, n.dependencies, n.stored_at_ms
    FROM unnest($1::INT8[], $2::INT8[], $3::INT8[], $4::INT8[], $5::INT8[], $6::INT8[], $7::TEXT[], $8::BYTEA[], $9::BYTEA[], $10::BYTEA[], $11::INT8[])
      AS n(group_id, position, region_key, origin, sequence, server_id, type, key, payload, dependencies, stored_at_ms)`,
};
const ADD_REGIONS: Statement = {
  name: "causal_add_regions",
  text: `INSERT INTO causal_regions (region_key, group_id, trimmed_through) SELECT n.region_key, n.group_id, 0 FROM unnest($1::INT8[], $2::INT8[]) AS n(region_key, group_id)
    ON CONFLICT (region_key) DO NOTHING`,
};
const ADD_GAPS: Statement = {
  name: "causal_add_gaps",
  text: "INSERT INTO causal_gaps (group_id, position, missing) SELECT n.group_id, n.position, n.missing FROM unnest($1::INT8[], $2::INT8[], $3::INT8[]) AS n(group_id, position, missing)",
};
const OLDEST: Statement = { name: "causal_oldest", text: "SELECT position, stored_at_ms FROM causal_events WHERE group_id = $1 ORDER BY position LIMIT $2" };
const TRIM_REGIONS: Statement = {
  name: "causal_trim_regions",
  text: `UPDATE causal_regions r SET trimmed_through = gone.through
    FROM (SELECT region_key, max(position) AS through FROM causal_events WHERE group_id = $1 AND position <= $2 GROUP BY region_key) AS gone
    WHERE r.region_key = gone.region_key`,
};
const TRIM_EVENTS: Statement = { name: "causal_trim_events", text: "DELETE FROM causal_events WHERE group_id = $1 AND position <= $2" };
const TRIM_GAPS: Statement = { name: "causal_trim_gaps", text: "DELETE FROM causal_gaps WHERE group_id = $1 AND position <= $2" };
const TRIMMED: Statement = { name: "causal_trimmed", text: "UPDATE causal_groups SET trimmed_through = $2 WHERE group_id = $1" };
const AFTER: Statement = {
  name: "causal_after",
  text: `SELECT group_id, position, region_key::TEXT AS region_key, origin, sequence, server_id, type, key, payload, dependencies, stored_at_ms FROM causal_events e
    WHERE e.region_key = $1 AND e.position > $2 ORDER BY e.position LIMIT $3`,
};
const REGION: Statement = {
  name: "causal_region",
  text: "SELECT r.group_id, r.trimmed_through, g.position FROM causal_regions r JOIN causal_groups g ON g.group_id = r.group_id WHERE r.region_key = $1",
};
const GAPS: Statement = {
  name: "causal_gaps",
  text: "SELECT sum(missing)::TEXT AS missing, max(position) AS position FROM causal_gaps WHERE group_id = $1 AND position > $2 AND position <= $3",
};
const DUE: Statement = {
  name: "causal_due",
  text: `SELECT g.group_id FROM causal_groups g WHERE g.position - g.trimmed_through > $1
      OR (SELECT e.stored_at_ms FROM causal_events e WHERE e.group_id = g.group_id ORDER BY e.position LIMIT 1) < $2
    ORDER BY g.group_id LIMIT $3`,
};

interface EventRow {
  readonly group_id: number;
  readonly position: number;
  readonly region_key: string;
  readonly origin: number;
  readonly sequence: number;
  readonly server_id: number;
  readonly type: string;
  readonly key: Buffer;
  readonly payload: Buffer;
  readonly dependencies: Buffer;
  readonly stored_at_ms: number;
}

/** See CausalRows.lockGroups. */
export async function lockGroups(session: SqlSession, groupIds: readonly number[]): Promise<CausalGroupRow[]> {
  const ids = int8Array(groupIds);
  const look = async (): Promise<CausalGroupRow[]> =>
    (await session.run<{ group_id: number; term: number; position: number }>(LOCK, [ids])).rows.map(({ group_id: groupId, term, position }) => ({ groupId, term, position }));
  const found = await look();
  if (found.length === groupIds.length) return found;
  await session.run(MAKE, [ids]);
  return await look();
}

/** See CausalRows.marks. */
export async function findMarks(session: SqlSession, of: readonly Omit<CausalMarkRow, "sequence">[]): Promise<CausalMarkRow[]> {
  if (of.length === 0) return [];
  const { rows } = await session.run<{ group_id: number; origin: number; sequence: number }>(MARKS, [int8Array(of.map(({ groupId }) => groupId)), int8Array(of.map(({ origin }) => origin))]);
  return rows.map(({ group_id: groupId, origin, sequence }) => ({ groupId, origin, sequence }));
}

/** See CausalRows.putGroups. */
export async function putGroups(session: SqlSession, groups: readonly CausalGroupRow[]): Promise<void> {
  if (groups.length === 0) return;
  await session.run(PUT_GROUPS, [int8Array(groups.map(({ groupId }) => groupId)), int8Array(groups.map(({ term }) => term)), int8Array(groups.map(({ position }) => position))]);
}

/** See CausalRows.putMarks. */
export async function putMarks(session: SqlSession, marks: readonly CausalMarkRow[]): Promise<void> {
  if (marks.length === 0) return;
  await session.run(PUT_MARKS, [int8Array(marks.map(({ groupId }) => groupId)), int8Array(marks.map(({ origin }) => origin)), int8Array(marks.map(({ sequence }) => sequence))]);
}

/** See CausalRows.addEvents. */
export async function addEvents(session: SqlSession, rows: readonly CausalEventRow[]): Promise<void> {
  if (rows.length === 0) return;
  const events = rows.map(({ event }) => event);
  const regions = events.map(({ event }) => mortonKey(event?.region as Region));
  await session.run(ADD, [
    int8Array(rows.map(({ groupId }) => groupId)), int8Array(rows.map(({ position }) => position)), int8Array(regions),
    int8Array(events.map(({ id }) => id?.origin ?? 0)), int8Array(events.map(({ id }) => id?.sequence ?? 0)), int8Array(events.map(({ serverId }) => serverId)),
    textArray(events.map(({ event }) => event?.type ?? "")), byteaArray(events.map(({ event }) => Buffer.from(event?.key ?? ""))), byteaArray(events.map(({ event }) => event?.payload ?? new Uint8Array())),
    byteaArray(events.map(({ dependencies }) => (dependencies === undefined ? new Uint8Array() : VectorClock.encode(dependencies).finish()))), int8Array(rows.map(({ storedAtMs }) => storedAtMs)),
  ]);
  const groups = new Map(rows.map(({ groupId }, at) => [regions[at] as bigint, groupId]));
  await session.run(ADD_REGIONS, [int8Array([...groups.keys()]), int8Array([...groups.values()])]);
}

/** See CausalRows.addGaps. */
export async function addGaps(session: SqlSession, gaps: readonly CausalGapRow[]): Promise<void> {
  if (gaps.length === 0) return;
  await session.run(ADD_GAPS, [int8Array(gaps.map(({ groupId }) => groupId)), int8Array(gaps.map(({ position }) => position)), int8Array(gaps.map(({ missing }) => missing))]);
}

/** See CausalRows.oldest. */
export async function oldest(session: SqlSession, groupId: number, limit: number): Promise<{ position: number; storedAtMs: number }[]> {
  const { rows } = await session.run<{ position: number; stored_at_ms: number }>(OLDEST, [groupId, limit]);
  return rows.map(({ position, stored_at_ms: storedAtMs }) => ({ position, storedAtMs }));
}

/** See CausalRows.trim. */
export async function trim(session: SqlSession, groupId: number, through: number): Promise<void> {
  for (const statement of [TRIM_REGIONS, TRIM_EVENTS, TRIM_GAPS, TRIMMED]) await session.run(statement, [groupId, through]);
}

/** See CausalReads.eventsAfter. */
export async function eventsAfter(session: SqlSession, region: Region, position: number, limit: number): Promise<CausalEventRow[]> {
  const { rows } = await session.run<EventRow>(AFTER, [String(mortonKey(region)), position, limit]);
  return rows.map((row) => ({ groupId: row.group_id, position: row.position, storedAtMs: row.stored_at_ms, event: eventOf(row) }));
}

function eventOf(row: EventRow): DeliveredEvent {
  return {
    event: { type: row.type, region: regionOfMortonKey(BigInt(row.region_key)), key: row.key.toString("utf8"), payload: row.payload },
    serverId: row.server_id, id: { origin: row.origin, sequence: row.sequence }, dependencies: VectorClock.decode(row.dependencies),
  };
}

/** See CausalReads.region. */
export async function findRegion(session: SqlSession, region: Region): Promise<{ groupId: number; position: number; trimmedThrough: number } | undefined> {
  const row = (await session.run<{ group_id: number; trimmed_through: number; position: number }>(REGION, [String(mortonKey(region))])).rows[0];
  return row === undefined ? undefined : { groupId: row.group_id, position: row.position, trimmedThrough: row.trimmed_through };
}

/** See CausalReads.gaps. */
export async function gapsBetween(session: SqlSession, groupId: number, after: number, through: number): Promise<{ missing: number; position: number }> {
  const row = (await session.run<{ missing: string | null; position: number | null }>(GAPS, [groupId, after, through])).rows[0];
  return { missing: Math.min(Number(row?.missing ?? 0), Number.MAX_SAFE_INTEGER), position: row?.position ?? 0 };
}

/** See CausalStore.due. */
export async function dueGroups(session: SqlSession, keep: number, beforeMs: number, limit: number): Promise<number[]> {
  return (await session.run<{ group_id: number }>(DUE, [keep, beforeMs, limit])).rows.map((row) => row.group_id);
}
