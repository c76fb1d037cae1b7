import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { JointQuorum, MajorityQuorum, WeightedQuorum } from "../src/index.ts";
import type { Quorum } from "../src/index.ts";

const voterSets = fc.uniqueArray(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 9 });

describe("a majority", () => {
  test("is more than half", () => {
    expect([1, 2, 3, 4, 5, 6, 7].map((count) => new MajorityQuorum(Array.from({ length: count }, (_, n) => n + 1)).size)).toEqual([1, 2, 2, 3, 3, 4, 4]);
  });

  test("two sets that can decide always share a voter", () => {
    fc.assert(
      fc.property(voterSets, fc.array(fc.boolean(), { minLength: 20, maxLength: 20 }), (voters, side) => {
        const quorum = new MajorityQuorum(voters);
        const one = quorum.decides((voter) => side[voter - 1] === true);
        const other = quorum.decides((voter) => side[voter - 1] !== true);
        expect(one && other).toBe(false);
      }),
    );
  });

  test("has reached the highest value that more than half have reached", () => {
    fc.assert(
      fc.property(voterSets, fc.array(fc.nat(10), { minLength: 20, maxLength: 20 }), (voters, values) => {
        const quorum = new MajorityQuorum(voters);
        const reachedBy = (voter: number): number => values[voter - 1]!;
        const reached = quorum.reached(reachedBy);
        expect(quorum.decides((voter) => reachedBy(voter) >= reached)).toBe(true);
        expect(quorum.decides((voter) => reachedBy(voter) > reached)).toBe(false);
      }),
    );
  });

  test("an election is won by more than half, lost once that is out of reach, else open", () => {
    fc.assert(
      fc.property(voterSets, fc.array(fc.constantFrom(true, false, undefined), { minLength: 20, maxLength: 20 }), (voters, answers) => {
        const votes = new Map<number, boolean>();
        for (const [at, answer] of answers.entries()) if (answer !== undefined) votes.set(at + 1, answer);
        const granted = voters.filter((voter) => votes.get(voter) === true).length;
        const open = voters.filter((voter) => !votes.has(voter)).length;
        const expected = granted * 2 > voters.length ? "won" : (granted + open) * 2 > voters.length ? "pending" : "lost";
        expect(new MajorityQuorum(voters).tally(votes)).toBe(expected);
      }),
    );
  });

  test("needs a voter", () => {
    expect(() => new MajorityQuorum([])).toThrow("at least one voter");
  });
});

const anyQuorum: fc.Arbitrary<Quorum> = fc.oneof(
  voterSets.map((voters) => new WeightedQuorum(voters)),
  fc.tuple(voterSets, voterSets).map(([incoming, outgoing]) => new JointQuorum(new WeightedQuorum(incoming), new WeightedQuorum(outgoing))),
  fc.tuple(voterSets, voterSets).map(([incoming, outgoing]) => new JointQuorum(new MajorityQuorum(incoming), new MajorityQuorum(outgoing))),
);

describe("a weighted or joint quorum answers all its questions alike", () => {
  test("it has reached the highest value that a deciding set has reached", () => {
    fc.assert(
      fc.property(anyQuorum, fc.array(fc.nat(10), { minLength: 20, maxLength: 20 }), (quorum, values) => {
        const reachedBy = (voter: number): number => values[voter - 1]!;
        const reached = quorum.reached(reachedBy);
        expect(quorum.decides((voter) => reachedBy(voter) >= reached)).toBe(true);
        expect(quorum.decides((voter) => reachedBy(voter) > reached)).toBe(false);
      }),
    );
  });

  test("an election is won by a deciding set, lost once none is left that could still agree, else open", () => {
    fc.assert(
      fc.property(anyQuorum, fc.array(fc.constantFrom(true, false, undefined), { minLength: 20, maxLength: 20 }), (quorum, answers) => {
        const votes = new Map<number, boolean>();
        for (const [at, answer] of answers.entries()) if (answer !== undefined) votes.set(at + 1, answer);
        const won = quorum.decides((voter) => votes.get(voter) === true);
        const lost = !quorum.decides((voter) => votes.get(voter) !== false);
        expect(quorum.tally(votes)).toBe(won ? "won" : lost ? "lost" : "pending");
      }),
    );
  });

  test("two sets that can decide always share a voter", () => {
    fc.assert(
      fc.property(anyQuorum, fc.array(fc.boolean(), { minLength: 20, maxLength: 20 }), (quorum, side) => {
        const one = quorum.decides((voter) => side[voter - 1] === true);
        const other = quorum.decides((voter) => side[voter - 1] !== true);
        expect(one && other).toBe(false);
      }),
    );
  });

  test("of two voters the lowest decides alone, of one that one", () => {
    const alone = (voters: number[], voter: number): boolean => new WeightedQuorum(voters).decides((other) => other === voter);
    expect([alone([4], 4), alone([4, 9], 4), alone([4, 9], 9)]).toEqual([true, true, false]);
    expect(() => new WeightedQuorum([])).toThrow("at least one voter");
  });
});
