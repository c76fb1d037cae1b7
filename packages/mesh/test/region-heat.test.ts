import { DecidedOperation } from "@statemesh/contract/log";
import { describe, expect, it } from "vitest";
import { RegionHeat } from "../src/authority/region-heat.ts";

const operations = (x: number, count: number): DecidedOperation[] => Array.from({ length: count }, () => DecidedOperation.fromPartial({ region: { x, y: 0, z: 0 } }));

describe("the heat of regions", () => {
  it("is about what was decided a second, whatever came in one entry", () => {
    const heat = new RegionHeat(0);
    for (let ms = 0; ms < 10_000; ms += 10) heat.note([...operations(1, 10), ...operations(2, 1)], ms);
    expect(heat.rates(9_999).get("region_1_0_0")).toBeCloseTo(1_000, -2);
    expect(heat.rates(9_999).get("region_2_0_0")).toBeCloseTo(100, -2);
    // Half of the time that counts was quiet.
    expect(heat.rates(19_999).get("region_1_0_0")).toBeCloseTo(500, -2);
  });

  it("is forgotten after some time", () => {
    const heat = new RegionHeat(0);
    heat.note(operations(1, 100), 0);
    expect(heat.rates(25_000).size).toBe(0);
  });
});
