/** What this replica has decided since it started. Counts only: a restart loses nothing that matters. */
import { ConflictType, type GetStatisticsResponse, Outcome } from "@statemesh/contract";
import type { Decision } from "@statemesh/conflict";
import { BusiestRegions } from "./busiest-regions.ts";
import { LatencyQuantiles } from "./latency-quantiles.ts";

/** The names of the contract's enum, in lower case: `terrain_overlap`. */
const CONFLICT_NAMES: ReadonlyMap<ConflictType, string> = new Map(Object.entries(ConflictType).map(([name, value]) => [value, name.toLowerCase()]));

/** The name of a conflict type in counts, such as `terrain_overlap`. */
export function conflictName(type: ConflictType): string {
  return CONFLICT_NAMES.get(type) ?? "unspecified";
}

function increment<K>(counts: Map<K, number>, key: K): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

export class Statistics {
  readonly #byType = new Map<ConflictType, number>();
  readonly #byRule = new Map<string, number>();
  readonly #byRegion = new BusiestRegions();
  readonly #latency = new LatencyQuantiles();
  #batches = 0;
  #candidates = 0;
  #accepted = 0;
  #merged = 0;
  #rejected = 0;

  /** Counts one batch and what became of it. */
  record(decision: Decision, durationMs: number): void {
    this.#batches += 1;
    this.#candidates += decision.verdicts.length;
    for (const verdict of decision.verdicts) {
      if (verdict.outcome === Outcome.ACCEPTED) this.#accepted += 1;
      else if (verdict.outcome === Outcome.MERGED) this.#merged += 1;
      else this.#rejected += 1;
      increment(this.#byRule, verdict.rule);
    }
    for (const conflict of decision.conflicts) {
      increment(this.#byType, conflict.type);
      if (conflict.region !== undefined) this.#byRegion.count(conflict.region);
    }
    this.#latency.record(durationMs);
  }

  /** Conflicts by type, batches and candidates, without the costlier parts. */
  counts(): Pick<GetStatisticsResponse, "batches" | "accepted" | "merged" | "rejected" | "conflictsByType" | "decisionsByRule"> {
    return {
      batches: this.#batches,
      accepted: this.#accepted,
      merged: this.#merged,
      rejected: this.#rejected,
      conflictsByType: new Map([...this.#byType].map(([type, count]) => [conflictName(type), count])),
      decisionsByRule: new Map(this.#byRule),
    };
  }

  response(): GetStatisticsResponse {
    return {
      ...this.counts(),
      candidates: this.#candidates,
      conflictsByRegion: this.#byRegion.busiest(),
      p50Us: this.#latency.quantileUs(0.5),
      p99Us: this.#latency.quantileUs(0.99),
    };
  }
}
