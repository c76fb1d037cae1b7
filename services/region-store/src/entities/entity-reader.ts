import { Entity, MeshError, QueryEntitiesRequest, type QueryEntitiesResponse, RegionRecord } from "@statemesh/contract";
import { type CachedRegion, type Caller, checkText, KIND_BYTES_MAX, KINDS_MAX, LOADED_ENTITIES_MAX, LOADED_ENTITY_BYTES_MAX, PAGE_BYTES_MAX } from "@statemesh/store";
import { makePageToken, pageSizeOf, readPageToken } from "../page-token.ts";
import { areaCondition, areaValues, rangeValues } from "../spatial/area-condition.ts";
import { entityRanges, searchAreaOf } from "../spatial/search-area.ts";
import { int8Array, textArray } from "../sql/array-literal.ts";
import type { Sql, Statement } from "../sql/database.ts";

/** Rows in order; from the row on that passes the budget of bytes the payload is NULL, so that it never leaves the server. */
function withinBudget(columns: string, order: string, rows: string, budget: string): string {
  return `SELECT ${columns}, CASE WHEN total <= ${budget} OR total = bytes THEN payload END AS payload FROM (
    SELECT ${columns}, payload, octet_length(payload)::INT8 AS bytes, (sum(octet_length(payload)) OVER (ORDER BY ${order}))::INT8 AS total FROM (${rows}) AS chosen
  ) AS summed ORDER BY ${order}`;
}

const BY_REGION = "kind, entity_id, group_id";
// One walk of the index for each reach, none further than the limit; and in the same snapshot how far the logs of all groups are written down,
// which never goes back: by that caches tell an older answer from a newer one, also of a region that was emptied.
const LOAD: Statement = {
  name: "entities_load",
  text: `SELECT w.stands, s.kind, s.entity_id, s.group_id, s.payload FROM (SELECT COALESCE(sum(log_index), 0)::INT8 AS stands FROM watermarks) AS w LEFT JOIN (${withinBudget(
    BY_REGION,
    BY_REGION,
    `SELECT f.kind, f.entity_id, f.group_id, f.payload FROM unnest(ARRAY[0, 1, 2]::INT8[]) AS r(reach), LATERAL (
        SELECT e.kind, e.entity_id, e.group_id, e.payload FROM entities e WHERE e.reach = r.reach AND e.region_key = $1
        ORDER BY e.kind, e.entity_id, e.group_id LIMIT $2) AS f
      ORDER BY ${BY_REGION} LIMIT $2`,
    "$3",
  )}) AS s ON TRUE ORDER BY s.kind, s.entity_id, s.group_id`,
};

const BY_PLACE = "reach, place, kind, entity_id, group_id";
const BOX = { min: ["e.min_x", "e.min_y", "e.min_z"], max: ["e.max_x", "e.max_y", "e.max_z"] } as const;
const QUERY: Statement = {
  name: "entities_query",
  text: withinBudget(
    BY_PLACE,
    BY_PLACE,
    `SELECT f.reach, f.place, f.kind, f.entity_id, f.group_id, f.payload
      FROM unnest($9::INT8[], $10::INT8[], $11::INT8[]) AS r(reach, first, last), LATERAL (
        SELECT e.reach, e.region_key AS place, e.kind, e.entity_id, e.group_id, e.payload FROM entities e
        WHERE e.reach = r.reach AND e.region_key BETWEEN r.first AND r.last
          AND (e.reach, e.region_key, e.kind, e.entity_id, e.group_id) > ($1::INT8, $2::INT8, $3::TEXT, $4::TEXT, $5::INT8)
          AND ($8::TEXT[] = '{}' OR e.kind = ANY($8::TEXT[]))
          AND ${areaCondition(12, BOX)}
        ORDER BY e.region_key, e.kind, e.entity_id, e.group_id LIMIT $6) AS f
      ORDER BY ${BY_PLACE} LIMIT $6`,
    "$7",
  ).replace(`SELECT ${BY_PLACE}, CASE`, "SELECT reach, place::TEXT AS place_text, kind, entity_id, group_id, CASE"),
};

interface Row {
  readonly kind: string;
  readonly entity_id: string;
  readonly group_id: number;
  readonly payload: Buffer | null;
}

/** Without entities one row of a load says so. */
type LoadedRow = Row & { readonly stands: number } | { readonly kind: null; readonly payload: null; readonly stands: number };

function isEntity(row: LoadedRow): row is Row & { readonly stands: number } {
  return row.kind !== null;
}

/** The first entities of a region, at most 1,000 and 768 KiB. The version of the answer's record is how far the logs of all groups are written down. */
export async function loadEntities(database: Sql, regionKey: bigint, caller: Caller | undefined): Promise<CachedRegion> {
  const loaded = await database.read<LoadedRow>(LOAD, [regionKey, LOADED_ENTITIES_MAX + 1, LOADED_ENTITY_BYTES_MAX], caller);
  const rows = loaded.filter(isEntity);
  const entities = decode(rows.slice(0, LOADED_ENTITIES_MAX));
  return { record: RegionRecord.fromPartial({ version: loaded[0]?.stands ?? 0 }), entities, moreEntities: entities.length < rows.length, tier: "" };
}

/** Entities in a place, paged; those that stay inside their region first, in Morton order of regions. */
export async function queryEntities(database: Sql, request: QueryEntitiesRequest, caller?: Caller): Promise<QueryEntitiesResponse> {
  const size = pageSizeOf(request.pageSize);
  const area = searchAreaOf(request.query);
  if (request.kinds.length > KINDS_MAX) throw MeshError.field("kinds", `must name at most ${KINDS_MAX} kinds`);
  request.kinds.forEach((kind, at) => checkText(kind, 1, KIND_BYTES_MAX, `kinds[${at}]`));
  const args = QueryEntitiesRequest.encode({ query: request.query, kinds: request.kinds, pageSize: 0, pageToken: "" }).finish();
  const cursor = readPageToken("QueryEntities", args, request.pageToken, 5) ?? ["0", "-1", "", "", "0"];
  const [reach, place] = [Number(cursor[0]), BigInt(cursor[1] ?? "-1")];
  const ranges = entityRanges(area).filter((range) => range.reach > reach || (range.reach === reach && range.last >= place));
  const values = [...cursor, size + 1, PAGE_BYTES_MAX, textArray(request.kinds), int8Array(ranges.map((range) => range.reach)), ...rangeValues(ranges), ...areaValues(area)];
  const rows = await database.read<Row & { reach: number; place_text: string }>(QUERY, values, caller);
  const entities = decode(rows.slice(0, size));
  const last = entities.length < rows.length ? rows[entities.length - 1] : undefined;
  return {
    entities,
    nextPageToken: last === undefined ? "" : makePageToken("QueryEntities", args, [String(last.reach), last.place_text, last.kind, last.entity_id, String(last.group_id)]),
  };
}

/** Up to the first row that passed the budget. */
function decode(rows: readonly Row[]): Entity[] {
  const entities: Entity[] = [];
  for (const row of rows) {
    if (row.payload === null) break;
    entities.push(Entity.decode(row.payload));
  }
  return entities;
}
