import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BusiestRegions } from "../src/busiest-regions.ts";
import { LatencyQuantiles } from "../src/latency-quantiles.ts";

describe("latency quantiles", () => {
  it("are 0 where nothing was recorded", () => {
    expect(new LatencyQuantiles().quantileUs(0.99)).toBe(0);
  });

  it("lie at or above the true value, by at most 6.25 %", () => {
    fc.assert(fc.property(fc.array(fc.double({ min: 0.001, max: 100_000, noNaN: true }), { minLength: 1, maxLength: 200 }), fc.constantFrom(0.5, 0.9, 0.99, 1), (durationsMs, share) => {
      const quantiles = new LatencyQuantiles();
      for (const ms of durationsMs) quantiles.record(ms);
      const sorted = [...durationsMs].sort((a, b) => a - b);
      const exactUs = (sorted[Math.ceil(sorted.length * share) - 1] ?? 0) * 1000;
      const told = quantiles.quantileUs(share);
      expect(told).toBeGreaterThanOrEqual(exactUs * (1 - 1e-9));
      expect(told).toBeLessThanOrEqual(exactUs * 1.0626);
    }));
  });

  it("take durations of nothing and of for ever", () => {
    const quantiles = new LatencyQuantiles();
    quantiles.record(0);
    quantiles.record(1e12);
    expect(quantiles.quantileUs(0.5)).toBeLessThan(0.01);
    expect(Number.isFinite(quantiles.quantileUs(1))).toBe(true);
  });
});

describe("the busiest regions", () => {
  it("stay within their limit, and keep those with the most conflicts", () => {
    const regions = new BusiestRegions(100);
    for (let round = 0; round < 50; round++) regions.count({ x: -1, y: 0, z: 0 }, 1);
    for (let x = 0; x < 1000; x++) regions.count({ x, y: 0, z: 0 }, undefined);
    const told = regions.busiest();
    expect(told.size).toBeLessThanOrEqual(100);
    const [text, busiest] = [...told][0] ?? [];
    expect([text, busiest?.conflicts]).toEqual(["region_-1_0_0", 50]);
    expect(busiest?.latency.counts.reduce((sum, each) => sum + each, 0)).toBe(50);
  });

  it("are 1,024 at most in an answer", () => {
    const regions = new BusiestRegions();
    for (let x = 0; x < 3000; x++) regions.count({ x, y: 0, z: 0 }, undefined);
    expect(regions.busiest().size).toBe(1024);
  });
});
