import { describe, expect, test } from "vitest";
import { Suspicion } from "../src/index.ts";

const OPTIONS = { heartbeatMs: 300, suspicionMs: 1_500, removalMs: 10_000 };
const TICK_MS = 50;

/** Runs on: beats every tick, and hears what `heard` says comes at that time. */
class Bench {
  readonly suspicion: Suspicion = new Suspicion(OPTIONS);
  nowMs = 1_000;

  run(forMs: number, heard: (nowMs: number) => number[] = () => []): void {
    for (const endMs = this.nowMs + forMs; this.nowMs < endMs; ) {
      this.nowMs += TICK_MS;
      this.suspicion.beat(this.nowMs);
      for (const peer of heard(this.nowMs)) this.suspicion.heard(peer);
    }
  }

  /** How long it takes until a peer that went silent is suspected, ms. */
  detect(peer: number, others: (nowMs: number) => number[] = () => []): number {
    const startMs = this.nowMs;
    while (this.suspicion.hears(peer)) {
      if (this.nowMs - startMs > 60_000) throw new Error("never");
      this.run(TICK_MS, others);
    }
    return this.nowMs - startMs;
  }
}

const every = (periodMs: number, ...peers: number[]) => (nowMs: number): number[] => (nowMs % periodMs === 0 ? peers : []);

describe("a peer", () => {
  test("that beats regularly is suspected after the shortest patience", () => {
    const bench = new Bench();
    bench.run(30_000, every(300, 2));
    expect(bench.suspicion.hears(2)).toBe(true);
    expect(bench.detect(2)).toBeLessThanOrEqual(OPTIONS.suspicionMs + 2 * TICK_MS);
    expect(bench.suspicion.suspected()).toEqual([2]);
  });

  test("that is slow but steady is not suspected for it, and one that then stops is, within the removal time", () => {
    const bench = new Bench();
    bench.run(2_000, every(300, 2));
    bench.run(30_000, every(1_000, 2));
    bench.run(60_000, (nowMs) => (nowMs % 3_000 === 0 || nowMs % 3_000 === 700 || nowMs % 3_000 === 1_650 ? [2] : []));
    expect(bench.suspicion.hears(2)).toBe(true);
    expect(bench.suspicion.isSteady(2)).toBe(true);
    expect(bench.detect(2)).toBeLessThanOrEqual(OPTIONS.removalMs);
  });

  test("that was never heard counts from when it was watched, and one that is not watched is not there", () => {
    const bench = new Bench();
    bench.run(100);
    bench.suspicion.watch(2);
    expect([bench.suspicion.hears(2), bench.suspicion.hears(3)]).toEqual([true, false]);
    bench.run(2_000);
    expect([bench.suspicion.hears(2), bench.suspicion.isSteady(2), bench.suspicion.silenceMs(2)]).toEqual([false, false, 2_000]);
    bench.suspicion.forget(2);
    expect([bench.suspicion.suspected(), bench.suspicion.silenceMs(2)]).toEqual([[], undefined]);
  });
});

describe("this node itself", () => {
  test("blames nobody for what it slept through", () => {
    const bench = new Bench();
    bench.run(10_000, every(300, 2, 3));
    bench.nowMs += 8_000;
    bench.suspicion.beat(bench.nowMs);
    expect(bench.suspicion.suspected()).toEqual([]);
    expect(bench.suspicion.silenceMs(2)).toBeLessThanOrEqual(2 * OPTIONS.heartbeatMs);
  });

  test("is slower to suspect while it is held up again and again, within the removal time, and recovers", () => {
    const bench = new Bench();
    bench.run(10_000, every(300, 2));
    for (let pause = 0; pause < 5; pause++) {
      bench.nowMs += 900;
      bench.run(100, () => [2]);
    }
    expect(bench.suspicion.health).toBe(3);
    const slow = bench.detect(2);
    expect(slow).toBeGreaterThan(OPTIONS.suspicionMs);
    expect(slow).toBeLessThanOrEqual(OPTIONS.removalMs);
    bench.run(10_000, every(300, 2));
    expect(bench.suspicion.health).toBe(0);
    expect(bench.detect(2)).toBeLessThanOrEqual(OPTIONS.suspicionMs + 2 * TICK_MS);
  });
});

describe("a link that flaps", () => {
  test("is counted on again later after each break, up to the removal time, and like at first once it has held for long", () => {
    const bench = new Bench();
    bench.run(5_000, every(300, 2));
    const waits: number[] = [];
    for (let flap = 0; flap < 6; flap++) {
      bench.run(3_000);
      expect(bench.suspicion.isSteady(2)).toBe(false);
      const backMs = bench.nowMs;
      while (!bench.suspicion.isSteady(2)) bench.run(TICK_MS, () => [2]);
      waits.push(Math.round((bench.nowMs - backMs) / 500) * 500);
    }
    expect(waits).toEqual([1_500, 3_000, 6_000, 10_000, 10_000, 10_000]);
    bench.run(61_000, every(300, 2));
    bench.run(3_000);
    const backMs = bench.nowMs;
    while (!bench.suspicion.isSteady(2)) bench.run(TICK_MS, () => [2]);
    expect(bench.nowMs - backMs).toBeLessThanOrEqual(OPTIONS.suspicionMs + 2 * TICK_MS);
  });

  test("is heard at once where that is all that matters", () => {
    const bench = new Bench();
    bench.run(5_000, every(300, 2));
    bench.run(3_000);
    bench.run(TICK_MS, () => [2]);
    expect([bench.suspicion.hears(2), bench.suspicion.isSteady(2)]).toEqual([true, false]);
  });
});
