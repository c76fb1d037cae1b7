/** One service as a real process: started, waited for, killed and started again. */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { credentials, Metadata } from "@grpc/grpc-js";
import { HealthCheckResponse_ServingStatus, HealthClient } from "@statemesh/contract/health";
import { watchOver } from "./parent-watchdog.ts";

const PROJECT = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const START_LIMIT_MS = 60_000;
const STOP_LIMIT_MS = 15_000;
const LOG_TAIL_BYTES = 4_096;

/** What to run. */
export interface ServiceSpec {
  /** For logs and messages, such as `node-1`. */
  readonly name: string;
  /** A folder under `services/`. */
  readonly service: string;
  readonly flags: readonly string[];
  /** Where its gRPC server listens, `host:port`. */
  readonly address: string;
  readonly metricsAddress: string;
  /** Everything that it prints goes to the end of this file. */
  readonly logFile: string;
  readonly environment?: Readonly<Record<string, string>>;
  /** A program with arguments that becomes the service (keeping its process id), such as `nsenter --net=FILE`. */
  readonly launcher?: readonly string[];
  /** What to run instead of the service's own `main.ts`; asked at every start. */
  readonly main?: () => string | undefined;
}

/** The Node.js that runs the services: this one where it can, else the project's own. */
export function nodeProgram(): string {
  if (Number(process.versions.node.split(".")[0]) >= 26) return process.execPath;
  const own = join(PROJECT, "node_modules/.bin/node");
  if (!existsSync(own)) throw new Error("Node.js 26 is needed: run ./dev once, it installs it into the project");
  return own;
}

/** A service's process. It ends with this process, however this one ends. */
export class ServiceProcess {
  readonly spec: ServiceSpec;
  #child: ChildProcess | undefined;
  #ended: Promise<void> = Promise.resolve();
  #expected = false;
  #onCrash: (how: string) => void = () => undefined;

  constructor(spec: ServiceSpec) {
    this.spec = spec;
  }

  /** 0 while it does not run. */
  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  get running(): boolean {
    return this.#child !== undefined;
  }

  get address(): string {
    return this.spec.address;
  }

  get metricsAddress(): string {
    return this.spec.metricsAddress;
  }

  /** Calls `told` where the process ends without being asked to: with the signal, or its status and the end of its log. */
  onCrash(told: (how: string) => void): void {
    this.#onCrash = told;
  }

  /** Starts it; `waitUntilServing` says when it answers. */
  launch(): void {
    if (this.#child !== undefined) throw new Error(`${this.spec.name} runs already`);
    mkdirSync(dirname(this.spec.logFile), { recursive: true });
    const log = openSync(this.spec.logFile, "a");
    const main = this.spec.main?.() ?? join(PROJECT, "services", this.spec.service, "src/main.ts");
    // A process group of its own: Ctrl-C reaches us alone, and we stop the services in order.
    const [program = "", ...args] = [...(this.spec.launcher ?? []), nodeProgram(), main, ...this.spec.flags];
    const child = spawn(program, args, {
      cwd: PROJECT,
      detached: true,
      stdio: ["ignore", log, log],
      env: { ...process.env, ...this.spec.environment },
    });
    closeSync(log);
    this.#expected = false;
    this.#child = child;
    const watchdog = child.pid === undefined ? undefined : watchOver(child.pid, "TERM");
    this.#ended = new Promise((done) => {
      const over = (how: string): void => {
        watchdog?.release();
        if (this.#child === child) this.#child = undefined;
        if (!this.#expected) this.#onCrash(how);
        done();
      };
      child.once("error", (error) => over(error.message));
      // A signal came from outside; of what it did itself its log tells.
      child.once("exit", (code, signal) => over(signal ?? `status ${code}; the end of ${this.spec.logFile}:\n${this.logTail()}\n`));
    });
  }

  /** Starts it and waits until its health service says SERVING. */
  async start(limitMs: number = START_LIMIT_MS): Promise<void> {
    this.launch();
    await this.waitUntilServing(limitMs);
  }

  /** Waits until the gRPC health service says SERVING. */
  async waitUntilServing(limitMs: number = START_LIMIT_MS): Promise<void> {
    const until = performance.now() + limitMs;
    const health = new HealthClient(this.spec.address, credentials.createInsecure(), {
      "grpc.initial_reconnect_backoff_ms": 50, "grpc.max_reconnect_backoff_ms": 200, "grpc.use_local_subchannel_pool": 1,
    });
    try {
      while (!(await isServing(health))) {
        if (this.#child === undefined) throw new Error(`${this.spec.name} did not start; the end of ${this.spec.logFile}:\n${this.logTail()}`);
        if (performance.now() > until) throw new Error(`${this.spec.name} does not serve after ${limitMs} ms; the end of ${this.spec.logFile}:\n${this.logTail()}`);
        await new Promise((wake) => setTimeout(wake, 25));
      }
    } finally {
      health.close();
    }
  }

  /** SIGKILL. */
  async kill(): Promise<void> {
    this.#signal("SIGKILL");
    await this.#ended;
  }

  /** SIGTERM, and SIGKILL where it does not end in time. */
  async stop(limitMs: number = STOP_LIMIT_MS): Promise<void> {
    this.#signal("SIGCONT");
    this.#signal("SIGTERM");
    const timer = setTimeout(() => this.#signal("SIGKILL"), limitMs);
    await this.#ended;
    clearTimeout(timer);
  }

  /** SIGSTOP: it holds its connections and does nothing until `resume`. */
  pause(): void {
    this.#signal("SIGSTOP");
  }

  resume(): void {
    this.#signal("SIGCONT");
  }

  /** Resident memory, bytes; undefined where it does not run or /proc can't tell. */
  residentBytes(): number | undefined {
    const status = `/proc/${this.pid}/status`;
    if (this.#child === undefined || !existsSync(status)) return undefined;
    const kibibytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(status, "utf8"))?.[1];
    return kibibytes === undefined ? undefined : Number(kibibytes) * 1024;
  }

  /** The end of what it has printed. */
  logTail(): string {
    if (!existsSync(this.spec.logFile)) return "";
    return readFileSync(this.spec.logFile).subarray(-LOG_TAIL_BYTES).toString("utf8").trimEnd();
  }

  #signal(signal: NodeJS.Signals): void {
    const child = this.#child;
    if (child === undefined) return;
    if (signal === "SIGKILL" || signal === "SIGTERM") this.#expected = true;
    child.kill(signal);
  }
}

async function isServing(health: HealthClient): Promise<boolean> {
  return await new Promise((done) => {
    health.check({ service: "" }, new Metadata(), { deadline: Date.now() + 1_000 }, (error, response) => done(error === null && response.status === HealthCheckResponse_ServingStatus.SERVING));
  });
}
