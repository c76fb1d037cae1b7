/** The report of a demo as text. */
import type { CacheTierStatistics, GetStatisticsResponse, VerifyConservationResponse } from "@statemesh/contract";
import type { DemoCheck } from "./demo-checks.ts";
import type { Latencies, Measure, OperationCounts } from "./demo-measure.ts";

/** What the report shows. */
export interface ReportInput {
  readonly worldName: string;
  readonly bots: number;
  readonly shards: number;
  readonly nodes: number;
  readonly groups: number;
  readonly seconds: number;
  readonly structuresPlaced: number;
  readonly structuresFound: number;
  readonly measure: Measure;
  readonly arrived: number;
  readonly questSteps: number;
  /** Undefined where there is no arbiter. */
  readonly arbiter: GetStatisticsResponse | undefined;
  /** Batches that leaders decided without an arbiter. */
  readonly arbiterFallbacks: number;
  /** By tier; undefined where there is no region store. */
  readonly cache: ReadonlyMap<string, CacheTierStatistics> | undefined;
  readonly redis: boolean;
  readonly conservation: VerifyConservationResponse | undefined;
  /** Things worth knowing that are no failures. */
  readonly notes: readonly string[];
  readonly checks: readonly DemoCheck[];
}

function whole(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

function ms(value: number): string {
  return value < 10 ? value.toFixed(2) : value < 100 ? value.toFixed(1) : whole(value);
}

/** Columns: the first one to the left, the others to the right. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = [];
  for (const row of rows) row.forEach((cell, at) => (widths[at] = Math.max(widths[at] ?? 0, cell.length)));
  return rows.map((row) => `  ${row.map((cell, at) => (at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0))).join("  ")}`.trimEnd());
}

function strongRow(name: string, counts: OperationCounts, seconds: number): string[] {
  const refused = [...counts.refused.values()].reduce((sum, count) => sum + count, 0);
  const { latencies } = counts;
  return [
    name, whole(counts.sent), whole(counts.sent / seconds), ms(latencies.at(50)), ms(latencies.at(99)),
    whole(counts.accepted), whole(counts.merged), whole(counts.rejected), whole(refused + counts.unknown),
  ];
}

function callRow(name: string, count: number, seconds: number, latencies: Latencies): string[] {
  return [name, whole(count), whole(count / seconds), latencies.count === 0 ? "-" : ms(latencies.at(50)), latencies.count === 0 ? "-" : ms(latencies.at(99))];
}

function counts(by: ReadonlyMap<string, number>): string {
  const sorted = [...by].filter(([, count]) => count > 0).sort(([a, x], [b, y]) => y - x || a.localeCompare(b));
  return sorted.length === 0 ? "none" : sorted.map(([name, count]) => `${name} ${whole(count)}`).join(", ");
}

function operations({ measure, seconds, arrived, questSteps }: ReportInput): string[] {
  const strong = [...measure.strong].sort(([a], [b]) => a.localeCompare(b)).map(([type, it]) => strongRow(type, it, seconds));
  const sent = measure.total("sent");
  const total = ["all strong", whole(sent), whole(sent / seconds), "", "", whole(measure.total("accepted")), whole(measure.total("merged")), whole(measure.total("rejected")), whole(measure.refused + measure.total("unknown"))];
  const others = [
    callRow("eventual: updates published", measure.updatesPublished, seconds, measure.publish),
    callRow("eventual: arrived at another node", arrived, seconds, measure.eventualArrival),
    callRow("causal: steps published", questSteps, seconds, measure.causalArrival),
    ...[...measure.store].sort(([a], [b]) => a.localeCompare(b)).map(([method, latencies]) => callRow(`region store: ${method}`, latencies.count, seconds, latencies)),
  ];
  if (measure.handoffs.count > 0) others.push(callRow("region handed to another shard", measure.handoffs.count, seconds, measure.handoffs));
  return [
    ...table([["Strong operations", "count", "per s", "p50 ms", "p99 ms", "accepted", "merged", "rejected", "refused"], ...strong, total]),
    "",
    ...table([["Other calls", "count", "per s", "p50 ms", "p99 ms"], ...others]),
  ];
}

function conflicts({ arbiter, arbiterFallbacks, measure }: ReportInput): string[] {
  const lines = ["Conflicts"];
  if (arbiter !== undefined) {
    lines.push(`  by type: ${counts(arbiter.conflictsByType)}`);
    lines.push(`  by rule: ${counts(arbiter.decisionsByRule)}`);
    lines.push(`  arbiter: ${whole(arbiter.batches)} batches, ${whole(arbiter.candidates)} candidates, p50 ${whole(arbiter.p50Us)} us, p99 ${whole(arbiter.p99Us)} us a batch`);
  }
  lines.push(`  rejections: ${counts(measure.rejections)}`);
  if (arbiterFallbacks > 0) lines.push(`  decided without an arbiter: ${whole(arbiterFallbacks)} batches`);
  return lines;
}

function cache({ cache: tiers, redis }: ReportInput): string[] {
  if (tiers === undefined) return [];
  const rows = [...tiers].map(([tier, it]) => {
    const asked = it.hits + it.misses;
    return [tier, whole(it.hits), whole(it.misses), asked === 0 ? "-" : `${((100 * it.hits) / asked).toFixed(1)} %`, whole(it.entries), whole(it.errors)];
  });
  const note = redis ? [] : ["  (no Redis: there is no redis-server on this machine, or --no-redis was given)"];
  return ["Region cache", ...table([["tier", "hits", "misses", "hit rate", "entries", "errors"], ...rows]), ...note, ""];
}

function items({ conservation }: ReportInput): string[] {
  if (conservation === undefined) return [];
  const rows = conservation.items.map((it) => [it.itemKind, whole(it.minted), whole(it.burned), whole(it.held), whole(it.onGround), it.conserved ? "yes" : "NO"]);
  return ["Items, over all runs on this data folder", ...table([["kind", "minted", "burned", "held", "on ground", "conserved"], ...rows]), `  conserved: ${conservation.conserved ? "yes" : "NO"}`, ""];
}

/** Lines of the report. */
export function reportLines(input: ReportInput): string[] {
  const { measure } = input;
  return [
    `"${input.worldName}": ${input.bots} bots on ${input.shards} shards for ${input.seconds.toFixed(1)} s, on ${input.nodes} nodes with ${input.groups} Raft groups and the directory`,
    `Structures of the world file: ${input.structuresPlaced} put up now, ${input.structuresFound} found from an earlier run. ` +
      `Borders crossed: ${measure.bordersCrossed}, ${measure.bordersCrossedToAnotherShard} of them to another shard.`,
    "",
    ...operations(input),
    "",
    ...conflicts(input),
    "",
    ...cache(input),
    ...items(input),
    ...(input.notes.length === 0 ? [] : ["Notes", ...input.notes.map((note) => `  ${note}`), ""]),
    "Checks",
    ...input.checks.map((check) => `  ${check.ok ? "ok    " : "FAILED"}  ${check.name} (${check.detail})`),
  ];
}
