// One set, one decision, to the byte: whatever the order, the batches, the repeats, and which replica was asked. A failure names its seed;
// CONFLICT_SEED runs it again.
import { createHash } from "node:crypto";
import { type Candidate, type CandidateSet, Outcome, type Verdict } from "@statemesh/contract";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parsePolicy } from "@statemesh/world";
import { canonicalDecision, resolve } from "../src/index.ts";
import { candidate, candidateSet, POLICY } from "./candidates.ts";
import { meet } from "./reference.ts";

const SEED = Number(process.env["CONFLICT_SEED"] ?? Date.now() % 2_147_483_647);

function digest(verdicts: readonly Verdict[]): string {
  return createHash("sha256").update(canonicalDecision(verdicts)).digest("hex");
}

function shuffled<T>(list: readonly T[], dice: Iterator<number>): T[] {
  return list.map((it) => ({ it, at: Number(dice.next().value) })).sort((a, b) => a.at - b.at).map(({ it }) => it);
}

/** As another replica holds it: nothing shared, keys the other way round, and boxes given with other fractions of the same centimetre. */
function copyOf(it: Candidate): Candidate {
  const { bounds } = it;
  const near = (metres: number): number => metres + 0.001;
  const moved = bounds === undefined ? undefined : { minX: near(bounds.minX), minY: near(bounds.minY), minZ: near(bounds.minZ), maxX: near(bounds.maxX), maxY: near(bounds.maxY), maxZ: near(bounds.maxZ) };
  return { ...structuredClone(it), keys: [...it.keys, ...it.keys].reverse(), bounds: moved };
}

/** A replica with a table of its own, read from the same text. */
const REPLICAS = Array.from({ length: 3 }, () => parsePolicy("version: 1\nservers: {default_priority: 3}\ntypes:\n  spell: {consistency: strong, chain: [priority, timestamp]}\n  growth: {consistency: strong, chain: [timestamp], merge: true}\n  weather: {consistency: strong, chain: [last_write_wins, server_id]}\n  rank: {consistency: strong, chain: [server_id, timestamp]}\n", "replica.yaml"));

/** The parts of a set that have nothing to do with one another, incumbents with those whom they meet. */
function parts(set: CandidateSet): CandidateSet[] {
  const all = [...set.incumbents, ...set.candidates];
  const part = all.map((_, at) => at);
  const find = (at: number): number => (part[at] === at || part[at] === undefined ? at : find(part[at]));
  all.forEach((a, i) => all.slice(0, i).forEach((b, j) => {
    if (meet(a, b, POLICY)) part[find(i)] = find(j);
  }));
  const roots = [...new Set(all.map((_, at) => find(at)))];
  return roots.map((root) => ({
    incumbents: set.incumbents.filter((_, at) => find(at) === root),
    candidates: set.candidates.filter((_, at) => find(set.incumbents.length + at) === root),
  }));
}

describe(`the digest of a decision (seed ${SEED})`, () => {
  it("is the same for any order, any number of repeats, any replica", () => {
    fc.assert(fc.property(candidateSet, fc.infiniteStream(fc.nat()), fc.nat(7), (set, dice, repeats) => {
      const expected = digest(resolve(set, POLICY));
      for (const replica of REPLICAS) {
        const again = [...set.candidates, ...set.candidates.slice(0, repeats)];
        const order = shuffled(again, dice).map(copyOf);
        const incumbents = shuffled([...set.incumbents, ...set.incumbents.slice(0, repeats)], dice).map(copyOf);
        expect(digest(resolve({ candidates: order, incumbents }, replica))).toBe(expected);
      }
    }), { seed: SEED, numRuns: 200 });
  });

  it("follows from parts that do not meet, whichever replica decides which of them, and in whatever order", () => {
    fc.assert(fc.property(candidateSet, fc.infiniteStream(fc.nat()), (set, dice) => {
      const whole = resolve(set, POLICY);
      const byId = new Map<string, Verdict>();
      for (const [at, part] of shuffled(parts(set), dice).entries()) {
        const replica = REPLICAS[at % REPLICAS.length] ?? POLICY;
        for (const verdict of part.candidates.length === 0 ? [] : resolve(part, replica)) byId.set(verdict.operationId, verdict);
      }
      // Only the place in the whole order is told by the whole.
      const joined = whole.map(({ operationId, rank }) => ({ ...(byId.get(operationId) ?? expect.fail(operationId)), rank }));
      expect(digest(joined)).toBe(digest(whole));
    }), { seed: SEED, numRuns: 150 });
  });

  it("is that of whole sets: winners alone don't give it", () => {
    const box = (min: number, max: number) => ({ minX: min, minY: 0, minZ: 0, maxX: max, maxY: 10, maxZ: 10 });
    const [a, b, c] = [candidate("a", { bounds: box(0, 10) }), candidate("b", { bounds: box(8, 18) }), candidate("c", { bounds: box(16, 26) })];
    const winners = resolve({ incumbents: [], candidates: [b, c] }, POLICY).filter((v) => v.outcome !== Outcome.REJECTED).map((v) => (v.operationId === "b" ? b : c));
    const merged = resolve({ incumbents: [], candidates: [a, ...winners] }, POLICY).filter((v) => v.outcome !== Outcome.REJECTED).map((v) => v.operationId);
    expect(merged).toEqual(["a"]);
    expect(resolve({ incumbents: [], candidates: [a, b, c] }, POLICY).filter((v) => v.outcome !== Outcome.REJECTED).map((v) => v.operationId)).toEqual(["a", "c"]);
  });

  it("tells apart contents of one id, and chooses the same of them everywhere", () => {
    fc.assert(fc.property(candidateSet, fc.infiniteStream(fc.nat()), (set, dice) => {
      const twins = set.candidates.map((it, at) => ({ ...it, serverId: it.serverId + 1 + (at % 2), keys: [...it.keys, "key:other"] }));
      const both = [...set.candidates, ...twins];
      const verdicts = resolve({ incumbents: set.incumbents, candidates: both }, POLICY);
      const flagged = verdicts.filter((v) => v.rule === "operation_id_reused");
      expect(flagged.length).toBe(set.candidates.length);
      const order = shuffled(both, dice).map(copyOf);
      const other = resolve({ incumbents: set.incumbents, candidates: order }, REPLICAS[0] ?? POLICY);
      expect(digest(other)).toBe(digest(verdicts));
    }), { seed: SEED, numRuns: 100 });
  });
});
