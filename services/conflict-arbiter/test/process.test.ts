import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ConflictArbiterServiceClient, ConflictArbiterServiceService as Methods } from "@statemesh/contract";
import { call, connect } from "@statemesh/service";
import { afterEach, beforeEach, expect, it } from "vitest";
import { candidate, setOf, until } from "./candidates.ts";

const MAIN = fileURLToPath(new URL("../src/main.ts", import.meta.url));

let folder: string;
let running: ChildProcess[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "statemesh-arbiter-"));
});

afterEach(async () => {
  for (const child of running) child.kill("SIGKILL");
  running = [];
  await rm(folder, { recursive: true });
});

function start(...args: string[]): { child: ChildProcess; output: () => string; errors: () => string; exit: Promise<number | null> } {
  const child = spawn(process.execPath, [MAIN, "--listen-address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0", ...args], {
    env: { PATH: process.env["PATH"] }, stdio: ["ignore", "pipe", "pipe"],
  });
  running.push(child);
  let output = "";
  let errors = "";
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (errors += chunk.toString()));
  const exit = new Promise<number | null>((resolve) => {
    child.on("close", (code) => resolve(code));
  });
  return { child, output: () => output, errors: () => errors, exit };
}

async function policyFile(text: string): Promise<string> {
  const path = join(folder, "policy.yaml");
  await writeFile(path, text);
  return path;
}

it("a process serves the operator's policy, and SIGTERM ends it with code 0", async () => {
  const path = await policyFile("version: 1\ntypes:\n  spell: {consistency: strong, chain: [server_id]}\n");
  const arbiter = start("--policy-file", path);
  const address = await until(() => /"address":"([^"]+)"/.exec(arbiter.output())?.[1]);
  const client = connect(ConflictArbiterServiceClient, address, { ownConnection: true });
  const spell = (id: string, serverId: number) => candidate(id, { type: "spell", serverId });
  const { verdicts } = await call(client, Methods.resolve, { set: setOf([spell("a", 9), spell("b", 2)]) }, { timeoutMs: 10_000, writes: false });
  expect(verdicts.map((v) => [v.rule, v.winnerOperationId])).toEqual([["server_id", "b"], ["server_id", "b"]]);
  client.close();
  arbiter.child.kill("SIGTERM");
  expect(await arbiter.exit).toBe(0);
});

it("a broken policy file ends the process with code 2, and is told with file, line and field", async () => {
  const path = await policyFile("version: 1\ntypes:\n  spell: {consistency: strong, chain: [luck]}\n");
  const arbiter = start("--policy-file", path);
  expect(await arbiter.exit).toBe(2);
  expect(arbiter.errors()).toContain(`${path}:3: types.spell.chain[0]: `);
});

it("a policy file that is not there ends the process with code 2, and is named", async () => {
  const arbiter = start("--policy-file", join(folder, "absent.yaml"));
  expect(await arbiter.exit).toBe(2);
  expect(arbiter.errors()).toContain("absent.yaml");
});
