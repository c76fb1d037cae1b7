import { LoadRegionResponse } from "@statemesh/contract";
import { type CacheAnswer, type CachedRegion, type Lease, MemoryCache, MISS_WITHOUT_LEASE, type RegionCache, TieredCache } from "@statemesh/store";
import { Recorder } from "../recorder.ts";
import { SimClock } from "../sim-clock.ts";
import { SimRandom } from "../sim-random.ts";
import { Simulation } from "../simulation.ts";
import type { Fault, Outcome, PlainRecord, Plan, Tier } from "../tier.ts";

/** A type and not an interface, so that it is a plain record. */
export type CacheSettings = {
  /** Region stores with a memory each, and whether they share a second tier. */
  readonly replicas: number;
  readonly isShared: boolean;
  readonly keys: number;
  /** Longest time of SQL, of the shared tier, and of a message between replicas. */
  readonly sqlMs: number;
  readonly sharedMs: number;
  readonly tellMs: number;
  readonly requestEveryMs: number;
  readonly durationMs: number;
};

const FAULTS = ["shared cache down", "shared cache emptied", "invalidations not heard", "slow SQL"] as const;

/** The caches of region stores, over a database that has one number a key. */
export const cacheTier: Tier<CacheSettings> = {
  name: "cache",
  faultKinds: FAULTS,
  sometimes: ["answered from memory", "answered from the shared cache", "answered from SQL", "an invalidation met a load"],

  plan(seed, hints: PlainRecord = {}): Plan<CacheSettings> {
    const random = new SimRandom(seed).fork();
    const settings: CacheSettings = {
      replicas: random.between(1, 3), isShared: random.chance(0.5), keys: random.pick([1, 3]), sqlMs: random.pick([2, 20]), sharedMs: random.pick([1, 10]),
      tellMs: random.pick([1, 30]), requestEveryMs: random.pick([2, 10]), durationMs: 3_000, ...hints,
    };
    const faults: Fault[] = [];
    for (let atMs = random.between(50, 600); atMs < settings.durationMs; atMs += random.between(50, 600)) {
      faults.push({ atMs, kind: random.pick(FAULTS), args: { replica: random.between(1, settings.replicas), ms: random.between(10, 300) } });
    }
    return { settings, faults };
  },

  async run(seed, plan, options = {}): Promise<Outcome> {
    const simulation = new Simulation(seed);
    const recorder = new Recorder(simulation, options);
    const run = new CacheRun(simulation, recorder, plan.settings);
    for (const fault of plan.faults) simulation.after(fault.atMs, () => run.strike(fault));
    await simulation.runUntilHolds(() => recorder.isOver, plan.settings.durationMs);
    return recorder.outcome();
  },
};

interface Replica {
  readonly id: number;
  readonly cache: TieredCache;
  /** By key: what a reader that begins now must not go back behind, whoever answers. */
  readonly invalidated: Map<string, number>;
  /** By key: what was answered, which a cache must not go back behind. Two reads of SQL may pass each other. */
  readonly shown: Map<string, number>;
  hears: boolean;
}

class CacheRun {
  readonly #simulation: Simulation;
  readonly #recorder: Recorder;
  readonly #random: SimRandom;
  readonly #settings: CacheSettings;
  readonly #versions = new Map<string, number>();
  readonly #replicas: Replica[];
  readonly #shared: SharedCache | undefined;
  #loads = 0;
  #slowUntilMs = 0;

