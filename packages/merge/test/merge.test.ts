// Laws of every merge function: joins in any order, updates in any order, and what is stored reads back the same.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { canonicalText, type Json, mergeFunctionOf, type MergeFunction, type MergeSpec, MergeLimitError, type Origin, parseJson, StateMerge, StateProblem } from "../src/index.ts";

const encode = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));
const decode = (bytes: Uint8Array): unknown => JSON.parse(new TextDecoder().decode(bytes));

const NAMES = ["a", "b", "\u{1f600}", "\uffee", "__proto__", "o/p"];
const name = fc.constantFrom(...NAMES);
const point = fc.tuple(fc.integer({ min: -3, max: 3 }), fc.integer({ min: -3, max: 3 }), fc.constant(0));

/** Updates of each kind; a removal names tags of operations that may or may not have been seen. */
const UPDATES: Record<string, fc.Arbitrary<unknown>> = {
  counter: fc.record({ add: fc.integer({ min: -9, max: 9 }) }),
  set: fc.oneof(fc.record({ add: fc.array(name, { maxLength: 3 }) }), fc.record({ remove: fc.dictionary(name, fc.array(fc.integer({ min: 0, max: 11 }).map((n) => `op-${n}`), { minLength: 1, maxLength: 3 }), { minKeys: 1, maxKeys: 2 }) })),
  last_write_wins: fc.record({ value: fc.jsonValue({ maxDepth: 2 }) }),
  terrain: fc.record({
    edits: fc.array(
      fc.record({ mode: fc.constantFrom("fill", "paint"), material: fc.constantFrom("stone", "sand"), min: point, size: fc.tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 5 })), layer: fc.integer({ min: 0, max: 1 }) })
        .map(({ size, min, ...edit }) => ({ ...edit, min, max: [min[0] + size[0], min[1] + size[1], 1] })),
      { minLength: 1, maxLength: 3 }),
  }),
  tree: fc.record({ moves: fc.array(fc.record({ child: name, parent: fc.constantFrom("", ...NAMES) }), { minLength: 1, maxLength: 3 }) }),
};
const FIELDS = new Map<string, MergeSpec>([["hp", "counter"], ["bag", "set"], ["title", "last_write_wins"], ["inner", new Map<string, MergeSpec>([["floor", "terrain"], ["rooms", "tree"]])]]);
UPDATES["fields"] = fc.record({
  hp: UPDATES["counter"] ?? fc.constant({}), bag: UPDATES["set"] ?? fc.constant({}), title: UPDATES["last_write_wins"] ?? fc.constant({}),
  inner: fc.record({ floor: UPDATES["terrain"] ?? fc.constant({}), rooms: UPDATES["tree"] ?? fc.constant({}) }, { requiredKeys: ["rooms"] }),
}, { requiredKeys: ["hp"] });

const SPECS: [string, MergeSpec][] = [["counter", "counter"], ["set", "set"], ["last_write_wins", "last_write_wins"], ["terrain", "terrain"], ["tree", "tree"], ["fields", FIELDS]];

interface Written {
  readonly update: Json;
  readonly origin: Origin;
}

/** Operations of three servers with ids of their own, and stamps that are often equal. */
function history(kind: string): fc.Arbitrary<Written[]> {
  const one = fc.tuple(UPDATES[kind] ?? fc.constant({}), fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 2 }));
  return fc.array(one, { maxLength: 10 }).map((list) => list.map(([update, serverId, physicalMs], n) => ({ update: parseJson(encode(update)), origin: { physicalMs, logical: 0, serverId, operationId: `op-${n}` } })));
}

function applied(own: MergeFunction<unknown>, list: readonly Written[]): unknown {
  return list.reduce<unknown>((state, { update, origin }) => own.apply(state, update, origin), own.empty);
}

