import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FairLanes, type Lane, QUANTUM_BYTES, type Waiting } from "../src/flow/fair-lanes.ts";
import { InFlight } from "../src/flow/in-flight.ts";
import { StandingDelay } from "../src/flow/standing-delay.ts";

interface Item extends Waiting {
  readonly key: number;
  readonly number: number;
}

const LIMITS = { targetMs: 50, intervalMs: 500 };
const anyLane = (): boolean => true;

function take(lanes: FairLanes<Item>, mayTake: (lane: Lane<Item>) => boolean = anyLane): Item | undefined {
  const next = lanes.next(mayTake);
  if (next === undefined || next === "too large") return undefined;
  lanes.settle(next.lane);
  return next.item;
}

describe("turns between callers", () => {
  it("give each that always has something the same, within a turn and one entry, whatever the others ask for", () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 3 * QUANTUM_BYTES }), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(fc.array(sizes, { minLength: 2, maxLength: 6 }), fc.integer({ min: 50, max: 400 }), (callers, rounds) => {
        const lanes = new FairLanes<Item>(LIMITS);
        const taken = callers.map(() => 0);
        const pushed = callers.map(() => 0);
        const push = (key: number): void => {
          const own = callers[key] ?? [1];
          const number = pushed[key] ?? 0;
          pushed[key] = number + 1;
          lanes.push(key, { key, number, sizeBytes: own[number % own.length] ?? 1, cameMs: 0 });
        };
        for (const key of callers.keys()) for (let n = 0; n < 4; n++) push(key);
        for (let n = 0; n < rounds; n++) {
          const item = take(lanes);
          if (item === undefined) throw new Error("nothing to take");
          taken[item.key] = (taken[item.key] ?? 0) + item.sizeBytes;
          push(item.key);
          const apart = Math.max(...taken) - Math.min(...taken);
          expect(apart).toBeLessThanOrEqual(2 * (QUANTUM_BYTES + 3 * QUANTUM_BYTES));
        }
      }),
    );
  });

  it("keep the order of each caller, lose nothing and double nothing, whoever is passed over", () => {
    const step = fc.record({ key: fc.integer({ min: 1, max: 5 }), size: fc.integer({ min: 1, max: 20_000 }), takes: fc.integer({ min: 0, max: 3 }), shut: fc.integer({ min: 0, max: 5 }) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const lanes = new FairLanes<Item>(LIMITS);
        const waiting = new Map<number, number[]>();
        let number = 0;
        const check = (item: Item): void => {
          expect(waiting.get(item.key)?.shift()).toBe(item.number);
        };
        for (const { key, size, takes, shut } of steps) {
          lanes.push(key, { key, number: ++number, sizeBytes: size, cameMs: 0 });
          waiting.set(key, [...(waiting.get(key) ?? []), number]);
          for (let n = 0; n < takes; n++) {
            const item = take(lanes, (lane) => lane.key !== shut);
            const open = [...waiting].some(([other, items]) => other !== shut && items.length > 0);
            expect(item !== undefined).toBe(open);
            if (item !== undefined) check(item);
          }
        }
        for (let item = take(lanes); item !== undefined; item = take(lanes)) check(item);
        expect([lanes.size, lanes.remembered, [...waiting.values()].flat()]).toEqual([0, 0, []]);
      }),
    );
  });

  it("let what does not fit keep its turn, and no other before it", () => {
    const lanes = new FairLanes<Item>(LIMITS);
    lanes.push(1, { key: 1, number: 0, sizeBytes: 3 * QUANTUM_BYTES, cameMs: 0 });
    for (let number = 0; number < 1_000; number++) lanes.push(2, { key: 2, number, sizeBytes: 512, cameMs: 0 });
    const small = ({ sizeBytes }: Item): boolean => sizeBytes < QUANTUM_BYTES;
    let before = 0;
    for (let next = lanes.next(anyLane, small); next !== "too large"; next = lanes.next(anyLane, small)) before++;
    expect(before).toBeLessThanOrEqual((4 * QUANTUM_BYTES) / 512);
    expect(lanes.next(anyLane, small)).toBe("too large");
    expect(take(lanes)?.key).toBe(1);
  });

  it("reach a newcomer after one turn of each of the others, however much these have waiting", () => {
    const lanes = new FairLanes<Item>(LIMITS);
    for (let number = 0; number < 10_000; number++) lanes.push(1, { key: 1, number, sizeBytes: 512, cameMs: 0 });
    for (let n = 0; n < 100; n++) take(lanes);
    lanes.push(2, { key: 2, number: 0, sizeBytes: 512, cameMs: 0 });
    let before = 0;
    while (take(lanes)?.key !== 2) before++;
    expect(before).toBeLessThanOrEqual(2 * (QUANTUM_BYTES / 512));
  });
});

describe("a standing delay", () => {
  it("is none where a burst drains within the interval, and one that lasts is over once the wait was short for an interval", () => {
    const delay = new StandingDelay(LIMITS);
    for (let nowMs = 0; nowMs < 490; nowMs += 10) delay.note(200, nowMs);
    expect([delay.stands, delay.refuses(200), delay.isStale(200)]).toEqual([false, false, false]);
    delay.note(10, 495);
    for (let nowMs = 500; nowMs <= 1_000; nowMs += 10) delay.note(200, nowMs);
    expect([delay.stands, delay.refuses(200), delay.refuses(49), delay.isStale(101), delay.isStale(100)]).toEqual([true, true, false, true, false]);
    for (let nowMs = 1_010; nowMs < 1_500; nowMs += 10) delay.note(49, nowMs);
    expect(delay.refuses(200)).toBe(true);
    delay.note(49, 1_510);
    expect(delay.refuses(200)).toBe(false);
  });
});

describe("what is under way", () => {
  it("is let in as long as it takes about as long as at its best, however long that is", () => {
    for (const bestMs of [2, 200]) {
      const underWay = new InFlight<number>(50);
      underWay.began(0, 1, 0);
      underWay.ended(0, bestMs);
      underWay.began(1, 2_000, bestMs);
      expect([underWay.hasRoom(2 * bestMs + 50), underWay.hasRoom(2 * bestMs + 51)]).toEqual([true, false]);
      underWay.ended(1, 2 * bestMs + 60);
      expect([underWay.count, underWay.hasRoom(2 * bestMs + 60)]).toEqual([0, true]);
    }
  });

  it("is never held to less than a few, so that one that hangs holds up nobody", () => {
    const underWay = new InFlight<number>(50);
    for (let n = 0; n < 255; n++) underWay.began(n, 1, 0);
    expect(underWay.hasRoom(60_000)).toBe(true);
    underWay.began(255, 1, 0);
    expect(underWay.hasRoom(60_000)).toBe(false);
  });

  it("forgets the best of long ago", () => {
    const underWay = new InFlight<number>(50);
    for (const [at, nowMs] of [0, 6_000, 12_000].entries()) {
      underWay.began(at, 1, nowMs);
      underWay.ended(at, nowMs + 2 + at * 100);
    }
    underWay.began(9, 300, 13_000);
    expect([underWay.hasRoom(13_150), underWay.hasRoom(13_153)]).toEqual([true, false]);
  });
});
