import { type Candidate, ConflictType, Outcome, type Verdict } from "@statemesh/contract";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { canonicalDecision, resolve } from "../src/index.ts";
import { box, candidate, candidateSet, POLICY, setOf, TERRAIN } from "./candidates.ts";
import { compare, conflicts, meet, merge, winners } from "./reference.ts";

const decide = (candidates: Candidate[], incumbents: Candidate[] = []) => resolve(setOf(candidates, incumbents), POLICY);
const accepted = (verdicts: Verdict[]) => verdicts.filter((v) => v.outcome !== Outcome.REJECTED).map((v) => v.operationId);
const at = (physicalMs: number, logical = 0) => ({ stamp: { physicalMs, logical } });

describe("the rules", () => {
  const key = { keys: ["claim:vein"], type: "resource_claim" };

  it.each<[string, Partial<Candidate>, Partial<Candidate>]>([
    ["timestamp", { ...key, ...at(1) }, { ...key, ...at(2) }],
    ["timestamp", { ...key, ...at(1, 1) }, { ...key, ...at(1, 2) }],
    ["server_id", { ...key, serverId: 2 }, { ...key, serverId: 10 }],
    ["operation_id", { ...key }, { ...key }],
    ["priority", { ...key, type: "creature_ownership", priority: 5, ...at(9) }, { ...key, type: "creature_ownership", priority: -5, ...at(1) }],
    ["last_write_wins", { ...key, type: "weather", ...at(2) }, { ...key, type: "weather", ...at(1) }],
    ["type", { ...key, ...at(9) }, { ...key, type: "weather", ...at(1) }],
    ["priority", { ...key, type: "spell", priority: 4, ...at(9) }, { ...key, type: "item_pickup", priority: 99, ...at(1) }],
  ])("%s decides, and both sides hear it", (rule, first, second) => {
    expect(decide([candidate("b", second), candidate("a", first)])).toMatchObject([
      { operationId: "b", outcome: Outcome.REJECTED, rule, winnerOperationId: "a", rank: 1 },
      { operationId: "a", outcome: Outcome.ACCEPTED, rule, winnerOperationId: "a", rank: 0 },
    ]);
  });

  it("says how two operations met", () => {
    const kinds: [string, ConflictType][] = [["structure:x", ConflictType.STRUCTURE_OVERLAP], ["claim:x", ConflictType.RESOURCE_CLAIM], ["item:x", ConflictType.ITEM_PICKUP], ["creature:x", ConflictType.CREATURE_OWNERSHIP], ["key:x", ConflictType.KEY]];
    for (const [name, conflict] of kinds) expect(decide([candidate("a", { keys: [name] }), candidate("b", { keys: [name] })]).map((v) => v.conflict)).toEqual([conflict, conflict]);
    expect(decide([candidate("a", { bounds: box(0, 10) }), candidate("b", { bounds: box(5, 15) })]).map((v) => v.conflict)).toEqual([ConflictType.STRUCTURE_OVERLAP, ConflictType.STRUCTURE_OVERLAP]);
    expect(decide([candidate("a", { type: "spell", bounds: box(0, 10) }), candidate("b", { type: "spell", bounds: box(5, 15) })])[1]?.conflict).toBe(ConflictType.KEY);
  });

  it("leave alone what only touches, and boxes of different layers", () => {
    expect(decide([candidate("a", { bounds: box(0, 10) }), candidate("b", { bounds: box(10, 20) }), candidate("c", { type: TERRAIN, bounds: box(0, 20) })]).map((v) => v.rule)).toEqual(["uncontested", "uncontested", "uncontested"]);
  });

  it("order operation ids by their bytes", () => {
    const same = { keys: ["key:x"] };
    expect(accepted(decide([candidate("\u{1f600}", same), candidate("\uffee", same)]))).toEqual(["\uffee"]);
  });
});

describe("merging", () => {
  const dig = (id: string, min: number, max: number, changes: Partial<Candidate> = {}) => candidate(id, { type: TERRAIN, mergeClass: "dig", bounds: box(min, max), ...changes });

  it("keeps overlapping edits of one class, and says so to each", () => {
    expect(decide([dig("a", 0, 10), dig("b", 5, 15), dig("c", 100, 110)])).toMatchObject([
      { outcome: Outcome.MERGED, rule: "merge", winnerOperationId: "a", conflict: ConflictType.TERRAIN_OVERLAP },
      { outcome: Outcome.MERGED, rule: "merge", winnerOperationId: "b" },
      { outcome: Outcome.ACCEPTED, rule: "uncontested", winnerOperationId: "c" },
    ]);
  });

  it("does not bridge classes", () => {
    expect(decide([dig("a", 0, 10), dig("b", 5, 15, { mergeClass: "fill:stone", ...at(2000) })])).toMatchObject([{ outcome: Outcome.ACCEPTED, rule: "timestamp" }, { outcome: Outcome.REJECTED, rule: "timestamp", winnerOperationId: "a" }]);
  });

  it("does not merge edits without a class, nor types without the rule", () => {
    expect(accepted(decide([dig("a", 0, 10, { mergeClass: "" }), dig("b", 5, 15, { mergeClass: "" })]))).toEqual(["a"]);
    expect(accepted(decide([candidate("a", { bounds: box(0, 10), mergeClass: "dig" }), candidate("b", { bounds: box(5, 15), mergeClass: "dig" })]))).toEqual(["a"]);
  });

  it("with an edit in force counts as merged; with one that lost it does not", () => {
    expect(decide([dig("b", 5, 15)], [dig("a", 0, 10)])).toMatchObject([{ outcome: Outcome.MERGED }]);
    const paint = candidate("p", { type: TERRAIN, bounds: box(14, 20), ...at(1) });
    expect(decide([dig("a", 0, 10), dig("b", 5, 15)], [paint])).toMatchObject([{ outcome: Outcome.ACCEPTED, rule: "uncontested" }, { outcome: Outcome.REJECTED, rule: "incumbent", winnerOperationId: "p" }]);
  });
});

