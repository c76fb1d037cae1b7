import type { RegionRecord } from "@statemesh/contract";
import { SystemClock } from "@statemesh/ports";
import { type CachedRegion, type Lease, MemoryCache, type RegionCache } from "@statemesh/store";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type LocalRedis, startRedis } from "../../../tools/local-redis.ts";
import { RedisCache } from "../src/cache/redis-cache.ts";
import { eventually, region } from "./world.ts";

// What every cache must do, run against each adapter: memory, and a real Redis.

let redis: LocalRedis;
let caches = 0;

beforeAll(async () => {
  redis = await startRedis();
}, 180_000);

afterAll(async () => {
  await redis.stop();
});

function valueOf(version: number, bytes = 0): CachedRegion {
  const record: RegionRecord = {
    region: region(1), regionText: "region_1_0_0", version, epoch: 0, attributes: new Map([["k", "v"]]),
    layers: bytes === 0 ? [] : [{ name: "l", data: Buffer.alloc(bytes, 1), contentType: "" }], updatedAtMs: 5,
  };
  return { record, entities: [], moreEntities: false, tier: "" };
}

async function missed(cache: RegionCache, key: string): Promise<Lease> {
  const answer = await cache.get(key);
  expect(answer.hit).toBeUndefined();
  if (answer.hit !== undefined || answer.lease === undefined) throw new Error("expected a lease");
  return answer.lease;
}

interface Adapter {
  readonly name: string;
  /** A cache of its own, that nobody else uses. */
  readonly make: (ttlMs?: number) => Promise<RegionCache>;
}

async function redisCache(prefix: string, ttlMs = 60_000, heard: (keys: readonly string[]) => void = () => undefined): Promise<RedisCache> {
  let subscribed = false;
  const cache = new RedisCache({ url: redis.url, ttlMs, timeoutMs: 2_000, prefix, onInvalidated: heard, onSubscribed: (now) => (subscribed = now), onError: () => undefined });
  await eventually(() => subscribed && cache.available, "a connection to Redis");
  return cache;
}

const adapters: Adapter[] = [
  { name: "memory", make: async (ttlMs = 60_000) => new MemoryCache({ bytesMax: 10_000_000, ttlMs, clock: new SystemClock() }) },
  { name: "redis", make: async (ttlMs) => await redisCache(`contract-${++caches}:`, ttlMs) },
];

describe.each(adapters)("a cache in $name", ({ make }) => {
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

  it("takes nothing on a lease that was given back, in memory", async () => {
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
    await eventually(async () => (await cache.get("r:1")).hit === undefined, "the end of the time to live");
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

describe("a cache in memory", () => {
  it("holds no more bytes than it may, and what was used last stays", async () => {
    const cache = new MemoryCache({ bytesMax: 100_000, ttlMs: 60_000, clock: new SystemClock() });
    for (let at = 0; at < 50; at++) await cache.fill(await missed(cache, `r:${at}`), valueOf(at, 10_000));
    const { bytes, entries, evictions } = cache.statistics();
    expect(bytes).toBeLessThanOrEqual(100_000);
    expect([entries, evictions]).toEqual([9, 41]);
    expect((await cache.get("r:49")).hit).toBeDefined();
    await cache.fill(await missed(cache, "r:huge"), valueOf(1, 200_000));
    await missed(cache, "r:huge");
  });

  it("answers nothing while suspended, and nothing older when resumed", async () => {
    const cache = new MemoryCache({ bytesMax: 100_000, ttlMs: 60_000, clock: new SystemClock() });
    await cache.fill(await missed(cache, "r:1"), valueOf(1));
    const lease = await missed(cache, "r:2");
    cache.suspend();
    expect(await cache.get("r:1")).toEqual({ hit: undefined, lease: undefined });
    expect(cache.peek("r:1")).toEqual(valueOf(1));
    cache.resume();
    await cache.fill(lease, valueOf(1));
    await missed(cache, "r:1");
    await missed(cache, "r:2");
  });
});

describe("a cache in Redis", () => {
  it("tells the other replicas what it invalidates, and not itself", async () => {
    const heard: string[] = [];
    const own: string[] = [];
    const one = await redisCache("shared:", 60_000, (keys) => own.push(...keys));
    const two = await redisCache("shared:", 60_000, (keys) => heard.push(...keys));
    await one.fill(await missed(one, "r:1"), valueOf(1));
    expect((await two.get("r:1")).hit).toEqual(valueOf(1));
    await one.invalidate(["r:1", "e:1"]);
    await eventually(() => heard.length === 2, "the message");
    expect([heard, own]).toEqual([["r:1", "e:1"], []]);
    await missed(two, "r:1");
    await one.close();
    await two.close();
  });

  it("takes no fill after a flush that came after an invalidation", async () => {
    const cache = await redisCache("flushed:");
    const admin = await redisCache("flushed:");
    const slow = await missed(cache, "r:1");
    await admin.invalidate(["r:1"]);
    await admin.invalidate(["r:1"]);
    await cache.fill(slow, valueOf(1));
    await missed(cache, "r:1");
    await cache.close();
    await admin.close();
  });

  it("misses at once while Redis hangs, and makes up for invalidations when it is back", async () => {
    const cache = await redisCache("hung:");
    const other = await redisCache("hung:");
    await cache.fill(await missed(cache, "r:1"), valueOf(1));
    redis.pause();
    await cache.invalidate(["r:1"]);
    expect(cache.pendingInvalidations).toBe(1);
    expect(await cache.get("r:1")).toEqual({ hit: undefined, lease: undefined });
    const began = performance.now();
    for (let time = 0; time < 200; time++) expect((await cache.get("r:2")).hit).toBeUndefined();
    // 200 timeouts would be 400 seconds: the breaker lets a few through.
    expect(performance.now() - began).toBeLessThan(20_000);
    redis.resume();
    await eventually(() => cache.pendingInvalidations === 0, "the invalidation that was owed");
    await eventually(async () => (await other.get("r:1")).hit === undefined && other.available, "the other replica");
    expect((await other.get("r:1")).hit).toBeUndefined();
    expect(cache.statistics().errors).toBeGreaterThan(0);
    await cache.close();
    await other.close();
  });

  it("drops everything of its own when more invalidations were missed than it keeps apart", async () => {
    const heard: string[] = [];
    const cache = await redisCache("many:");
    const other = await redisCache("many:", 60_000, (keys) => heard.push(...keys));
    await cache.fill(await missed(cache, "r:1"), valueOf(1));
    await cache.fill(await missed(cache, "r:kept?"), valueOf(1));
    redis.pause();
    await cache.invalidate(Array.from({ length: 10_050 }, (_, at) => `r:${at}`));
    expect(cache.pendingInvalidations).toBe(0);
    redis.resume();
    await eventually(() => heard.includes("*"), "the message to forget everything");
    expect((await other.get("r:1")).hit).toBeUndefined();
    expect((await other.get("r:kept?")).hit).toBeUndefined();
    await cache.close();
    await other.close();
  });
});
