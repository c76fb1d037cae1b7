// Chains are strict total orders, compared by numbers and bytes and never by how a number reads.
import { type Candidate, Outcome } from "@statemesh/contract";
import { parsePolicy } from "@statemesh/world";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { resolve } from "../src/index.ts";
import { candidate } from "./candidates.ts";

const CHAINS = ["[server_id]", "[priority, server_id]", "[timestamp]", "[last_write_wins, server_id]", "[server_id, timestamp]", "[priority, timestamp, server_id]", "[operation_id]", "[timestamp, priority]"];
const POLICY = parsePolicy(`version: 1\ntypes:\n${CHAINS.map((chain, at) => `  own_${at}: {consistency: strong, chain: ${chain}}\n`).join("")}`, "test.yaml");
const MOST = Number.MAX_SAFE_INTEGER;

function winner(chain: string, a: Partial<Candidate>, b: Partial<Candidate>, ids: readonly [string, string] = ["z", "a"]): { id: string; rule: string } {
  const type = `own_${CHAINS.indexOf(chain)}`;
  const set = { incumbents: [], candidates: [candidate(ids[0], { type, keys: ["key:x"], ...a }), candidate(ids[1], { type, keys: ["key:x"], ...b })] };
  const won = resolve(set, POLICY).find((verdict) => verdict.outcome === Outcome.ACCEPTED) ?? expect.fail("nobody won");
  return { id: won.operationId, rule: won.rule };
}

const at = (physicalMs: number, logical = 0) => ({ stamp: { physicalMs, logical } });

describe("a chain compares", () => {
  it.each<[string, string, Partial<Candidate>, Partial<Candidate>, string]>([
    ["server 9 before server 10", "[server_id]", { serverId: 9 }, { serverId: 10 }, "server_id"],
    ["server 99 before the highest id", "[last_write_wins, server_id]", { serverId: 99 }, { serverId: 4_294_967_295 }, "server_id"],
    ["priority 10 before 9", "[priority, server_id]", { priority: 10 }, { priority: 9 }, "priority"],
    ["priority -9 before -10", "[priority, server_id]", { priority: -9 }, { priority: -10 }, "priority"],
    ["the whole range of priorities", "[priority, timestamp, server_id]", { priority: 2_147_483_647, ...at(9) }, { priority: -2_147_483_648, ...at(1) }, "priority"],
    ["9 ms before 10 ms", "[timestamp]", at(9), at(10), "timestamp"],
    ["neighbours at the end of the range of times", "[timestamp]", at(MOST - 1), at(MOST), "timestamp"],
    ["neighbours there, the last one first", "[last_write_wins, server_id]", at(MOST), at(MOST - 1), "last_write_wins"],
    ["the logical part apart from the physical one, which no sum of both could hold", "[timestamp]", at(MOST, 4_294_967_294), at(MOST, 4_294_967_295), "timestamp"],
    ["logical 9 before 10", "[timestamp]", at(5, 9), at(5, 10), "timestamp"],
    ["times first where the chain says so, and priority after", "[timestamp, priority]", { ...at(1), priority: 0 }, { ...at(2), priority: 9 }, "timestamp"],
  ])("%s", (_, chain, first, second, rule) => {
    expect(winner(chain, first, second)).toEqual({ id: "z", rule });
    expect(winner(chain, second, first)).toEqual({ id: "a", rule });
  });

  it("ids by their bytes: as numbers they read otherwise, in UTF-16 too", () => {
    const ordered = ["10", "9", "A", "a", "aa", "é", "\u{ffee}", "\u{1f600}"];
    for (let i = 0; i + 1 < ordered.length; i++) {
      const pair: [string, string] = [ordered[i + 1] ?? "", ordered[i] ?? ""];
      expect(winner("[operation_id]", {}, {}, pair), pair.join()).toEqual({ id: ordered[i], rule: "operation_id" });
      expect(Buffer.compare(Buffer.from(pair[1]), Buffer.from(pair[0]))).toBeLessThan(0);
    }
  });

  it("any ids as their bytes do", () => {
    fc.assert(fc.property(fc.string({ unit: "grapheme", minLength: 1, maxLength: 8 }), fc.string({ unit: "grapheme", minLength: 1, maxLength: 8 }), (a, b) => {
      fc.pre(a !== b);
      const first = Buffer.compare(Buffer.from(a), Buffer.from(b)) < 0 ? a : b;
      expect(winner("[operation_id]", {}, {}, [a, b]).id).toBe(first);
    }));
  });

  it("three operations in line: strict, total, transitive, whatever the types", () => {
    const any = fc.record({
      type: fc.integer({ min: 0, max: CHAINS.length - 1 }).map((n) => `own_${n}`), serverId: fc.constantFrom(1, 2, 9, 10, 4_294_967_295), priority: fc.constantFrom(-10, -9, 0, 9, 10),
      stamp: fc.record({ physicalMs: fc.constantFrom(1, 9, 10, MOST - 1, MOST), logical: fc.constantFrom(0, 9, 10, 4_294_967_295) }),
    });
    fc.assert(fc.property(fc.tuple(any, any, any), (fields) => {
      const three = fields.map((changes, n) => candidate(`op-${n}`, { ...changes, keys: ["key:x"] }));
      const before = (a: number, b: number): boolean => {
        const pair = [three[a] ?? expect.fail(), three[b] ?? expect.fail()];
        const [first, second] = resolve({ incumbents: [], candidates: pair }, POLICY);
        expect([first?.outcome, second?.outcome].filter((outcome) => outcome === Outcome.ACCEPTED)).toHaveLength(1);
        return first?.outcome === Outcome.ACCEPTED;
      };
      for (const [a, b, c] of [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 2, 1], [2, 1, 0], [1, 0, 2]] as const) if (before(a, b) && before(b, c)) expect(before(a, c)).toBe(true);
    }));
  });
});
