// A process that runs simulations for sim-pool.ts: seeds one after the other, with a planted bug in it where sim-plant.ts was loaded before it.
import { readFileSync } from "node:fs";
import { inspect } from "node:util";
import { loadTier, shrink } from "@statemesh/simulator/load-tier";
import { TRACED } from "./sim-pool.ts";
import type { Fault, Outcome, PlainRecord, Plan, Tier } from "@statemesh/simulator/load-tier";

/** What to run. `kept`: positions of the plan's faults that stay; undefined: all. */
export interface SimTask {
  readonly tier: string;
  readonly seed: number;
  readonly hints: PlainRecord;
  readonly kept?: readonly number[];
}

export type SimRequest =
  | { readonly kind: "run"; readonly task: SimTask }
  | { readonly kind: "shrink"; readonly task: SimTask; readonly violation: string; readonly runs: number; readonly tailLines: number };

/** What is left of a plan, and how the run with it ended. */
export interface Shrunk {
  readonly outcome: Outcome;
  readonly faults: readonly Fault[];
  readonly kept: readonly number[];
  readonly planned: number;
  readonly runs: number;
  readonly settings: PlainRecord;
  readonly tail: readonly string[];
}

export type SimAnswer = { readonly kind: "ready" } | { readonly kind: "outcome"; readonly outcome: Outcome } | { readonly kind: "shrunk"; readonly shrunk: Shrunk };

// Refusals are errors too, and come by the thousand: a long stack for each costs more than the refusal.
Error.stackTraceLimit = 3;

/** What the process is about, for the case that it ends of it. */
let running: SimTask | undefined;

/** A task that comes by the standard input is traced to the standard output: a policy in it may be longer than an argument may be. */
if (process.argv[2] === TRACED) await trace(JSON.parse(readFileSync(0, "utf8")) as SimTask);
else serve();

function planOf(tier: Tier, task: SimTask, kept = task.kept): Plan {
  const plan = tier.plan(task.seed, task.hints);
  return kept === undefined ? plan : { ...plan, faults: plan.faults.filter((_, at) => kept.includes(at)) };
}

async function trace(task: SimTask): Promise<void> {
  const lines: string[] = [];
  const flush = (): void => {
    process.stdout.write(lines.splice(0).map((line) => `${line}\n`).join(""));
  };
  const tier = await loadTier(task.tier);
  const outcome = await tier.run(task.seed, planOf(tier, task), {
    trace: (line) => {
      lines.push(line);
      if (lines.length >= 1_000) flush();
    },
  });
  flush();
  process.stdout.write(`hash ${outcome.hash}\n`);
  process.exitCode = outcome.violations.length === 0 ? 0 : 1;
}

function serve(): void {
  // Without its parent it has nothing to do.
  process.on("disconnect", () => process.exit());
  process.on("message", (request: SimRequest) => void answer(request));
  // Also where a promise is rejected that nobody waits for.
  process.on("uncaughtException", (error) => {
    process.stderr.write(`${running === undefined ? "before any run" : `tier ${running.tier}, seed ${running.seed}`}: ${inspect(error)}\n`, () => process.exit(1));
  });
  say({ kind: "ready" });
}

function say(message: SimAnswer): void {
  process.send?.(message);
}

async function answer(request: SimRequest): Promise<void> {
  const { task } = request;
  running = task;
  const tier = await loadTier(task.tier);
  if (request.kind === "run") say({ kind: "outcome", outcome: await tier.run(task.seed, planOf(tier, task)) });
  else say({ kind: "shrunk", shrunk: await shrunkOf(tier, task, request.violation, request.runs, request.tailLines) });
}

async function shrunkOf(tier: Tier, task: SimTask, violation: string, budget: number, tailLines: number): Promise<Shrunk> {
  const { faults, settings } = planOf(tier, task);
  const fails = async (kept: readonly number[]): Promise<boolean> => {
    const { violations } = await tier.run(task.seed, planOf(tier, task, kept));
    return violations[0]?.kind === violation;
  };
  const { kept, runs } = await shrink(faults.length, fails, budget);
  const tail: string[] = [];
  const outcome = await tier.run(task.seed, planOf(tier, task, kept), {
    trace: (line) => {
      tail.push(line);
      if (tail.length > 2 * tailLines) tail.splice(0, tailLines);
    },
  });
  return { outcome, faults: kept.map((at) => faults[at]!), kept, planned: faults.length, runs, settings, tail: tail.slice(-tailLines) };
}
