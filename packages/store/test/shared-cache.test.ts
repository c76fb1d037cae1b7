import { type Cancel, SystemClock, type Timers } from "@statemesh/ports";
import { describe, expect, it } from "vitest";
import { type RedisEvents, type RedisPort, SharedCache } from "../src/index.ts";

/** A Redis whose answers to removals a test gives, one by one. */
class HeldRedis implements RedisPort {
  isReady = true;
  readonly removals: PromiseWithResolvers<void>[] = [];

  async get(): Promise<null> {
    return null;
  }

  async getOrLease(_value: string, _lease: string, token: Uint8Array): ReturnType<RedisPort["getOrLease"]> {
    return { value: undefined, token };
  }

  async fill(): Promise<void> {
    return undefined;
  }

  async remove(): Promise<void> {
    await this.#held();
  }

  async removeAll(): Promise<void> {
    await this.#held();
  }

  async subscribe(): Promise<void> {
    return undefined;
  }

  async pingSubscriber(): Promise<void> {
    return undefined;
  }

  reconnectSubscriber(): void {
    return undefined;
  }

  close(): void {
    this.isReady = false;
  }

  async #held(): Promise<void> {
    const answer = Promise.withResolvers<void>();
    this.removals.push(answer);
    await answer.promise;
  }
}

/** Timers that a test runs. */
class TestTimers implements Timers {
  readonly ticks: (() => void)[] = [];

  after(): Cancel {
    return () => undefined;
  }

  every(_periodMs: number, run: () => void): Cancel {
    this.ticks.push(run);
    return () => undefined;
  }
}

function start() {
  const redis = new HeldRedis();
  const timers = new TestTimers();
  let names = 0;
  const cache = new SharedCache({
    connect: (_events: RedisEvents) => redis, clock: new SystemClock(), timers, unique: () => `name-${++names}`, ttlMs: 1_000, timeoutMs: 100, prefix: "t:",
    onInvalidated: () => undefined, onSubscribed: () => undefined, onError: () => undefined,
  });
  const settled = () => new Promise((resolve) => setImmediate(resolve));
  return { redis, cache, settled, tick: () => timers.ticks.forEach((run) => run()) };
}

describe("an invalidation that Redis did not confirm", () => {
  it("stays owed where an earlier one of the same key is confirmed later", async () => {
    const { redis, cache, settled } = start();
    const first = cache.invalidate(["r:1"]);
    const second = cache.invalidate(["r:1"]);
    await settled();
    redis.removals[1]?.reject(new Error("lost"));
    await second;
    redis.removals[0]?.resolve();
    await first;
    expect(cache.pendingInvalidations).toBe(1);
    expect(await cache.get("r:1")).toEqual({ hit: undefined, lease: undefined });
    await cache.close();
  });

  it("stays owed where it came while everything was dropped, and was not confirmed", async () => {
    const { redis, cache, settled, tick } = start();
    redis.isReady = false;
    await cache.invalidate(Array.from({ length: 10_050 }, (_, at) => `r:${at}`));
    redis.isReady = true;
    tick();
    await settled();
    const late = cache.invalidate(["r:1"]);
    await settled();
    redis.removals[1]?.reject(new Error("lost"));
    await late;
    redis.removals[0]?.resolve();
    await settled();
    expect(await cache.get("r:1")).toEqual({ hit: undefined, lease: undefined });
    expect((await cache.get("r:2"))).toMatchObject({ hit: undefined, lease: { key: "r:2" } });
    await cache.close();
  });
});
