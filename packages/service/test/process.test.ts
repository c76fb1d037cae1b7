import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { until } from "./echo-server.ts";

const PROGRAM = fileURLToPath(new URL("fixture/program.ts", import.meta.url));

interface Run {
  readonly child: ChildProcess;
  readonly output: () => string;
  readonly errors: () => string;
  readonly exit: Promise<number | null>;
}

function start(args: readonly string[], environment: Record<string, string> = {}): Run {
  const child = spawn(process.execPath, [PROGRAM, ...args], { env: { PATH: process.env["PATH"], ...environment }, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  let errors = "";
  child.stdout.on("data", (chunk: Buffer) => {
    output += chunk.toString();
  });
  child.stderr.on("data", (chunk: Buffer) => {
    errors += chunk.toString();
  });
  const exit = new Promise<number | null>((resolve) => {
    child.on("close", (code) => resolve(code));
  });
  return { child, output: () => output, errors: () => errors, exit };
}

const FREE_PORTS = ["--listen-address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0", "--mode", "serve"];

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  test(`${signal} ends a server gracefully with code 0`, async () => {
    const run = start(FREE_PORTS);
    await until(() => run.output().includes('"serving"'));
    run.child.kill(signal);
    expect(await run.exit).toBe(0);
    expect(run.output()).toContain('"shut down"');
    expect(run.output()).toContain("closed the files");
  });
}

test("the second signal ends a server that hangs in its shutdown", async () => {
  const run = start([...FREE_PORTS, "--mode", "hang"]);
  await until(() => run.output().includes('"serving"'));
  run.child.kill("SIGTERM");
  await until(() => run.output().includes("hanging"));
  run.child.kill("SIGTERM");
  expect(await run.exit).toBe(143);
});

for (const mode of ["throw", "reject"]) {
  test(`an error that nobody caught (${mode}) is logged as fatal and ends the process with code 1`, async () => {
    const run = start([...FREE_PORTS, "--mode", mode]);
    expect(await run.exit).toBe(1);
    const fatal = run.output().split("\n").find((line) => line.includes('"fatal"')) ?? "{}";
    expect(JSON.parse(fatal)).toMatchObject({ level: "fatal", service: "fixture", err: { message: "nobody caught this" } });
  });
}

test("a secret never reaches the log, also not inside another message", async () => {
  const run = start(FREE_PORTS, { STATEMESH_DATABASE_URL: "postgres://mesh:hunter2-long@db:5432/mesh" });
  await until(() => run.output().includes("connecting to"));
  run.child.kill("SIGTERM");
  await run.exit;
  expect(run.output()).toContain("[redacted]");
  expect(run.output()).not.toContain("hunter2");
});

test("a bad option ends with code 2 and names option and rule", async () => {
  const run = start([...FREE_PORTS, "--keepalive-ms", "12"]);
  expect(await run.exit).toBe(2);
  expect(run.errors()).toContain('--keepalive-ms: must be a whole number, 1000..7200000, not "12"');
});

test("--help names every option with its range, default and variable, and ends with code 0", async () => {
  const run = start(["--help"]);
  expect(await run.exit).toBe(0);
  expect(run.output()).toContain("--keepalive-ms <ms>");
  expect(run.output()).toContain("STATEMESH_KEEPALIVE_MS");
});
