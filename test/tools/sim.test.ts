import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { nodeProgram } from "../../tools/service-process.ts";
import { ROOT } from "../../tools/step.ts";

async function sim(...args: string[]): Promise<{ code: number; output: string; errors: string }> {
  const child = spawn(nodeProgram(), [join(ROOT, "tools", "sim.ts"), ...args], { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  let errors = "";
  child.stdout.on("data", (chunk: Buffer) => {
    output += chunk.toString("utf8");
  });
  child.stderr.on("data", (chunk: Buffer) => {
    errors += chunk.toString("utf8");
  });
  const code = await new Promise<number>((resolve) => child.once("close", (ended) => resolve(ended ?? 1)));
  return { code, output, errors };
}

interface Report {
  readonly tiers: readonly { readonly tier: string; readonly seeds: number; readonly hash: string; readonly operations: number; readonly violations: readonly unknown[] }[];
}

test("the same seeds give the same runs, in whatever processes and in whatever order", async () => {
  for (const [tier, seeds] of [["cache", "20"], ["raft", "8"], ["mesh", "1"]] as const) {
    const options = ["--tier", tier, "--seeds", seeds, "--from", "100001", "--json"];
    const once = await sim(...options, "--workers", "2");
    expect(once.code, once.output + once.errors).toBe(0);
    const again = await sim(...options, "--workers", "1");
    const hashes = (output: string): unknown => (JSON.parse(output) as Report).tiers.map(({ seeds: ran, hash, operations }) => ({ ran, hash, operations }));
    expect(hashes(again.output), tier).toEqual(hashes(once.output));
  }
});

test("a planted bug is found, shrunk and replayed to its last byte; without it the same seed is clean", async () => {
  const found = await sim("--planted", "vote-before-durable", "--json");
  expect(found.code, found.output + found.errors).toBe(0);
  const { bugs } = JSON.parse(found.output) as { bugs: { seed: number; rule: string }[] };
  const seed = String(bugs[0]?.seed);
  const replay = ["--tier", "raft", "--seed", seed, "--planted", "vote-before-durable", "--trace"];
  const first = await sim(...replay);
  expect(first.code).toBe(1);
  expect(first.output).toContain(`violation ${bugs[0]?.rule}`);
  expect(first.output).toMatch(/hash [0-9a-f]{16}\n$/);
  expect((await sim(...replay)).output).toBe(first.output);
  const clean = await sim("--tier", "raft", "--seed", seed);
  expect(clean.code, clean.output).toBe(0);
});

test("a run that ends its process is told with its seed and with what the process said last", async () => {
  const crash = "process.on('message', ({ task }) => { if (task?.seed === 8) setImmediate(() => { throw new Error('no rule for this', { cause: new Error('a disk without a name') }); }); });";
  vi.stubEnv("NODE_OPTIONS", `--import=data:text/javascript,${encodeURIComponent(crash)}`);
  try {
    const ended = await sim("--tier", "cache", "--seeds", "3", "--from", "7");
    expect(ended.code).toBe(1);
    expect(ended.output).toContain("cache, seed 8: process: the process ended with 1:");
    expect(ended.output).toContain("tier cache, seed 8: Error: no rule for this");
    expect(ended.output).toContain("a disk without a name");
    expect(ended.output).toContain("cache, seed 8: its plan could not be made smaller: the process ended with 1:");
  } finally {
    vi.unstubAllEnvs();
  }
});

test("planted bugs of every tier are found within few seeds", async () => {
  const sample = {
    "truncate-on-any-append": "accepted is held", "snapshot-without-its-configuration": "configuration of the log", "missed-time-does-not-count": "linearizability",
    "cache-fill-overwrites-an-invalidation": "no answer from before an invalidation", "fence-not-checked-at-apply": "fencing",
  };
  for (const [name, rule] of Object.entries(sample)) {
    const found = await sim("--planted", name, "--seeds", "40", "--workers", "1", "--json");
    expect(found.code, found.output + found.errors).toBe(0);
    expect((JSON.parse(found.output) as { bugs: { rule: string }[] }).bugs, name).toMatchObject([{ rule }]);
  }
});

test("a studio's policy is tried: its own types take part, and a seed is one run", async () => {
  const folder = mkdtempSync(join(tmpdir(), "sim-policy-"));
  try {
    const file = join(folder, "policy.yaml");
    writeFileSync(file, "version: 1\ntypes:\n  duel: {consistency: strong, chain: [priority, timestamp]}\n  bank: {consistency: strong, chain: [timestamp], merge: counter}\n  mood: {consistency: eventual, chain: [last_write_wins, server_id]}\n");
    const options = ["--policy", file, "--seed", "4004"];
    const once = await sim(...options);
    expect(once.code, once.output + once.errors).toBe(0);
    for (const type of ["duel", "bank", "mood"]) expect(once.output).toMatch(new RegExp(`^ {4}${type} +[0-9]+ `, "m"));
    const traced = await sim(...options, "--trace");
    expect(once.output).toContain(/hash ([0-9a-f]{16})\n$/.exec(traced.output)?.[1]);
    writeFileSync(file, "version: 1\ntypes:\n  bank: {consistency: strong, chain: [timestamp], merge: sums}\n");
    const bad = await sim(...options);
    expect(bad).toMatchObject({ code: 2, output: "", errors: expect.stringContaining("policy.yaml:3: types.bank.merge: must be") as string });
    expect(await sim("--policy", file, "--tier", "raft")).toMatchObject({ code: 2, errors: expect.stringContaining("--policy goes with --tier mesh") as string });
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("wrong options are refused with what would be right", async () => {
  expect(await sim("--planted", "no-such-bug")).toMatchObject({ code: 1, errors: expect.stringContaining("no planted bug is called no-such-bug") as string });
  expect(await sim("--seed", "1")).toMatchObject({ code: 1, errors: expect.stringContaining("--seed needs --tier") as string });
  expect(await sim("--seeds", "many")).toMatchObject({ code: 1, errors: expect.stringContaining("a whole number") as string });
});
