import { SystemClock } from "@statemesh/ports";
import { describe, expect, it } from "vitest";
import { MemoryCache } from "../src/index.ts";
import { cacheContract, missed, valueOf } from "./cache-contract.ts";

/** A monotonic clock that a test moves. */
class TestClock extends SystemClock {
  atMs = 0;

  override monotonicMs(): number {
    return this.atMs;
  }
}

cacheContract("memory", async () => {
  const clock = new TestClock();
  return {
    time: {
      settle: (work) => work,
      async eventually(condition, what) {
        for (let step = 0; !(await condition()); step++) {
          if (step > 1_000) throw new Error(`never came: ${what}`);
          clock.atMs += 10;
        }
      },
      nowMs: () => clock.atMs,
    },
    make: async (ttlMs = 60_000) => new MemoryCache({ bytesMax: 10_000_000, ttlMs, clock }),
    close: async () => undefined,
  };
});

describe("a cache in memory", () => {
  it("holds no more bytes than it may, and what was used last stays", async () => {
    const cache = new MemoryCache({ bytesMax: 100_000, ttlMs: 60_000, clock: new TestClock() });
    for (let at = 0; at < 50; at++) await cache.fill(await missed(cache, `r:${at}`), valueOf(at, 10_000));
    const { bytes, entries, evictions } = cache.statistics();
    expect(bytes).toBeLessThanOrEqual(100_000);
    expect([entries, evictions]).toEqual([9, 41]);
    expect((await cache.get("r:49")).hit).toBeDefined();
    await cache.fill(await missed(cache, "r:huge"), valueOf(1, 200_000));
    await missed(cache, "r:huge");
  });

  it("answers nothing while suspended, and nothing older when resumed", async () => {
    const cache = new MemoryCache({ bytesMax: 100_000, ttlMs: 60_000, clock: new TestClock() });
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
