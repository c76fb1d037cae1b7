// Regions that go from shard to shard, while shards die, stand still and lose their ways.
import { describe, expect, test } from "vitest";
import { meshTier } from "../../src/index.ts";
import { at, scenario, settingsOf } from "./scenario.ts";

describe("handoffs", () => {
  const settings = { leasing: true, handoffs: true, maxRegions: 8, shards: 3, leaseMs: 1_500, paceMs: 60, names: 12, safetyMs: 8_000 };

  test("lose and double nothing while work goes on", async () => {
    await scenario(settings, [at(3_000, "leadership transfer", { node: 2, group: 0 }), at(5_000, "kill of the leader")], ["handoff committed", "region changed its owner"], [1]);
  });

  test("end in one owner, whichever side dies or stands still, and when", async () => {
    const faults = [1, 2, 3, 1, 2, 3].flatMap((shard, turn) => [
      at(2_000 + turn * 900, "shard killed", { shard, ms: 400 }),
      at(2_500 + turn * 900, "shard paused", { shard: 1 + (shard % 3), ms: 1_900 }),
    ]);
    await scenario({ ...settings, registrationTtlMs: 4_000 }, faults, ["shard killed", "shard paused", "region changed its owner"], [1, 2, 3]);
  });
});

test("a region whose owner's way flaps changes hands once, and stays with who took it over", async () => {
  const settings = settingsOf({ leasing: true, maxRegions: 8, shards: 2, leaseMs: 1_500, paceMs: 80, safetyMs: 16_000 });
  const faults = Array.from({ length: 4 }, (_, turn) => at(4_000 + turn * 3_000, "shard flapping", { shard: 1, times: 2, everyMs: 1_400 }));
  let taken = 0;
  for (const seed of [1, 2, 3]) {
    const owners = new Map<string, number>();
    const outcome = await meshTier.run(seed, { settings, faults }, {
      trace: (line) => {
        const [, name, region = "", , owner] = line.trim().split(" ");
        if (name !== "owner") return;
        // From the one to the other only through nobody: by a release, which is no failure.
        const before = owners.get(region) ?? 0;
        if (before === 1 && Number(owner) === 2) taken++;
        expect({ seed, line, back: before === 2 && Number(owner) === 1 }).toEqual({ seed, line, back: false });
        owners.set(region, Number(owner));
      },
    });
    expect(outcome.violations).toEqual([]);
  }
  expect(taken).toBeGreaterThan(0);
});
