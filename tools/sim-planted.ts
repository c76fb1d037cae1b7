import { PLANTED } from "@statemesh/simulator/planted";
import type { PlantedBug } from "@statemesh/simulator/planted";
import { search } from "./sim-search.ts";

/** How the search for one planted bug ended. */
export interface PlantedResult {
  readonly number: number;
  readonly name: string;
  readonly tier: string;
  readonly breaks: string;
  readonly found: boolean;
  /** The rule that gave it away, and the seed. */
  readonly rule: string | undefined;
  readonly seed: number | undefined;
  /** Seeds that were run. */
  readonly seeds: number;
  readonly realMs: number;
}

/** Searches seeds from `from` on until one shows the bug. */
export async function findPlanted(bug: PlantedBug, limits: { from: number; seeds: number; limitMs: number; workers: number }): Promise<PlantedResult> {
  const { number, name, tier, breaks, hints = {} } = bug;
  const result = await search({ ...limits, tier, hints, planted: name, violationsMax: 1 }, () => undefined);
  const [first] = result.violations;
  return { number, name, tier, breaks, found: first !== undefined, rule: first?.violations[0]?.kind, seed: first?.seed, seeds: result.seeds, realMs: Math.round(result.realMs) };
}

export function plantedHeading(): string {
  return row("bug", "", "tier", "seeds", "seconds", "found by");
}

export function plantedLine({ number, name, tier, found, rule, seed, seeds, realMs }: PlantedResult): string {
  return row(String(number), name, tier, String(seeds), (realMs / 1000).toFixed(1), found ? `${rule}, seed ${seed}` : "NOT FOUND");
}

/** Found of how many, with the median and the worst number of seeds. */
export function plantedSummary(results: readonly PlantedResult[]): { found: number; of: number; medianSeeds: number; worstSeeds: number; worst: string } {
  const found = results.filter((result) => result.found).toSorted((a, b) => a.seeds - b.seeds);
  const worst = found.at(-1);
  return { found: found.length, of: results.length, medianSeeds: found[Math.floor((found.length - 1) / 2)]?.seeds ?? 0, worstSeeds: worst?.seeds ?? 0, worst: worst?.name ?? "" };
}

/** The bugs of a name, or all; undefined where there is none of that name. */
export function plantedNamed(name: string): readonly PlantedBug[] | undefined {
  if (name === "all") return PLANTED;
  const bug = PLANTED.find((candidate) => candidate.name === name);
  return bug === undefined ? undefined : [bug];
}

function row(number: string, name: string, tier: string, seeds: string, time: string, found: string): string {
  return `${number.padStart(3)}  ${name.padEnd(40)} ${tier.padEnd(5)} ${seeds.padStart(6)} ${time.padStart(8)}  ${found}`;
}
