// ./dev chaos: a mesh of real processes, load, faults by a seed, and everything that must hold afterwards.
import { Command, InvalidArgumentError, Option } from "commander";
import { terminalPlot } from "./chaos/availability.ts";
import type { Check } from "./chaos/checks/check.ts";
import { checkHistory } from "./chaos/checks/history-checks.ts";
import { readHistory } from "./chaos/checks/history.ts";
import type { FaultKind } from "./chaos/fault.ts";
import type { ReadReport } from "./chaos/heal-reports.ts";
import { FAULTS } from "./chaos/faults/all-faults.ts";
import { NEEDS } from "./chaos/machine.ts";
import { runChaos, type RunResult } from "./chaos/run.ts";
import { ProgressLine } from "./progress-line.ts";

interface Options {
  readonly minutes: number;
  readonly seed: number;
  readonly faults: readonly FaultKind[];
  readonly json: boolean;
  readonly list: boolean;
  readonly keep: boolean;
  readonly svg?: string;
  readonly check?: string;
}

/** Anomalies shown of each check, and heal reports; all are in the JSON. */
const SHOWN = 5;

const options = new Command("./dev chaos")
  .description("Runs five consensus nodes, an arbiter and a region store on PostgreSQL as real processes, each node on a network of its own, lets players play, and\nbreaks things by a schedule that a seed gives. Then everything is healed and checked. Status 1 where anything does not hold.")
  .option("--minutes <number>", "how long the load lasts, 0.1..600", minutes, 1)
  .addOption(new Option("--seed <number>", "schedule, targets and load").argParser(seed).default(Date.now() % 1_000_000, "by the time"))
  .addOption(new Option("--faults <names>", "only these, separated by commas (see --list)").argParser(kinds).default(FAULTS, "all that the machine allows"))
  .option("--json", "print one JSON object", false)
  .option("--list", "list the kinds of faults", false)
  .option("--keep", "leave the run's folder: logs, disks, history, picture", false)
  .option("--svg <file>", "where the picture goes; left out: into the run's folder")
  .option("--check <file>", "run nothing: check the history.jsonl of an earlier run")
  .parse()
  .opts<Options>();

function minutes(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !(value >= 0.1 && value <= 600)) throw new InvalidArgumentError("must be a number in 0.1..600");
  return value;
}

function seed(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isSafeInteger(value) || value < 0) throw new InvalidArgumentError("must be a whole number, 0..2^53-1");
  return value;
}

function kinds(text: string): readonly FaultKind[] {
  return text.split(",").map((name) => {
    const kind = FAULTS.find((each) => each.name === name.trim());
    if (kind === undefined) throw new InvalidArgumentError(`there is no fault "${name.trim()}"; there are ${FAULTS.map((each) => each.name).join(", ")}`);
    return kind;
  });
}

const progress = new ProgressLine(options.json ? process.stderr : process.stdout);
const stop = new AbortController();
let signals = 0;
for (const [signal, status] of [["SIGINT", 130], ["SIGTERM", 143], ["SIGHUP", 129]] as const) {
  process.on(signal, () => {
    signals += 1;
    // The watchdogs end what runs and take namespaces and mounts away.
    if (signals > 1) process.exit(status);
    progress.line(`${signal}: healing, then the checks; once more to end at once`);
    stop.abort();
  });
}

try {
  process.exitCode = await main();
} catch (error) {
  progress.line(`./dev chaos: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}

async function main(): Promise<number> {
  if (options.list) {
    for (const { name, about, needs } of FAULTS) console.log(`${name.padEnd(16)} ${about}${needs.length === 0 ? "" : `  [${needs.map((need) => NEEDS[need]).join(", ")}]`}`);
    return 0;
  }
  if (options.check !== undefined) {
    const checks = checkHistory(readHistory(options.check));
    const anomalies = checks.reduce((sum, check) => sum + check.anomalies.length, 0);
    if (options.json) console.log(JSON.stringify({ checks, anomalies }, undefined, 2));
    else showChecks(checks, anomalies);
    return anomalies === 0 ? 0 : 1;
  }
  progress.line(`seed ${options.seed}, ${options.minutes} minutes`);
  const result = await runChaos({
    seconds: Math.round(options.minutes * 60), seed: options.seed, kinds: options.faults, keep: options.keep, svg: options.svg, stop: stop.signal,
    onProgress: (text) => progress.update(text), onLine: (text) => progress.line(text),
  });
  progress.clear();
  if (options.json) console.log(JSON.stringify(result, undefined, 2));
  else report(result);
  return result.anomalies === 0 ? 0 : 1;
}

function report(result: RunResult): void {
  const { counts, availability, faults, checks, passed } = result;
  console.log(terminalPlot(availability, faults));
  console.log("");
  console.log(`${"fault".padEnd(16)} ${"times".padStart(6)} ${"bit".padStart(5)}   longest silence of a group`);
  for (const { kind, count, bit, longestGapMs } of availability.byFault) console.log(`${kind.padEnd(16)} ${String(count).padStart(6)} ${String(bit).padStart(5)}   ${(longestGapMs / 1_000).toFixed(1)} s`);
  if (passed.length > 0) console.log(`not possible when their time came: ${passed.join(", ")}`);
  console.log("");
  console.log(`${counts.acknowledged} calls decided, ${counts.refused} refused, ${counts.open} left open, ${counts.transactions} of them transactions; ${counts.reads} linearizable reads`);
  console.log(`attempts that did not decide: ${Object.entries(counts.reasons).map(([reason, count]) => `${count} ${reason}`).join(", ") || "none"}`);
  showKept(result.kept);
  showChecks(checks, result.anomalies);
  if (result.folder !== undefined) console.log(`kept: ${result.folder}`);
  console.log(`seed ${result.seed}: ${faults.length} faults of ${availability.byFault.length} kinds in ${result.seconds} s, ${result.anomalies} anomalies`);
}

function showKept({ answeredTentative, reports }: RunResult["kept"]): void {
  const sum = (of: (head: ReadReport["head"]) => number): number => reports.reduce((total, { head }) => total + of(head), 0);
  const decided = `${sum(({ accepted }) => accepted)} accepted, ${sum(({ merged }) => merged)} merged, ${sum(({ rejected }) => rejected)} refused`;
  console.log(`${answeredTentative} operations answered TENTATIVE; ${reports.length} heal reports: ${decided}, ${sum(({ decidedBefore }) => decidedBefore)} of them decided on the other side before`);
  for (const { head } of reports.slice(0, SHOWN)) {
    const sides = head.sides.map(({ nodeIds, decided: went }) => `${nodeIds.join(", ")}${went ? " (decided)" : ""}`).join(" | ");
    console.log(`  ${head.reportId}  group ${head.groupId}, nodes ${sides}: ${head.accepted} accepted, ${head.merged} merged, ${head.rejected} refused`);
  }
  if (reports.length > SHOWN) console.log(`  and ${reports.length - SHOWN} more; all are in the JSON`);
}

function showChecks(checks: readonly Check[], anomalies: number): void {
  for (const check of checks) {
    console.log(`${check.anomalies.length === 0 ? "ok    " : "FAILED"} ${check.name}${check.detail === "" ? "" : ` (${check.detail})`}`);
    for (const anomaly of check.anomalies.slice(0, SHOWN)) console.log(`         ${anomaly.replaceAll("\n", "\n         ")}`);
    if (check.anomalies.length > SHOWN) console.log(`         and ${check.anomalies.length - SHOWN} more`);
  }
  if (anomalies > 0) console.log(`${anomalies} anomalies`);
}
