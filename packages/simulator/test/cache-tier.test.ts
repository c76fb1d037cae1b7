import { expect, test } from "vitest";
import { cacheTier } from "../src/index.ts";

test("region stores' caches never answer from before an invalidation, nor go back behind what they answered", async () => {
  let operations = 0;
  const sometimes = new Set<string>();
  for (let seed = 1; seed <= 500; seed++) {
    const outcome = await cacheTier.run(seed, cacheTier.plan(seed));
    expect(outcome.violations, `./dev sim --tier cache --seed ${seed}`).toEqual([]);
    operations += outcome.operations;
    for (const name of Object.keys(outcome.sometimes)) sometimes.add(name);
  }
  expect(operations).toBeGreaterThan(100_000);
  expect([...sometimes].toSorted()).toEqual(cacheTier.sometimes.toSorted());
}, 120_000);
