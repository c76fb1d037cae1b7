import { expect, test } from "vitest";
import { shrink, SimRandom } from "../src/index.ts";

test("what is left is what the violation needs, whatever surrounds it", async () => {
  const random = new SimRandom(4);
  for (let round = 0; round < 50; round++) {
    const count = random.between(1, 60);
    const needed = Array.from({ length: count }, (_, at) => at).filter(() => random.chance(0.06));
    const { kept } = await shrink(count, (some) => Promise.resolve(needed.every((at) => some.includes(at))), 2_000);
    expect(kept).toEqual(needed);
  }
});

test("the budget bounds the runs, and what is left still fails", async () => {
  let runs = 0;
  const fails = (some: readonly number[]): boolean => some.includes(3) && some.includes(77) && some.includes(40);
  const { kept, runs: told } = await shrink(100, (some) => {
    runs++;
    return Promise.resolve(fails(some));
  }, 12);
  expect(runs).toBeLessThanOrEqual(12);
  expect(told).toBe(runs);
  expect(fails(kept)).toBe(true);
});
