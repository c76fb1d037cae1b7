import type {
  DeleteRegionRequest,
  DeleteRegionResponse,
  GetCacheStatisticsResponse,
  GetWatermarksRequest,
  GetWatermarksResponse,
  ListRegionsRequest,
  ListRegionsResponse,
  LoadEventualValuesRequest,
  LoadEventualValuesResponse,
  LoadRegionRequest,
  LoadRegionResponse,
  MaterializeRequest,
  MaterializeResponse,
  PatchRegionRequest,
  PatchRegionResponse,
  QueryEntitiesRequest,
  QueryEntitiesResponse,
  QueryRegionsRequest,
  QueryRegionsResponse,
  ReadCausalHistoryRequest,
  ReadCausalHistoryResponse,
  StoreCausalEventsRequest,
  StoreCausalEventsResponse,
  StoreEventualValuesRequest,
  StoreEventualValuesResponse,
  StoreRegionRequest,
  StoreRegionResponse,
  TransactRegionsRequest,
  TransactRegionsResponse,
} from "@statemesh/contract";
import { SystemClock } from "@statemesh/ports";
import type { KindLoad } from "@statemesh/service";
import { type Caller, CausalHistory, EventualValues, Materializer, MemoryCache, PAGE_SIZE_DEFAULT, type SharedCache, TieredCache } from "@statemesh/store";
import { openRedisCache } from "./cache/redis-connection.ts";
import { SqlCausal } from "./causal/sql-causal.ts";
import type { StoreSettings } from "./configuration.ts";
import { DatabaseMonitor } from "./database-monitor.ts";
import { queryEntities } from "./entities/entity-reader.ts";
import { SqlMaterialization } from "./entities/sql-materialization.ts";
import { PURGE } from "./regions/answered-requests.ts";
import { RegionReader } from "./regions/region-reader.ts";
import { RegionWriter } from "./regions/region-writer.ts";
import { Database, type Sql, type WorkKind } from "./sql/database.ts";
import { MIGRATIONS_FOLDER, type Migration, type MigrationError, readMigrations } from "./sql/migrations.ts";

/** Hears what goes on behind the calls. */
export interface StoreEvents {
  /** SQL began or ceased to answer. */
  readonly databaseChanged: (up: boolean, cause: unknown) => void;
  readonly migrated: (steps: number) => void;
  readonly wrongSchema: (error: MigrationError) => void;
  /** Something behind the calls failed and was passed over: a cache, an idle connection, the removal of what is old. */
  readonly passedOver: (what: "redis" | "idle connection" | "purge", error: unknown) => void;
}

/** Old answers, and causal events that are kept no longer, are removed about this often. */
const PURGE_PERIOD_MS = 60_000;

/** Every call of RegionStoreService, over SQL and the caches. Errors are MeshError. */
export class RegionStore {
  readonly #database: Database;
  readonly #redis: SharedCache | undefined;
  readonly #cache: TieredCache;
  readonly #reader: RegionReader;
  readonly #writer: RegionWriter;
  readonly #materializer: Materializer;
  readonly #eventual: EventualValues;
  readonly #causal: CausalHistory;
  /** For large pages. */
  readonly #causalBulk: CausalHistory;
  readonly #monitor: DatabaseMonitor;
  readonly #nowMs: () => number;
  readonly #events: StoreEvents;
  #purgedMs = 0;

