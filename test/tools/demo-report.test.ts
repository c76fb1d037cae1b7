import { describe, expect, it } from "vitest";
import { CheckFailed, failOn, runChecks, settle } from "../../tools/demo-checks.ts";
import { DemoLedger } from "../../tools/demo-ledger.ts";
import { Measure } from "../../tools/demo-measure.ts";
import { reportLines, table } from "../../tools/demo-report.ts";

const region = { x: 0, y: 0, z: 0 };

function decisionAt(index: number) {
  return {
    operationId: "o", outcome: 1, rule: "", winnerOperationId: "o", version: index, position: { groupId: 1, term: 1, index },
    conflict: 0, reason: "", stamp: undefined, repeated: false,
  } as const;
}

describe("checks", () => {
  it("that throw have failed, and the others still run", async () => {
    const done = await runChecks([
      { name: "fine", run: () => "3 things" },
      { name: "wrong", run: () => failOn(["a", "b", "c", "d"]) as never },
      { name: "broken", run: () => Promise.reject(new Error("no node")) },
      { name: "fine too", run: () => "" },
    ]);
    expect(done.map((it) => it.ok)).toEqual([true, false, false, true]);
    expect(done[1]?.detail).toBe("a; b; c; and 1 more");
    expect(done[2]?.detail).toContain("could not be checked");
  });

  it("wait for what settles, and fail on what does not", async () => {
    let asked = 0;
    await settle(async () => await Promise.resolve(++asked < 3 ? ["not yet"] : []), 5_000);
    expect(asked).toBe(3);
    await expect(settle(async () => await Promise.resolve(["never"]), 150)).rejects.toThrow(CheckFailed);
  });
});

describe("the ledger of what shards were told", () => {
  it("notices an item that two decisions gave away", () => {
    const ledger = new DemoLedger();
    ledger.lay("i", "ore", 4, region);
    expect(ledger.pickUp("i", "ann")).toMatchObject({ kind: "ore", quantity: 4 });
    expect(ledger.pickUp("i", "bob")).toBeUndefined();
    expect(ledger.doubled).toEqual(["i"]);
    expect(ledger.expected()).toEqual([{ account: "ann", kind: "ore", quantity: 4 }]);
    ledger.unsure.add("ann");
    expect(ledger.expected()).toEqual([]);
  });

  it("believes the later place in the log, in whatever order the answers come", () => {
    const ledger = new DemoLedger();
    ledger.setClaim("vein", "bob", decisionAt(9));
    ledger.setClaim("vein", undefined, decisionAt(5));
    expect(ledger.claims.get("vein")?.playerId).toBe("bob");
  });
});

describe("the report", () => {
  it("shows counts, latencies, conflicts, caches, items and every check by name", () => {
    const measure = new Measure();
    const digs = measure.countsOf("terrain_modification");
    digs.sent = 3;
    digs.accepted = 1;
    digs.merged = 2;
    for (const ms of [1, 2, 30]) digs.latencies.add(ms);
    const tier = { hits: 3, misses: 1, entries: 2, bytes: 10, evictions: 0, errors: 0 };
    const text = reportLines({
      worldName: "w", bots: 2, shards: 1, nodes: 3, groups: 4, seconds: 2, structuresPlaced: 1, structuresFound: 0, measure, arrived: 7, questSteps: 5,
      arbiter: { batches: 1, candidates: 3, accepted: 1, merged: 2, rejected: 0, conflictsByType: new Map([["terrain_overlap", 2]]), decisionsByRule: new Map([["merge", 2]]), conflictsByRegion: new Map(), p50Us: 10, p99Us: 20, startedAtMs: 0, latency: undefined, latencyByType: new Map(), latencyByRule: new Map(), latencyByRegion: new Map(), policyDigest: "", policyRefusals: 0 },
      arbiterFallbacks: 0, cache: new Map([["memory", tier]]), redis: false,
      conservation: { conserved: true, items: [{ itemKind: "ore", minted: 9, burned: 1, held: 5, onGround: 3, conserved: true, inEscrow: 0, inTransit: 0, exactMinted: "9", exactBurned: "1", exactHeld: "5", exactOnGround: "3", exactInTransit: "0", difference: "0" }], positions: [], flows: [] },
      notes: [], checks: [{ name: "all is well", ok: true, detail: "d" }, { name: "or not", ok: false, detail: "e" }],
    }).join("\n");
    expect(text).toMatch(/terrain_modification +3 +2 +2\.00 +30\.0 +1 +2 +0 +0/);
    expect(text).toContain("by type: terrain_overlap 2");
    expect(text).toMatch(/memory +3 +1 +75\.0 %/);
    expect(text).toMatch(/ore +9 +1 +5 +3 +yes/);
    expect(text).toContain("  ok      all is well (d)");
    expect(text).toContain("  FAILED  or not (e)");
    expect(text).toContain("no Redis");
  });

  it("lines columns up", () => {
    expect(table([["a", "1"], ["long", "100"]])).toEqual(["  a       1", "  long  100"]);
  });
});
