import { expect, test, vi } from "vitest";
import { meshTier } from "../src/index.ts";

// Virtual time, but real work: a busy machine is no failure.
vi.setConfig({ testTimeout: 300_000 });

/** Small enough for every run of the tests; `./dev sim` goes through thousands. */
const SMALL = { nodes: 3, groups: 1, shards: 2, paceMs: 40, safetyMs: 6_000 };

test("whole meshes under faults break no rule, and come back", async () => {
  for (const seed of [1, 2, 3, 4]) {
    const outcome = await meshTier.run(seed, meshTier.plan(seed, SMALL));
    expect({ seed, violations: outcome.violations }).toEqual({ seed, violations: [] });
    expect(outcome.operations).toBeGreaterThan(20);
  }
});

/** More with MESH_SEEDS=N; from another seed on with MESH_FIRST=S. */
const SEEDS = Number(process.env["MESH_SEEDS"] ?? 16);
const FIRST = Number(process.env["MESH_FIRST"] ?? 1);

test("meshes of any settings under any faults break no rule, and come back", async () => {
  const faults = new Set<string>();
  for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
    const outcome = await meshTier.run(seed, meshTier.plan(seed));
    expect(outcome.violations, `./dev sim --tier mesh --seed ${seed}`).toEqual([]);
    for (const kind of Object.keys(outcome.faults)) faults.add(kind);
  }
  // The trouble must have been trouble.
  expect(faults.size, `kinds of faults of ${SEEDS} seeds from ${FIRST}`).toBeGreaterThan(3 * Math.min(SEEDS, 10));
}, 60_000 + SEEDS * 60_000);

test("the same seed gives the same run, with a trace and without", async () => {
  const plan = meshTier.plan(5, SMALL);
  const first = await meshTier.run(5, plan);
  let lines = 0;
  const second = await meshTier.run(5, plan, { trace: () => lines++ });
  expect(second).toEqual(first);
  expect(lines).toBeGreaterThan(0);
});

test("a node that was away lets in who came meanwhile, who now leads the group that tells of members", async () => {
  const { settings } = meshTier.plan(7, { ...SMALL, nodes: 4, spares: 1, oldNodes: 0, faultClasses: 0, tickMs: 20, balanceTicks: 0, hasStore: false, restartMs: 200 });
  const faults = [
    { atMs: 2_000, kind: "isolate", args: { node: 4, ms: 60_000 } },
    { atMs: 2_500, kind: "node added", args: { named: false } },
    { atMs: 5_000, kind: "leadership transfer", args: { group: 0, node: 5 } },
    // What was sent to it before is gone.
    { atMs: 5_200, kind: "power cut", args: { node: 4 } },
  ];
  const outcome = await meshTier.run(7, { settings, faults });
  expect(outcome.violations).toEqual([]);
  expect(outcome.faults).toEqual({ isolate: 1, "node added": 1, "leadership transfer": 1, "power cut": 1 });
  expect(outcome.sometimes["member change done"]).toBe(1);
});

test("a setting that is none is refused", () => {
  expect(() => meshTier.plan(1, { nodez: 3 })).toThrow("nodez");
});
