import { spawn } from "node:child_process";
import { accessSync, constants, existsSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { userInfo } from "node:os";
import { delimiter, join } from "node:path";
import { freePort } from "./free-port.ts";
import { watchOver } from "./parent-watchdog.ts";

/** How to start a Redis server for local use. */
export interface RedisOptions {
  /** TCP port on 127.0.0.1; left out: a free one. */
  readonly port?: number;
  /** Most memory in bytes, least recently used entries go first. Default: 256 MiB. */
  readonly maxMemoryBytes?: number;
}

/** A Redis server that listens on 127.0.0.1 only and keeps nothing on disk: for development and tests. */
export interface LocalRedis {
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  /** Shuts down in order. A second call does nothing. */
  stop(): Promise<void>;
  /** SIGKILL, as a crash does it. */
  kill(): void;
  /** SIGSTOP: it holds its connections and answers nothing, until `resume`. */
  pause(): void;
  resume(): void;
}

const START_LIMIT_MS = 20_000;

/** Starts Redis and waits until it answers. Ends with this process. */
export async function startRedis(options: RedisOptions = {}): Promise<LocalRedis> {
  const program = await redisProgram();
  let lastError: Error | undefined;
  for (let attempt = 0; attempt < 5; attempt++) {
    const port = options.port ?? (await freePort());
    try {
      return await launch(program, port, options.maxMemoryBytes ?? 268_435_456);
    } catch (error) {
      lastError = error instanceof Error ? error : new Error(String(error));
      if (options.port !== undefined || !lastError.message.includes("in use")) break;
    }
  }
  throw lastError ?? new Error("Redis did not start");
}

/** The `redis-server` of the machine; as root on a machine with apt it is installed where it is missing. */
export async function redisProgram(): Promise<string> {
  const found = onPath("redis-server") ?? onPath("valkey-server");
  if (found !== undefined) return found;
  const apt = onPath("apt-get");
  if (apt === undefined || userInfo().uid !== 0) {
    throw new Error("no redis-server on PATH: install the package `redis-server` (Debian: `sudo apt-get install redis-server`)");
  }
  await installWithoutService(apt);
  const installed = onPath("redis-server");
  if (installed === undefined) throw new Error("apt-get installed redis-server, but it is not on PATH");
  return installed;
}

function onPath(program: string): string | undefined {
  const places = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/bin", "/usr/local/bin"].filter((place) => place !== "");
  return places
    .map((place) => join(place, program))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false; // Not there or not for us: the answer either way is no.
      }
    });
}

/** Debian starts a service when its package is installed, unless a policy file says no: then ours is there for that time. */
async function installWithoutService(apt: string): Promise<void> {
  const policy = "/usr/sbin/policy-rc.d";
  const ours = !existsSync(policy);
  if (ours) writeFileSync(policy, "#!/bin/sh\nexit 101\n", { mode: 0o755, flag: "wx" });
  try {
    const lock = ["-o", "DPkg::Lock::Timeout=120"];
    const install = [...lock, "install", "-y", "--no-install-recommends", "redis-server"];
    const first = await run(apt, install);
    if (first.code === 0) return;
    // No package lists yet, or stale ones: fetch them, then once more.
    await run(apt, [...lock, "update"]);
    const second = await run(apt, install);
    if (second.code !== 0) throw new Error(`apt-get could not install redis-server: ${second.output.trim().slice(-2_000)}`);
  } finally {
    if (ours) rmSync(policy, { force: true });
  }
}

async function run(program: string, args: readonly string[]): Promise<{ code: number | null; output: string }> {
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" } });
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString()));
  return await new Promise((done, failed) => {
    child.once("error", failed);
    child.once("close", (code) => done({ code, output }));
  });
}

async function launch(program: string, port: number, maxMemoryBytes: number): Promise<LocalRedis> {
  const args = ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--daemonize", "no"];
  args.push("--maxmemory", String(maxMemoryBytes), "--maxmemory-policy", "allkeys-lru", "--loglevel", "warning");
  const child = spawn(program, args, { cwd: "/", stdio: ["ignore", "pipe", "ignore"], detached: true });
  let log = "";
  child.stdout.on("data", (chunk: Buffer) => (log = (log + chunk.toString()).slice(-8_192)));
  let ended = false;
  const end = new Promise<void>((done) => {
    child.once("close", () => {
      ended = true;
      done();
    });
    child.once("error", (error) => {
      log += error.message;
      ended = true;
      done();
    });
  });
  const pid = child.pid;
  if (pid === undefined) {
    await end;
    throw new Error(`Redis did not start: ${log.trim()}`);
  }
  const watchdog = watchOver(pid, "TERM");
  void end.then(() => watchdog.release());

  const until = performance.now() + START_LIMIT_MS;
  while (!(await answers(port)) || ended) {
    if (ended || performance.now() > until) {
      if (!ended) child.kill("SIGKILL");
      throw new Error(`Redis did not start: ${log.trim() || "no answer"}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  child.unref();
  (child.stdout as unknown as { unref(): void }).unref();

  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    pid,
    stop: async () => {
      if (ended) return;
      child.ref();
      child.kill("SIGCONT");
      child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), 10_000);
      await end;
      clearTimeout(timer);
    },
    kill: () => void child.kill("SIGKILL"),
    pause: () => void child.kill("SIGSTOP"),
    resume: () => void child.kill("SIGCONT"),
  };
}

/** Whether a Redis on the port answers PING. */
async function answers(port: number): Promise<boolean> {
  return await new Promise((done) => {
    const socket = connect({ port, host: "127.0.0.1" });
    const finish = (answer: boolean): void => {
      socket.destroy();
      done(answer);
    };
    socket.setTimeout(1_000, () => finish(false));
    // Refused: not up yet; the caller asks again until its limit.
    socket.once("error", () => finish(false));
    socket.once("connect", () => socket.write("PING\r\n"));
    socket.once("data", (chunk: Buffer) => finish(chunk.toString().startsWith("+PONG")));
  });
}
