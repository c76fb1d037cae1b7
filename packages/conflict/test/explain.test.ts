import { MeshError } from "@statemesh/contract";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { explain, resolve } from "../src/index.ts";
import { box, candidate, candidateSet, POLICY, setOf, TERRAIN } from "./candidates.ts";
import { meet, winners } from "./reference.ts";

describe("explain", () => {
  it("gives the verdict that resolve gives, and everyone that the candidate met", () => {
    fc.assert(fc.property(candidateSet, fc.nat(), (set, pick) => {
      const own = set.candidates[pick % Math.max(1, set.candidates.length)];
      fc.pre(own !== undefined);
      if (own === undefined) return;
      const answer = explain(set, own.operationId, POLICY);
      expect(answer.verdict).toEqual(resolve(set, POLICY)[set.candidates.indexOf(own)]);
      const kept = new Set(winners(set, POLICY).kept.map((c) => c.operationId));
      const met = [...set.incumbents, ...set.candidates].filter((other) => other !== own && meet(other, own, POLICY)).map((other) => other.operationId);
      expect(answer.comparisons.map((c) => c.otherOperationId).sort()).toEqual(met.sort());
      for (const comparison of answer.comparisons) expect(comparison.otherWon).toBe(kept.has(comparison.otherOperationId));
      expect(answer.text).toContain(own.operationId);
    }), { numRuns: 150 });
  });

  const wall = (id: string, min: number, physicalMs: number, priority = 0) => candidate(id, { bounds: box(min, min + 10), stamp: { physicalMs, logical: 0 }, priority });

  it("says what was compared with whom, in the order of the walk, and puts it in a sentence", () => {
    const answer = explain(setOf([wall("mine", 5, 300), wall("theirs", 0, 200), wall("late", 12, 400)], [candidate("old", { bounds: box(100, 110) })]), "mine", POLICY);
    expect(answer).toMatchObject({
      verdict: { rule: "timestamp", winnerOperationId: "theirs" },
      chain: ["priority", "timestamp", "server_id", "operation_id"],
      comparisons: [
        { otherOperationId: "theirs", otherWon: true, otherIsIncumbent: false, rule: "timestamp", ownValue: "300.0", otherValue: "200.0" },
        { otherOperationId: "late", otherWon: true, rule: "timestamp", ownValue: "300.0", otherValue: "400.0" },
      ],
      text: "mine is rejected: theirs comes before it by timestamp (200.0 against 300.0).",
    });
  });

  it.each([
    ["alone", [wall("mine", 0, 1)], [], "mine is in force: it met nobody."],
    ["beating others", [wall("mine", 0, 1, 9), wall("b", 5, 1)], [], "mine is in force: it met 1 other and beat 1, the first by priority."],
    ["meeting only who lost to another", [wall("mine", 16, 3), wall("b", 8, 2), wall("a", 0, 1)], [], "mine is in force: it met 1 other, refused for another reason."],
    ["against an incumbent", [wall("mine", 0, 1)], [wall("old", 5, 1)], "mine is rejected: old was in force before."],
    ["in force already", [wall("mine", 0, 1)], [wall("mine", 0, 1)], "mine is in force already."],
    ["id of another", [wall("mine", 0, 1)], [wall("mine", 50, 1)], "mine is rejected: its id stands for an operation with other content."],
    ["merged", [candidate("mine", { type: TERRAIN, mergeClass: "dig", bounds: box(0, 5) })], [candidate("old", { type: TERRAIN, mergeClass: "dig", bounds: box(0, 5) })], "mine is in force, merged with those it overlaps (it met 1 other)."],
  ])("%s", (_, candidates, incumbents, text) => {
    expect(explain(setOf(candidates, incumbents), "mine", POLICY).text).toBe(text);
  });

  it("refuses an id that is not in the set", () => {
    expect(() => explain(setOf([wall("a", 0, 1)]), "b", POLICY)).toThrow(MeshError);
  });
});
