import { Entity, type Region, type RemovedEntity } from "@statemesh/contract";
import { boundsOfRegion, lowRegion, mortonKey, type QuantizedBounds, quantizeBounds } from "@statemesh/world";
import { Reach, thicken } from "../spatial/search-area.ts";
import { byteaArray, int8Array, textArray } from "../sql/array-literal.ts";
import type { SqlSession, Statement } from "../sql/database.ts";

const COLUMNS = `kind, entity_id, region_key, reach, version, epoch, server_id, player_id, label, quantity,
  min_x, min_y, min_z, max_x, max_y, max_z, payload`;
const ARRAYS = `$3::TEXT[], $4::TEXT[], $5::INT8[], $6::INT8[], $7::INT8[], $8::INT8[], $9::INT8[], $10::TEXT[], $11::TEXT[], $12::INT8[],
  $13::INT8[], $14::INT8[], $15::INT8[], $16::INT8[], $17::INT8[], $18::INT8[], $19::BYTEA[]`;
const ASSIGNED = COLUMNS.split(",").map((column) => column.trim()).filter((column) => column !== "kind" && column !== "entity_id")
  .map((column) => `${column} = excluded.${column}`).join(", ");

/** Answers the regions that entities came from: their caches are stale too. */
function upsert(more: string): string {
  return `WITH written AS (
    INSERT INTO entities (group_id, copy_id, from_region_key, ${COLUMNS}) SELECT $1::INT8, $2::INT8, n.region_key, n.* FROM unnest(${ARRAYS}) AS n(${COLUMNS})
    ON CONFLICT (group_id, kind, entity_id) DO UPDATE SET from_region_key = entities.region_key, ${ASSIGNED}${more}
    RETURNING region_key, from_region_key)
  SELECT DISTINCT from_region_key::TEXT AS key FROM written WHERE from_region_key <> region_key`;
}

// Rows of a batch may be newer than its end, so a row that is newer already stays. The mark of a copy under way stays too.
const UPSERT: Statement = { name: "entities_upsert", text: upsert(" WHERE entities.version < excluded.version") };
// A full copy says how things stand, whatever is there: what came after it comes again.
const COPY: Statement = { name: "entities_copy", text: upsert(", copy_id = excluded.copy_id") };
const REMOVE: Statement = {
  name: "entities_remove",
  text: `DELETE FROM entities e USING unnest($2::TEXT[], $3::TEXT[], $4::INT8[]) AS n(kind, entity_id, version)
    WHERE e.group_id = $1 AND e.kind = n.kind AND e.entity_id = n.entity_id AND e.version <= n.version RETURNING e.region_key::TEXT AS key`,
};
const SWEEP: Statement = { name: "entities_sweep", text: "DELETE FROM entities WHERE group_id = $1 AND copy_id <> $2 RETURNING region_key::TEXT AS key" };

/** See MaterializationRows.writeEntities. */
export async function writeEntities(session: SqlSession, groupId: number, copyId: number, entities: readonly Entity[]): Promise<string[]> {
  if (entities.length === 0) return [];
  const rows = columnsOf(entities);
  const moved = await session.run<{ key: string }>(copyId === 0 ? UPSERT : COPY, [
    groupId, copyId, textArray(rows.kinds), textArray(rows.ids), int8Array(rows.regions), int8Array(rows.reaches), int8Array(rows.versions), int8Array(rows.epochs), int8Array(rows.servers), textArray(rows.players), textArray(rows.labels),
    int8Array(rows.quantities), ...rows.corners.map(int8Array), byteaArray(rows.payloads),
  ]);
  return keysOf(moved.rows);
}

/** See MaterializationRows.removeEntities. */
export async function removeEntities(session: SqlSession, groupId: number, removed: readonly RemovedEntity[]): Promise<string[]> {
  if (removed.length === 0) return [];
  const kinds = textArray(removed.map((each) => each.kind));
  const ids = textArray(removed.map((each) => each.entityId));
  const { rows } = await session.run<{ key: string }>(REMOVE, [groupId, kinds, ids, int8Array(removed.map((each) => each.version))]);
  return keysOf(rows);
}

/** Removes what the full copy did not name. */
export async function sweepEntities(session: SqlSession, groupId: number, copyId: number): Promise<string[]> {
  const { rows } = await session.run<{ key: string }>(SWEEP, [groupId, copyId]);
  return keysOf(rows);
}

function keysOf(rows: readonly { readonly key: string }[]): string[] {
  return [...new Set(rows.map(({ key }) => key))];
}

interface EntityColumns {
  readonly kinds: string[];
  readonly ids: string[];
  readonly regions: bigint[];
  readonly reaches: number[];
  readonly versions: number[];
  readonly epochs: number[];
  readonly servers: number[];
  readonly players: string[];
  readonly labels: string[];
  readonly quantities: number[];
  /** min x, y, z, max x, y, z. */
  readonly corners: number[][];
  readonly payloads: Uint8Array[];
}

function columnsOf(entities: readonly Entity[]): EntityColumns {
  const columns: EntityColumns = {
    kinds: [], ids: [], regions: [], reaches: [], versions: [], epochs: [], servers: [], players: [], labels: [], quantities: [],
    corners: [[], [], [], [], [], []], payloads: [],
  };
  for (const entity of entities) {
    const { region } = entity;
    if (region === undefined) throw new TypeError("an entity without a region came past validation");
    // An entity that fills no box is wherever its region is.
    const box = entity.bounds === undefined ? boundsOfRegion(region) : thicken(quantizeBounds(entity.bounds));
    columns.kinds.push(entity.kind);
    columns.ids.push(entity.entityId);
    columns.regions.push(mortonKey(region));
    columns.reaches.push(reachOf(box, region));
    columns.versions.push(entity.version);
    columns.epochs.push(entity.epoch);
    columns.servers.push(entity.serverId);
    columns.players.push(entity.playerId);
    columns.labels.push(entity.label);
    columns.quantities.push(entity.quantity);
    const corners = [box.minX, box.minY, box.minZ, box.maxX, box.maxY, box.maxZ];
    corners.forEach((corner, at) => columns.corners[at]?.push(corner));
    columns.payloads.push(Entity.encode(entity).finish());
  }
  return columns;
}

/** How far a box goes from its home region. */
function reachOf(box: QuantizedBounds, home: Region): number {
  const reach = Math.max(
    home.x - lowRegion(box.minX), home.y - lowRegion(box.minY), home.z - lowRegion(box.minZ),
    lowRegion(box.maxX - 1) - home.x, lowRegion(box.maxY - 1) - home.y, lowRegion(box.maxZ - 1) - home.z,
  );
  return reach <= 0 ? Reach.HOME : reach === 1 ? Reach.NEIGHBOURS : Reach.FAR;
}
