import { ConflictType, MeshError } from "@statemesh/contract";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { detect } from "../src/index.ts";
import { box, candidate, candidateSet, POLICY, setOf, TERRAIN } from "./candidates.ts";
import { conflicts } from "./reference.ts";

describe("detect", () => {
  it("finds every pair that conflicts, once, and no other", () => {
    fc.assert(fc.property(candidateSet, (set) => {
      const pairs = (list: [string, string][]) => list.map((pair) => pair.sort().join("|")).sort();
      const expected: [string, string][] = [];
      set.candidates.forEach((a, index) => {
        for (const b of [...set.incumbents, ...set.candidates.slice(index + 1)]) if (conflicts(a, b, POLICY)) expected.push([a.operationId, b.operationId]);
      });
      const found = detect(set, POLICY);
      expect(pairs(found.map((c) => [c.firstOperationId, c.secondOperationId]))).toEqual(pairs(expected));
      expect(detect({ incumbents: [...set.incumbents].reverse(), candidates: [...set.candidates].reverse() }, POLICY)).toEqual(found);
    }), { numRuns: 150 });
  });

  it("names the key shared, or none where boxes overlap, and who comes first", () => {
    const set = setOf(
      [candidate("late", { keys: ["item:b", "item:a"], stamp: { physicalMs: 5, logical: 0 } }), candidate("early", { keys: ["item:a", "item:b"], stamp: { physicalMs: 1, logical: 0 }, bounds: box(0, 5) })],
      [candidate("old", { bounds: box(0, 5) })],
    );
    expect(detect(set, POLICY)).toEqual([
      { firstOperationId: "old", secondOperationId: "early", type: ConflictType.STRUCTURE_OVERLAP, key: "" },
      { firstOperationId: "early", secondOperationId: "late", type: ConflictType.ITEM_PICKUP, key: "item:a" },
    ]);
  });

  it("does not count what merges", () => {
    const dig = { type: TERRAIN, mergeClass: "dig", bounds: box(0, 5) };
    expect(detect(setOf([candidate("a", dig), candidate("b", dig)]), POLICY)).toEqual([]);
  });

  it("refuses to name more conflicts than its limit", () => {
    const crowd = setOf(Array.from({ length: 10 }, (_, n) => candidate(`op-${n}`, { bounds: box(0, 5) })));
    expect(detect(crowd, POLICY, 45)).toHaveLength(45);
    expect(() => detect(crowd, POLICY, 44)).toThrow(MeshError);
  });
});
