import { describe, expect, it } from "vitest";
import { Refusals, handovers } from "../src/balance.ts";

/** All nodes look at once, over and over; answers the spread at the end and how often they looked. */
function settle(led: number[]): { led: number[]; looks: number } {
  for (let looks = 0; looks < 1_000; looks++) {
    const moves = led.flatMap((own, from) => [...handovers(own, new Map(led.flatMap((count, to) => (to === from ? [] : [[to, count] as const]))))].map(([to, count]) => ({ from, to, count })));
    if (moves.length === 0) return { led, looks };
    for (const { from, to, count } of moves) {
      led[from] = (led[from] ?? 0) - count;
      led[to] = (led[to] ?? 0) + count;
    }
  }
  throw new Error(`does not settle: ${led.join(", ")}`);
}

describe("leadership", () => {
  it.each([
    [[1_001, 0, 0]],
    [[500, 501, 0]],
    [[5, 0, 0]],
    [[3, 3, 3, 3, 3, 3, 3, 3, 1]],
    [[9, 0, 0, 0, 0, 0, 0, 0, 0]],
    [[400, 300, 300, 1, 0]],
    [[2, 0]],
  ])("of %j spreads until no node leads two groups more than another", (before) => {
    const total = before.reduce((sum, count) => sum + count, 0);
    const { led, looks } = settle([...before]);
    expect(led.reduce((sum, count) => sum + count, 0)).toBe(total);
    expect(Math.max(...led) - Math.min(...led)).toBeLessThan(2);
    expect(looks).toBeLessThanOrEqual(Math.ceil(Math.max(...before) / 32) + before.length);
  });

  it("stays where it is as long as no node leads two groups more than another", () => {
    for (const led of [[1, 0], [334, 334, 333], [0, 0], [7]]) expect(settle([...led])).toEqual({ led, looks: 0 });
  });
});

describe("a peer that does not take what it is handed", () => {
  it("is asked ever more rarely, and as ever once it takes some", () => {
    const refusals = new Refusals();
    const stays = { serves: true };
    let asked = 0;
    for (let look = 0; look < 300; look++) {
      if (!refusals.takes(2)) continue;
      asked++;
      refusals.handed(2, [stays]);
    }
    expect(asked).toBeGreaterThan(4);
    expect(asked).toBeLessThan(12);
    while (!refusals.takes(2));
    refusals.handed(2, [stays, { serves: false }]);
    expect([refusals.takes(2), refusals.takes(2)]).toEqual([true, true]);
  });

  it("does not keep another from being asked", () => {
    const refusals = new Refusals();
    refusals.handed(2, [{ serves: true }]);
    expect([refusals.takes(2), refusals.takes(3)]).toEqual([false, true]);
  });
});
