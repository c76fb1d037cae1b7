import type { Fault, PlainRecord, Tier } from "@statemesh/simulator";
import type { SearchResult } from "./sim-search.ts";
import type { Shrunk } from "./sim-worker.ts";

/** One line for a search under way. */
export function progressText(result: SearchResult, seeds: number): string {
  const done = Number.isFinite(seeds) ? `${result.seeds} of ${seeds}` : String(result.seeds);
  return `${result.tier}: ${done} seeds, ${seconds(result.simulatedMs)} simulated, ${result.speed.toFixed(0)} simulated seconds a second, ${result.operations} operations, ${result.violations.length} violations`;
}

/** What a search showed, as lines. */
export function summaryLines(tier: Tier, result: SearchResult, ownTypes: readonly string[]): string[] {
  const never = neverSeen(tier, result);
  return [
    `${tier.name}: seeds ${result.from} to ${result.from + result.seeds - 1}`,
    `  simulated     ${seconds(result.simulatedMs)} in ${seconds(result.realMs)}: ${result.speed.toFixed(0)} simulated seconds a second`,
    `  operations    ${result.operations} answered, ${result.events} events`,
    ...typeLines(result.types, ownTypes),
    `  faults        ${counts(result.faults)}`,
    `  sometimes     ${counts(result.sometimes)}`,
    ...(never.faults.length > 0 ? [`  never         faults: ${never.faults.join(", ")}`] : []),
    ...(never.sometimes.length > 0 ? [`  never         ${never.sometimes.join(", ")}`] : []),
    `  hash          ${result.hash}`,
    `  violations    ${result.violations.length === 0 ? "none" : result.violations.length}`,
  ];
}

/** What was answered: how much to each type, and of the policy's own each answer, also of those that nobody used. */
export function typeLines(counted: ReadonlyMap<string, number>, ownTypes: readonly string[]): string[] {
  if (counted.size === 0) return [];
  const totals = new Map<string, number>();
  const answers = new Map<string, string[]>(ownTypes.map((name) => [name, []]));
  for (const [name, count] of [...counted].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    const [type = "", ...answer] = name.split(" ");
    totals.set(type, (totals.get(type) ?? 0) + count);
    answers.get(type)?.push(`${count} ${answer.join(" ")}`);
  }
  return [`  types         ${counts(totals)}`, ...[...answers].map(([type, of]) => `    ${type.padEnd(11)} ${of.length === 0 ? "never" : of.join(", ")}`)];
}

/** What a tier knows of and no run came across. */
export function neverSeen(tier: Tier, result: SearchResult): { faults: string[]; sometimes: string[] } {
  return { faults: tier.faultKinds.filter((kind) => !result.faults.has(kind)), sometimes: tier.sometimes.filter((name) => !result.sometimes.has(name)) };
}

/** The command that runs it again, to its last byte. `policy`: the file of it. */
export function replayCommand(tier: string, seed: number, kept: readonly number[] | undefined, planted: string | undefined, policy: string | undefined): string {
  return `./dev sim --tier ${tier} --seed ${seed}${policy === undefined ? "" : ` --policy ${policy}`}${planted === undefined ? "" : ` --planted ${planted}`}${kept === undefined ? "" : ` --faults ${kept.length === 0 ? "none" : kept.join()}`} --trace`;
}

/** A violation with what is left of its plan. */
export function violationLines(tier: string, shrunk: Shrunk, planted: string | undefined, policy: string | undefined): string[] {
  const { outcome, faults, kept, planned, runs, settings, tail } = shrunk;
  const [violation] = outcome.violations;
  return [
    `seed ${outcome.seed}: ${violation?.kind} at ${violation?.atMs.toFixed(3)} ms: ${violation?.message}`,
    `  settings  ${record({ ...settings, ...(policy === undefined ? {} : { policy }) })}`,
    `  faults    ${faults.length} of ${planned} are left after ${runs} runs${faults.length === 0 ? ": it needs none" : ""}`,
    ...faults.map((fault) => `    ${faultText(fault)}`),
    "  trace, its end:",
    ...tail.map((line) => `    ${line}`),
    `  again     ${replayCommand(tier, outcome.seed, kept, planted, policy)}`,
  ];
}

function faultText({ atMs, kind, args }: Fault): string {
  return `${String(atMs).padStart(7)} ms  ${kind} ${record(args)}`;
}

function record(values: PlainRecord): string {
  return Object.entries(values).map(([name, value]) => `${name}=${String(value)}`).join(" ");
}

function counts(of: ReadonlyMap<string, number>): string {
  return [...of].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([name, count]) => `${name} ${count}`).join(", ");
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(ms < 100_000 ? 1 : 0)} s`;
}
