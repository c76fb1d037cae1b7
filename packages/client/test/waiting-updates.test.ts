import type { EventualUpdate } from "@statemesh/contract";
import { formatRegion } from "@statemesh/world";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { WaitingUpdates } from "../src/waiting-updates.ts";

const update = fc.record({ type: fc.constantFrom("creature_position", "cosmetic_effect"), x: fc.integer({ min: -1_000_000, max: 1_000_000 }), near: fc.integer({ min: -2, max: 2 }), isNear: fc.boolean(), key: fc.constantFrom("wolf", "bear", "fox"), value: fc.nat(255) });
const step = fc.oneof(
  { weight: 9, arbitrary: fc.record({ kind: fc.constant("set" as const), update }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("take" as const), count: fc.nat(20) }) },
);

function nameOf({ type, region, key }: EventualUpdate): string {
  return `${type} ${region === undefined ? "nowhere" : formatRegion(region)} ${key}`;
}

describe("updates that wait", () => {
  it("are the latest of each type, region and key, and each is taken once", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 400 }), (steps) => {
        const waiting = new WaitingUpdates();
        const expected = new Map<string, EventualUpdate>();
        for (const s of steps) {
          if (s.kind === "set") {
            const { type, key, value, isNear, near, x } = s.update;
            const next: EventualUpdate = { type, region: { x: isNear ? near : x, y: near, z: 0 }, key, value: Uint8Array.of(value), deleted: false, timestampMs: 0 };
            expect(waiting.has(next)).toBe(expected.has(nameOf(next)));
            waiting.set(next);
            expected.set(nameOf(next), next);
          } else {
            let left = s.count;
            const taken = waiting.take(() => left-- > 0);
            expect(taken).toHaveLength(Math.min(s.count, expected.size));
            for (const each of taken) {
              expect(expected.get(nameOf(each))).toBe(each);
              expected.delete(nameOf(each));
            }
          }
          expect(waiting.size).toBe(expected.size);
        }
      }),
    );
  });

  it("may come from any number of places, of which those without updates are forgotten", () => {
    const waiting = new WaitingUpdates();
    for (let x = 0; x < 5_000; x += 1) {
      const next: EventualUpdate = { type: "creature_position", region: { x, y: 0, z: 0 }, key: "wolf", value: new Uint8Array(1), deleted: false, timestampMs: 0 };
      waiting.set(next);
      if (x % 2 === 0) expect(waiting.take(() => true)).toContain(next);
    }
    expect(waiting.size).toBe(1);
  });
});