describe.each(SPECS)("the merge function %s", (kind, spec) => {
  const own = mergeFunctionOf(spec);
  const text = (state: unknown): string => canonicalText(own.write(state));
  /** Each server writes through one of the sides: its own. */
  const sides = history(kind).map((list) => [1, 2, 3].map((server) => list.filter(({ origin }) => origin.serverId === server)));

  it("joins associatively, commutatively and idempotently", () => {
    fc.assert(fc.property(sides, ([x = [], y = [], z = []]) => {
      const [a, b, c] = [applied(own, x), applied(own, y), applied(own, z)];
      expect(text(own.join(a, own.join(b, c)))).toBe(text(own.join(own.join(a, b), c)));
      expect(text(own.join(a, b))).toBe(text(own.join(b, a)));
      expect(text(own.join(a, a))).toBe(text(a));
      expect(text(own.join(own.join(a, b), b))).toBe(text(own.join(a, b)));
      expect(text(own.join(a, own.empty))).toBe(text(a));
    }), { numRuns: 200 });
  });

  it("comes to one state, whatever the order of the updates and whoever held which of them", () => {
    fc.assert(fc.property(history(kind), fc.infiniteStream(fc.nat()), (list, dice) => {
      const whole = text(applied(own, list));
      const shuffled = list.map((it) => ({ it, at: dice.next().value })).sort((a, b) => a.at - b.at).map(({ it }) => it);
      expect(text(applied(own, shuffled))).toBe(whole);
      const parts = [1, 2, 3].map((server) => applied(own, shuffled.filter(({ origin }) => origin.serverId === server)));
      expect(text(parts.reduce((a, b) => own.join(b, a), own.empty))).toBe(whole);
      // Who has seen a part already, and hears of the whole, stands where the whole stands.
      expect(text(own.join(applied(own, shuffled.slice(0, 3)), applied(own, list)))).toBe(whole);
    }), { numRuns: 200 });
  });

  it("takes updates that it has checked, and reads back what it has written", () => {
    fc.assert(fc.property(history(kind), (list) => {
      for (const { update } of list) own.check(update, "");
      const state = applied(own, list);
      const stored = new TextEncoder().encode(text(state));
      expect(text(own.read(parseJson(stored), ""))).toBe(text(state));
    }), { numRuns: 100 });
  });

  it("refuses what is no update, with the path and the rule", () => {
    fc.assert(fc.property(fc.jsonValue({ maxDepth: 3 }), (value) => {
      try {
        own.check(parseJson(encode(value)), "");
      } catch (error) {
        expect(error).toBeInstanceOf(StateProblem);
      }
    }));
  });
});

describe("stored states", () => {
  const origin: Origin = { physicalMs: 5, logical: 0, serverId: 7, operationId: "op" };

  it("are bounded: what would be longer is refused, and nothing is lost", () => {
    const merge = new StateMerge("last_write_wins");
    expect(() => merge.apply(undefined, encode({ value: "x".repeat(100) }), origin, 100)).toThrow(MergeLimitError);
    expect(() => new StateMerge("counter").apply(encode({ up: { 7: Number.MAX_SAFE_INTEGER } }), encode({ add: 1 }), origin, 1000)).toThrow(MergeLimitError);
    expect(decode(new StateMerge("counter").apply(encode({ up: { 7: Number.MAX_SAFE_INTEGER - 1 } }), encode({ add: 1 }), origin, 1000))).toEqual({ up: { 7: Number.MAX_SAFE_INTEGER }, down: {} });
  });

  it("that other rules have written are told, with the place", () => {
    expect(() => new StateMerge("counter").apply(encode({ in: {} }), encode({ add: 1 }), origin, 100)).toThrow("in: is no field here; there is up, down");
    expect(() => new StateMerge("counter").apply(Uint8Array.of(255), encode({ add: 1 }), origin, 100)).toThrow("must be JSON in UTF-8");
    expect(() => new StateMerge(FIELDS).check(encode({ hp: { add: 0.5 } }))).toThrow("hp.add: must be a whole number in -9007199254740991..9007199254740991");
  });

  it("are the same bytes, whatever the spaces and the order of names", () => {
    const merge = new StateMerge("last_write_wins");
    const one = merge.apply(undefined, new TextEncoder().encode('{ "value": {"b":1, "a": 1.0} }'), origin, 1000);
    expect(new TextDecoder().decode(one)).toBe('{"at":[5,0,7,"op"],"value":{"a":1,"b":1}}');
    expect(merge.join(one, one, 1000)).toEqual(one);
  });
});
