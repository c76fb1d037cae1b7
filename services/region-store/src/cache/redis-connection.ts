import { randomUUID } from "node:crypto";
import { SystemClock, SystemTimers } from "@statemesh/ports";
import { type RedisEvents, type RedisPort, SharedCache, type SharedCacheOptions } from "@statemesh/store";
import { Redis } from "ioredis";

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

/** The commands that our scripts become. */
interface ScriptedRedis extends Redis {
  regionGetBuffer(value: string, lease: string, token: Buffer, leaseMs: number): Promise<[number, Buffer]>;
  regionFill(value: string, lease: string, token: Buffer, content: Buffer, ttlMs: number): Promise<number>;
}

export interface RedisCacheOptions extends Pick<SharedCacheOptions, "ttlMs" | "prefix" | "onInvalidated" | "onSubscribed" | "onError"> {
  readonly url: string;
  /** Milliseconds for one command; after that the answer counts as a miss. */
  readonly timeoutMs: number;
}

/** The cache that all replicas share, in a Redis. */
export function openRedisCache(options: RedisCacheOptions): SharedCache {
  return new SharedCache({
    ...options,
    connect: (events) => new RedisConnection(options.url, options.timeoutMs, events),
    clock: new SystemClock(),
    timers: new SystemTimers(),
    unique: randomUUID,
  });
}

/** Two connections to a Redis: one for commands, one for the subscription. Both are opened again by themselves. */
class RedisConnection implements RedisPort {
  readonly #commands: ScriptedRedis;
  readonly #subscriber: Redis;

  constructor(url: string, timeoutMs: number, events: RedisEvents) {
    const both = {
      lazyConnect: true,
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      connectTimeout: 1_000,
      retryStrategy: (times: number) => Math.min(50 * times, 500),
    };
    this.#commands = new Redis(url, {
      ...both,
      commandTimeout: timeoutMs,
      scripts: { regionGet: { numberOfKeys: 2, lua: GET_OR_LEASE }, regionFill: { numberOfKeys: 2, lua: FILL } },
    }) as ScriptedRedis;
    this.#subscriber = new Redis(url, { ...both, autoResubscribe: false });
    this.#commands.on("error", events.error);
    this.#subscriber.on("error", events.error);
    this.#subscriber.on("ready", () => events.subscriberReady());
    this.#subscriber.on("close", () => events.subscriberClosed());
    this.#subscriber.on("message", (_channel: string, message: string) => events.message(message));
    void this.#open();
  }

  get isReady(): boolean {
    return this.#commands.status === "ready";
  }

  async get(key: string): Promise<Buffer | null> {
    return await this.#commands.getBuffer(key);
  }

  async getOrLease(value: string, lease: string, token: Uint8Array, leaseMs: number): ReturnType<RedisPort["getOrLease"]> {
    const [found, content] = await this.#commands.regionGetBuffer(value, lease, bufferOf(token), leaseMs);
    return Number(found) === 0 ? { value: undefined, token: content } : { value: content };
  }

  async fill(value: string, lease: string, token: Uint8Array, content: Uint8Array, ttlMs: number): Promise<void> {
    await this.#commands.regionFill(value, lease, bufferOf(token), bufferOf(content), ttlMs);
  }

  async remove(keys: readonly string[], channel: string, message: string): Promise<void> {
    const pipeline = this.#commands.pipeline();
    for (const key of keys) pipeline.del(key);
    pipeline.publish(channel, message);
    const results = await pipeline.exec();
    const failed = results?.find(([error]) => error !== null)?.[0];
    if (results === null || failed) throw failed ?? new Error("the pipeline was not executed");
  }

  async removeAll(prefix: string, channel: string, message: string): Promise<void> {
    let cursor = "0";
    const pattern = `${prefix.replaceAll(/[*?[\]\\]/g, "\\$&")}*`;
    do {
      const [next, keys] = await this.#commands.scan(cursor, "MATCH", pattern, "COUNT", 1_000);
      if (keys.length > 0) await this.#commands.unlink(...keys);
      cursor = next;
    } while (cursor !== "0");
    await this.#commands.publish(channel, message);
  }

  async subscribe(channel: string): Promise<void> {
    await this.#subscriber.subscribe(channel);
  }

  async pingSubscriber(): Promise<void> {
    await this.#subscriber.ping();
  }

  reconnectSubscriber(): void {
    this.#subscriber.disconnect(true);
  }

  close(): void {
    this.#commands.disconnect();
    this.#subscriber.disconnect();
  }

  async #open(): Promise<void> {
    // Where Redis is away the client goes on trying by itself, and says so on "error".
    await Promise.allSettled([this.#commands.connect(), this.#subscriber.connect()]);
  }
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
