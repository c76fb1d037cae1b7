import { ConflictType, Outcome } from "@statemesh/contract";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decide, resolve } from "../src/index.ts";
import { box, candidate, candidateSet, POLICY, setOf, TERRAIN } from "./candidates.ts";

describe("decide", () => {
  it("gives the verdicts of resolve, and one conflict for every loser", () => {
    fc.assert(fc.property(candidateSet, (set) => {
      const { verdicts, conflicts } = decide(set, POLICY);
      expect(verdicts).toEqual(resolve(set, POLICY));
      const serverOf = (id: string): number | undefined => [...set.candidates, ...set.incumbents].find((it) => it.operationId === id)?.serverId;
      const losers = verdicts.filter((v) => v.outcome === Outcome.REJECTED).sort((a, b) => a.rank - b.rank);
      expect(conflicts.filter((c) => !c.merged)).toEqual(
        losers.map((v) => ({ type: v.conflict, winnerOperationId: v.winnerOperationId, loserOperationId: v.operationId, winnerServerId: serverOf(v.winnerOperationId), loserServerId: serverOf(v.operationId), rule: v.rule, region: { x: 0, y: 0, z: 0 }, merged: false })),
      );
      const inForce = new Set([...verdicts.filter((v) => v.outcome !== Outcome.REJECTED).map((v) => v.operationId), ...set.incumbents.map((c) => c.operationId)]);
      for (const conflict of conflicts.filter((c) => c.merged)) expect(inForce.has(conflict.winnerOperationId) && inForce.has(conflict.loserOperationId)).toBe(true);
    }), { numRuns: 100 });
  });

  it("names two that merge once, the earlier one as the winner", () => {
    const dig = (id: string, physicalMs: number) => candidate(id, { type: TERRAIN, mergeClass: "dig", bounds: box(0, 5), stamp: { physicalMs, logical: 0 } });
    expect(decide(setOf([dig("late", 2), dig("early", 1)]), POLICY).conflicts).toEqual([
      { type: ConflictType.TERRAIN_OVERLAP, winnerOperationId: "early", loserOperationId: "late", winnerServerId: 1, loserServerId: 1, rule: "merge", region: { x: 0, y: 0, z: 0 }, merged: true },
    ]);
  });

  it("names nothing where nothing met", () => {
    expect(decide(setOf([candidate("a"), candidate("b")]), POLICY).conflicts).toEqual([]);
  });
});
