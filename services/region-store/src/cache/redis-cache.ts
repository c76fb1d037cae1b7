import { type CacheAnswer, type CachedRegion, CircuitBreaker, type Lease, MISS_WITHOUT_LEASE, type RegionCache } from "@statemesh/store";
import { randomBytes, randomUUID } from "node:crypto";
import { type CacheTierStatistics, LoadRegionResponse } from "@statemesh/contract";
import { Redis } from "ioredis";

export interface RedisCacheOptions {
  readonly url: string;
  readonly ttlMs: number;
  /** Milliseconds for one command; after that the answer counts as a miss. */
  readonly timeoutMs: number;
  /** Before every key, so that several meshes can share a server. */
  readonly prefix: string;
  /** Keys that another replica invalidated. */
  readonly onInvalidated: (keys: readonly string[]) => void;
  /** Whether invalidations of other replicas arrive. Nothing is missed between `true` and the next `false`. */
  readonly onSubscribed: (subscribed: boolean) => void;
  /** Hears what goes wrong; nothing of it fails a call. */
  readonly onError: (error: Error) => void;
}

/** A fill that comes later than this after its miss is dropped; the lease is gone from Redis then. */
const LEASE_MS = 30_000;
/** Most keys that wait to be invalidated while Redis is away; beyond, everything of ours is dropped on its return. */
const PENDING_MAX = 10_000;
/** Keys in one message and one round trip. */
const BATCH_KEYS = 500;
/** How often a lost invalidation is tried again, and the subscription is asked whether it lives. */
const TICK_MS = 500;

// KEYS: value, lease. The value, else a lease: the token that is there, else ours.
const GET_OR_LEASE = `
local value = redis.call('GET', KEYS[1])
if value then return {1, value} end
local token = redis.call('GET', KEYS[2])
if not token then
  token = ARGV[1]
  redis.call('SET', KEYS[2], token, 'PX', ARGV[2])
end
return {0, token}`;
// Fills only under the token that its miss got. An invalidation deletes the token, so that a slow fill comes to nothing.
const FILL = `
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1`;

class RedisLease implements Lease {
  readonly key: string;
  readonly token: Buffer;

  constructor(key: string, token: Buffer) {
    this.key = key;
    this.token = token;
  }
}

/** The commands that our scripts become. */
interface ScriptedRedis extends Redis {
  regionGetBuffer(value: string, lease: string, token: Buffer, leaseMs: number): Promise<[number, Buffer]>;
  regionFill(value: string, lease: string, token: Buffer, content: Buffer, ttlMs: number): Promise<number>;
}

/**
 * Regions shared by all replicas in Redis, and its pub/sub to invalidate their memory. When Redis is slow or away,
 * calls miss at once (short timeout, circuit breaker, nothing queued); invalidations are kept and made up for later, and
 * until then this replica does not read those keys from Redis.
 */
export class RedisCache implements RegionCache {
  readonly #options: RedisCacheOptions;
  readonly #commands: ScriptedRedis;
  readonly #subscriber: Redis;
  readonly #breaker = new CircuitBreaker(() => performance.now());
  readonly #replica = randomUUID();
  readonly #channel: string;
  readonly #pending = new Set<string>();
  readonly #ticker: NodeJS.Timeout;
  #dropAll = false;
  #repairing = false;
  #subscribed = false;
  #closed = false;
  #hits = 0;
  #misses = 0;
  #errors = 0;