describe("the winner set", () => {
  it("of A > B > C, where A meets B and B meets C, is A and C", () => {
    const a = candidate("a", { bounds: box(0, 10), ...at(1) });
    const b = candidate("b", { bounds: box(8, 18), ...at(2) });
    const c = candidate("c", { bounds: box(16, 26), ...at(3) });
    expect(decide([c, b, a])).toMatchObject([
      { operationId: "c", outcome: Outcome.ACCEPTED, rule: "uncontested", rank: 2 },
      { operationId: "b", outcome: Outcome.REJECTED, rule: "timestamp", winnerOperationId: "a", rank: 1 },
      { operationId: "a", outcome: Outcome.ACCEPTED, rule: "timestamp", rank: 0 },
    ]);
  });

  it("never loses an incumbent, whatever the priority of the newcomer", () => {
    expect(decide([candidate("new", { bounds: box(0, 10), priority: 1000, ...at(1) })], [candidate("old", { bounds: box(5, 15), ...at(900_000) })])).toEqual([
      { operationId: "new", outcome: Outcome.REJECTED, rule: "incumbent", winnerOperationId: "old", conflict: ConflictType.STRUCTURE_OVERLAP, rank: 0 },
    ]);
  });

  it("is what the rules say, said plainly", () => {
    fc.assert(fc.property(candidateSet, (set) => {
      const { kept, lost } = winners(set, POLICY);
      const verdicts = resolve(set, POLICY);
      const ranked = [...set.candidates].sort((a, b) => compare(a, b, POLICY).order).map((c) => c.operationId);
      verdicts.forEach((verdict, index) => {
        const own = set.candidates[index];
        if (own === undefined) throw new Error("more verdicts than candidates");
        expect(verdict.operationId).toBe(own.operationId);
        expect(verdict.rank).toBe(ranked.indexOf(own.operationId));
        const winner = lost.get(own.operationId);
        const others = kept.filter((other) => other !== own && meet(other, own, POLICY));
        if (winner !== undefined) {
          const by = kept.find((other) => other.operationId === winner);
          expect(verdict).toMatchObject({ outcome: Outcome.REJECTED, winnerOperationId: winner, rule: by === undefined || set.incumbents.includes(by) ? "incumbent" : compare(by, own, POLICY).rule });
        } else if (others.some((other) => merge(other, own, POLICY))) {
          expect(verdict).toMatchObject({ outcome: Outcome.MERGED, rule: "merge", winnerOperationId: own.operationId });
        } else {
          const beaten = ranked.map((id) => set.candidates.find((c) => c.operationId === id)).find((c) => c !== undefined && lost.has(c.operationId) && conflicts(c, own, POLICY) && compare(own, c, POLICY).order < 0);
          expect(verdict).toMatchObject({ outcome: Outcome.ACCEPTED, winnerOperationId: own.operationId, rule: beaten === undefined ? "uncontested" : compare(own, beaten, POLICY).rule });
        }
      });
    }), { numRuns: 300 });
  });

  it("has no two members that conflict, and every loser conflicts with a member that precedes it", () => {
    fc.assert(fc.property(candidateSet, (set) => {
      const verdicts = resolve(set, POLICY);
      const outcome = new Map(verdicts.map((v) => [v.operationId, v]));
      const won = set.candidates.filter((c) => outcome.get(c.operationId)?.outcome !== Outcome.REJECTED);
      for (const a of won) {
        expect(won.some((b) => a !== b && conflicts(a, b, POLICY))).toBe(false);
        expect(set.incumbents.some((b) => conflicts(a, b, POLICY))).toBe(false);
      }
      for (const loser of set.candidates) {
        const verdict = outcome.get(loser.operationId);
        if (verdict?.outcome !== Outcome.REJECTED) continue;
        const winner = [...set.incumbents, ...won].find((c) => c.operationId === verdict.winnerOperationId);
        expect(winner !== undefined && conflicts(winner, loser, POLICY)).toBe(true);
        if (winner !== undefined && won.includes(winner)) expect(compare(winner, loser, POLICY).order).toBeLessThan(0);
      }
    }), { numRuns: 100 });
  });

  it("does not depend on the order of the set, nor on how often an operation is in it", () => {
    const shuffled = candidateSet.chain((set) => fc.record({
      set: fc.constant(set),
      incumbents: fc.shuffledSubarray([...set.incumbents, ...set.incumbents.slice(0, 3)], { minLength: set.incumbents.length + Math.min(3, set.incumbents.length) }),
      candidates: fc.shuffledSubarray([...set.candidates, ...set.candidates.slice(0, 5)], { minLength: set.candidates.length + Math.min(5, set.candidates.length) }),
    }));
    fc.assert(fc.property(shuffled, ({ set, incumbents, candidates }) => {
      const copy = candidates.map((c) => ({ ...structuredClone(c), keys: [...c.keys].reverse() }));
      const before = resolve(set, POLICY);
      const after = resolve({ incumbents, candidates: copy }, POLICY);
      const byId = new Map(before.map((v) => [v.operationId, v]));
      expect(after).toEqual(copy.map((c) => byId.get(c.operationId)));
      expect(canonicalDecision(after)).toEqual(canonicalDecision(before));
    }), { numRuns: 100 });
  });

  it("is taken over the total order, in which any three candidates are in line", () => {
    fc.assert(fc.property(candidateSet, (set) => {
      const [a, b, c] = set.candidates;
      fc.pre(a !== undefined && b !== undefined && c !== undefined);
      if (a === undefined || b === undefined || c === undefined) return;
      expect(Math.sign(compare(a, b, POLICY).order)).toBe(-Math.sign(compare(b, a, POLICY).order));
      if (compare(a, b, POLICY).order < 0 && compare(b, c, POLICY).order < 0) expect(compare(a, c, POLICY).order).toBeLessThan(0);
    }));
  });
});

