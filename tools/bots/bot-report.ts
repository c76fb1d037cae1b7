/** What a run of bots shows: a line while it plays, a summary, and the same as JSON. */
import type { VerifyConservationResponse } from "@statemesh/contract";
import type { TimesName } from "./bot-books.ts";
import type { BotResult, BotState } from "./bot-run.ts";
import type { BotWorldSpec } from "./bot-world.ts";
import type { ProcessUse } from "./process-use.ts";

/** What was asked for. */
export interface BotPlan {
  readonly world: BotWorldSpec;
  readonly hz: number;
  readonly nodes: number;
}

/** One line. */
export function beatLine({ seconds, players, latest, conservation }: BotState, use: readonly ProcessUse[]): string {
  const { counts } = latest;
  const nodes = use.map(({ cpuPercent }) => `${Math.round(cpuPercent)}%`).join(" ");
  return `${seconds.toFixed(0).padStart(4)} s  ${players} players  ${rate(counts.published)}/s out  ${rate(counts.received)}/s in  p50 ${ms(latest.at("arrival", 50))} p99 ${ms(latest.at("arrival", 99))}` +
    `  ops ${rate(counts.accepted + counts.merged)}/s p99 ${ms(latest.at("strong", 99))}  handoffs ${counts.handoffs}/s p99 ${ms(latest.at("handoff", 99))}` +
    `  ${conservationText(conservation)}${nodes === "" ? "" : `  nodes ${nodes}`}`;
}

function conservationText(response: VerifyConservationResponse | undefined): string {
  if (response === undefined) return "items ?";
  const sum = (of: "minted" | "burned"): number => response.items.reduce((total, item) => total + item[of], 0);
  const held = response.items.reduce((total, item) => total + item.held + item.onGround + item.inTransit, 0);
  return `items ${sum("minted")} - ${sum("burned")} ${response.conserved ? "=" : "IS NOT"} ${held}`;
}

/** The summary, a line each. */
export function summaryLines(plan: BotPlan, result: BotResult, use: readonly ProcessUse[]): string[] {
  const { books, measuredSeconds: seconds } = result;
  const { counts } = books;
  const wanted = plan.world.players * plan.hz;
  const each = (count: number): string => `${rate(count)} (${(count / Math.max(0.001, seconds)).toFixed(1)}/s)`;
  const times = (name: TimesName): string => `p50 ${ms(books.at(name, 50))}, p99 ${ms(books.at(name, 99))}`;
  const lines = [
    `${plan.world.players} players at ${plan.hz} Hz on ${plan.world.shards} shards and ${plan.nodes} nodes, ${plan.world.walk ? "walking" : "standing"}, seed ${plan.world.seed}: ${seconds.toFixed(1)} s measured`,
    `  published      ${each(counts.published)} positions of ${rate(wanted)}/s; a call ${times("publish")}`,
    `  received       ${each(counts.received)} by other shards: ${times("arrival")} from publish to receive`,
    `  operations     ${each(counts.accepted + counts.merged)} in force, ${counts.rejected} rejected: ${times("strong")}${listed(books.acts)}`,
    `  borders        ${each(counts.crossings)} crossed, ${each(counts.handoffs)} handed from shard to shard: ${times("handoff")}`,
    `  conservation   ${conservationText(result.conservation)} at the end; ${result.verified} verifications, ${result.notConserved} said no`,
  ];
  const processes = [...use, sumOf(`${result.shards.length} bot shards`, result.shards)];
  lines.push(`  processes      ${processes.map(({ name, cpuPercent, residentMiB }) => `${name} ${Math.round(cpuPercent)}% of a core, ${residentMiB} MiB`).join("; ")}`);
  if (counts.rejected > 0) lines.push(`  rejections    ${listed(books.rejections)}`);
  if (Object.keys(books.errors).length > 0) lines.push(`  errors        ${listed(books.errors)}`);
  if (counts.beatsLate + counts.replaced > 0) lines.push(`  beats          ${counts.beats}, ${counts.beatsLate} more were left out by shards that were late; ${counts.replaced} positions waited until there were later ones`);
  if (counts.lagged + counts.leasesLost + counts.unknown > 0) lines.push(`  troubles       ${counts.lagged} times too slow a reader, ${counts.leasesLost} leases lost, ${counts.unknown} outcomes unknown`);
  for (const { name, ok, detail } of result.checks) lines.push(`  ${ok ? "holds " : "FAILED"}  ${name}: ${detail}`);
  return lines;
}

/** The summary for programs. */
export function summaryJson(plan: BotPlan, result: BotResult, use: readonly ProcessUse[]): object {
  const { books, measuredSeconds, conservation } = result;
  const times = (name: TimesName): object => ({ count: books.timesOf(name), p50Ms: books.at(name, 50), p99Ms: books.at(name, 99) });
  return {
    ok: result.checks.every(({ ok }) => ok),
    seed: plan.world.seed, players: plan.world.players, shards: plan.world.shards, nodes: plan.nodes, hz: plan.hz, walk: plan.world.walk, areaM: plan.world.areaM,
    run: result.run, seconds: measuredSeconds,
    counts: books.counts, acts: books.acts, rejections: books.rejections, errors: books.errors,
    publishToReceive: times("arrival"), operation: times("strong"), handoff: times("handoff"), publish: times("publish"),
    conservation: { conserved: conservation?.conserved ?? false, verified: result.verified, notConserved: result.notConserved, items: conservation?.items ?? [] },
    processes: [...use, ...result.shards], checks: result.checks,
  };
}

function sumOf(name: string, use: readonly ProcessUse[]): ProcessUse {
  const sum = (of: "cpuPercent" | "residentMiB"): number => use.reduce((total, each) => total + each[of], 0);
  return { name, cpuPercent: sum("cpuPercent"), residentMiB: sum("residentMiB") };
}

function listed(counts: Readonly<Record<string, number>>): string {
  const names = Object.entries(counts).sort(([, a], [, b]) => b - a);
  return names.length === 0 ? "" : ` (${names.map(([name, count]) => `${count} ${name}`).join(", ")})`;
}

function rate(count: number): string {
  return Math.round(count).toLocaleString("en");
}

function ms(value: number): string {
  return `${value < 10 ? value.toFixed(1) : value.toFixed(0)} ms`;
}
