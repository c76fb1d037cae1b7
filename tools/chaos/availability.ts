/** How the mesh served while faults came and went: acknowledged operations a second, and the longest silence of a group. */
import plot from "simple-ascii-chart";
import type { Injected } from "./injector.ts";
import type { LoadRecord } from "./load/told.ts";

/** What a majority that is undisturbed may need at most to serve again, ms. Far above any election: this machine may be busy. */
const SILENCE_MAX_MS = 30_000;
/** After a fault that takes the majority away, the mesh may need this long until it serves, ms. */
const RECOVERY_MS = 60_000;
/** A silence that begins this long after a fault was healed still counts as its own. */
const AFTERMATH_MS = 3_000;

/** By kind of fault. */
export interface FaultAvailability {
  readonly kind: string;
  readonly count: number;
  /** How many showed that they took effect. */
  readonly bit: number;
  /** The longest silence of one group while such a fault went on or just after it, ms. */
  readonly longestGapMs: number;
}

export interface Availability {
  readonly perSecond: readonly number[];
  /** The longest silence of one group in which no fault took the majority away, ms. */
  readonly longestGapMs: number;
  readonly byFault: readonly FaultAvailability[];
}

/** Whether the fault went on during the gap, or was healed just before it. */
function within(gap: { readonly fromMs: number; readonly toMs: number }): (fault: Injected) => boolean {
  return (fault) => fault.fromMs < gap.toMs && fault.toMs + AFTERMATH_MS > gap.fromMs;
}

/** Adds it up, and says which silences were too long. */
export function availabilityOf(record: LoadRecord, faults: readonly Injected[], groups: number): { availability: Availability; anomalies: string[] } {
  for (let group = 1; group <= groups; group++) record.closeGap(group, record.nowMs());
  const anomalies: string[] = [];
  let longestGapMs = 0;
  for (const gap of record.gaps) {
    const during = faults.filter(within(gap));
    const outages = during.filter((fault) => fault.outage);
    const lengthMs = gap.toMs - gap.fromMs;
    const allowedMs = outages.length === 0 ? SILENCE_MAX_MS : Math.max(...outages.map((fault) => fault.toMs)) - gap.fromMs + RECOVERY_MS;
    if (outages.length === 0) longestGapMs = Math.max(longestGapMs, lengthMs);
    if (lengthMs > allowedMs) anomalies.push(`group ${gap.group} acknowledged nothing for ${(lengthMs / 1_000).toFixed(1)} s from ${(gap.fromMs / 1_000).toFixed(1)} s${during.length === 0 ? "" : ` (${during.map((fault) => fault.what).join("; ")})`}`);
  }
  const kinds = [...new Set(faults.map((fault) => fault.kind))].sort();
  const byFault = kinds.map((kind): FaultAvailability => {
    const own = faults.filter((fault) => fault.kind === kind);
    // What happens while the majority is away is for the fault that took it.
    const gaps = record.gaps.filter((gap) => own.some(within(gap)) && (own.some((fault) => fault.outage) || !faults.some((fault) => fault.outage && within(gap)(fault))));
    return { kind, count: own.length, bit: own.filter((fault) => fault.evidence !== undefined).length, longestGapMs: Math.round(Math.max(0, ...gaps.map((gap) => gap.toMs - gap.fromMs))) };
  });
  return { availability: { perSecond: [...record.perSecond], longestGapMs: Math.round(longestGapMs), byFault }, anomalies };
}

const PLOT_COLUMNS = 96;
const PLOT_LINES = 10;
const X_LABELS = 12;

/** The plot for a terminal, faults marked below it. */
export function terminalPlot({ perSecond }: Availability, faults: readonly Injected[]): string {
  const bucket = Math.max(1, Math.ceil(perSecond.length / PLOT_COLUMNS));
  const points = Array.from({ length: Math.ceil(perSecond.length / bucket) }, (_, at): [number, number] => {
    const part = perSecond.slice(at * bucket, (at + 1) * bucket);
    return [at * bucket, Math.round(part.reduce((sum, each) => sum + each, 0) / part.length)];
  });
  if (points.length < 2) return "";
  const most = Math.max(2, ...points.map(([, y]) => y));
  const every = Math.max(1, Math.ceil(points.length / X_LABELS));
  const chart = plot(points, {
    width: points.length, height: PLOT_LINES, mode: "bar", title: "acknowledged a second",
    yRange: [0, most], customYAxisTicks: [0, Math.round(most / 2), most], customXAxisTicks: points.filter((_, at) => at % every === 0).map(([x]) => x),
  }).trimEnd();
  const legend = [...faults].sort((a, b) => a.fromMs - b.fromMs).map((fault) => `  ${(fault.fromMs / 1_000).toFixed(0).padStart(5)}..${(fault.toMs / 1_000).toFixed(0)} s  ${fault.what}`);
  return [chart, ...legend].join("\n");
}
