import { expect, test } from "vitest";
import { FAIR_WEATHER, SimClock, SimNetwork, SimRandom, SimTimers, Simulation } from "../src/index.ts";

test("the same seed gives the same numbers, another seed others", () => {
  const draw = (seed: number): number[] => {
    const random = new SimRandom(seed);
    return Array.from({ length: 8 }, () => random.between(0, 1_000_000));
  };
  expect(draw(7)).toEqual(draw(7));
  expect(draw(7)).not.toEqual(draw(8));
});

test("events run in the order of their time, and code behind an await runs before the next event", async () => {
  const simulation = new Simulation(1);
  const seen: string[] = [];
  const wait = (ms: number): Promise<void> => new Promise((resolve) => simulation.after(ms, resolve));
  const work = async (): Promise<void> => {
    await wait(5);
    for (let n = 0; n < 20; n++) await Promise.resolve();
    seen.push(`awaited at ${simulation.nowMs}`);
  };
  simulation.after(6, () => seen.push("six"));
  simulation.after(5, () => seen.push("five"));
  await simulation.settle(work());
  await simulation.runUntil(10);
  expect(seen).toEqual(["five", "awaited at 5", "six"]);
  expect(simulation.nowMs).toBe(10);
});

test("work that waits for nothing simulated is told", async () => {
  const simulation = new Simulation(1);
  await expect(simulation.settle(new Promise(() => undefined))).rejects.toThrow("stands still");
});

test("timers end with their process, and a skewed wall clock leaves monotonic time alone", async () => {
  const simulation = new Simulation(1);
  const timers = new SimTimers(simulation);
  const clock = new SimClock(simulation);
  let runs = 0;
  timers.every(10, () => runs++);
  timers.after(1000, () => runs++);
  await simulation.runUntil(35);
  timers.cancelAll();
  await simulation.runUntil(2000);
  expect(runs).toBe(3);
  const wall = clock.wallMs();
  clock.skewMs = -500;
  expect(clock.wallMs()).toBe(wall - 500);
  expect(clock.monotonicMs()).toBe(2000);
});

test("an ordered network keeps a pair's order; others lose, double and reorder", async () => {
  const run = async (ordered: boolean, loss: number, duplication: number): Promise<number[]> => {
    const simulation = new Simulation(3);
    const network = new SimNetwork<number>(simulation, { ...FAIR_WEATHER, minDelayMs: 0, maxDelayMs: 50, loss, duplication, ordered });
    const got: number[] = [];
    network.attach(2, (_from, message) => got.push(message));
    for (let n = 0; n < 100; n++) network.send(1, 2, n);
    await simulation.runUntil(100);
    return got;
  };
  const inOrder = Array.from({ length: 100 }, (_, n) => n);
  expect(await run(true, 0, 0)).toEqual(inOrder);
  const reordered = await run(false, 0, 0);
  expect(reordered).not.toEqual(inOrder);
  expect(reordered.toSorted((a, b) => a - b)).toEqual(inOrder);
  expect((await run(true, 0.5, 0)).length).toBeLessThan(80);
  expect((await run(true, 0, 0.5)).length).toBeGreaterThan(120);
  expect(await run(false, 0.3, 0.3)).toEqual(await run(false, 0.3, 0.3));
});

test("nothing crosses a partition until it heals; a one-way block leaves the other way open", async () => {
  const simulation = new Simulation(4);
  const network = new SimNetwork<string>(simulation);
  const got: string[] = [];
  for (const endpoint of [1, 2, 3]) network.attach(endpoint, (from, message) => got.push(`${from}>${endpoint} ${message}`));
  network.partition([1, 2], [3]);
  network.send(1, 2, "a");
  network.send(1, 3, "b");
  await simulation.runFor(10);
  expect(got).toEqual(["1>2 a"]);
  network.heal();
  network.block(3, 1);
  network.send(3, 1, "c");
  network.send(1, 3, "d");
  await simulation.runFor(10);
  expect(got).toEqual(["1>2 a", "1>3 d"]);
});