  constructor(options: RedisCacheOptions) {
    this.#options = options;
    this.#channel = `${options.prefix}invalidate`;
    const shared = {
      lazyConnect: true,
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      connectTimeout: 1_000,
      retryStrategy: (times: number) => Math.min(50 * times, 500),
    };
    this.#commands = new Redis(options.url, {
      ...shared,
      commandTimeout: options.timeoutMs,
      scripts: { regionGet: { numberOfKeys: 2, lua: GET_OR_LEASE }, regionFill: { numberOfKeys: 2, lua: FILL } },
    }) as ScriptedRedis;
    this.#subscriber = new Redis(options.url, { ...shared, autoResubscribe: false });
    this.#commands.on("error", options.onError);
    this.#subscriber.on("error", options.onError);
    this.#subscriber.on("ready", () => void this.#subscribe());
    this.#subscriber.on("close", () => this.#setSubscribed(false));
    this.#subscriber.on("message", (_channel: string, message: string) => this.#heard(message));
    void this.#open();
    this.#ticker = setInterval(() => void this.#tick(), TICK_MS);
    this.#ticker.unref();
  }

  /** Whether a command would be tried now. */
  get available(): boolean {
    return this.#commands.status === "ready" && this.#breaker.allows();
  }

  async get(key: string): Promise<CacheAnswer> {
    if (this.#dropAll || this.#pending.has(key) || !this.available) return this.#missed();
    const [answer] = await this.#attempt(() => this.#getOrLease(key));
    if (answer === undefined) return this.#missed();
    const [found, content] = answer;
    // Invalidated while Redis answered, and not yet there: what it said is too old.
    if (this.#dropAll || this.#pending.has(key)) return this.#missed();
    if (Number(found) === 0) {
      this.#misses += 1;
      return { hit: undefined, lease: new RedisLease(key, content) };
    }
    const hit = this.#decode(content);
    if (hit === undefined) return this.#missed();
    this.#hits += 1;
    return { hit };
  }

  /** A hit is a plain GET; only a miss, which goes on to SQL, costs the script. */
  async #getOrLease(key: string): Promise<[number, Buffer]> {
    const value = await this.#commands.getBuffer(this.#value(key));
    if (value !== null) return [1, value];
    return await this.#commands.regionGetBuffer(this.#value(key), this.#lease(key), randomBytes(12), LEASE_MS);
  }

  async fill(lease: Lease, value: CachedRegion): Promise<void> {
    if (!(lease instanceof RedisLease)) throw new TypeError("a lease of another cache");
    if (this.#dropAll || this.#pending.has(lease.key) || !this.available) return;
    const content = Buffer.from(LoadRegionResponse.encode(value).finish());
    await this.#attempt(() => this.#commands.regionFill(this.#value(lease.key), this.#lease(lease.key), lease.token, content, this.#options.ttlMs));
  }

  abandon(_lease: Lease): void {
    // The token is shared by all who missed the key, and expires by itself.
  }

  async invalidate(keys: readonly string[]): Promise<void> {
    // First noted, then tried: a reader in between does not believe Redis, and a failure is made up for by the tick.
    for (const key of keys) this.#note(key);
    if (!this.available) return;
    for (let at = 0; at < keys.length; at += BATCH_KEYS) {
      if (!(await this.#send(keys.slice(at, at + BATCH_KEYS)))) return;
    }
  }

  statistics(): CacheTierStatistics {
    return { hits: this.#hits, misses: this.#misses, entries: 0, bytes: 0, evictions: 0, errors: this.#errors };
  }

  /** Invalidations that Redis has not heard yet. */
  get pendingInvalidations(): number {
    return this.#pending.size;
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#ticker);
    this.#commands.disconnect();
    this.#subscriber.disconnect();
  }

  // The braces make a cluster keep both keys of a region on one node.
  #value(key: string): string {
    return `${this.#options.prefix}{${key}}v`;
  }

  #lease(key: string): string {
    return `${this.#options.prefix}{${key}}l`;
  }

  #missed(): CacheAnswer {
    this.#misses += 1;
    return MISS_WITHOUT_LEASE;
  }

  #decode(content: Buffer): CachedRegion | undefined {
    try {
      return LoadRegionResponse.decode(content);
    } catch (error) {
      // Somebody else's bytes under our key, or a newer release's: SQL has the truth.
      this.#failed(error);
      return undefined;
    }
  }

  #note(key: string): void {
    if (this.#dropAll) return;
    this.#pending.add(key);
    if (this.#pending.size <= PENDING_MAX) return;
    this.#dropAll = true;
    this.#pending.clear();
  }

  /** Deletes values and leases, and tells the other replicas; false where Redis did not confirm. */
  async #send(keys: readonly string[]): Promise<boolean> {
    const [done] = await this.#attempt(async () => {
      const pipeline = this.#commands.pipeline();
      for (const key of keys) pipeline.del(this.#value(key), this.#lease(key));
      pipeline.publish(this.#channel, `${this.#replica}\n${keys.join("\n")}`);
      const results = await pipeline.exec();
      const failed = results?.find(([error]) => error !== null)?.[0];
      if (results === null || failed) throw failed ?? new Error("the pipeline was not executed");
      return true;
    });
    if (done !== true) return false;
    for (const key of keys) this.#pending.delete(key);
    return true;
  }

  /** Runs a command; nothing where it failed, which is counted. The value comes in a list, so that any value can. */
  async #attempt<T>(run: () => Promise<T>): Promise<[T] | [undefined]> {
    try {
      const value = await run();
      this.#breaker.succeeded();
      return [value];
    } catch (error) {
      this.#breaker.failed();
      this.#failed(error);
      return [undefined];
    }
  }

  #failed(error: unknown): void {
    this.#errors += 1;
    this.#options.onError(error instanceof Error ? error : new Error(String(error)));
  }

  async #open(): Promise<void> {
    // Where Redis is away the client goes on trying by itself, and says so on "error".
    await Promise.allSettled([this.#commands.connect(), this.#subscriber.connect()]);
  }

  async #subscribe(): Promise<void> {
    try {
      await this.#subscriber.subscribe(this.#channel);
      this.#setSubscribed(true);
    } catch (error) {
      this.#failed(error);
      this.#subscriber.disconnect(true);
    }
  }

  #setSubscribed(subscribed: boolean): void {
    if (this.#subscribed === subscribed) return;
    this.#subscribed = subscribed;
    if (!this.#closed) this.#options.onSubscribed(subscribed);
  }

  #heard(message: string): void {
    const [replica, ...keys] = message.split("\n");
    if (replica !== this.#replica) this.#options.onInvalidated(keys);
  }

  async #tick(): Promise<void> {
    if (this.#repairing || this.#closed) return;
    this.#repairing = true;
    try {
      await this.#checkSubscription();
      await this.#repair();
    } finally {
      this.#repairing = false;
    }
  }

  /** A connection that is open and answers nothing would leave us believing that nothing was invalidated. */
  async #checkSubscription(): Promise<void> {
    if (!this.#subscribed) return;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new Error("the subscription does not answer")), this.#options.timeoutMs);
    });
    try {
      await Promise.race([this.#subscriber.ping(), late]);
    } catch (error) {
      this.#failed(error);
      this.#setSubscribed(false);
      if (!this.#closed) this.#subscriber.disconnect(true);
    } finally {
      clearTimeout(timer);
    }
  }

  async #repair(): Promise<void> {
    if (this.#dropAll && this.available) {
      const [dropped] = await this.#attempt(() => this.#dropEverything());
      if (dropped === true) this.#dropAll = false;
    }
    while (this.#pending.size > 0 && this.available) {
      const keys = [...this.#pending].slice(0, BATCH_KEYS);
      if (!(await this.#send(keys))) return;
    }
  }

  /** More invalidations were missed than are kept apart: all values of ours go, and so does every replica's memory. */
  async #dropEverything(): Promise<true> {
    let cursor = "0";
    const pattern = `${this.#options.prefix.replaceAll(/[*?[\]\\]/g, "\\$&")}{*`;
    do {
      const [next, keys] = await this.#commands.scan(cursor, "MATCH", pattern, "COUNT", 1_000);
      if (keys.length > 0) await this.#commands.unlink(...keys);
      cursor = next;
    } while (cursor !== "0");
    await this.#commands.publish(this.#channel, `${this.#replica}\n*`);
    return true;
  }
}
