// What is written down, and what is remembered of it: region stores, their database, and the Redis between them.
import { describe, expect, test } from "vitest";
import { cacheTier } from "../../src/index.ts";
import { at, scenario } from "./scenario.ts";

describe("region stores with a Redis between them", () => {
  test("a write to the database that races the message of it resurrects nothing in another store's cache, whatever becomes of Redis", async () => {
    await scenario(
      { hasStore: true, hasRedis: true, groups: 2, travellers: 0.5, paceMs: 40, subscribers: 0 },
      [
        at(1_800, "redis messages lost", { share: 0.3, ms: 1_500 }), at(2_200, "redis answers lost", { loss: 0.3, ms: 1_000 }), at(3_000, "redis flushed"), at(3_400, "redis down", { ms: 700 }),
        at(4_200, "redis hangs", { ms: 800 }), at(4_500, "store killed", { ms: 300 }), at(5_200, "redis answers old values", { share: 0.3, ms: 800 }), at(6_200, "failover of the database", { ms: 300 }),
      ],
      ["region read from memory", "region read from redis", "region read from sql", "store compared", "entity moved to another group"],
      [1, 2],
    );
  });

  test("a load that began before a removal fills no cache after it", async () => {
    let met = 0;
    for (const seed of [1, 2, 3, 4]) {
      const settings = { replicas: 2, isShared: true, keys: 1, sqlMs: 20, sharedMs: 10, tellMs: 30, requestEveryMs: 2, durationMs: 3_000 };
      const faults = [at(300, "slow SQL", { replica: 1, ms: 300 }), at(900, "invalidations not heard", { replica: 2, ms: 300 }), at(1_500, "shared cache emptied", { replica: 1, ms: 10 }), at(1_900, "shared cache down", { replica: 1, ms: 300 })];
      const outcome = await cacheTier.run(seed, { settings, faults });
      expect({ seed, violations: outcome.violations }).toEqual({ seed, violations: [] });
      met += outcome.sometimes["an invalidation met a load"] ?? 0;
    }
    expect(met).toBeGreaterThan(0);
  });
});
