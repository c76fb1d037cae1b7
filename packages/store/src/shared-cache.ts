import { type CacheTierStatistics, LoadRegionResponse } from "@statemesh/contract";
import type { Cancel, Clock, Timers } from "@statemesh/ports";
import { CircuitBreaker } from "./circuit-breaker.ts";
import type { RedisEvents, RedisPort } from "./redis-port.ts";
import { type CacheAnswer, type CachedRegion, type Lease, MISS_WITHOUT_LEASE, type RegionCache } from "./region-cache.ts";

export interface SharedCacheOptions {
  /** Opens the way to Redis; it may come later. */
  readonly connect: (events: RedisEvents) => RedisPort;
  readonly clock: Clock;
  readonly timers: Timers;
  /** A name that nobody else has. */
  readonly unique: () => string;
  readonly ttlMs: number;
  /** Milliseconds until a subscription that does not answer counts as broken. */
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

class SharedLease implements Lease {
  readonly key: string;
  readonly token: Uint8Array;

  constructor(key: string, token: Uint8Array) {
    this.key = key;
    this.token = token;
  }
}

/**
 * Regions shared by all replicas in Redis, and its pub/sub to invalidate their memory. When Redis is slow or away,
 * calls miss at once (short timeout, circuit breaker, nothing queued); invalidations are kept and made up for later, and
 * until then this replica does not read those keys from Redis.
 */
export class SharedCache implements RegionCache {
  readonly #options: SharedCacheOptions;
  readonly #redis: RedisPort;
  readonly #breaker: CircuitBreaker;
  readonly #replica: string;
  readonly #channel: string;
  /** Invalidations that Redis has not heard yet, with the number of the last one of the key. */
  readonly #pending = new Map<string, number>();
  #notes = 0;
  readonly #stopTicking: Cancel;
  #dropAll = false;
  /** Everything is being dropped: what is invalidated meanwhile may have been passed already. */
  #dropping = false;
  #dropAgain = false;
  #repairing = false;
  #subscribed = false;
  #closed = false;
  #hits = 0;
  #misses = 0;
  #errors = 0;

  constructor(options: SharedCacheOptions) {
    this.#options = options;
    this.#breaker = new CircuitBreaker(() => options.clock.monotonicMs());
    this.#replica = options.unique();
    this.#channel = `${options.prefix}invalidate`;
    this.#redis = options.connect({
      subscriberReady: () => void this.#subscribe(),
      subscriberClosed: () => this.#setSubscribed(false),
      message: (message) => this.#heard(message),
      error: options.onError,
    });
    this.#stopTicking = options.timers.every(TICK_MS, () => void this.#tick());
  }

  /** Whether a command would be tried now. */
  get available(): boolean {
    return this.#redis.isReady && this.#breaker.allows();
  }

  async get(key: string): Promise<CacheAnswer> {
    if (this.#dropAll || this.#pending.has(key) || !this.available) return this.#missed();
    const [answer] = await this.#attempt(() => this.#getOrLease(key));
    if (answer === undefined) return this.#missed();
    // Invalidated while Redis answered, and not yet there: what it said is too old.
    if (this.#dropAll || this.#pending.has(key)) return this.#missed();
    if (answer.value === undefined) {
      this.#misses += 1;
      return { hit: undefined, lease: new SharedLease(key, answer.token) };
    }
    const hit = this.#decode(answer.value);
    if (hit === undefined) return this.#missed();
    this.#hits += 1;
    return { hit };
  }

  /** A hit is a plain GET; only a miss, which goes on to SQL, costs the script. */
  async #getOrLease(key: string): ReturnType<RedisPort["getOrLease"]> {
    const value = await this.#redis.get(this.#value(key));
    if (value !== null) return { value };
    return await this.#redis.getOrLease(this.#value(key), this.#lease(key), Buffer.from(this.#options.unique()), LEASE_MS);
  }

  async fill(lease: Lease, value: CachedRegion): Promise<void> {
    if (!(lease instanceof SharedLease)) throw new TypeError("a lease of another cache");
    if (this.#dropAll || this.#pending.has(lease.key) || !this.available) return;
    const content = LoadRegionResponse.encode(value).finish();
    await this.#attempt(() => this.#redis.fill(this.#value(lease.key), this.#lease(lease.key), lease.token, content, this.#options.ttlMs));
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
    this.#stopTicking();
    this.#redis.close();
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

  #decode(content: Uint8Array): CachedRegion | undefined {
    try {
      return LoadRegionResponse.decode(content);
    } catch (error) {
      // Somebody else's bytes under our key, or a newer release's: SQL has the truth.
      this.#failed(error);
      return undefined;
    }
  }

  #note(key: string): void {
    if (this.#dropAll && !this.#dropping) return;
    this.#pending.set(key, ++this.#notes);
    if (this.#pending.size <= PENDING_MAX) return;
    if (this.#dropAll) this.#dropAgain = true;
    this.#dropAll = true;
    this.#pending.clear();
  }

  /** Deletes values and leases, and tells the other replicas; false where Redis did not confirm. */
  async #send(keys: readonly string[]): Promise<boolean> {
    // What is invalidated again while Redis answers is owed again.
    const through = this.#notes;
    const entries = keys.flatMap((key) => [this.#value(key), this.#lease(key)]);
    const [done] = await this.#attempt(async () => {
      await this.#redis.remove(entries, this.#channel, `${this.#replica}\n${keys.join("\n")}`);
      return true;
    });
    if (done !== true) return false;
    for (const key of keys) if ((this.#pending.get(key) ?? 0) <= through) this.#pending.delete(key);
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

  async #subscribe(): Promise<void> {
    try {
      await this.#redis.subscribe(this.#channel);
      this.#setSubscribed(true);
    } catch (error) {
      this.#failed(error);
      this.#redis.reconnectSubscriber();
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
    let stop: Cancel | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      stop = this.#options.timers.after(this.#options.timeoutMs, () => reject(new Error("the subscription does not answer")));
    });
    try {
      await Promise.race([this.#redis.pingSubscriber(), late]);
    } catch (error) {
      this.#failed(error);
      this.#setSubscribed(false);
      if (!this.#closed) this.#redis.reconnectSubscriber();
    } finally {
      stop?.();
    }
  }

  async #repair(): Promise<void> {
    if (this.#dropAll && this.available) {
      this.#dropping = true;
      this.#dropAgain = false;
      const [dropped] = await this.#attempt(() => this.#dropEverything());
      this.#dropping = false;
      if (dropped === true) this.#dropAll = this.#dropAgain;
    }
    while (this.#pending.size > 0 && this.available) {
      const keys = [...this.#pending.keys()].slice(0, BATCH_KEYS);
      if (!(await this.#send(keys))) return;
    }
  }

  /** More invalidations were missed than are kept apart: all values of ours go, and so does every replica's memory. */
  async #dropEverything(): Promise<true> {
    await this.#redis.removeAll(`${this.#options.prefix}{`, this.#channel, `${this.#replica}\n*`);
    return true;
  }
}
