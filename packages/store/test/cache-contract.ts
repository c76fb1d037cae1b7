// What every cache must do, run against each adapter: memory, and the cache in Redis over a real one and a simulated one.
import type { RegionRecord } from "@statemesh/contract";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { CachedRegion, Lease, RegionCache, SharedCache } from "../src/index.ts";

/** Time, as the caches under test know it. */
export interface TestTime {
  settle<T>(work: Promise<T>): Promise<T>;
  /** Lets time pass until the condition holds; throws where it never does. */
  eventually(condition: () => Promise<boolean> | boolean, what: string): Promise<void>;
  nowMs(): number;
}

export interface CachesUnderTest {
  readonly time: TestTime;
  /** A cache of its own, that nobody else uses. */
  make(ttlMs?: number): Promise<RegionCache>;
  close(): Promise<void>;
}

/** A Redis, and caches of several replicas in it. */
export interface RedisUnderTest {
  readonly time: TestTime;
  /** One replica's cache; those of one prefix share it. Subscribed and ready. Where it subscribes anew it may have missed anything: `heard` gets `*`. */
  replica(prefix: string, heard?: (keys: readonly string[]) => void): Promise<SharedCache>;
  /** Redis answers nothing, though connections stand. */
  pause(): void;
  resume(): void;
  close(): Promise<void>;
}

export function valueOf(version: number, bytes = 0): CachedRegion {
  const record: RegionRecord = {
    region: { x: 1, y: 0, z: 0 }, regionText: "region_1_0_0", version, epoch: 0, attributes: new Map([["k", "v"]]),
    layers: bytes === 0 ? [] : [{ name: "l", data: Buffer.alloc(bytes, 1), contentType: "" }], updatedAtMs: 5,
  };
  return { record, entities: [], moreEntities: false, tier: "" };
}

/** A miss with the lease to fill it. */
export async function missed(cache: RegionCache, key: string, time?: TestTime): Promise<Lease> {
  const answer = await (time === undefined ? cache.get(key) : time.settle(cache.get(key)));
  expect(answer.hit).toBeUndefined();
  if (answer.hit !== undefined || answer.lease === undefined) throw new Error("expected a lease");
  return answer.lease;
}

/** The cache, with every call waited for on the time of the test. */
function settled(cache: RegionCache, time: TestTime): RegionCache {
  return {
    get: (key) => time.settle(cache.get(key)),
    fill: (lease, value) => time.settle(cache.fill(lease, value)),
    abandon: (lease) => cache.abandon(lease),
    invalidate: (keys) => time.settle(cache.invalidate(keys)),
    statistics: () => cache.statistics(),
    close: () => cache.close(),
  };
}

export function cacheContract(name: string, start: () => Promise<CachesUnderTest>): void {
  describe(`a cache in ${name}`, () => {
    let caches: CachesUnderTest;

    beforeAll(async () => {
      caches = await start();
    }, 180_000);

    afterAll(async () => {
      await caches.close();
    });

    const make = async (ttlMs?: number): Promise<RegionCache> => settled(await caches.make(ttlMs), caches.time);

    it("answers what was filled in, whole", async () => {
      const cache = await make();
      await cache.fill(await missed(cache, "r:1"), valueOf(3, 1_000_000));
      expect((await cache.get("r:1")).hit).toEqual(valueOf(3, 1_000_000));
      await missed(cache, "r:2");
      expect(cache.statistics()).toMatchObject({ hits: 1, misses: 2, errors: 0 });
      await cache.close();
    });

    it("forgets what is invalidated", async () => {
      const cache = await make();
      await cache.fill(await missed(cache, "r:1"), valueOf(1));
      await cache.invalidate(["r:0", "r:1"]);
      await missed(cache, "r:1");
      await cache.close();
    });

    it("never takes a fill that comes after an invalidation of its key", async () => {
      const cache = await make();
      const slow = await missed(cache, "r:1");
      await cache.invalidate(["r:1"]);
      await cache.fill(slow, valueOf(1));
      await missed(cache, "r:1");
      await cache.close();
    });

    it("keeps the newer value when the older one is filled in last", async () => {
      const cache = await make();
      const slow = await missed(cache, "r:1");
      await cache.invalidate(["r:1"]);
      await cache.fill(await missed(cache, "r:1"), valueOf(2));
      await cache.fill(slow, valueOf(1));
      expect((await cache.get("r:1")).hit).toEqual(valueOf(2));
      await cache.close();
    });

    it("takes fills of other keys, whatever is invalidated", async () => {
      const cache = await make();
      const lease = await missed(cache, "r:1");
      await cache.invalidate(["r:2"]);
      await cache.fill(lease, valueOf(1));
      expect((await cache.get("r:1")).hit).toEqual(valueOf(1));
      await cache.close();
    });

    it("takes a fill on another lease after one was given back", async () => {
      const cache = await make();
      const lease = await missed(cache, "r:1");
      cache.abandon(lease);
      await cache.fill(await missed(cache, "r:1"), valueOf(4));
      expect((await cache.get("r:1")).hit).toEqual(valueOf(4));
      await cache.close();
    });

    it("forgets after the time to live", async () => {
      const cache = await make(60);
      await cache.fill(await missed(cache, "r:1"), valueOf(1));
      await caches.time.eventually(async () => (await cache.get("r:1")).hit === undefined, "the end of the time to live");
      await cache.close();
    });

    it("keeps that a region was never stored", async () => {
      const cache = await make();
      const nothing: CachedRegion = { record: undefined, entities: [], moreEntities: false, tier: "" };
      await cache.fill(await missed(cache, "r:1"), nothing);
      expect((await cache.get("r:1")).hit).toEqual(nothing);
      await cache.close();
    });
  });
}

