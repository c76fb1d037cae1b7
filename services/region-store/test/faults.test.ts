import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MeshError } from "@statemesh/contract";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type LocalPostgres, startPostgres } from "../../../tools/local-postgres.ts";
import { type LocalRedis, startRedis } from "../../../tools/local-redis.ts";
import type { RegionStore } from "../src/index.ts";
import { CommitProxy } from "./commit-proxy.ts";
import { batch, CLUSTER, entity, eventually, loading, patching, refusal, region, storing, TestWorld } from "./world.ts";

let world: TestWorld;

beforeAll(async () => {
  world = await TestWorld.start();
});

afterAll(async () => {
  await world.stop();
});

describe("a connection that breaks at COMMIT", () => {
  let proxy: CommitProxy;
  let store: RegionStore;
  let xs = 0;

  beforeAll(async () => {
    proxy = await CommitProxy.start(world.postgres.port);
    store = await world.store((await world.database()).replace(`:${world.postgres.port}`, `:${proxy.port}`));
  });

  afterAll(async () => {
    await proxy.stop();
  });

  it.each(["lose answer", "lose request"] as const)("is cleared up by the request id (%s): the write is there once", async (fate) => {
    const here = region(++xs);
    proxy.next(fate);
    expect(await store.storeRegion(storing(here, { requestId: `r-${xs}` }))).toEqual({ version: 1 });
    expect((await store.loadRegion(loading(here))).record?.version).toBe(1);
  });

  it.each([["lose answer", 1], ["lose request", undefined]] as const)("is answered OUTCOME_UNKNOWN without a request id (%s), never as failed", async (fate, version) => {
    const here = region(++xs);
    expect((await store.loadRegion(loading(here))).record).toBeUndefined();
    proxy.next(fate);
    await refusal(store.storeRegion(storing(here)), "OUTCOME_UNKNOWN");
    // What is in force shows at once: the caches forgot.
    await eventually(async () => (await store.loadRegion(loading(here))).record?.version === version, "the truth");
  });

  it.each(["lose answer", "lose request"] as const)("is cleared up by the watermark (%s): a batch is there once", async (fate) => {
    const here = region(++xs);
    const groupId = xs;
    expect((await store.loadRegion(loading(here))).entities).toEqual([]);
    proxy.next(fate);
    const answer = await store.materialize(batch(0, 3, { groupId, entities: [entity("a", 3, { region: here })] }));
    expect(answer).toEqual({ applied: true, watermark: 3 });
    expect((await store.loadRegion(loading(here))).entities.map((each) => each.entityId)).toEqual(["a"]);
    expect(proxy.met).toBeGreaterThan(0);
  });
});