  constructor(simulation: Simulation, recorder: Recorder, settings: CacheSettings) {
    this.#simulation = simulation;
    this.#recorder = recorder;
    this.#random = simulation.random.fork();
    this.#settings = settings;
    const clock = new SimClock(simulation);
    const memory = (): MemoryCache => new MemoryCache({ bytesMax: 1_000_000, ttlMs: 60_000, clock });
    this.#shared = settings.isShared ? new SharedCache(memory(), () => this.#wait(settings.sharedMs)) : undefined;
    this.#replicas = Array.from({ length: settings.replicas }, (_, at) => {
      const cache = new TieredCache(memory(), this.#shared);
      return { id: at + 1, cache, invalidated: new Map<string, number>(), shown: new Map<string, number>(), hears: true };
    });
    this.#request();
  }

  strike({ kind, args }: Fault): void {
    const ms = Number(args["ms"]);
    const replica = this.#replicas[Number(args["replica"]) - 1];
    if (replica === undefined) return;
    if (kind === "slow SQL") this.#slowUntilMs = this.#simulation.nowMs + ms;
    else if (kind === "invalidations not heard") {
      if (!replica.hears) return;
      // As with a lost connection to Redis: told at once, and again when it is back.
      replica.hears = false;
      replica.cache.setSubscribed(false);
      this.#simulation.after(ms, () => {
        replica.hears = true;
        replica.cache.setSubscribed(true);
      });
    } else if (this.#shared === undefined) return;
    else if (kind === "shared cache emptied") this.#shared.empty();
    else {
      this.#shared.isDown = true;
      this.#simulation.after(ms, () => {
        this.#shared?.comeBack();
      });
    }
    this.#recorder.fault(kind, replica.id);
  }

  #wait(maxMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.#simulation.after(this.#random.next() * maxMs, resolve);
    });
  }

  #request(): void {
    const replica = this.#random.pick(this.#replicas);
    const key = `r:${this.#random.between(1, this.#settings.keys)}`;
    void (this.#random.chance(0.3) ? this.#write(replica, key) : this.#read(replica, key)).catch((error: unknown) => this.#recorder.violation("caches answer", String(error)));
    this.#simulation.after(this.#random.next() * this.#settings.requestEveryMs, () => this.#request());
  }

  async #read(replica: Replica, key: string): Promise<void> {
    const invalidated = replica.invalidated.get(key) ?? 0;
    const shown = replica.shown.get(key) ?? 0;
    const { value, tier } = await replica.cache.get(key, () => this.#load(key));
    const version = value.record?.version ?? 0;
    this.#recorder.note("read", replica.id, key, version, tier);
    this.#recorder.sometimes(tier === "memory" ? "answered from memory" : tier === "redis" ? "answered from the shared cache" : "answered from SQL");
    this.#recorder.operations++;
    if (version < invalidated) this.#recorder.violation("no answer from before an invalidation", `replica ${replica.id} answers ${key} with version ${version} from ${tier}, after ${invalidated} was told`);
    if (tier !== "sql" && version < shown) this.#recorder.violation("caches never go back", `replica ${replica.id} answers ${key} with version ${version} from ${tier}, after ${shown} was answered`);
    raise(replica.shown, key, version);
  }

  async #load(key: string): Promise<CachedRegion> {
    this.#loads++;
    const isSlow = this.#simulation.nowMs < this.#slowUntilMs;
    await this.#wait(this.#settings.sqlMs);
    const version = this.#versions.get(key) ?? 0;
    await this.#wait(isSlow ? this.#settings.sqlMs * 10 : this.#settings.sqlMs);
    this.#loads--;
    return LoadRegionResponse.fromPartial({ record: { version } });
  }

  async #write(replica: Replica, key: string): Promise<void> {
    await this.#wait(this.#settings.sqlMs);
    const version = (this.#versions.get(key) ?? 0) + 1;
    this.#versions.set(key, version);
    if (this.#loads > 0) this.#recorder.sometimes("an invalidation met a load");
    await replica.cache.invalidate([key]);
    this.#recorder.note("wrote", replica.id, key, version);
    this.#recorder.operations++;
    raise(replica.invalidated, key, version);
    for (const other of this.#replicas) {
      if (other === replica || !other.hears) continue;
      void this.#wait(this.#settings.tellMs).then(() => {
        if (!other.hears) return;
        other.cache.drop([key]);
        raise(other.invalidated, key, version);
      });
    }
  }
}

function raise(floors: Map<string, number>, key: string, version: number): void {
  if (version > (floors.get(key) ?? 0)) floors.set(key, version);
}

/** A cache that all replicas reach over a network; while it is down it answers misses, and what it held is gone when it is back. */
class SharedCache implements RegionCache {
  readonly #cache: MemoryCache;
  readonly #wait: () => Promise<void>;
  isDown = false;

  constructor(cache: MemoryCache, wait: () => Promise<void>) {
    this.#cache = cache;
    this.#wait = wait;
  }

  empty(): void {
    this.#cache.clear();
  }

  comeBack(): void {
    this.isDown = false;
    // Invalidations that it did not hear of.
    this.#cache.clear();
  }

  async get(key: string): Promise<CacheAnswer> {
    await this.#wait();
    return this.isDown ? MISS_WITHOUT_LEASE : this.#cache.look(key);
  }

  async fill(lease: Lease, value: CachedRegion): Promise<void> {
    await this.#wait();
    if (!this.isDown) await this.#cache.fill(lease, value);
  }

  abandon(lease: Lease): void {
    this.#cache.abandon(lease);
  }

  async invalidate(keys: readonly string[]): Promise<void> {
    await this.#wait();
    if (!this.isDown) this.#cache.drop(keys);
  }

  statistics(): ReturnType<RegionCache["statistics"]> {
    return this.#cache.statistics();
  }

  close(): Promise<void> {
    return this.#cache.close();
  }
}
