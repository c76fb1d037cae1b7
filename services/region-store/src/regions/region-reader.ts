import {
  type Entity,
  type ListRegionsRequest,
  type ListRegionsResponse,
  type LoadRegionRequest,
  type LoadRegionResponse,
  type QueryRegionsRequest,
  type QueryRegionsResponse,
  type Region,
  type RegionLayer,
  type RegionRecord,
  SpatialQuery,
} from "@statemesh/contract";
import { formatRegion, mortonKey } from "@statemesh/world";
import { type CachedRegion, type Caller, entitiesKey, PAGE_BYTES_MAX, PAGE_SIZE_DEFAULT, recordKey, regionOrText, type TieredCache, type TieredValue, withoutDeadline } from "@statemesh/store";
import { loadEntities } from "../entities/entity-reader.ts";
import { makePageToken, pageSizeOf, readPageToken } from "../page-token.ts";
import { areaCondition, areaValues, rangeValues } from "../spatial/area-condition.ts";
import { regionRanges, regionsOfArea, searchAreaOf } from "../spatial/search-area.ts";
import type { Database, Sql, Statement } from "../sql/database.ts";
import { attributesOf } from "./region-rows.ts";

// One statement, one snapshot: the layers are those of the version.
const loadText = (data: string): string => `SELECT r.version, r.epoch, r.attributes, r.updated_at_ms, l.name, l.content_type, ${data} AS data
  FROM regions r LEFT JOIN region_layers l ON l.region_key = r.region_key WHERE r.region_key = $1 AND r.stored ORDER BY l.name`;
const LOAD: Statement = { name: "region_load", text: loadText("l.data") };
const LOAD_WITHOUT_DATA: Statement = { name: "region_load_without_data", text: loadText("NULL::BYTEA") };

const LISTED = "region_key::TEXT AS key, x, y, z, version, epoch, attributes, updated_at_ms";
const LIST: Statement = { name: "regions_list", text: `SELECT ${LISTED} FROM regions WHERE region_key > $1 AND stored ORDER BY region_key LIMIT $2` };

const EDGE_CM = 200_000;
const CUBE = {
  min: [`c.x * ${EDGE_CM}`, `c.y * ${EDGE_CM}`, `c.z * ${EDGE_CM}`],
  max: [`(c.x + 1) * ${EDGE_CM}`, `(c.y + 1) * ${EDGE_CM}`, `(c.z + 1) * ${EDGE_CM}`],
} as const;
const QUERY: Statement = {
  name: "regions_query",
  text: `SELECT f.key, f.x, f.y, f.z, f.version, f.epoch, f.attributes, f.updated_at_ms
    FROM unnest($3::INT8[], $4::INT8[]) AS r(first, last), LATERAL (
      SELECT c.region_key, c.region_key::TEXT AS key, c.x, c.y, c.z, c.version, c.epoch, c.attributes, c.updated_at_ms
      FROM regions c WHERE c.region_key BETWEEN r.first AND r.last AND c.region_key > $1 AND c.stored AND ${areaCondition(5, CUBE)}
      ORDER BY c.region_key LIMIT $2) AS f
    ORDER BY f.region_key LIMIT $2`,
};
const LAYER_NAMES: Statement = {
  name: "region_layer_names",
  text: "SELECT region_key::TEXT AS key, name, content_type FROM region_layers WHERE region_key = ANY($1::INT8[]) ORDER BY region_key, name",
};

interface ListedRow extends Region {
  readonly key: string;
  readonly version: number;
  readonly epoch: number;
  readonly attributes: Record<string, string>;
  readonly updated_at_ms: number;
}

interface LoadedRow {
  readonly version: number;
  readonly epoch: number;
  readonly attributes: Record<string, string>;
  readonly updated_at_ms: number;
  readonly name: string | null;
  readonly content_type: string | null;
  readonly data: Buffer | null;
}

const NO_DATA = Buffer.alloc(0);
const BEFORE_ALL = "-1";

/** Loads, lists and finds regions. */
export class RegionReader {
  readonly #database: Database;
  readonly #cache: TieredCache;

  constructor(database: Database, cache: TieredCache) {
    this.#database = database;
    this.#cache = cache;
  }

  async load(request: LoadRegionRequest, caller?: Caller): Promise<LoadRegionResponse> {
    const region = regionOrText(request.region, request.regionText, "region", "region_text");
    const key = mortonKey(region);
    const [record, entities] = await Promise.all([
      this.#record(region, key, request, caller),
      request.withoutEntities ? undefined : this.#entities(key, request.bypassCache, caller),
    ]);
    return {
      record: request.withoutLayerData ? withoutLayerData(record.value.record) : record.value.record,
      entities: entities?.value.entities ?? [],
      moreEntities: entities?.value.moreEntities ?? false,
      tier: record.tier,
    };
  }

