// `./dev up` as a newcomer runs it: real processes, PostgreSQL included.
import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { nodeProgram } from "../../tools/service-process.ts";
import { ROOT } from "../../tools/step.ts";

const LIMIT_MS = 120_000;

let dataDir = "";

interface Run {
  readonly child: ChildProcess;
  readonly ended: Promise<number | NodeJS.Signals | null>;
  text(): string;
}

function up(...args: string[]): Run {
  const child = spawn(nodeProgram(), [join(ROOT, "tools/up.ts"), "--data-dir", dataDir, "--no-redis", ...args], { cwd: ROOT, stdio: ["ignore", "pipe", "pipe"] });
  let text = "";
  const keep = (chunk: Buffer): void => {
    text += chunk.toString();
  };
  child.stdout.on("data", keep);
  child.stderr.on("data", keep);
  const ended = new Promise<number | NodeJS.Signals | null>((done, fail) => {
    const late = setTimeout(() => fail(new Error(`up ${args.join(" ")} did not end in ${LIMIT_MS} ms; output:\n${text}\n${processes().join("\n")}`)), LIMIT_MS);
    child.once("close", (code, signal) => {
      clearTimeout(late);
      done(code ?? signal);
    });
  });
  ended.catch(() => {
    // Who waits for it hears of it.
  });
  return { child, ended, text: () => text };
}

/** Processes that work on the run's folder: services name it in their flags, PostgreSQL too. */
function processes(): string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
      } catch {
        return ""; // It ended while we looked.
      }
    })
    .filter((command) => command.includes(dataDir));
}

/** A service of the run, as the run wrote it down. */
function recorded(name: string): { readonly pid: number } {
  const all = JSON.parse(readFileSync(join(dataDir, "processes.json"), "utf8")) as { readonly name: string; readonly pid: number }[];
  const found = all.find((each) => each.name === name);
  if (found === undefined) throw new Error(`no ${name} among ${JSON.stringify(all)}`);
  return found;
}

async function until(condition: () => boolean, what: string, run?: Run): Promise<void> {
  const end = performance.now() + LIMIT_MS;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`${what} did not happen; output:\n${run?.text() ?? ""}\n${processes().join("\n")}`);
    await new Promise((wake) => setTimeout(wake, 50));
  }
}

beforeAll(() => {
  dataDir = mkdtempSync(join(tmpdir(), "statemesh-up-"));
  // As root PostgreSQL runs as another user, which has to get in.
  chmodSync(dataDir, 0o755);
});

afterAll(() => {
  rmSync(dataDir, { recursive: true, force: true });
});

describe("./dev up", () => {
  it("plays the world, finds every check to hold, and leaves no process behind", async () => {
    const run = up("--once", "--seconds", "3");
    expect(await run.ended, run.text()).toBe(0);
    expect(run.text()).toContain("8 put up now, 0 found from an earlier run");
    expect(run.text()).toMatch(/conserved: yes/);
    expect(run.text()).not.toContain("FAILED");
    expect(run.text().match(/^ {2}ok {6}/gm)?.length).toBe(13);
    expect(processes()).toEqual([]);
  });

  it("finds the world of the run before, whose parent was killed without mercy", async () => {
    const killed = up("--seconds", "60");
    await until(() => killed.text().includes(" s of 60"), "the demo", killed);
    const second = up("--once");
    expect(await second.ended).toBe(1);
    expect(second.text()).toContain(`process ${killed.child.pid} runs on it`);
    killed.child.kill("SIGKILL");
    await killed.ended;
    const next = up("--once", "--seconds", "1");
    expect(await next.ended, next.text()).toBe(0);
    expect(next.text()).toContain("0 put up now, 8 found from an earlier run");
    await until(() => processes().length === 0, "the end of all processes");
  });

  it("starts again what is killed while the demo plays, and every check still holds", async () => {
    const run = up("--once", "--seconds", "10");
    await until(() => run.text().includes(" s of 10"), "the demo", run);
    process.kill(recorded("node-2").pid, "SIGKILL");
    process.kill(recorded("arbiter").pid, "SIGKILL");
    process.kill(Number(readFileSync(join(dataDir, "postgres/postmaster.pid"), "utf8").split("\n")[0]), "SIGKILL");
    expect(await run.ended, run.text()).toBe(0);
    for (const name of ["node-2", "arbiter", "postgres"]) {
      expect(run.text()).toContain(`${name} ended by itself (SIGKILL); starting it again`);
      expect(run.text()).toContain(`${name} serves again`);
    }
    expect(run.text().match(/^ {2}ok {6}/gm)?.length, run.text()).toBe(13);
    expect(processes()).toEqual([]);
  });

  it("serves until it is interrupted, and then stops everything", async () => {
    const run = up("--no-demo");
    await until(() => run.text().includes("Serving. Ctrl-C"), "serving", run);
    expect(run.text()).toContain("grpcurl -plaintext");
    run.child.kill("SIGINT");
    expect(await run.ended, run.text()).toBe(0);
    expect(processes()).toEqual([]);
  });

  it("stops at once on a second interrupt", async () => {
    const run = up("--seconds", "60");
    await until(() => run.text().includes(" s of 60"), "the demo", run);
    run.child.kill("SIGINT");
    await until(() => run.text().includes("once more to force"), "the first interrupt", run);
    run.child.kill("SIGINT");
    expect(await run.ended).toBe(130);
    await until(() => processes().length === 0, "the end of all processes");
  });

  it("names what is wrong with a world file, and starts nothing", async () => {
    const file = join(dataDir, "broken.yaml");
    writeFileSync(file, "version: 1\nname: x\nshards: 3\n");
    const run = up("--world", file);
    expect(await run.ended).toBe(2);
    expect(run.text()).toContain("broken.yaml:3:9: shards: ");
    expect(processes()).toEqual([]);
  });
});
