import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { MajorityQuorum } from "../src/index.ts";

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