  async list(request: ListRegionsRequest, caller?: Caller): Promise<ListRegionsResponse> {
    const size = pageSizeOf(request.pageSize);
    const args = new Uint8Array(0);
    const cursor = readPageToken("ListRegions", args, request.pageToken, 1)?.[0] ?? BEFORE_ALL;
    const sql = this.#database.bulk;
    const rows = await sql.read<ListedRow>(LIST, [cursor, size + 1], caller);
    return await this.#page(sql, "ListRegions", args, rows, size, caller);
  }

  async query(request: QueryRegionsRequest, caller?: Caller): Promise<QueryRegionsResponse> {
    const size = pageSizeOf(request.pageSize);
    const area = searchAreaOf(request.query);
    const args = SpatialQuery.encode(request.query ?? { shape: undefined }).finish();
    const cursor = readPageToken("QueryRegions", args, request.pageToken, 1)?.[0] ?? BEFORE_ALL;
    if (regionsOfArea(area) === undefined) return { records: [], nextPageToken: "" };
    const ranges = regionRanges(area).filter((range) => range.last > BigInt(cursor));
    const sql = size > PAGE_SIZE_DEFAULT ? this.#database.bulk : this.#database.query;
    const rows = await sql.read<ListedRow>(QUERY, [cursor, size + 1, ...rangeValues(ranges), ...areaValues(area)], caller);
    return await this.#page(sql, "QueryRegions", args, rows, size, caller);
  }

  async #record(region: Region, key: bigint, request: LoadRegionRequest, caller: Caller | undefined): Promise<TieredValue> {
    if (request.bypassCache) {
      const statement = request.withoutLayerData ? LOAD_WITHOUT_DATA : LOAD;
      return await this.#cache.past(() => this.#recordFromSql(statement, region, key, caller));
    }
    // A load that others may share is nobody's to cancel.
    return await this.#cache.get(recordKey(key), () => this.#recordFromSql(LOAD, region, key, withoutDeadline(caller)));
  }

  async #entities(key: bigint, bypassCache: boolean, caller: Caller | undefined): Promise<TieredValue> {
    if (bypassCache) return await this.#cache.past(() => loadEntities(this.#database.query, key, caller));
    return await this.#cache.get(entitiesKey(key), () => loadEntities(this.#database.query, key, withoutDeadline(caller)));
  }

  async #recordFromSql(statement: Statement, region: Region, key: bigint, caller: Caller | undefined): Promise<CachedRegion> {
    const rows = await this.#database.query.read<LoadedRow>(statement, [key], caller);
    const first = rows[0];
    if (first === undefined) return answerOf(undefined, []);
    const layers: RegionLayer[] = [];
    for (const row of rows) {
      if (row.name !== null) layers.push({ name: row.name, contentType: row.content_type ?? "", data: row.data ?? NO_DATA });
    }
    return answerOf(recordOf(region, first, layers), []);
  }

  /** One more row than the page was read, to know whether there are more; a page also ends before it gets too large. */
  async #page(sql: Sql, call: string, args: Uint8Array, rows: readonly ListedRow[], size: number, caller: Caller | undefined): Promise<ListRegionsResponse> {
    const page: ListedRow[] = [];
    let bytes = 0;
    for (const row of rows.slice(0, size)) {
      bytes += JSON.stringify(row.attributes).length;
      if (page.length > 0 && bytes > PAGE_BYTES_MAX) break;
      page.push(row);
    }
    const last = page.at(-1);
    const layers = new Map<string, RegionLayer[]>();
    if (page.length > 0) {
      const named = await sql.read<{ key: string; name: string; content_type: string }>(LAYER_NAMES, [`{${page.map((row) => row.key).join(",")}}`], caller);
      for (const row of named) {
        const ofRegion = layers.get(row.key) ?? [];
        ofRegion.push({ name: row.name, contentType: row.content_type, data: NO_DATA });
        layers.set(row.key, ofRegion);
      }
    }
    return {
      records: page.map((row) => recordOf({ x: row.x, y: row.y, z: row.z }, row, layers.get(row.key) ?? [])),
      nextPageToken: last !== undefined && page.length < rows.length ? makePageToken(call, args, [last.key]) : "",
    };
  }
}

function recordOf(region: Region, row: Pick<ListedRow, "version" | "epoch" | "attributes" | "updated_at_ms">, layers: RegionLayer[]): RegionRecord {
  return {
    region,
    regionText: formatRegion(region),
    version: row.version,
    epoch: row.epoch,
    attributes: attributesOf(row.attributes),
    layers,
    updatedAtMs: row.updated_at_ms,
  };
}

function answerOf(record: RegionRecord | undefined, entities: Entity[]): CachedRegion {
  return { record, entities, moreEntities: false, tier: "" };
}

/** A copy, because the record may be the cache's. */
function withoutLayerData(record: RegionRecord | undefined): RegionRecord | undefined {
  if (record === undefined) return undefined;
  return { ...record, layers: record.layers.map((layer) => ({ ...layer, data: NO_DATA })) };
}
