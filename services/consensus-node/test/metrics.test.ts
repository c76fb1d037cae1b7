import { describe, expect, it } from "vitest";
import type { MeshNode } from "@statemesh/mesh";
import { GROUPS_SHOWN, groupSeries, itemSeries } from "../src/metrics.ts";

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

describe("metrics of items", () => {
  it("have 64 kinds with names of their own, those of which most was minted, and one sum for all others", () => {
    const wide = (count: number) => ({ value: BigInt(count), modulo: count });
    const counts = new Map(Array.from({ length: 100 }, (_, i) => [`kind-${i + 1}`, { minted: i + 1, burned: 0, held: wide(i + 1), onGround: wide(0), escrowed: 0, away: 0 }]));
    const series = itemSeries({ groups: [{ state: { ledger: { counts: () => counts } } }] } as unknown as Pick<MeshNode, "groups">);
    const minted = series.filter(([{ count }]) => count === "minted");
    expect(minted).toHaveLength(65);
    expect(minted[0]).toEqual([{ item_kind: "kind-100", count: "minted" }, 100]);
    expect(minted.at(-1)).toEqual([{ item_kind: "", count: "minted" }, (36 * 37) / 2]);
    expect(series.filter(([{ count }]) => count === "held").map(([, value]) => value)).toEqual(minted.map(([, value]) => value));
  });
});
