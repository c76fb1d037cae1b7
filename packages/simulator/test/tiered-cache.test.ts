import { MeshError } from "@statemesh/contract";
import { type CachedRegion, MemoryCache, SharedCache, TieredCache } from "@statemesh/store";
import { describe, expect, it } from "vitest";
import { valueOf } from "../../store/test/cache-contract.ts";
import { CALM_REDIS, SimClock, type SimRandom, SimRedis, SimTimers, Simulation } from "../src/index.ts";

/** Seeds differ from run to run; a failure names its own. */
const SEED = Number(process.env["SIM_SEED"] ?? (Date.now() % 1_000_000) * 100);

const KEYS = ["r:1", "r:2", "r:3"];
const TTL_MS = 20_000;

/** The truth: a version a key. Reads take time, and sometimes fail. */
class Truth {
  readonly versions = new Map<string, number>();
  isUp = true;
  readonly #simulation: Simulation;
  readonly #random: SimRandom;

  constructor(simulation: Simulation) {
    this.#simulation = simulation;
    this.#random = simulation.random.fork();
  }

  async load(key: string): Promise<CachedRegion> {
    await this.#pass();
    if (!this.isUp) throw new MeshError("STORE_UNAVAILABLE", "SQL does not answer; nothing was changed");
    const version = this.versions.get(key) ?? 0;
    // The answer is on its way for a while, now and then a long one.
    await this.#pass(this.#random.chance(0.1) ? 300 : 2);
    return version === 0 ? { record: undefined, entities: [], moreEntities: false, tier: "" } : valueOf(version);
  }

  /** Commits the next version; undefined where SQL is away. */
  async write(key: string): Promise<number | undefined> {
    await this.#pass();
    if (!this.isUp) return undefined;
    const version = (this.versions.get(key) ?? 0) + 1;
    this.versions.set(key, version);
    await this.#pass();
    return version;
  }

  async #pass(maxMs = 2): Promise<void> {
    await new Promise<void>((resolve) => this.#simulation.after(0.1 + this.#random.next() * maxMs, resolve));
  }
}

/** One region store's caches. */
class Replica {
  readonly cache: TieredCache;
  /** Versions that this replica must show at least, from when on. */
  readonly shown = new Map<string, number>();
  readonly written = new Map<string, number>();

  constructor(simulation: Simulation, redis: SimRedis, name: string) {
    const clock = new SimClock(simulation);
    let names = 0;
    const shared = new SharedCache({
      connect: (events) => redis.connect(events), clock, timers: new SimTimers(simulation), unique: () => `${name}-${++names}`, ttlMs: TTL_MS, timeoutMs: 100, prefix: "s:",
      onInvalidated: (keys) => this.cache.drop(keys), onSubscribed: (now) => this.cache.setSubscribed(now), onError: () => undefined,
    });
    this.cache = new TieredCache(new MemoryCache({ bytesMax: 1_000_000, ttlMs: TTL_MS, clock }), shared);
    this.cache.setSubscribed(false);
  }
}

function raise(map: Map<string, number>, key: string, version: number): void {
  map.set(key, Math.max(map.get(key) ?? 0, version));
}

interface Seen {
  reads: number;
  writes: number;
  fromMemory: number;
  fromRedis: number;
  withoutSql: number;
}

