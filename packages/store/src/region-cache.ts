import type { CacheTierStatistics, LoadRegionResponse } from "@statemesh/contract";

/**
 * What the caches keep: under `r:KEY` a region's record (an answer without record: never stored), under `e:KEY` its
 * entities, with a record that says by its version how new they are, and nothing else. KEY is the Morton key. Values are shared: nobody changes one.
 */
export type CachedRegion = LoadRegionResponse;

/** The right to fill a key once, given to who missed it. An invalidation in between takes it away. */
export interface Lease {
  readonly key: string;
}

/** What a cache answers: the value, or a lease to fill it; without either the cache wants no value now. */
export type CacheAnswer = { readonly hit: CachedRegion } | { readonly hit: undefined; readonly lease: Lease | undefined };

/**
 * One tier. Invariant: after `invalidate(keys)` has returned, no `get` answers a value that was read before it,
 * however late its fill comes. A tier that fails answers a miss without a lease, counts an error, and throws nothing.
 */
export interface RegionCache {
  get(key: string): Promise<CacheAnswer>;
  /** Uses up the lease. A lease that an invalidation took away fills nothing. */
  fill(lease: Lease, value: CachedRegion): Promise<void>;
  /** Gives the lease back unused. */
  abandon(lease: Lease): void;
  invalidate(keys: readonly string[]): Promise<void>;
  statistics(): CacheTierStatistics;
  close(): Promise<void>;
}

export const MISS_WITHOUT_LEASE: CacheAnswer = { hit: undefined, lease: undefined };

/** The key of a region's record. */
export function recordKey(mortonKey: bigint | string): string {
  return `r:${mortonKey}`;
}

/** The key of a region's entities. */
export function entitiesKey(mortonKey: bigint | string): string {
  return `e:${mortonKey}`;
}
