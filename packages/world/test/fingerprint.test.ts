import { Operation } from "@statemesh/contract";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fingerprintOf } from "../src/index.ts";
import { BUILT_IN_OPERATIONS, custom, dig, placement, transfer } from "./operations.ts";

/** Every place of an object where a leaf can be changed. */
function mutations(value: unknown, apply: (replacement: unknown) => void, path = ""): { path: string; apply: () => void }[] {
  if (typeof value === "string") return [{ path, apply: () => apply(`${value}x`) }];
  if (typeof value === "number") return [{ path, apply: () => apply(value + 1) }];
  if (typeof value === "boolean") return [{ path, apply: () => apply(!value) }];
  if (Buffer.isBuffer(value)) return [{ path, apply: () => apply(Buffer.concat([value, Buffer.from([0])])) }];
  if (value instanceof Map) return [{ path, apply: () => apply(new Map([...value, ["new", ""]])) }];
  if (Array.isArray(value)) {
    return [{ path, apply: () => apply([...value, ...value.slice(0, 1)]) }, ...value.flatMap((item, at) => mutations(item, (r) => (value[at] = r), `${path}[${at}]`))].filter((m) => value.length > 0 || m.path !== path);
  }
  if (typeof value === "object" && value !== null) {
    return Object.entries(value).filter(([key]) => key !== "$case" && key !== "priority" && key !== "allowTentative").flatMap(([key, item]) => mutations(item, (r) => Object.assign(value, { [key]: r }), `${path}.${key}`));
  }
  return [];
}

describe("fingerprintOf", () => {
  it("is a whole number of 53 bits, and the same after a trip over the wire", () => {
    for (const make of [...BUILT_IN_OPERATIONS, custom]) {
      const fingerprint = fingerprintOf(make());
      expect(Number.isSafeInteger(fingerprint) && fingerprint >= 0).toBe(true);
      expect(fingerprintOf(Operation.decode(Operation.encode(make()).finish()))).toBe(fingerprint);
    }
  });

  it("changes with every field but the priority and the permission to be kept", () => {
    const withFootprint = () => custom({ footprint: { keys: ["a", "b"], regions: [{ x: 1, y: 2, z: 3 }], bounds: { minX: 1, minY: 2, minZ: 3, maxX: 4, maxY: 5, maxZ: 6.5 } } });
    for (const make of [...BUILT_IN_OPERATIONS, custom, withFootprint]) {
      const original = fingerprintOf(make());
      const seen = new Set([original]);
      const count = mutations(make(), () => undefined).length;
      for (let at = 0; at < count; at++) {
        const changed = make();
        const mutation = mutations(changed, () => undefined)[at];
        mutation?.apply();
        const fingerprint = fingerprintOf(changed);
        expect(seen.has(fingerprint), `${changed.type}${mutation?.path}`).toBe(false);
        seen.add(fingerprint);
      }
      expect(fingerprintOf({ ...make(), priority: 5 })).toBe(original);
    }
  });

  it("does not depend on the order of map entries", () => {
    fc.assert(fc.property(fc.dictionary(fc.string(), fc.string(), { maxKeys: 8 }), (attributes) => {
      const withEntries = (entries: [string, string][]) => {
        const op = placement();
        if (op.body?.$case === "structurePlacement") op.body.value.attributes = new Map(entries);
        return fingerprintOf(op);
      };
      expect(withEntries(Object.entries(attributes).reverse())).toBe(withEntries(Object.entries(attributes)));
    }));
  });

  it("tells texts apart that only differ in where one field ends", () => {
    const named = (playerId: string, counterpartyId: string) => {
      const op = transfer();
      if (op.body?.$case === "playerInventory") Object.assign(op.body.value, { playerId, counterpartyId });
      return fingerprintOf(op);
    };
    expect(named("ab", "c")).not.toBe(named("a", "bc"));
  });

  it("has no collision among 200,000 operations that differ in one number", () => {
    const seen = new Set<number>();
    for (let at = 0; at < 200_000; at++) seen.add(fingerprintOf({ ...dig(), timestampMs: 1_764_000_000_000 + at }));
    expect(seen.size).toBe(200_000);
  });

  it("never changes, for logs hold it", () => {
    expect(BUILT_IN_OPERATIONS.map((make) => fingerprintOf(make()))).toMatchInlineSnapshot(`
      [
        612742363511396,
        7024481722133168,
        1364863013726941,
        7828313624566014,
        8332483249259354,
        5692842144745825,
        8181862213544409,
        7407268179108195,
        8556343477834558,
        4832266815440657,
        3488313826554183,
      ]
    `);
  });
});
