/** What this replica has decided since it started. Counts only: a restart loses nothing that matters. */
import { ConflictType, type GetStatisticsResponse, Outcome } from "@statemesh/contract";
import type { Decision } from "@statemesh/conflict";
import type { LatencyHistogram } from "@statemesh/service";
import { BusiestRegions } from "./busiest-regions.ts";
import { batchHistogram, messageOf, NamedHistograms } from "./latency-buckets.ts";
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
  readonly #quantiles = new LatencyQuantiles();
  readonly #startedAtMs: number;
  /** Of every batch; of those with a conflict of a type; of those with a decision by a rule. */
  readonly latency: LatencyHistogram = batchHistogram();
  readonly latencyByType: NamedHistograms = new NamedHistograms();
  readonly latencyByRule: NamedHistograms = new NamedHistograms();
  #batches = 0;
  #candidates = 0;
  #accepted = 0;
  #merged = 0;
  #rejected = 0;

  /** Digest of the policy that this replica decides by. */
  readonly policyDigest: string;
  /** Batches whose senders go by another policy. */
  policyRefusals = 0;

  /** @param startedAtMs milliseconds since the Unix epoch */
  constructor(startedAtMs: number, policyDigest: string) {
    this.#startedAtMs = startedAtMs;
    this.policyDigest = policyDigest;
  }

  /** Counts one batch and what became of it. */
  record(decision: Decision, durationMs: number): void {
    this.#batches += 1;
    this.#candidates += decision.verdicts.length;
    const rules = new Set<string>();
    for (const verdict of decision.verdicts) {
      if (verdict.outcome === Outcome.ACCEPTED) this.#accepted += 1;
      else if (verdict.outcome === Outcome.MERGED) this.#merged += 1;
      else this.#rejected += 1;
      increment(this.#byRule, verdict.rule);
      rules.add(verdict.rule);
    }
    for (const rule of rules) this.latencyByRule.observe(rule, durationMs);
    this.#quantiles.record(durationMs);
    this.latency.observe(durationMs);
    if (decision.conflicts.length > 0) this.#recordConflicts(decision.conflicts, durationMs);
  }

  #recordConflicts(conflicts: Decision["conflicts"], durationMs: number): void {
    const types = new Set<ConflictType>();
    const regions = new Set<string>();
    for (const { type, region } of conflicts) {
      increment(this.#byType, type);
      types.add(type);
      if (region === undefined) continue;
      const key = `${region.x},${region.y},${region.z}`;
      this.#byRegion.count(region, regions.has(key) ? undefined : durationMs);
      regions.add(key);
    }
    for (const type of types) this.latencyByType.observe(conflictName(type), durationMs);
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
    const regions = [...this.#byRegion.busiest()];
    return {
      ...this.counts(),
      candidates: this.#candidates,
      conflictsByRegion: new Map(regions.map(([region, { conflicts }]) => [region, conflicts])),
      p50Us: this.#quantiles.quantileUs(0.5),
      p99Us: this.#quantiles.quantileUs(0.99),
      startedAtMs: this.#startedAtMs,
      policyDigest: this.policyDigest,
      policyRefusals: this.policyRefusals,
      latency: messageOf(this.latency),
      latencyByType: this.latencyByType.messages(),
      latencyByRule: this.latencyByRule.messages(),
      latencyByRegion: new Map(regions.map(([region, { latency }]) => [region, messageOf(latency)])),
    };
  }
}