describe("one operation id with two contents", () => {
  it("stands for the one that comes first in the order; the other is refused by name, in whatever order they come", () => {
    const first = candidate("x", { ...at(1), keys: ["key:a"] });
    const second = candidate("x", { ...at(2), keys: ["key:b"] });
    const verdicts = decide([second, first, structuredClone(second)]);
    expect(verdicts).toMatchObject([
      { outcome: Outcome.REJECTED, rule: "operation_id_reused", winnerOperationId: "x", rank: 1 },
      { outcome: Outcome.ACCEPTED, rule: "uncontested", rank: 0 },
      { outcome: Outcome.REJECTED, rule: "operation_id_reused", rank: 1 },
    ]);
    expect(canonicalDecision(decide([first, second]))).toEqual(canonicalDecision(verdicts));
  });

  it("is told apart by content where the order sees no difference", () => {
    const verdicts = decide([candidate("x", { keys: ["key:b"] }), candidate("x", { keys: ["key:a"] })]);
    const reversed = decide([candidate("x", { keys: ["key:a"] }), candidate("x", { keys: ["key:b"] })]);
    expect(verdicts.map((v) => v.outcome).reverse()).toEqual(reversed.map((v) => v.outcome));
    expect(verdicts.filter((v) => v.rule === "operation_id_reused")).toHaveLength(1);
  });

  it("of which one is in force: the same content is in force already, any other is refused", () => {
    const old = candidate("x", { keys: ["key:a"] });
    expect(decide([structuredClone(old)], [old])).toMatchObject([{ outcome: Outcome.ACCEPTED, rule: "incumbent", winnerOperationId: "x" }]);
    expect(decide([candidate("x", { keys: ["key:b"] })], [old])).toMatchObject([{ outcome: Outcome.REJECTED, rule: "operation_id_reused", winnerOperationId: "x" }]);
  });
});

describe("large sets", () => {
  it("of 4,096 candidates in one place are decided", () => {
    const crowd = Array.from({ length: 4096 }, (_, n) => candidate(`op-${n}`, { type: TERRAIN, mergeClass: "dig", bounds: box(0, 10) }));
    expect(decide(crowd).every((v) => v.outcome === Outcome.MERGED)).toBe(true);
    expect(accepted(decide(crowd.map((c) => ({ ...c, mergeClass: "" }))))).toEqual(["op-0"]);
  });

  it("find a small box under a large one and a large one over a small, far from the origin", () => {
    const far = 2_000_000_000;
    const small = Array.from({ length: 200 }, (_, n) => candidate(`small-${n}`, { bounds: box(far + n * 3, far + n * 3 + 1), ...at(1 + n) }));
    const large = candidate("large", { bounds: box(far - 500, far + 50_000), ...at(5000) });
    expect(accepted(decide([large, ...small]))).toHaveLength(200);
    expect(accepted(decide([{ ...large, ...at(0) }, ...small]))).toEqual(["large"]);
    expect(accepted(decide(small, [large]))).toEqual([]);
  });
});