export function sharedCacheContract(name: string, start: () => Promise<RedisUnderTest>): void {
  describe(`a cache that replicas share in ${name}`, () => {
    let redis: RedisUnderTest;

    beforeAll(async () => {
      redis = await start();
    }, 180_000);

    afterAll(async () => {
      await redis.close();
    });

    const settle = async <T>(work: Promise<T>): Promise<T> => await redis.time.settle(work);
    const lease = async (cache: RegionCache, key: string): Promise<Lease> => await missed(cache, key, redis.time);

    it("tells the other replicas what it invalidates, and not itself", async () => {
      const heard: string[] = [];
      const own: string[] = [];
      const one = await redis.replica("shared:", (keys) => own.push(...keys));
      const two = await redis.replica("shared:", (keys) => heard.push(...keys));
      await settle(one.fill(await lease(one, "r:1"), valueOf(1)));
      expect((await settle(two.get("r:1"))).hit).toEqual(valueOf(1));
      await settle(one.invalidate(["r:1", "e:1"]));
      await redis.time.eventually(() => heard.length === 2, "the message");
      expect([heard, own]).toEqual([["r:1", "e:1"], []]);
      await lease(two, "r:1");
      await one.close();
      await two.close();
    });

    it("takes no fill after the invalidation of another replica", async () => {
      const one = await redis.replica("others:");
      const two = await redis.replica("others:");
      const slow = await lease(one, "r:1");
      await settle(two.invalidate(["r:1"]));
      await settle(two.invalidate(["r:1"]));
      await settle(one.fill(slow, valueOf(1)));
      await lease(one, "r:1");
      await one.close();
      await two.close();
    });

    it("misses at once while Redis hangs, and makes up for invalidations when it is back", async () => {
      const cache = await redis.replica("hung:");
      const other = await redis.replica("hung:");
      await settle(cache.fill(await lease(cache, "r:1"), valueOf(1)));
      redis.pause();
      await settle(cache.invalidate(["r:1"]));
      expect(cache.pendingInvalidations).toBe(1);
      expect(await settle(cache.get("r:1"))).toEqual({ hit: undefined, lease: undefined });
      const began = redis.time.nowMs();
      for (let time = 0; time < 200; time++) expect((await settle(cache.get("r:2"))).hit).toBeUndefined();
      // 200 timeouts would be 400 seconds: the breaker lets a few through.
      expect(redis.time.nowMs() - began).toBeLessThan(20_000);
      redis.resume();
      await redis.time.eventually(() => cache.pendingInvalidations === 0, "the invalidation that was owed");
      await redis.time.eventually(async () => (await settle(other.get("r:1"))).hit === undefined && other.available, "the other replica");
      expect((await settle(other.get("r:1"))).hit).toBeUndefined();
      expect(cache.statistics().errors).toBeGreaterThan(0);
      await cache.close();
      await other.close();
    });

    it("drops everything of its own when more invalidations were missed than it keeps apart", async () => {
      const heard: string[] = [];
      const cache = await redis.replica("many:");
      const other = await redis.replica("many:", (keys) => heard.push(...keys));
      await settle(cache.fill(await lease(cache, "r:1"), valueOf(1)));
      await settle(cache.fill(await lease(cache, "r:kept?"), valueOf(1)));
      redis.pause();
      await settle(cache.invalidate(Array.from({ length: 10_050 }, (_, at) => `r:${at}`)));
      expect(cache.pendingInvalidations).toBe(0);
      redis.resume();
      await redis.time.eventually(() => heard.includes("*"), "the message to forget everything");
      expect((await settle(other.get("r:1"))).hit).toBeUndefined();
      expect((await settle(other.get("r:kept?"))).hit).toBeUndefined();
      await cache.close();
      await other.close();
    });
  });
}
