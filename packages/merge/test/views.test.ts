// What merged states mean.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { addRemoveSet, counter, counterValue, type Json, type MergeFunction, type Origin, parseJson, setMembers, terrain, terrainAt, tree, treeParents } from "../src/index.ts";

const json = (value: unknown): Json => parseJson(new TextEncoder().encode(JSON.stringify(value)));
const by = (serverId: number, physicalMs: number): Origin => ({ physicalMs, logical: 0, serverId, operationId: `op-${serverId}-${physicalMs}` });

function after<S>(own: MergeFunction<S>, ...writes: [unknown, Origin][]): S {
  return writes.reduce((state, [update, origin]) => own.apply(state, json(update), origin), own.empty);
}

describe("a counter", () => {
  it("counts what every server did, exactly, also beyond 2^53", () => {
    expect(counterValue(after(counter, [{ add: 5 }, by(1, 1)], [{ add: -7 }, by(2, 1)], [{ add: 1 }, by(1, 2)]))).toBe(-1n);
    const most = Number.MAX_SAFE_INTEGER;
    expect(counterValue(after(counter, [{ add: most }, by(9, 1)], [{ add: most }, by(10, 1)]))).toBe(2n * BigInt(most));
  });
});

describe("a set", () => {
  it("keeps an addition that a removal did not see", () => {
    const seen = after(addRemoveSet, [{ add: ["bow"] }, by(1, 1)]);
    const removed = addRemoveSet.apply(seen, json({ remove: { bow: ["op-1-1"] } }), by(2, 2));
    const addedAgain = addRemoveSet.apply(seen, json({ add: ["bow"] }), by(3, 2));
    expect(setMembers(removed)).toEqual([]);
    expect(setMembers(addRemoveSet.join(removed, addedAgain))).toEqual(["bow"]);
  });

  it("takes a removal that came before what it removes", () => {
    expect(setMembers(after(addRemoveSet, [{ remove: { bow: ["op-1-1"] } }, by(2, 2)], [{ add: ["bow", "\u{1f600}", "\uffee"] }, by(1, 1)]))).toEqual(["\uffee", "\u{1f600}"]);
  });
});

describe("terrain", () => {
  const edit = (material: string, min: number, max: number, layer = 0) => ({ edits: [{ mode: "fill", material, min: [min, 0, 0], max: [max, 1, 1], layer }] });

  it("shows the highest layer, then the latest edit, and ends before max", () => {
    const state = after(terrain, [edit("sand", 0, 10), by(1, 5)], [edit("stone", 5, 15), by(2, 9)], [edit("snow", 8, 9, 1), by(3, 1)]);
    const shown = [0, 5, 8, 9, 14, 15].map((x) => terrainAt(state, [x, 0, 0])?.material);
    expect(shown).toEqual(["sand", "stone", "snow", "stone", "stone", undefined]);
  });

  it("shows the same after what can't show any more was dropped", () => {
    const any = fc.array(fc.tuple(fc.integer({ min: 0, max: 6 }), fc.integer({ min: 1, max: 6 }), fc.integer({ min: 0, max: 1 }), fc.integer({ min: 1, max: 5 })), { maxLength: 12 });
    fc.assert(fc.property(any, (list) => {
      const writes = list.map(([min, size, layer, at], n): [unknown, Origin] => [edit(`m${n}`, min, min + size, layer), by(n + 1, at)]);
      const state = after(terrain, ...writes);
      for (let x = 0; x < 12; x++) {
        const reach = list.map(([min, size, layer, at], n) => ({ n, layer, at, in: min <= x && x < min + size })).filter((it) => it.in);
        const top = reach.sort((a, b) => b.layer - a.layer || b.at - a.at || b.n - a.n)[0];
        expect(terrainAt(state, [x, 0, 0])?.material).toBe(top === undefined ? undefined : `m${top.n}`);
      }
    }));
  });
});

describe("a tree", () => {
  const move = (child: string, parent: string) => ({ moves: [{ child, parent }] });

  it("lets one of two moves that would make a cycle together stand", () => {
    const base: [unknown, Origin][] = [[move("a", ""), by(1, 1)], [move("b", ""), by(1, 2)]];
    const parents = treeParents(after(tree, ...base, [move("a", "b"), by(2, 3)], [move("b", "a"), by(3, 3)]));
    expect(parents).toEqual(new Map([["a", "b"], ["b", ""]]));
  });

  it("never has a node under itself, and takes a late move where it belongs", () => {
    const any = fc.array(fc.tuple(fc.constantFrom("a", "b", "c", "d"), fc.constantFrom("", "a", "b", "c", "d"), fc.integer({ min: 1, max: 6 })), { maxLength: 14 });
    fc.assert(fc.property(any, (list) => {
      const parents = treeParents(after(tree, ...list.map(([child, parent, at], n): [unknown, Origin] => [move(child, parent), by(n + 1, at)])));
      for (const start of parents.keys()) {
        const seen = new Set<string>();
        for (let at: string | undefined = start; at !== undefined && at !== ""; at = parents.get(at)) {
          expect(seen.has(at)).toBe(false);
          seen.add(at);
        }
      }
    }), { numRuns: 500 });
  });
});
