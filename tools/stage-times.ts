/** Where operations spent their time, read from the nodes' metrics: between two readings, by stage. */
import type { Mesh } from "./mesh-processes.ts";

const SERIES = /^statemesh_operation_stage_seconds_bucket\{le="([^"]+)",stage="([a-z]+)"\} ([0-9.e+]+)$/;

/** Operations by stage and upper bound of the bucket in milliseconds, of all nodes; cumulative. */
export type StageReading = ReadonlyMap<string, ReadonlyMap<number, number>>;

export async function readStages(mesh: Mesh): Promise<StageReading> {
  const reading = new Map<string, Map<number, number>>();
  const pages = await Promise.all(mesh.nodes.map(async ({ metricsAddress }) => (await fetch(`http://${metricsAddress}/metrics`)).text()));
  for (const line of pages.join("\n").split("\n")) {
    const [, le, stage, count] = SERIES.exec(line) ?? [];
    if (le === undefined || stage === undefined) continue;
    const boundMs = le === "+Inf" ? Number.POSITIVE_INFINITY : Number(le) * 1_000;
    const buckets = reading.get(stage) ?? new Map<number, number>();
    buckets.set(boundMs, (buckets.get(boundMs) ?? 0) + Number(count));
    reading.set(stage, buckets);
  }
  return reading;
}

/** The bucket, by its upper bound in milliseconds, that holds the share of what passed a stage between two readings. */
export function stageBound(before: StageReading, after: StageReading, stage: string, share: number): number {
  const counts = [...(after.get(stage) ?? [])].map(([boundMs, count]) => ({ boundMs, count: count - (before.get(stage)?.get(boundMs) ?? 0) })).sort((a, b) => a.boundMs - b.boundMs);
  const all = counts.at(-1)?.count ?? 0;
  return counts.find(({ count }) => count >= share * all)?.boundMs ?? 0;
}
