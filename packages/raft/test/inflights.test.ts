import fc from "fast-check";
import { expect, test } from "vitest";
import { Inflights } from "../src/inflights.ts";

test("the window is full at its limit of messages or of bytes, and never takes more", () => {
  const byMessages = new Inflights(2, 1000);
  byMessages.add(1, 10);
  expect(byMessages.full).toBe(false);
  byMessages.add(2, 10);
  expect(byMessages.full).toBe(true);
  expect(() => {
    byMessages.add(3, 10);
  }).toThrow("window is full");
  const byBytes = new Inflights(100, 50);
  byBytes.add(1, 200);
  expect(byBytes.full, "one message always fits").toBe(true);
  byBytes.freeThrough(1);
  expect(byBytes.full).toBe(false);
});

test("the ring behaves like a list", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 40 }), fc.array(fc.oneof(fc.constant(-1), fc.nat(5)), { maxLength: 300 }), (limit, steps) => {
      const inflights = new Inflights(limit, Infinity);
      let list: number[] = [];
      let index = 0;
      for (const step of steps) {
        if (step < 0) {
          if (!inflights.full) {
            inflights.add(++index, 1);
            list.push(index);
          }
        } else {
          const through = (list[0] ?? 0) + step;
          inflights.freeThrough(through);
          list = list.filter((held) => held > through);
        }
        expect(inflights.count).toBe(list.length);
        expect(inflights.full).toBe(list.length >= limit);
      }
    }),
  );
});
