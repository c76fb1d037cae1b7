import { expect, test } from "vitest";
import { raftTier } from "../src/index.ts";

/** More with RAFT_SEEDS=N; from another seed on with RAFT_FIRST=S. */
const SEEDS = Number(process.env["RAFT_SEEDS"] ?? 1_000);
const FIRST = Number(process.env["RAFT_FIRST"] ?? 1);

test("no fault of network, disk, process, clock or configuration breaks a rule of Raft, and a group heals", async () => {
  const faults = new Map<string, number>();
  const sometimes = new Map<string, number>();
  let operations = 0;
  for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
    const outcome = await raftTier.run(seed, raftTier.plan(seed));
    expect(outcome.violations, `./dev sim --tier raft --seed ${seed}`).toEqual([]);
    operations += outcome.operations;
    for (const [name, count] of Object.entries(outcome.faults)) faults.set(name, (faults.get(name) ?? 0) + count);
    for (const [name, count] of Object.entries(outcome.sometimes)) sometimes.set(name, (sometimes.get(name) ?? 0) + count);
  }
  // The trouble must have been trouble.
  const of = `${SEEDS} seeds from ${FIRST}`;
  expect(raftTier.faultKinds.filter((kind) => !faults.has(kind)), of).toEqual([]);
  expect(raftTier.sometimes.filter((name) => !sometimes.has(name)), of).toEqual([]);
  expect(operations, of).toBeGreaterThan(SEEDS * 50);
}, 120_000 + SEEDS * 2_000);

test("the same seed and plan give the same run, traced or not", async () => {
  const lines: string[] = [];
  const plan = raftTier.plan(17);
  expect(raftTier.plan(17)).toEqual(plan);
  const outcome = await raftTier.run(17, plan, { trace: (line) => lines.push(line) });
  expect(await raftTier.run(17, plan)).toEqual(outcome);
  expect(lines.length).toBeGreaterThan(100);
  expect((await raftTier.run(18, raftTier.plan(18))).hash).not.toBe(outcome.hash);
});

test("faults can be left out of a plan", async () => {
  const plan = raftTier.plan(17);
  const outcome = await raftTier.run(17, { ...plan, faults: [] });
  expect(outcome.faults).toEqual({});
  expect(outcome.violations).toEqual([]);
});

test("who was held up and comes to lead an older term need not have what a later leader committed", async () => {
  const lines: string[] = [];
  const { violations } = await raftTier.run(810_028, raftTier.plan(810_028), { trace: (line) => lines.push(line) });
  expect(violations).toEqual([]);
  const elected = lines.flatMap((line) => /elected \d+ (\d+)/.exec(line)?.[1] ?? []).map(Number);
  // If not, another seed has to show it.
  expect(elected.some((term, at) => elected.slice(0, at).some((before) => before > term))).toBe(true);
});
