import type { Outcome, PlainRecord } from "@statemesh/simulator";
import { SimProcess } from "./sim-pool.ts";

/** What to search, and when to stop. */
export interface SearchLimits {
  readonly tier: string;
  readonly from: number;
  /** Seeds at most. */
  readonly seeds: number;
  /** Real time at most, milliseconds. */
  readonly limitMs: number;
  readonly workers: number;
  readonly hints?: PlainRecord;
  readonly planted?: string;
  /** Violations after which no further seed is begun. */
  readonly violationsMax: number;
  /** Aborted: no further seed is begun; what ran counts. */
  readonly signal?: AbortSignal;
}

/** Counts of many runs. */
export class SearchResult {
  readonly tier: string;
  readonly from: number;
  seeds = 0;
  simulatedMs = 0;
  realMs = 0;
  events = 0;
  operations = 0;
  readonly faults = new Map<string, number>();
  readonly sometimes = new Map<string, number>();
  readonly types = new Map<string, number>();
  readonly violations: Outcome[] = [];
  readonly #hashes = new Map<number, string>();

  constructor(tier: string, from: number) {
    this.tier = tier;
    this.from = from;
  }

  add(outcome: Outcome): void {
    this.seeds++;
    this.simulatedMs += outcome.simulatedMs;
    this.events += outcome.events;
    this.operations += outcome.operations;
    for (const [name, count] of Object.entries(outcome.faults)) this.faults.set(name, (this.faults.get(name) ?? 0) + count);
    for (const [name, count] of Object.entries(outcome.sometimes)) this.sometimes.set(name, (this.sometimes.get(name) ?? 0) + count);
    for (const [name, count] of Object.entries(outcome.types)) this.types.set(name, (this.types.get(name) ?? 0) + count);
    if (outcome.violations.length > 0) this.violations.push(outcome);
    this.#hashes.set(outcome.seed, outcome.hash);
  }

  /** Simulated time by real time, of all workers together. */
  get speed(): number {
    return this.realMs === 0 ? 0 : this.simulatedMs / this.realMs;
  }

  /** Over the hashes of all runs, in the order of their seeds: two searches of the same seeds give the same. */
  get hash(): string {
    let hash = 0xcbf29ce484222325n;
    for (const [seed, of] of [...this.#hashes].toSorted(([a], [b]) => a - b)) {
      for (const character of `${seed}:${of};`) hash = BigInt.asUintN(64, (hash ^ BigInt(character.charCodeAt(0))) * 0x100000001b3n);
    }
    return hash.toString(16).padStart(16, "0");
  }
}

/** Runs seeds on several processes. `progress` is called after each run. */
export async function search(limits: SearchLimits, progress: (result: SearchResult) => void): Promise<SearchResult> {
  const { tier, from, seeds, limitMs, workers, hints = {}, planted, violationsMax, signal } = limits;
  const result = new SearchResult(tier, from);
  const beganMs = performance.now();
  let next = from;
  const work = async (): Promise<void> => {
    const runner = new SimProcess(planted);
    try {
      while (signal?.aborted !== true && next < from + seeds && result.violations.length < violationsMax && performance.now() - beganMs < limitMs) {
        const seed = next++;
        result.add(await runner.run({ tier, seed, hints }));
        result.realMs = performance.now() - beganMs;
        progress(result);
      }
    } finally {
      runner.stop();
    }
  };
  await Promise.all(Array.from({ length: Math.min(workers, seeds) }, work));
  result.violations.sort((a, b) => a.seed - b.seed);
  return result;
}