  private constructor(settings: StoreSettings, migrations: readonly Migration[], nowMs: () => number, events: StoreEvents) {
    this.#nowMs = nowMs;
    this.#events = events;
    this.#database = new Database({
      url: settings.databaseUrl,
      poolSize: settings.databasePoolSize,
      reservedConnections: settings.databaseReservedConnections,
      bulkConnections: settings.databaseBulkConnections,
      waitingMax: settings.databaseWaitingMax,
      connectTimeoutMs: settings.databaseConnectTimeoutMs,
      statementTimeoutMs: settings.databaseStatementTimeoutMs,
      onIdleError: (error) => events.passedOver("idle connection", error),
    });
    const memory = new MemoryCache({ bytesMax: settings.cacheBytes, ttlMs: settings.cacheTtlMs, clock: new SystemClock() });
    this.#redis =
      settings.redisUrl === undefined
        ? undefined
        : openRedisCache({
            url: settings.redisUrl,
            ttlMs: settings.cacheTtlMs,
            timeoutMs: settings.redisTimeoutMs,
            prefix: settings.redisPrefix,
            onInvalidated: (keys) => this.#cache.drop(keys),
            onSubscribed: (subscribed) => this.#cache.setSubscribed(subscribed),
            onError: (error) => events.passedOver("redis", error),
          });
    this.#cache = new TieredCache(memory, this.#redis);
    // Until the subscription stands, other replicas could change what memory would answer.
    if (this.#redis !== undefined) this.#cache.setSubscribed(false);
    this.#reader = new RegionReader(this.#database, this.#cache);
    this.#writer = new RegionWriter({ database: this.#database.query, cache: this.#cache, nowMs, requestRetentionMs: settings.requestRetentionMs });
    const rows = new SqlMaterialization(this.#database.consensus);
    this.#materializer = new Materializer(rows, this.#cache);
    this.#eventual = new EventualValues(rows);
    const history = (reads: Sql): CausalHistory =>
      new CausalHistory(new SqlCausal(this.#database.consensus, reads), nowMs, { keepMs: settings.causalRetentionMs, keepEvents: settings.causalRetentionEvents });
    this.#causal = history(this.#database.query);
    this.#causalBulk = history(this.#database.bulk);
    this.#monitor = new DatabaseMonitor(this.#database, migrations, nowMs, {
      onChange: events.databaseChanged,
      onWrongSchema: events.wrongSchema,
      onMigrated: events.migrated,
      onTick: () => this.#purge(),
    });
  }

  /** Begins to bring the schema up to date; SQL and Redis may come later. Throws MigrationError where the migration files are wrong. */
  static async open(settings: StoreSettings, nowMs: () => number, events: StoreEvents): Promise<RegionStore> {
    const store = new RegionStore(settings, await readMigrations(MIGRATIONS_FOLDER), nowMs, events);
    store.#monitor.start();
    return store;
  }

  /** Why the store is not ready; empty when it is. Cached regions are answered all the same. */
  notReady(): readonly string[] {
    return this.#monitor.reasons();
  }

  /** For metrics. */
  load(): { busy: number; idle: number; waiting: number; pendingInvalidations: number } {
    return { ...this.#database.load, pendingInvalidations: this.#redis?.pendingInvalidations ?? 0 };
  }

  /** Calls of one kind that have a connection, and that wait for one. */
  loadOf(kind: WorkKind): KindLoad {
    return this.#database.loadOf(kind);
  }

  async close(): Promise<void> {
    await this.#monitor.stop();
    await this.#cache.close();
    await this.#database.close();
  }

  async storeRegion(request: StoreRegionRequest, caller?: Caller): Promise<StoreRegionResponse> {
    return await this.#writer.store(request, caller);
  }

  async loadRegion(request: LoadRegionRequest, caller?: Caller): Promise<LoadRegionResponse> {
    return await this.#reader.load(request, caller);
  }

  async patchRegion(request: PatchRegionRequest, caller?: Caller): Promise<PatchRegionResponse> {
    return await this.#writer.patch(request, caller);
  }

  async deleteRegion(request: DeleteRegionRequest, caller?: Caller): Promise<DeleteRegionResponse> {
    return await this.#writer.delete(request, caller);
  }

  async listRegions(request: ListRegionsRequest, caller?: Caller): Promise<ListRegionsResponse> {
    return await this.#reader.list(request, caller);
  }

  async queryRegions(request: QueryRegionsRequest, caller?: Caller): Promise<QueryRegionsResponse> {
    return await this.#reader.query(request, caller);
  }

  async queryEntities(request: QueryEntitiesRequest, caller?: Caller): Promise<QueryEntitiesResponse> {
    return await queryEntities(request.pageSize > PAGE_SIZE_DEFAULT ? this.#database.bulk : this.#database.query, request, caller);
  }

  async transactRegions(request: TransactRegionsRequest, caller?: Caller): Promise<TransactRegionsResponse> {
    return await this.#writer.transact(request, caller);
  }

  async materialize(request: MaterializeRequest, caller?: Caller): Promise<MaterializeResponse> {
    return await this.#materializer.materialize(request, caller);
  }

  async getWatermarks(request: GetWatermarksRequest, caller?: Caller): Promise<GetWatermarksResponse> {
    return await this.#materializer.watermarks(request, caller);
  }

  async storeEventualValues(request: StoreEventualValuesRequest, caller?: Caller): Promise<StoreEventualValuesResponse> {
    return await this.#eventual.store(request, caller);
  }

  async loadEventualValues(request: LoadEventualValuesRequest, caller?: Caller): Promise<LoadEventualValuesResponse> {
    return await this.#eventual.load(request, caller);
  }

  async storeCausalEvents(request: StoreCausalEventsRequest, caller?: Caller): Promise<StoreCausalEventsResponse> {
    return await this.#causal.store(request, caller);
  }

  async readCausalHistory(request: ReadCausalHistoryRequest, caller?: Caller): Promise<ReadCausalHistoryResponse> {
    return await (request.pageSize > PAGE_SIZE_DEFAULT ? this.#causalBulk : this.#causal).read(request, caller);
  }

  getCacheStatistics(): GetCacheStatisticsResponse {
    return { tiers: this.#cache.statistics() };
  }

  async #purge(): Promise<void> {
    const now = this.#nowMs();
    if (now - this.#purgedMs < PURGE_PERIOD_MS && now >= this.#purgedMs) return;
    this.#purgedMs = now;
    try {
      const { count } = await this.#database.consensus.transaction((session) => session.run(PURGE, [now]), { decidesRepeats: true });
      const isTrimming = await this.#causal.trim();
      // A full batch: more is waiting, go on with the next tick.
      if (count >= 1_000 || isTrimming) this.#purgedMs = 0;
    } catch (error) {
      this.#events.passedOver("purge", error);
    }
  }
}
