import { describe, expect, it } from "vitest";
import { GROUPS_SHOWN, groupSeries } from "../src/metrics.ts";

describe("metrics by group", () => {
  it("have a series a group where groups are few", () => {
    expect(groupSeries(3, (groupId) => groupId * 10, "sum")).toEqual([["0", 0], ["1", 10], ["2", 20]]);
    expect(groupSeries(GROUPS_SHOWN, () => 1, "sum")).toHaveLength(GROUPS_SHOWN);
  });

  it("have one series for all where groups are many, which shows what is wrong with any of them", () => {
    const hasLeader = (groupId: number): number => (groupId === 700 ? 0 : 1);
    expect(groupSeries(1_001, hasLeader, "least")).toEqual([["all", 0]]);
    expect(groupSeries(1_001, hasLeader, "greatest")).toEqual([["all", 1]]);
    expect(groupSeries(1_001, hasLeader, "sum")).toEqual([["all", 1_000]]);
  });
});
