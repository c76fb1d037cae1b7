// What a run leaves on a machine must not outlive it.
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { examineMachine } from "../../tools/chaos/machine.ts";
import { nodeProgram } from "../../tools/service-process.ts";

const CHAOS = new URL("../../tools/chaos/", import.meta.url).href;
const LIMIT_MS = 60_000;

/** Everything that carries the tag: namespaces, mounts, folders. */
function traces(tag: string): string[] {
  const namespaces = existsSync("/run/netns") ? readdirSync("/run/netns") : [];
  const mounts = readFileSync("/proc/mounts", "utf8").split("\n");
  return [...namespaces, ...mounts, ...readdirSync(tmpdir())].filter((name) => name.startsWith(tag));
}

async function run(script: string): Promise<string> {
  const child = spawn(nodeProgram(), ["--input-type=module-typescript", "-e", script], { stdio: ["ignore", "pipe", "inherit"] });
  let printed = "";
  child.stdout.on("data", (chunk: Buffer) => (printed += chunk.toString()));
  await new Promise<void>((done) => child.once("close", () => done()));
  return printed.trim();
}

const BEGIN = `const { Traces, RUN_TAG } = await import(${JSON.stringify(`${CHAOS}traces.ts`)});
  const traces = await Traces.begin();`;

test("a run that is killed is cleaned up by its watchdog", async () => {
  const { missing } = await examineMachine(new Set(["namespaces", "mount"]));
  // Where the machine allows neither, it says why, and there is only the folder.
  for (const [need, why] of missing) if (userInfo().uid !== 0 && (need === "namespaces" || need === "mount")) expect(why).toBe("needs root");
  const network = missing.has("namespaces") ? "" : `const { Network } = await import(${JSON.stringify(`${CHAOS}network.ts`)}); await Network.create(2);`;
  const mount = missing.has("mount") ? "" : `const { mountSmallDisk } = await import(${JSON.stringify(`${CHAOS}machine.ts`)}); await mountSmallDisk(traces.folder + "/disk", 1);`;
  const tag = await run(`${BEGIN} ${network} ${mount} console.log(RUN_TAG); setTimeout(() => process.kill(process.pid, "SIGKILL"), 100);`);
  expect(tag).toMatch(/^statemesh-chaos-\d+-\d+$/);
  const endMs = performance.now() + LIMIT_MS;
  const left = (): string[] => traces(tag).filter((name) => name !== tag);
  while (left().length > 0 && performance.now() < endMs) await new Promise((wake) => setTimeout(wake, 50));
  expect(left()).toEqual([]);
  // Its folder, which may hold what somebody wants to see, goes with the next run.
  expect(traces(tag)).toEqual([tag]);
  await run(`${BEGIN} await traces.end(false);`);
  expect(traces(tag)).toEqual([]);
});

test("a folder that was to stay stays, and a run that lives is left alone", async () => {
  const kept = await run(`${BEGIN} await traces.end(true); console.log(RUN_TAG);`);
  const mine = join(tmpdir(), `statemesh-chaos-${process.pid}-${(/\) \S+ (.*)/.exec(readFileSync("/proc/self/stat", "utf8"))?.[1] ?? "").split(" ")[18] ?? "0"}`);
  mkdirSync(mine);
  try {
    await run(`${BEGIN} await traces.end(false);`);
    expect(existsSync(join(tmpdir(), kept))).toBe(true);
    expect(existsSync(mine)).toBe(true);
  } finally {
    rmSync(join(tmpdir(), kept), { recursive: true });
    rmSync(mine, { recursive: true });
  }
});
