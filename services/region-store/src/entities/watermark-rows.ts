import type { WatermarkRow } from "@statemesh/store";
import type { SqlSession, Statement } from "../sql/database.ts";

// The row is the group's lock: whoever writes it first makes the others wait, then compare anew.
const FIRST: Statement = {
  name: "watermarks_first",
  text: `INSERT INTO watermarks (group_id, log_index, after_index, copy_id, copy_next_part, copy_through_index) VALUES ($1, 0, 0, 0, 0, 0)
    ON CONFLICT (group_id) DO NOTHING`,
};
const ADVANCE: Statement = {
  name: "watermarks_advance",
  text: "UPDATE watermarks SET log_index = $3, after_index = $2 WHERE group_id = $1 AND log_index = $2",
};
const FIND: Statement = {
  name: "watermarks_find",
  text: "SELECT log_index, after_index, copy_id, copy_next_part, copy_through_index FROM watermarks WHERE group_id = $1",
};
const BEGIN_COPY: Statement = {
  name: "watermarks_begin_copy",
  text: `UPDATE watermarks SET copy_id = $2, copy_next_part = 1, copy_through_index = $3
    WHERE group_id = $1 AND copy_id <> $2 AND log_index <= $3`,
};
const NEXT_PART: Statement = {
  name: "watermarks_next_part",
  text: `UPDATE watermarks SET copy_next_part = copy_next_part + 1
    WHERE group_id = $1 AND copy_id = $2 AND copy_through_index = $3 AND copy_next_part = $4 AND log_index <= $3`,
};
const END_COPY: Statement = {
  name: "watermarks_end_copy",
  text: "UPDATE watermarks SET log_index = $2, after_index = -1 WHERE group_id = $1",
};
const ALL: Statement = { name: "watermarks_all", text: "SELECT group_id, log_index FROM watermarks" };

/** Makes the group's row where there is none. */
export async function ensureWatermark(session: SqlSession, groupId: number): Promise<void> {
  await session.run(FIRST, [groupId]);
}

/** Moves the watermark by compare-and-set; false where the store does not stand at `after`. */
export async function advance(session: SqlSession, groupId: number, after: number, through: number): Promise<boolean> {
  return (await session.run(ADVANCE, [groupId, after, through])).count === 1;
}

/** See MaterializationRows.beginCopy. */
export async function beginCopy(session: SqlSession, groupId: number, copyId: number, through: number): Promise<boolean> {
  return (await session.run(BEGIN_COPY, [groupId, copyId, through])).count === 1;
}

/** See MaterializationRows.nextPart. */
export async function nextPart(session: SqlSession, groupId: number, copyId: number, through: number, part: number): Promise<boolean> {
  return (await session.run(NEXT_PART, [groupId, copyId, through, part])).count === 1;
}

export async function endCopy(session: SqlSession, groupId: number, through: number): Promise<void> {
  await session.run(END_COPY, [groupId, through]);
}

export async function findWatermark(session: SqlSession, groupId: number): Promise<WatermarkRow | undefined> {
  const { rows } = await session.run<{ log_index: number; after_index: number; copy_id: number; copy_next_part: number; copy_through_index: number }>(FIND, [groupId]);
  const row = rows[0];
  if (row === undefined) return undefined;
  return { logIndex: row.log_index, afterIndex: row.after_index, copyId: row.copy_id, copyNextPart: row.copy_next_part, copyThroughIndex: row.copy_through_index };
}

/** Log index by group. */
export async function allWatermarks(session: SqlSession): Promise<Map<number, number>> {
  const { rows } = await session.run<{ group_id: number; log_index: number }>(ALL, []);
  return new Map(rows.map((row) => [row.group_id, row.log_index]));
}
