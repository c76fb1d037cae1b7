import type { SharedCache } from "@statemesh/store";
import { type CachesUnderTest, cacheContract, type RedisUnderTest, sharedCacheContract, type TestTime } from "../../../packages/store/test/cache-contract.ts";
import { startRedis } from "../../../tools/local-redis.ts";
import { openRedisCache } from "../src/cache/redis-connection.ts";
import { eventually } from "./world.ts";

const REAL: TestTime = { settle: (work) => work, eventually, nowMs: () => performance.now() };

async function openReplica(url: string, prefix: string, ttlMs: number, heard: (keys: readonly string[]) => void): Promise<SharedCache> {
  let subscribed = false;
  let before = false;
  const onSubscribed = (now: boolean): void => {
    subscribed = now;
    if (now && before) heard(["*"]);
    before ||= now;
  };
  const cache = openRedisCache({ url, ttlMs, timeoutMs: 2_000, prefix, onInvalidated: heard, onSubscribed, onError: () => undefined });
  await eventually(() => subscribed && cache.available, "a connection to Redis");
  return cache;
}

cacheContract("Redis", async (): Promise<CachesUnderTest> => {
  const redis = await startRedis();
  let caches = 0;
  return { time: REAL, make: async (ttlMs = 60_000) => await openReplica(redis.url, `contract-${++caches}:`, ttlMs, () => undefined), close: () => redis.stop() };
});

sharedCacheContract("Redis", async (): Promise<RedisUnderTest> => {
  const redis = await startRedis();
  return {
    time: REAL,
    replica: (prefix, heard = () => undefined) => openReplica(redis.url, prefix, 60_000, heard),
    pause: () => redis.pause(),
    resume: () => redis.resume(),
    close: () => redis.stop(),
  };
});
