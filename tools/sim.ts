// ./dev sim: simulations of many seeds on all cores, one seed again with its trace, or the search for planted bugs.
import { spawn } from "node:child_process";
import { availableParallelism } from "node:os";
import { TIERS } from "@statemesh/simulator";
import type { PlainRecord, Tier } from "@statemesh/simulator";
import { PLANTED } from "@statemesh/simulator/planted";
import { Command, InvalidArgumentError, Option } from "commander";
import { ProgressLine } from "./progress-line.ts";
import { findPlanted, plantedHeading, plantedLine, plantedNamed, plantedSummary } from "./sim-planted.ts";
import { policyForSim } from "./sim-policy.ts";
import { SIM_WORKER, SimProcess, TRACED, workerArguments } from "./sim-pool.ts";
import { neverSeen, progressText, summaryLines, typeLines, violationLines } from "./sim-report.ts";
import { search } from "./sim-search.ts";
import type { SearchResult } from "./sim-search.ts";
import type { Shrunk, SimTask } from "./sim-worker.ts";

/** Runs that shrinking one plan may take. */
const SHRINK_RUNS = 300;
/** Lines of the trace that are shown of a violation. */
const TAIL_LINES = 30;
/** Violations after which a search stops: what breaks everywhere needs no further seeds. */
const VIOLATIONS_MAX = 20;
/** Of these, so many are shrunk. */
const SHRUNK_MAX = 3;

interface Options {
  readonly seeds?: number;
  readonly from: number;
  readonly minutes?: number;
  readonly tier?: string;
  readonly policy?: string;
  readonly seed?: number;
  readonly faults?: readonly number[];
  readonly trace: boolean;
  readonly json: boolean;
  readonly workers: number;
  readonly planted?: string;
  readonly plantedList: boolean;
}

const program = new Command("./dev sim")
  .description("Runs the production code on virtual time, with faults drawn from a seed, and holds every step against the rules. Exit status 1 on a violation, or where a planted bug is not found.")
  .option("--seeds <n>", "seeds to run, of each tier; for a planted bug: at most (default: 1000)", wholeNumber(1, 1_000_000_000))
  .option("--from <seed>", "the first seed", wholeNumber(0, Number.MAX_SAFE_INTEGER), 1)
  .option("--minutes <m>", "stop after so long, shared by the tiers; alone, without a limit of seeds", positive)
  .addOption(new Option("--tier <name>", "what is simulated").choices([...TIERS.map(({ name }) => name), "all"]))
  .option("--policy <file>", "a policy file, of which nodes and arbiters of the mesh tier make use; its own types are among what game servers do")
  .option("--seed <seed>", "run this seed alone, of one tier", wholeNumber(0, Number.MAX_SAFE_INTEGER))
  .option("--faults <list>", "with --seed: only these faults of its plan, by position from 0, with commas between; or none", positions)
  .option("--trace", "with --seed: print everything that happens", false)
  .option("--workers <n>", "processes side by side", wholeNumber(1, 256), availableParallelism())
  .option("--planted <name>", "plant a bug in the code first; all: each in turn, and search until it is found")
  .option("--planted-list", "list the bugs that can be planted", false)
  .option("--json", "print one JSON object", false)
  .parse();
const options = program.opts<Options>();
const policy = options.policy === undefined ? undefined : await policyForSim(options.policy, options.tier, (message, exitCode) => program.error(message, { exitCode }));
/** What overrules the settings that seeds draw. */
const hints: PlainRecord = policy === undefined ? {} : { policy: policy.text };
const wantedTier = options.tier ?? (policy === undefined ? "all" : "mesh");
const progress = new ProgressLine(options.json ? process.stderr : process.stdout);

function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() === "" || !Number.isInteger(value) || value < min || value > max) throw new InvalidArgumentError(`a whole number, ${min}..${max}`);
    return value;
  };
}

function positive(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value <= 100_000)) throw new InvalidArgumentError("minutes, above 0 and at most 100,000");
  return value;
}

function positions(text: string): readonly number[] {
  if (text === "none") return [];
  return text.split(",").map(wholeNumber(0, 1_000_000));
}

if (options.plantedList) listPlanted();
else if (options.seed !== undefined) process.exitCode = await runOne(options.seed);
else if (options.planted !== undefined) process.exitCode = await runPlanted(options.planted);
else process.exitCode = await runSeeds();

function listPlanted(): void {
  if (options.json) return print(PLANTED.map(({ number, name, tier, breaks }) => ({ number, name, tier, breaks })));
  for (const { number, name, tier, breaks } of PLANTED) console.log(`${String(number).padStart(3)}  ${name.padEnd(40)} ${tier.padEnd(5)} ${breaks}`);
}

function print(value: unknown): void {
  console.log(JSON.stringify(value, undefined, 2));
}

/** One seed, of one tier: the tier of the planted bug, or the one that is asked for. */
async function runOne(seed: number): Promise<number> {
  const bugs = options.planted === undefined ? [] : plantedNamed(options.planted);
  if (bugs?.length !== 1 && options.planted !== undefined) program.error("error: --planted with --seed needs the name of one bug; see --planted-list");
  const bug = bugs?.[0];
  const tier = bug?.tier ?? (wantedTier === "all" ? undefined : wantedTier);
  if (tier === undefined) return program.error("error: --seed needs --tier");
  if (policy !== undefined && tier !== "mesh") return program.error(`error: --policy goes with the mesh tier, and ${bug?.name} is of ${tier}`);
  const task: SimTask = { tier, seed, hints: { ...bug?.hints, ...hints }, ...(options.faults === undefined ? {} : { kept: options.faults }) };
  if (options.trace) return traced(task, bug?.name);
  const runner = new SimProcess(bug?.name);
  try {
    const outcome = await runner.run(task);
    if (options.json) print(outcome);
    else {
      const [violation] = outcome.violations;
      console.log(`${tier}, seed ${seed}: ${(outcome.simulatedMs / 1000).toFixed(1)} s simulated, ${outcome.operations} operations, hash ${outcome.hash}`);
      for (const line of typeLines(new Map(Object.entries(outcome.types)), policy?.ownTypes ?? [])) console.log(line);
      console.log(violation === undefined ? "every rule held" : `${violation.kind} at ${violation.atMs.toFixed(3)} ms: ${violation.message}`);
    }
    return outcome.violations.length === 0 ? 0 : 1;
  } finally {
    runner.stop();
  }
}

