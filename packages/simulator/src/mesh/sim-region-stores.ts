// Two region stores before one database, with memories of their own and one Redis between them: the one that nodes materialise through, and one that
// only hears of it. What each says of a region stood there once, and never goes back behind what it said before.
import { type Region, RegionRecord } from "@statemesh/contract";
import { type CachedRegion, entitiesKey, type Invalidations, MemoryCache, SharedCache, TieredCache, WorkRunner } from "@statemesh/store";
import { groupOf, mortonKey, sameRegion } from "@statemesh/world";
import type { Recorder } from "../recorder.ts";
import { SimClock, SimTimers } from "../sim-clock.ts";
import type { SimRandom } from "../sim-random.ts";
import type { Simulation } from "../simulation.ts";
import { storedInRegion } from "../store/sim-materialization.ts";
import { CALM_REDIS, SimRedis } from "../store/sim-redis.ts";
import { type SimConnection, type SimSql, SimSqlClient } from "../store/sim-sql.ts";
import type { PlainRecord } from "../tier.ts";
import { entityKey, type ReferenceGroup } from "./reference-group.ts";

/** How long a memory may be wrong where Redis lost the message that says so. */
const TTL_MS = 2_000;
const READ_EVERY_MS = 60;
const REDIS_TIMEOUT_MS = 100;

export interface RegionStoreParts {
  readonly simulation: Simulation;
  readonly recorder: Recorder;
  readonly sql: SimSql;
  readonly references: readonly ReferenceGroup[];
  readonly groups: number;
  readonly regions: readonly Region[];
}

/** How far into a group's changes a store's answers about a region are, and what stands there then. */
interface Shown {
  readonly at: number;
  readonly stands: ReadonlyMap<string, number>;
  /** What was answered last. */
  readonly said: ReadonlyMap<string, number> | undefined;
}

const NOTHING_YET: Shown = { at: 0, stands: new Map(), said: undefined };

interface Replica {
  readonly name: string;
  cache: TieredCache;
  readonly shown: Map<Region, Shown>;
}

export class SimRegionStores {
  readonly redis: SimRedis;
  /** Of the store that nodes materialise through. */
  readonly invalidations: Invalidations;
  readonly #parts: RegionStoreParts;
  readonly #random: SimRandom;
  readonly #sql: WorkRunner<SimConnection>;
  readonly #replicas: readonly [Replica, Replica];
  /** By group: how far the store told nodes that it has taken their log. */
  readonly #taken = new Map<number, number>();
  #names = 0;
  /** Redis gave an old value once: what it said may be remembered. */
  #lied = false;

