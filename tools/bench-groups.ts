// What many groups cost: how soon all have a leader, what a mesh does while nothing is done, how leaders spread, and what is
// left of the speed.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type ClusterAdminServiceClient, ClusterAdminServiceService, type GetStatusResponse } from "@statemesh/contract";
import { call } from "@statemesh/service";
import type { LoadResult } from "./bench-load.ts";
import { type Mesh, type MeshNode, startMesh } from "./mesh-processes.ts";

/** How a mesh with so many groups behaves. */
export interface GroupsResult {
  readonly groups: number;
  /** From the start of the processes until every node knows a leader of every group. */
  readonly startSeconds: number;
  /** Until no node leads two groups more than another. */
  readonly balancedSeconds: number;
  /** Groups that each node leads. */
  readonly led: readonly number[];
  /** Of one core, by node, while nothing is done. */
  readonly idlePercent: readonly number[];
  readonly memoryMiB: readonly number[];
  readonly loads: readonly LoadResult[];
}

/** What measuring needs besides. */
export interface GroupsBench {
  readonly idleSeconds: number;
  readonly say: (text: string) => void;
  readonly adminOf: (node: MeshNode) => ClusterAdminServiceClient;
  /** Measures operations. */
  readonly load: (mesh: Mesh, groups: number) => Promise<LoadResult[]>;
}

const POLL_MS = 100;
const START_LIMIT_MS = 120_000;
/** After the last change every group falls asleep within some election timeouts. */
const REST_MS = 3_000;

export async function measureGroups(groups: number, dataDir: string, bench: GroupsBench): Promise<GroupsResult> {
  const flags = { "consensus-node": ["--log-level", "warn"], "conflict-arbiter": ["--log-level", "warn"] };
  const startedMs = performance.now();
  const mesh = await startMesh({ nodes: 3, groups, dataDir: join(dataDir, `groups-${groups}`), extraFlags: flags });
  const seconds = (): number => (performance.now() - startedMs) / 1_000;
  try {
    const admins = mesh.nodes.map(bench.adminOf);
    const status = async (): Promise<GetStatusResponse[]> =>
      Promise.all(admins.map(async (admin) => call(admin, ClusterAdminServiceService.getStatus, {}, { timeoutMs: 10_000, writes: false })));
    await until(async () => (await status()).every((each) => each.groups.length === groups + 1 && each.groups.every(({ leaderNodeId }) => leaderNodeId !== 0)));
    const startSeconds = seconds();
    bench.say(`${groups} groups: all have leaders after ${startSeconds.toFixed(1)} s`);
    let led: number[] = [];
    await until(async () => {
      led = (await status()).map((each) => each.groups.filter(({ role }) => role === "leader").length);
      return Math.max(...led) - Math.min(...led) < 2;
    });
    const balancedSeconds = seconds();
    bench.say(`${groups} groups: leaders spread ${led.join(", ")} after ${balancedSeconds.toFixed(1)} s`);
    await new Promise((resolve) => setTimeout(resolve, REST_MS));
    const before = mesh.nodes.map(processorMs);
    const beforeMs = performance.now();
    await new Promise((resolve) => setTimeout(resolve, bench.idleSeconds * 1_000));
    const tookMs = performance.now() - beforeMs;
    const idlePercent = mesh.nodes.map((node, at) => ((processorMs(node) - (before[at] ?? 0)) / tookMs) * 100);
    const memoryMiB = mesh.nodes.map(residentMiB);
    bench.say(`${groups} groups: idle, ${idlePercent.map((percent) => `${percent.toFixed(1)}%`).join(", ")} of a core a node; memory ${memoryMiB.join(", ")} MiB`);
    for (const admin of admins) admin.close();
    const loads = await bench.load(mesh, groups);
    return { groups, startSeconds, balancedSeconds, led, idlePercent, memoryMiB, loads };
  } finally {
    await mesh.stop();
  }
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  const endMs = performance.now() + START_LIMIT_MS;
  while (!(await holds())) {
    if (performance.now() > endMs) throw new Error("bench: the mesh does not settle");
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** Processor time that a process has used, milliseconds. */
export function processorMs({ pid }: { readonly pid: number }): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

export function residentMiB({ pid }: { readonly pid: number }): number {
  return Math.round(Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) / 1_024);
}