/** The process itself writes: a trace may be long. */
function traced(task: SimTask, planted: string | undefined): Promise<number> {
  const { execArgv, env } = workerArguments(planted);
  const child = spawn(process.execPath, [...execArgv, SIM_WORKER, TRACED], { env, stdio: ["pipe", "inherit", "inherit"] });
  child.stdin?.end(JSON.stringify(task));
  return new Promise((resolve) => child.once("exit", (code) => resolve(code ?? 1)));
}

async function runSeeds(): Promise<number> {
  const tiers = TIERS.filter(({ name }) => wantedTier === "all" || name === wantedTier);
  const seeds = options.seeds ?? (options.minutes === undefined ? 1_000 : Infinity);
  const limitMs = options.minutes === undefined ? Infinity : (options.minutes * 60_000) / tiers.length;
  const reports: unknown[] = [];
  let violations = 0;
  // The first Ctrl-C ends the search with its summary, the second one at once.
  const interrupted = new AbortController();
  process.once("SIGINT", () => interrupted.abort());
  for (const tier of tiers) {
    if (interrupted.signal.aborted) break;
    let announced = 0;
    const result = await search({ tier: tier.name, from: options.from, seeds, limitMs, workers: options.workers, violationsMax: VIOLATIONS_MAX, hints, signal: interrupted.signal }, (now) => {
      // Said at once: a long search may be stopped before its summary.
      for (const { seed, violations: [first] } of now.violations.slice(announced)) progress.line(`${tier.name}, seed ${seed}: ${first?.kind}: ${first?.message}`);
      announced = now.violations.length;
      progress.update(progressText(now, seeds));
    });
    progress.clear();
    violations += result.violations.length;
    const shrunk = await shrinkSome(tier, result);
    if (options.json) reports.push(reportOf(tier, result, shrunk));
    else {
      for (const line of summaryLines(tier, result, policy?.ownTypes ?? [])) console.log(line);
      for (const each of shrunk) for (const line of violationLines(tier.name, each, undefined, options.policy)) console.log(line);
    }
  }
  if (options.json) print({ tiers: reports, violations });
  return violations === 0 ? 0 : 1;
}

async function shrinkSome(tier: Tier, result: SearchResult): Promise<Shrunk[]> {
  const shrunk: Shrunk[] = [];
  for (const { seed, violations } of result.violations.slice(0, SHRUNK_MAX)) {
    progress.update(`${tier.name}: leaving out faults of seed ${seed}`);
    const runner = new SimProcess(undefined);
    const small = await runner.shrink({ tier: tier.name, seed, hints }, violations[0]?.kind ?? "", SHRINK_RUNS, TAIL_LINES);
    runner.stop();
    if (typeof small === "string") progress.line(`${tier.name}, seed ${seed}: its plan could not be made smaller: ${small}`);
    else shrunk.push(small);
  }
  progress.clear();
  return shrunk;
}

function reportOf(tier: Tier, result: SearchResult, shrunk: readonly Shrunk[]): unknown {
  const { from, seeds, simulatedMs, realMs, speed, events, operations, hash } = result;
  return {
    tier: tier.name, from, seeds, simulatedMs: Math.round(simulatedMs), realMs: Math.round(realMs), simulatedSecondsASecond: Math.round(speed), events, operations,
    faults: Object.fromEntries(result.faults), sometimes: Object.fromEntries(result.sometimes), types: Object.fromEntries(result.types), never: neverSeen(tier, result), hash,
    violations: result.violations.map(({ seed, violations }) => ({ seed, ...violations[0], shrunk: shrunk.find(({ outcome }) => outcome.seed === seed) })),
  };
}

async function runPlanted(name: string): Promise<number> {
  const bugs = (plantedNamed(name) ?? []).filter(({ tier }) => wantedTier === "all" || tier === wantedTier);
  if (bugs.length === 0) program.error(`error: no planted bug is called ${name}; see --planted-list`);
  const limits = { from: options.from, seeds: options.seeds ?? 1_000, limitMs: options.minutes === undefined ? Infinity : options.minutes * 60_000, workers: options.workers };
  const results = [];
  if (!options.json) console.log(plantedHeading());
  for (const bug of bugs) {
    progress.update(`planted: ${bug.name}, ${results.length} of ${bugs.length} done`);
    const result = await findPlanted({ ...bug, hints: { ...bug.hints, ...hints } }, limits);
    results.push(result);
    if (!options.json) progress.line(plantedLine(result));
  }
  progress.clear();
  const summary = plantedSummary(results);
  if (options.json) print({ bugs: results, ...summary });
  else console.log(`${summary.found} of ${summary.of} found; seeds: median ${summary.medianSeeds}, worst ${summary.worstSeeds} (${summary.worst})`);
  return summary.found === summary.of ? 0 : 1;
}