describe("SQL that goes away", () => {
  let folder: string;
  let postgres: LocalPostgres;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "statemesh-crash-"));
    postgres = await startPostgres({ dataDir: join(folder, "data"), databases: ["mesh"] });
    expect(postgres.dataDir).toBe(join(folder, "data"));
  });

  afterAll(async () => {
    await postgres.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  async function restart(): Promise<void> {
    postgres = await startPostgres({ dataDir: join(folder, "data"), port: postgres.port, databases: ["mesh"] });
  }

  it("loses nothing that was acknowledged and doubles nothing, when it is killed in the middle of writes", async () => {
    const store = await world.store(postgres.url);
    const REGIONS = 4;
    const counts = Array.from({ length: REGIONS }, () => 0);
    for (let x = 0; x < REGIONS; x++) await store.storeRegion(storing(region(x)));
    let running = true;
    const writers = counts.map(async (_, x) => {
      for (let n = 1; running; n++) {
        const request = patching(region(x), { setAttributes: new Map([["n", String(n)]]), requestId: `w${x}-${n}` });
        // As a client does it: the same request id until there is an answer.
        for (;;) {
          try {
            const { version } = await store.patchRegion(request);
            expect(version).toBe(n + 1);
            counts[x] = n;
            break;
          } catch (error) {
            if (!(error instanceof MeshError)) throw error;
            expect(["STORE_UNAVAILABLE", "OUTCOME_UNKNOWN"]).toContain(error.reason);
            await new Promise((resolve) => setTimeout(resolve, 20));
          }
        }
      }
    });
    let watermark = 0;
    const leader = (async () => {
      while (running) {
        const next = batch(watermark, watermark + 10, { groupId: 1, entities: Array.from({ length: 10 }, (_, at) => entity(`e${watermark + at}`, watermark + at + 1, { region: region(900) })) });
        try {
          const answer = await store.materialize(next);
          expect(answer).toEqual({ applied: true, watermark: watermark + 10 });
          watermark += 10;
        } catch (error) {
          if (!(error instanceof MeshError)) throw error;
          expect(["STORE_UNAVAILABLE", "OUTCOME_UNKNOWN"]).toContain(error.reason);
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
      }
    })();
    const work = Promise.all([...writers, leader]);
    const progress = async () => {
      const before = Math.min(...counts, watermark);
      await eventually(() => Math.min(...counts, watermark) > before + 10, "progress");
    };
    const kills = async () => {
      for (let kill = 0; kill < 3; kill++) {
        await progress();
        postgres.kill();
        await restart();
      }
      await progress();
    };
    try {
      await Promise.race([kills(), work]);
    } finally {
      running = false;
    }
    await work;
    for (const [x, n] of counts.entries()) {
      expect((await store.loadRegion(loading(region(x), { bypassCache: true }))).record).toMatchObject({ version: n + 1, attributes: new Map([["biome", "ash"], ["n", String(n)]]) });
    }
    expect(await postgres.query("mesh", "SELECT count(*)::TEXT AS n FROM entities")).toEqual([{ n: String(watermark) }]);
    expect((await store.getWatermarks({ clusterId: CLUSTER })).watermarks.get(1)).toBe(watermark);
  });

  it("answers reads from the cache and refuses writes quickly, says that it is not ready, and recovers by itself", async () => {
    const store = await world.store(postgres.url);
    await store.storeRegion(storing(region(100)));
    await store.loadRegion(loading(region(100)));
    await postgres.stop();
    const began = performance.now();
    await refusal(store.storeRegion(storing(region(100))), "STORE_UNAVAILABLE");
    await refusal(store.loadRegion(loading(region(101))), "STORE_UNAVAILABLE");
    await refusal(store.getWatermarks({ clusterId: CLUSTER }), "STORE_UNAVAILABLE");
    expect(performance.now() - began).toBeLessThan(20_000);
    expect(await store.loadRegion(loading(region(100)))).toMatchObject({ tier: "memory", record: { version: 1 } });
    await eventually(() => store.notReady().length > 0, "not ready");
    expect(store.getCacheStatistics().tiers.get("sql")?.errors).toBeGreaterThan(0);
    await restart();
    await eventually(() => store.notReady().length === 0, "ready again");
    expect((await store.storeRegion(storing(region(100)))).version).toBe(2);
  });

  it("may come later than the store", async () => {
    await postgres.stop();
    const store = await world.store(postgres.url, {}, false);
    await refusal(store.storeRegion(storing(region(110))), "STORE_UNAVAILABLE");
    expect(store.notReady()).not.toEqual([]);
    await restart();
    await eventually(() => store.notReady().length === 0, "ready");
    expect((await store.storeRegion(storing(region(110)))).version).toBe(1);
  });

  it("refuses at once what exceeds the calls that may wait for a connection", async () => {
    const store = await world.store(postgres.url, { databasePoolSize: 1, databaseWaitingMax: 3 });
    const outcomes = await Promise.allSettled(Array.from({ length: 30 }, (_, at) => store.storeRegion(storing(region(200 + at)))));
    const refused = outcomes.flatMap((outcome) => (outcome.status === "rejected" ? [outcome.reason] : []));
    expect(refused.length).toBeGreaterThan(0);
    for (const error of refused) expect(error).toMatchObject({ reason: "OVERLOADED" });
  });
});

describe("two replicas that share a Redis", () => {
  let redis: LocalRedis;
  let one: RegionStore;
  let two: RegionStore;

  beforeAll(async () => {
    redis = await startRedis();
    const url = await world.database();
    one = await world.store(url, { redisUrl: redis.url });
    two = await world.store(url, { redisUrl: redis.url });
    await warm(one);
    await warm(two);
  }, 180_000);

  afterEach(async () => {
    await redis.stop();
    redis = await startRedis({ port: redis.port });
    await warm(one);
    await warm(two);
  });

  afterAll(async () => {
    await redis.stop();
  });

  const tierOf = async (store: RegionStore, x: number) => (await store.loadRegion(loading(region(x)))).tier;
  const versionAt = async (store: RegionStore, x: number) => (await store.loadRegion(loading(region(x)))).record?.version;

  /** Until the store answers from memory, which it does only while it hears the others. */
  async function warm(store: RegionStore): Promise<void> {
    await eventually(async () => (await tierOf(store, 999)) === "memory", "memory");
  }

  it("read through memory, Redis and SQL", async () => {
    await one.storeRegion(storing(region(1)));
    expect(await tierOf(one, 1)).toBe("sql");
    expect(await tierOf(one, 1)).toBe("memory");
    await eventually(async () => (await tierOf(two, 1)) !== "sql", "the value in Redis");
    expect(two.getCacheStatistics().tiers.get("redis")?.hits).toBeGreaterThan(0);
  });

  it("see each other's writes and batches, though both had the region in memory", async () => {
    await one.storeRegion(storing(region(2)));
    for (const store of [one, two, one, two]) await store.loadRegion(loading(region(2)));
    await two.storeRegion(storing(region(2)));
    expect(await versionAt(two, 2)).toBe(2);
    await eventually(async () => (await versionAt(one, 2)) === 2, "the other replica's write");
    await one.materialize(batch(0, 1, { entities: [entity("a", 1, { region: region(2) })] }));
    await eventually(async () => (await two.loadRegion(loading(region(2)))).entities.length === 1, "the batch");
    await one.deleteRegion({ region: region(2), epoch: 0, requestId: "" });
    await eventually(async () => (await versionAt(two, 2)) === undefined, "the deletion");
  });

  it("never show an older version after a newer one was shown by the writer and heard by the other", async () => {
    await one.storeRegion(storing(region(3)));
    let version = 1;
    let running = true;
    const readers = Promise.all([one, two].map(async (store) => {
      let seen = 0;
      while (running) {
        const now = (await versionAt(store, 3)) ?? 0;
        expect(now).toBeGreaterThanOrEqual(seen);
        seen = now;
        await new Promise((resolve) => setImmediate(resolve));
      }
    }));
    for (; version < 150; version++) {
      const store = version % 2 === 0 ? one : two;
      expect((await store.storeRegion(storing(region(3)))).version).toBe(version + 1);
      // Who wrote reads its own write.
      expect(await versionAt(store, 3)).toBeGreaterThanOrEqual(version + 1);
    }
    running = false;
    await readers;
    for (const store of [one, two]) await eventually(async () => (await versionAt(store, 3)) === version, "the last version");
  });

  it("are slower and right while Redis is down, and faster again when it is back", async () => {
    await one.storeRegion(storing(region(4)));
    for (const store of [one, two]) await store.loadRegion(loading(region(4)));
    redis.kill();
    await eventually(async () => (await tierOf(one, 4)) === "sql" && (await tierOf(two, 4)) === "sql", "SQL only");
    for (let version = 2; version < 12; version++) {
      await one.storeRegion(storing(region(4)));
      expect([await versionAt(one, 4), await versionAt(two, 4)]).toEqual([version, version]);
    }
    redis = await startRedis({ port: redis.port });
    await warm(one);
    await warm(two);
    expect([await versionAt(one, 4), await versionAt(two, 4)]).toEqual([11, 11]);
  });

  it("believe nothing in Redis that was written there before it hung and they changed", async () => {
    await one.storeRegion(storing(region(5)));
    for (const store of [one, two]) await store.loadRegion(loading(region(5)));
    redis.pause();
    await one.storeRegion(storing(region(5)));
    expect(await versionAt(one, 5)).toBe(2);
    await eventually(async () => (await versionAt(two, 5)) === 2, "the other replica notices that it hears nothing");
    redis.resume();
    for (const store of [one, two]) {
      await warm(store);
      await eventually(async () => (await versionAt(store, 5)) === 2, "the right version from the caches");
    }
  });
});
