import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ALWAYS, DiskShim } from "../../tools/disk-shim.ts";
import { nodeProgram } from "../../tools/service-process.ts";

let root = "";
let shim: DiskShim;

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), "statemesh-shim-"));
  shim = await DiskShim.of(join(root, "disk"), { holdBack: true });
});

afterEach(() => {
  rmSync(root, { recursive: true, force: true });
});

/** Runs steps in a process under the shim, which is then killed; the outcome of each. */
function steps(...all: string[]): string[] {
  const child = spawnSync(nodeProgram(), [join(import.meta.dirname, "disk-shim-child.ts"), shim.folder, ...all], { env: { ...process.env, ...shim.environment }, encoding: "utf8" });
  expect(child.signal, child.stderr).toBe("SIGKILL");
  return child.stdout.trim().split("\n");
}

const content = (name: string): string | undefined => {
  const path = join(shim.folder, name);
  return existsSync(path) ? readFileSync(path, "utf8") : undefined;
};

test("a power cut takes what was not synced: content, lengths, and names", () => {
  steps("append:a:one", "sync:a", "names", "append:a:two", "append:b:new", "sync:b");
  expect(content("a")).toBe("onetwo");
  expect(shim.cutPower("drop")).toBe(2);
  expect(content("a")).toBe("one");
  expect(content("b"), "synced, but not its name").toBeUndefined();
});

test("what was synced stays, whatever came before and after it", () => {
  steps("append:a:one", "sync:a", "names", "truncate:a:1", "append:a:xyz", "sync:a", "truncate:a:2", "append:a:!", "append:c:c", "sync:c", "rename:c:d", "names", "remove:d");
  shim.cutPower("drop");
  expect(content("a")).toBe("oxyz");
  expect(content("d")).toBe("c");
  expect(content("c")).toBeUndefined();
});

test("in a mixed cut every sector is the old or the new one", () => {
  for (let seed = 0; seed < 5; seed++) {
    let state = seed;
    const random = (): number => {
      state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
      return state / 2 ** 31;
    };
    steps(`truncate:a:0`, `append:a:${"o".repeat(2_000)}`, "sync:a", "names", "truncate:a:0", `append:a:${"n".repeat(3_000)}`);
    shim.cutPower("mixed", random);
    const bytes = content("a") ?? "";
    expect(bytes.length, `seed ${seed}`).toBeGreaterThanOrEqual(2_000);
    for (let at = 0; at < bytes.length; at += 512) {
      const sector = bytes.slice(at, Math.min(at + 512, bytes.length, at < 2_000 ? 2_000 : bytes.length));
      expect(["o".repeat(sector.length), "n".repeat(sector.length), "\0".repeat(sector.length)], `seed ${seed}, byte ${at}`).toContain(sector);
    }
  }
});

test("a failed sync is told, and what it covered is never durable by a later one", () => {
  shim.set("syncErrors", 1);
  expect(steps("append:a:one", "sync:a", "names", "sync:a", "read:a", "append:a:two", "sync:a")).toEqual(["ok", "EIO", "ok", "ok", "one", "ok", "ok"]);
  shim.cutPower("drop");
  expect(content("a")).toBe("\0\0\0two");
});

test("a failed sync of a folder leaves its names to the next one", () => {
  steps("append:a:one", "sync:a");
  shim.set("syncErrors", 1);
  expect(steps("names", "names")).toEqual(["EIO", "ok"]);
  shim.cutPower("drop");
  expect(content("a")).toBe("one");
});

test("what is written once more after a failed sync is durable by the next one", () => {
  steps("append:a:zero", "sync:a", "names");
  shim.set("syncErrors", 1);
  expect(steps("append:a:one", "sync:a")).toEqual(["ok", "EIO"]);
  expect(steps("rewrite:a:zeroone", "sync:a", "append:a:two")).toEqual(["ok", "ok", "ok"]);
  shim.cutPower("drop");
  expect(content("a")).toBe("zeroone");
});

test("a lying sync is believed, and the power cut shows the lie", () => {
  steps("append:a:one", "sync:a", "names");
  shim.set("syncLies", 1);
  expect(steps("append:a:two", "sync:a")).toEqual(["ok", "ok"]);
  shim.cutPower("drop");
  expect(content("a")).toBe("one");
});

test("a full disk takes half of a write at most, makes no files, and lets what is there be read and cut", () => {
  steps("append:a:one", "sync:a", "names");
  shim.set("noSpace", 1);
  expect(steps("append:a:two", "read:a", "truncate:a:3", "append:b:x", "sync:a")).toEqual(["ENOSPC", "onet", "ok", "ENOSPC", "ok"]);
  shim.heal();
  expect(steps("append:a:two", "sync:a")).toEqual(["ok", "ok"]);
  expect(content("a")).toBe("onetwo");
  expect(shim.counts.injected).toBeGreaterThanOrEqual(2);
});

test("reads and writes fail as often as they are told to", () => {
  shim.set("writeErrors", 2);
  expect(steps("append:a:one", "append:a:one", "append:a:one", "read:a")).toEqual(["EIO", "EIO", "ok", "one"]);
  shim.set("readErrors", ALWAYS);
  expect(steps("read:a")).toEqual(["EIO"]);
});
