import { type CacheTierStatistics, LoadRegionResponse } from "@statemesh/contract";
import type { Clock } from "@statemesh/ports";
import { LRUCache } from "lru-cache";
import { type CacheAnswer, type CachedRegion, type Lease, MISS_WITHOUT_LEASE, type RegionCache } from "./region-cache.ts";

export interface MemoryCacheOptions {
  /** Most bytes of all values, as they are encoded. A larger single value is not kept. */
  readonly bytesMax: number;
  readonly ttlMs: number;
  readonly clock: Clock;
}

/** What an entry costs beyond its encoded bytes, about: keys, objects, the list's links. */
const ENTRY_OVERHEAD_BYTES = 512;
/** Most leases at a time. Loads that wait for SQL are bounded well below, so more means that somebody leaks them. */
const LEASES_MAX = 65_536;

class MemoryLease implements Lease {
  readonly key: string;
  valid = true;

  constructor(key: string) {
    this.key = key;
  }
}

/** Least recently used regions of this process, bounded in bytes. */
export class MemoryCache implements RegionCache {
  readonly #entries: LRUCache<string, CachedRegion>;
  readonly #leases = new Map<string, Set<MemoryLease>>();
  #leaseCount = 0;
  #suspended = false;
  #hits = 0;
  #misses = 0;
  #evictions = 0;

  constructor(options: MemoryCacheOptions) {
    this.#entries = new LRUCache({
      maxSize: options.bytesMax,
      maxEntrySize: options.bytesMax,
      ttl: options.ttlMs,
      // Asked each time: the cache's own memory of the time would need a timer.
      ttlResolution: 0,
      // It takes 0 for "no time": a clock may begin there.
      perf: { now: () => options.clock.monotonicMs() + 1 },
      sizeCalculation: (value, key) => LoadRegionResponse.encode(value).finish().length + key.length + ENTRY_OVERHEAD_BYTES,
      dispose: (_value, _key, reason) => {
        if (reason === "evict") this.#evictions += 1;
      },
    });
  }

  async get(key: string): Promise<CacheAnswer> {
    return this.look(key);
  }

  /** `get` without a promise. */
  look(key: string): CacheAnswer {
    const hit = this.#suspended ? undefined : this.#entries.get(key);
    if (hit !== undefined) {
      this.#hits += 1;
      return { hit };
    }
    this.#misses += 1;
    if (this.#suspended || this.#leaseCount >= LEASES_MAX) return MISS_WITHOUT_LEASE;
    const lease = new MemoryLease(key);
    const others = this.#leases.get(key);
    if (others === undefined) this.#leases.set(key, new Set([lease]));
    else others.add(lease);
    this.#leaseCount += 1;
    return { hit: undefined, lease };
  }

  /** What is held, even while suspended: for when nothing else answers. Counts nothing. */
  peek(key: string): CachedRegion | undefined {
    return this.#entries.peek(key);
  }

  async fill(lease: Lease, value: CachedRegion): Promise<void> {
    if (!(lease instanceof MemoryLease)) throw new TypeError("a lease of another cache");
    const { valid } = lease;
    this.abandon(lease);
    if (valid) this.#entries.set(lease.key, value);
  }

  abandon(lease: Lease): void {
    if (!(lease instanceof MemoryLease) || !lease.valid) return;
    lease.valid = false;
    const others = this.#leases.get(lease.key);
    if (others?.delete(lease) !== true) return;
    this.#leaseCount -= 1;
    if (others.size === 0) this.#leases.delete(lease.key);
  }

  async invalidate(keys: readonly string[]): Promise<void> {
    this.drop(keys);
  }

  /** `invalidate` without a promise. */
  drop(keys: readonly string[]): void {
    for (const key of keys) {
      this.#entries.delete(key);
      const leases = this.#leases.get(key);
      if (leases === undefined) continue;
      for (const lease of leases) lease.valid = false;
      this.#leaseCount -= leases.size;
      this.#leases.delete(key);
    }
  }

  /** Forgets everything, leases too. */
  clear(): void {
    this.drop([...this.#leases.keys()]);
    this.#entries.clear();
  }

  /** Invalidations of other replicas no longer come: answers misses until `resume`, which forgets what may be stale. */
  suspend(): void {
    this.#suspended = true;
  }

  resume(): void {
    this.clear();
    this.#suspended = false;
  }

  statistics(): CacheTierStatistics {
    return { hits: this.#hits, misses: this.#misses, entries: this.#entries.size, bytes: this.#entries.calculatedSize, evictions: this.#evictions, errors: 0 };
  }

  async close(): Promise<void> {
    this.clear();
  }
}