async function run(seed: number, seen: Seen, counts: Record<string, number>): Promise<void> {
  const simulation = new Simulation(seed);
  const { random } = simulation;
  const redis = new SimRedis(simulation, { ...CALM_REDIS, loss: random.pick([0, 0.05, 0.3]), oldValue: random.pick([0, 0, 0.2]), lostMessage: random.pick([0, 0.1]) });
  const lies = redis.weather.oldValue > 0;
  const truth = new Truth(simulation);
  const replicas = [0, 1, 2].map((at) => new Replica(simulation, redis, `replica-${at}`));
  let running = true;

  const reader = async (replica: Replica): Promise<void> => {
    const own = random.fork();
    while (running) {
      await new Promise<void>((resolve) => simulation.after(own.between(0, 40), resolve));
      const key = own.pick(KEYS);
      const [shown, written] = [replica.shown.get(key) ?? 0, replica.written.get(key) ?? 0];
      try {
        const { value, tier } = await replica.cache.get(key, () => truth.load(key));
        const version = value.record?.version ?? 0;
        seen.reads++;
        if (tier === "memory") seen.fromMemory++;
        if (tier === "redis") seen.fromRedis++;
        if (tier === "memory" && !truth.isUp) seen.withoutSql++;
        const violation =
          version < shown ? "goes back behind what this replica showed"
          : version > (truth.versions.get(key) ?? 0) ? "was never written"
          // What a Redis that lies says can be old; while SQL is away what memory has is answered. Otherwise who wrote reads it.
          : version < written && !lies && truth.isUp ? "is older than what was written through this replica"
          : undefined;
        if (violation !== undefined) throw new Error(`seed ${seed}: ${key} at version ${version} from ${tier} at ${simulation.nowMs} ms ${violation}`);
        raise(replica.shown, key, version);
      } catch (error) {
        if (!(error instanceof MeshError) || error.reason !== "STORE_UNAVAILABLE") throw error;
      }
    }
  };

  const writer = async (replica: Replica): Promise<void> => {
    const own = random.fork();
    while (running) {
      await new Promise<void>((resolve) => simulation.after(own.between(0, 150), resolve));
      const key = own.pick(KEYS);
      const version = await truth.write(key);
      if (version === undefined) continue;
      await replica.cache.invalidate([key]);
      seen.writes++;
      raise(replica.written, key, version);
    }
  };

  const work = Promise.all(replicas.flatMap((replica) => [reader(replica), reader(replica), writer(replica)]));
  let failure: unknown;
  work.catch((error: unknown) => {
    failure = error;
    running = false;
  });
  for (let round = 0; round < 50 && failure === undefined; round++) {
    const fault = random.next();
    if (fault < 0.05) redis.flush();
    else if (fault < 0.1) redis.stop();
    else if (fault < 0.15) redis.pause();
    else if (fault < 0.25) truth.isUp = false;
    if (random.chance(0.3)) redis.start();
    if (random.chance(0.3)) redis.resume();
    if (random.chance(0.5)) truth.isUp = true;
    await simulation.runFor(random.between(5, 400));
  }
  redis.start();
  redis.resume();
  truth.isUp = true;
  redis.weather = { ...CALM_REDIS };
  running = false;
  let ended = false;
  const end = (): void => {
    ended = true;
  };
  work.then(end, end);
  expect(await simulation.runUntilHolds(() => ended, 60_000), `seed ${seed}: a call is never answered`).toBe(true);
  await work;
  // A message that was lost leaves memory stale for its time to live, and no longer.
  await simulation.runFor(TTL_MS + 5_000);
  for (const replica of replicas) {
    for (const key of KEYS) {
      const { value } = await simulation.settle(replica.cache.get(key, () => truth.load(key)));
      expect(value.record?.version ?? 0, `seed ${seed}: ${key} after quiet`).toBe(truth.versions.get(key) ?? 0);
    }
    await replica.cache.close();
  }
  for (const [name, count] of Object.entries(redis.counts)) counts[name] = (counts[name] ?? 0) + count;
}

describe("caches of several region stores over a Redis with every fault", () => {
  it("never go back, show a writer its own writes, and come to agree", async () => {
    const seen: Seen = { reads: 0, writes: 0, fromMemory: 0, fromRedis: 0, withoutSql: 0 };
    const counts: Record<string, number> = {};
    for (let seed = SEED; seed < SEED + 12; seed++) await run(seed, seen, counts);
    // No fault and no tier that is offered here may be one that never comes.
    for (const [name, count] of Object.entries({ ...seen, ...counts })) expect(count, `${name} of seeds from ${SEED}`).toBeGreaterThan(0);
  });
});
