import { fork } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { join } from "node:path";
import type { Outcome } from "@statemesh/simulator";
import type { Shrunk, SimAnswer, SimRequest, SimTask } from "./sim-worker.ts";

/** A run that takes longer goes round in circles. Milliseconds of real time; a machine may be slow. */
const RUN_LIMIT_MS = 180_000;
/** A shrunk plan takes many runs. */
const SHRINK_LIMIT_MS = 600_000;
/** What is shown of a process that ended: an error with its stack and its cause. */
const LAST_LINES = 30;

/** Arguments of a worker process with a bug in it, or none. */
export function workerArguments(planted: string | undefined): { execArgv: string[]; env: NodeJS.ProcessEnv } {
  if (planted === undefined) return { execArgv: [], env: process.env };
  return { execArgv: ["--import", new URL("sim-plant.ts", import.meta.url).href], env: { ...process.env, STATEMESH_PLANTED: planted } };
}

/** The argument with which a worker traces one task to its standard output. */
export const TRACED = "--trace";

/** Where a worker's script is. */
export const SIM_WORKER: string = join(import.meta.dirname, "sim-worker.ts");

/** One worker process, which is replaced where it ends or hangs. One request at a time. */
export class SimProcess {
  readonly #planted: string | undefined;
  #child: ChildProcess | undefined;
  #stderr = "";

  constructor(planted: string | undefined) {
    this.#planted = planted;
  }

  /** Runs a task. A process that dies or hangs of it is a violation, too. */
  async run(task: SimTask): Promise<Outcome> {
    const answer = await this.#ask({ kind: "run", task }, RUN_LIMIT_MS);
    if (typeof answer !== "string") return (answer as { outcome: Outcome }).outcome;
    return { seed: task.seed, simulatedMs: 0, events: 0, operations: 0, faults: {}, sometimes: {}, types: {}, hash: "", violations: [{ kind: "process", message: answer, atMs: 0 }] };
  }

  /** What became of the process where it does not survive the run. */
  async shrink(task: SimTask, violation: string, runs: number, tailLines: number): Promise<Shrunk | string> {
    const answer = await this.#ask({ kind: "shrink", task, violation, runs, tailLines }, SHRINK_LIMIT_MS);
    return typeof answer === "string" ? answer : (answer as { shrunk: Shrunk }).shrunk;
  }

  stop(): void {
    this.#child?.kill("SIGKILL");
    this.#child = undefined;
  }

  /** The answer, or what became of the process. */
  async #ask(request: SimRequest, limitMs: number): Promise<SimAnswer | string> {
    const child = this.#child ?? (await this.#start());
    if (typeof child === "string") return child;
    this.#child = child;
    const answer = await this.#answer(child, limitMs, request);
    if (typeof answer === "string") this.stop();
    return answer;
  }

  async #start(): Promise<ChildProcess | string> {
    this.#stderr = "";
    const child = fork(SIM_WORKER, [], { ...workerArguments(this.#planted), stdio: ["ignore", "ignore", "pipe", "ipc"] });
    child.stderr?.on("data", (chunk: Buffer) => {
      this.#stderr = (this.#stderr + chunk.toString("utf8")).slice(-4_000);
    });
    const ready = await this.#answer(child, RUN_LIMIT_MS);
    return typeof ready === "string" ? ready : child;
  }

  /** What it said last, each line indented. */
  get #lastWords(): string {
    const lines = this.#stderr.trim().split("\n").slice(-LAST_LINES);
    return lines[0] === "" ? ", and said nothing" : `:${lines.map((line) => `\n    ${line}`).join("")}`;
  }

  #answer(child: ChildProcess, limitMs: number, request?: SimRequest): Promise<SimAnswer | string> {
    return new Promise((resolve) => {
      const done = (answer: SimAnswer | string): void => {
        clearTimeout(limit);
        child.off("message", done).off("close", ended).off("error", failed);
        resolve(answer);
      };
      const ended = (code: number | null, signal: string | null): void => done(`the process ended with ${signal ?? code}${this.#lastWords}`);
      const failed = (error: Error): void => done(`the process failed: ${error.message}`);
      const limit = setTimeout(() => {
        child.kill("SIGKILL");
        done(`the run did not come to its end in ${limitMs / 1000} s`);
      }, limitMs);
      // Its end alone comes before the last that it says.
      child.on("message", done).on("close", ended).on("error", failed);
      if (request !== undefined) child.send(request);
    });
  }
}
