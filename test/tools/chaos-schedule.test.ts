import { expect, test } from "vitest";
import { FAULTS } from "../../tools/chaos/faults/all-faults.ts";
import { schedule, type Step } from "../../tools/chaos/schedule.ts";

function first(seed: number, count: number): Step[] {
  const steps: Step[] = [];
  for (const step of schedule(seed, FAULTS).steps) if (steps.push(step) >= count) break;
  return steps;
}

const REPEATED = FAULTS.filter(({ lastly }) => lastly !== true);

const names = (steps: readonly Step[]): string[] => steps.flatMap(({ fault, company }) => [fault.kind.name, ...(company === undefined ? [] : [company.kind.name])]);

test("a seed gives one schedule, another seed another one", () => {
  expect(first(4, 40)).toEqual(first(4, 40));
  expect(names(first(4, 40))).not.toEqual(names(first(5, 40)));
});

test("every kind comes once before one comes twice", () => {
  for (let seed = 0; seed < 20; seed++) expect(new Set(names(first(seed, REPEATED.length)).slice(0, REPEATED.length)).size).toBe(REPEATED.length);
});

test("faults that want to be alone are, and all last as long as their kind says", () => {
  for (let seed = 0; seed < 20; seed++) {
    for (const { fault, company } of first(seed, 100)) {
      if (company !== undefined) expect([fault.kind.alone, company.kind.alone]).toEqual([undefined, undefined]);
      for (const each of [fault, company]) {
        if (each === undefined) continue;
        expect(each.seconds).toBeGreaterThanOrEqual(each.kind.seconds[0]);
        expect(each.seconds).toBeLessThanOrEqual(each.kind.seconds[1]);
      }
    }
  }
});

test("what stays comes once, at the end; where nothing else was asked for, nothing else comes", () => {
  const lasting = FAULTS.filter(({ lastly }) => lastly === true);
  const { steps, last } = schedule(1, lasting);
  expect([...steps]).toEqual([]);
  expect(last?.kind.lastly).toBe(true);
  expect(schedule(1, REPEATED).last).toBeUndefined();
});

test("kinds have names of their own", () => {
  expect(new Set(FAULTS.map(({ name }) => name)).size).toBe(FAULTS.length);
});