  constructor(parts: RegionStoreParts) {
    const { simulation, sql } = parts;
    this.#parts = parts;
    this.#random = simulation.random.fork();
    this.redis = new SimRedis(simulation);
    const client = new SimSqlClient(sql);
    this.#sql = new WorkRunner(() => client.connect(), new SimTimers(simulation), this.#random.fork());
    const replica = (name: string): Replica => ({ name, cache: this.#cache(), shown: new Map() });
    const [first, second] = [replica("store 1"), replica("store 2")];
    this.#replicas = [first, second];
    this.invalidations = { invalidate: async (keys) => first.cache.invalidate(keys) };
  }

  #cache(): TieredCache {
    const { simulation } = this.#parts;
    const clock = new SimClock(simulation);
    const shared = new SharedCache({
      connect: (events) => this.redis.connect(events), clock, timers: new SimTimers(simulation), unique: () => `store-${++this.#names}`, ttlMs: TTL_MS, timeoutMs: REDIS_TIMEOUT_MS, prefix: "s:",
      onInvalidated: (keys) => cache.drop(keys), onSubscribed: (now) => cache.setSubscribed(now), onError: () => undefined,
    });
    const cache: TieredCache = new TieredCache(new MemoryCache({ bytesMax: 1_000_000, ttlMs: TTL_MS, clock }), shared);
    cache.setSubscribed(false);
    return cache;
  }

  start(): void {
    this.#parts.simulation.after(READ_EVERY_MS * this.#random.next(), () => {
      void this.#read(this.#random.pick(this.#replicas), this.#random.pick(this.#parts.regions));
      this.start();
    });
  }

  /** Nodes were told that the first store has a group's log up to there: it answers nothing older. */
  taken(groupId: number, watermark: number): void {
    this.#taken.set(groupId, Math.max(this.#taken.get(groupId) ?? 0, watermark));
  }

  /** The process that nodes materialise through ended: what it remembered is gone. */
  ended(): void {
    const [first] = this.#replicas;
    void first.cache.close();
    first.cache = this.#cache();
    first.shown.clear();
    this.#taken.clear();
  }

  async #read(replica: Replica, region: Region): Promise<void> {
    const { recorder, groups } = this.#parts;
    const { cache } = replica;
    const before = replica.shown.get(region) ?? NOTHING_YET;
    const floor = replica === this.#replicas[0] && isCalm(this.#parts.sql) ? (this.#taken.get(groupOf(region, groups)) ?? 0) : 0;
    const groupId = groupOf(region, groups);
    const load = async (): Promise<CachedRegion> => {
      const { entities, stands } = await this.#sql.read(async (session) => await session.run((rows) => storedInRegion(rows, groupId, region)));
      return { record: RegionRecord.fromPartial({ version: stands }), entities, moreEntities: false, tier: "" };
    };
    try {
      const { value, tier } = await cache.get(entitiesKey(mortonKey(region)), load);
      // It was answered by a process that is no more.
      if (cache !== replica.cache) return;
      recorder.sometimes(`region read from ${tier}`);
      this.#check(replica, region, before, new Map(value.entities.map((entity) => [entityKey(entity), entity.version])), tier, this.#lied || !isCalm(this.#parts.sql) ? 0 : floor);
    } catch {
      recorder.sometimes("region not read: no database");
    }
  }

  /** Goes on through what was committed until it is what was answered: from what had been answered when the question came. */
  #check({ name, shown }: Replica, region: Region, before: Shown, said: ReadonlyMap<string, number>, tier: string, floor: number): void {
    const { references, groups, recorder } = this.#parts;
    const changes = references[groupOf(region, groups)]?.changes ?? [];
    const stands = new Map(before.stands);
    const differing = new Set([...stands.keys(), ...said.keys()].filter((key) => stands.get(key) !== said.get(key)));
    let { at } = before;
    for (; at < changes.length && (differing.size > 0 || (changes[at]?.index ?? 0) <= floor); at++) {
      const { entity, removed } = changes[at]?.change ?? {};
      if (entity?.region === undefined || !sameRegion(entity.region, region)) continue;
      const key = entityKey(entity);
      if (removed === true) stands.delete(key);
      else stands.set(key, entity.version);
      if (stands.get(key) === said.get(key)) differing.delete(key);
      else differing.add(key);
    }
    const [differs] = differing;
    const latest = shown.get(region) ?? NOTHING_YET;
    if (differs === undefined) {
      // Of two questions at a time the later one may be answered first.
      shown.set(region, at > latest.at ? { at, stands, said } : { ...latest, said });
      return;
    }
    const { x, y, z } = region;
    recorder.violation("region stores never go back", `${name} answered ${differs} of region ${x} ${y} ${z} at ${said.get(differs)} from ${tier}, after what it had answered before, or had told nodes that it had taken, or it never stood so`);
  }

  /** `false`: no such fault. `later` takes it back. */
  inject(kind: string, args: PlainRecord, later: (run: () => void) => void): boolean {
    const { redis } = this;
    const weather = (change: Partial<typeof CALM_REDIS>): true => {
      Object.assign(redis.weather, change);
      later(() => Object.assign(redis.weather, CALM_REDIS));
      return true;
    };
    switch (kind) {
      case "redis down":
        redis.stop();
        later(() => redis.start());
        return true;
      case "redis hangs":
        redis.pause();
        later(() => redis.resume());
        return true;
      case "redis flushed":
        redis.flush();
        return true;
      case "redis answers lost":
        return weather({ loss: Number(args["loss"]) });
      case "redis answers old values":
        this.#lied = true;
        return weather({ oldValue: Number(args["share"]) });
      case "redis messages lost":
        return weather({ lostMessage: Number(args["share"]) });
      default:
        return false;
    }
  }

  heal(): void {
    this.redis.start();
    this.redis.resume();
    Object.assign(this.redis.weather, CALM_REDIS);
  }

  /** Why the stores do not agree yet; undefined: each says of every region what stands there. */
  get unrest(): string | undefined {
    const { references, groups, regions } = this.#parts;
    for (const { name, shown } of this.#replicas) {
      for (const region of regions) {
        const said = shown.get(region)?.said;
        const stands = references[groupOf(region, groups)]?.state.entities.inRegion(region) ?? new Map<string, { version: number }>();
        const differs = said === undefined || said.size !== stands.size || [...stands].some(([key, { version }]) => said.get(key) !== version);
        if (differs) return `${name} does not say of region ${region.x} ${region.y} ${region.z} what stands there`;
      }
    }
    return undefined;
  }
}

/** While the database is away, what memory has is answered. */
function isCalm({ weather, isUp }: SimSql): boolean {
  return isUp && weather.refusal === 0 && weather.serialization === 0 && weather.unknownCommit === 0;
}
