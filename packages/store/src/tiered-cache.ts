import { type CacheTierStatistics, MeshError } from "@statemesh/contract";
import type { MemoryCache } from "./memory-cache.ts";
import type { CachedRegion, Lease, RegionCache } from "./region-cache.ts";

/** Where a value came from. */
export type Tier = "memory" | "redis" | "sql";

export interface TieredValue {
  readonly value: CachedRegion;
  readonly tier: Tier;
}

/** Keys whose newest shown version is remembered. */
const SHOWN_MAX = 16_384;

/** Reads through memory, Redis (where configured) and SQL; concurrent readers of a key share one load. */
export class TieredCache {
  readonly #memory: MemoryCache;
  readonly #redis: RegionCache | undefined;
  /** Loads under way. A reader that comes after an invalidation must not join one that began before it. */
  readonly #loads = new Map<string, Promise<TieredValue>>();
  /**
   * The newest version that this replica has shown of a key. Between a COMMIT and its invalidation caches may still be filled, and
   * loads be under way, with the version before; who has seen the newer one from SQL must not see that.
   */
  readonly #shown = new Map<string, number>();
  readonly #sql: CacheTierStatistics = { hits: 0, misses: 0, entries: 0, bytes: 0, evictions: 0, errors: 0 };

  constructor(memory: MemoryCache, redis: RegionCache | undefined) {
    this.#memory = memory;
    this.#redis = redis;
  }

  /**
   * The value of a key. `load` reads SQL. Where SQL is away, an entry that memory holds is answered whatever it knows of
   * invalidations: nobody can have changed SQL through us.
   */
  async get(key: string, load: () => Promise<CachedRegion>): Promise<TieredValue> {
    const shown = this.#shown.get(key) ?? 0;
    let known = this.#memory.look(key);
    if (known.hit !== undefined) {
      if (versionOf(known.hit) >= shown) return { value: known.hit, tier: "memory" };
      // Filled by a load that read SQL before the one that showed the newer version.
      this.#memory.drop([key]);
      known = this.#memory.look(key);
    }
    const running = this.#loads.get(key);
    if (running !== undefined) {
      const joined = await running.finally(() => {
        if (known.hit === undefined && known.lease !== undefined) this.#memory.abandon(known.lease);
      });
      if (versionOf(joined.value) >= shown) return joined;
      known = { hit: undefined, lease: undefined };
    }
    const lease = known.hit === undefined ? known.lease : undefined;
    const started = this.#load(key, lease, load);
    this.#loads.set(key, started);
    try {
      return await started;
    } finally {
      if (this.#loads.get(key) === started) this.#loads.delete(key);
    }
  }

  /** Reads SQL, past every tier, and leaves the caches alone. */
  async past(load: () => Promise<CachedRegion>): Promise<TieredValue> {
    return { value: await this.#fromSql(load), tier: "sql" };
  }

  /** Call after COMMIT, and where an outcome is unknown. Returns when Redis has confirmed or was given up on. */
  async invalidate(keys: readonly string[]): Promise<void> {
    if (keys.length === 0) return;
    this.drop(keys);
    if (this.#redis === undefined) return;
    await this.#redis.invalidate(keys);
    // Until it had, Redis may have answered the value from before, and memory kept that.
    this.drop(keys);
  }

  /** Another replica invalidated: forget in this process. */
  drop(keys: readonly string[]): void {
    if (keys.includes("*")) {
      this.#loads.clear();
      this.#memory.clear();
      return;
    }
    for (const key of keys) this.#loads.delete(key);
    this.#memory.drop(keys);
  }

  /** Whether invalidations of other replicas arrive; without them memory answers nothing. */
  setSubscribed(subscribed: boolean): void {
    if (!subscribed) {
      this.#memory.suspend();
      return;
    }
    this.#loads.clear();
    this.#memory.resume();
  }

  statistics(): Map<string, CacheTierStatistics> {
    const none: CacheTierStatistics = { hits: 0, misses: 0, entries: 0, bytes: 0, evictions: 0, errors: 0 };
    return new Map([
      ["memory", this.#memory.statistics()],
      ["redis", this.#redis?.statistics() ?? none],
      ["sql", { ...this.#sql }],
    ]);
  }

  async close(): Promise<void> {
    await this.#redis?.close();
    await this.#memory.close();
  }

  async #load(key: string, lease: Lease | undefined, load: () => Promise<CachedRegion>): Promise<TieredValue> {
    try {
      const shared = this.#redis === undefined ? undefined : await this.#redis.get(key);
      if (shared?.hit !== undefined && versionOf(shared.hit) >= (this.#shown.get(key) ?? 0)) {
        this.#show(key, shared.hit);
        if (lease !== undefined) await this.#memory.fill(lease, shared.hit);
        return { value: shared.hit, tier: "redis" };
      }
      const value = await this.#fromSql(load);
      const isNewest = versionOf(value) >= (this.#shown.get(key) ?? 0);
      this.#show(key, value);
      if (lease !== undefined) {
        if (isNewest) await this.#memory.fill(lease, value);
        else this.#memory.abandon(lease);
      }
      // The answer does not wait for Redis to take the value.
      if (shared !== undefined && shared.hit === undefined && shared.lease !== undefined) void this.#redis?.fill(shared.lease, value);
      return { value, tier: "sql" };
    } catch (error) {
      if (lease !== undefined) this.#memory.abandon(lease);
      const held = error instanceof MeshError && error.reason === "STORE_UNAVAILABLE" ? this.#memory.peek(key) : undefined;
      // Others may have changed it while memory did not hear of it, and this replica shown that.
      if (held === undefined || versionOf(held) < (this.#shown.get(key) ?? 0)) throw error;
      return { value: held, tier: "memory" };
    }
  }

  #show(key: string, value: CachedRegion): void {
    const version = versionOf(value);
    if (version <= (this.#shown.get(key) ?? 0)) return;
    this.#shown.delete(key);
    this.#shown.set(key, version);
    if (this.#shown.size <= SHOWN_MAX) return;
    for (const oldest of this.#shown.keys()) {
      this.#shown.delete(oldest);
      break;
    }
  }

  async #fromSql(load: () => Promise<CachedRegion>): Promise<CachedRegion> {
    try {
      const value = await load();
      if (value.record?.region === undefined && value.entities.length === 0) this.#sql.misses += 1;
      else this.#sql.hits += 1;
      return value;
    } catch (error) {
      this.#sql.errors += 1;
      throw error;
    }
  }
}

/** Of a region's record its own version, of its entities how far the logs of all groups are written down; 0 where nothing is stored. */
function versionOf(value: CachedRegion): number {
  return value.record?.version ?? 0;
}
