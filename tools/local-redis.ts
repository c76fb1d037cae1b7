import { spawn } from "node:child_process";
import { connect } from "node:net";
import { debianProgram } from "./debian-package.ts";
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
  /** Calls `told` where the server ends without being asked to. */
  onCrash(told: (how: string) => void): void;
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
  return await debianProgram(["redis-server", "valkey-server"], ["redis-server"]);
}

async function launch(program: string, port: number, maxMemoryBytes: number): Promise<LocalRedis> {
  const args = ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--daemonize", "no"];
  args.push("--maxmemory", String(maxMemoryBytes), "--maxmemory-policy", "allkeys-lru", "--loglevel", "warning");
  const child = spawn(program, args, { cwd: "/", stdio: ["ignore", "pipe", "ignore"], detached: true });
  let log = "";
  child.stdout.on("data", (chunk: Buffer) => (log = (log + chunk.toString()).slice(-8_192)));
  let ended = false;
  let expected = false;
  let onCrash: (how: string) => void = () => undefined;
  const end = new Promise<void>((done) => {
    child.once("close", (code, signal) => {
      ended = true;
      if (!expected) onCrash(signal ?? `status ${code}: ${log.trim()}`);
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
    onCrash: (told) => {
      onCrash = told;
    },
    stop: async () => {
      expected = true;
      if (ended) return;
      child.ref();
      child.kill("SIGCONT");
      child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), 10_000);
      await end;
      clearTimeout(timer);
    },
    kill: () => {
      expected = true;
      child.kill("SIGKILL");
    },
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
