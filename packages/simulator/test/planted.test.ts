import { readFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { join } from "node:path";
import { expect, test } from "vitest";
import { TIERS } from "../src/index.ts";
import { loadTier } from "../src/load-tier.ts";
import { plant, PLANTED } from "../src/planted/index.ts";

const ROOT = join(import.meta.dirname, "..", "..", "..");

test("every planted bug still finds its place, exactly once, and leaves code that can be read", () => {
  for (const bug of PLANTED) {
    expect(bug.edits.length, bug.name).toBeGreaterThan(0);
    for (const file of new Set(bug.edits.map((edit) => edit.file))) {
      const source = readFileSync(join(ROOT, file), "utf8");
      const planted = plant(bug, file, source);
      expect(planted, bug.name).not.toBe(source);
      expect(() => stripTypeScriptTypes(planted), `${bug.name} in ${file}`).not.toThrow();
    }
  }
});

test("planted bugs are numbered from 1, have names of their own, and a tier that has their settings", () => {
  expect(PLANTED.map(({ number }) => number)).toEqual(PLANTED.map((_, at) => at + 1));
  expect(new Set(PLANTED.map(({ name }) => name)).size).toBe(PLANTED.length);
  for (const { name, tier, hints = {} } of PLANTED) {
    expect(name).toMatch(/^[a-z]+(-[a-z]+)*$/);
    const settings = TIERS.find((candidate) => candidate.name === tier)?.plan(1).settings ?? {};
    for (const hint of Object.keys(hints)) expect(Object.keys(settings), `${name}: ${hint}`).toContain(hint);
  }
});

test("each tier is loaded by its name, alone", async () => {
  for (const tier of TIERS) expect(await loadTier(tier.name)).toBe(tier);
  await expect(loadTier("none")).rejects.toThrow("no tier is called none");
});

test("production code knows nothing of planted bugs: a text that is not there, or twice, is told", () => {
  const [bug] = PLANTED;
  const [edit] = bug!.edits;
  expect(() => plant(bug!, edit!.file, "nothing")).toThrow("does not hold the text");
  expect(() => plant(bug!, edit!.file, `${edit!.find} ${edit!.find}`)).toThrow("more than once");
});
