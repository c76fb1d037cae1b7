// What a mesh does with more than it can: goodput and waits at its capacity, twice and four times that, and how a polite game server fares beside.
import { join } from "node:path";
import { connect, type MeshClient } from "@statemesh/client";
import { MeshError } from "@statemesh/contract";
import { type LoadTarget, OperationMix, streamLoad } from "./bench-load.ts";
import { type Mesh, startMesh } from "./mesh-processes.ts";
import { openLoop } from "./open-loop.ts";
import { readStages, stageBound } from "./stage-times.ts";

const GROUPS = 4;
const SERVER_ID = 1;
const POLITE_ID = 2;
const FACTORS = [1, 2, 4];
const WARM_UP_SECONDS = 2;

/** Operations a second and milliseconds, while so many times the capacity is offered by one server. */
export interface OverloadRow {
  readonly times: number;
  readonly offeredPerSecond: number;
  /** Goodput. */
  readonly decidedPerSecond: number;
  readonly heldBackPerSecond: number;
  readonly refused: Readonly<Record<string, number>>;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Of another server, which asks one at a time. */
  readonly politeP50Ms: number;
  readonly politeP99Ms: number;
  readonly politeFailed: number;
}

export interface OverloadResult {
  readonly capacityPerSecond: number;
  readonly rows: readonly OverloadRow[];
}

export async function measureOverload(dataDir: string, seconds: number, targetsOf: (mesh: Mesh, groups: number) => Promise<LoadTarget[]>, say: (text: string) => void): Promise<OverloadResult> {
  const mesh = await startMesh({ nodes: 3, groups: GROUPS, dataDir: join(dataDir, "overload"), extraFlags: { "consensus-node": ["--log-level", "warn"] } });
  const clients = [SERVER_ID, POLITE_ID].map((serverId) => connect({ endpoints: mesh.endpoints, serverId, name: `bench-${serverId}`, deadlineMs: 20_000 }));
  try {
    for (const client of clients) await client.authority.register();
    const targets = await targetsOf(mesh, GROUPS);
    await streamLoad(targets, new OperationMix(SERVER_ID), 1_024, 64, 1);
    const { perSecond: capacityPerSecond } = await streamLoad(targets, new OperationMix(SERVER_ID), 1_024, 64, seconds);
    say(`capacity, streamed, 1,024 in flight a node: ${whole(capacityPerSecond)}/s`);
    const rows: OverloadRow[] = [];
    const [, polite] = clients;
    for (const times of FACTORS) {
      const before = await readStages(mesh);
      const politely = { isOver: false };
      const watched = polite === undefined ? undefined : watch(polite, targets, politely);
      const { offeredPerSecond, ...result } = await openLoop({ targets, serverId: SERVER_ID, perSecond: times * capacityPerSecond, streams: 4, warmUpSeconds: WARM_UP_SECONDS, seconds });
      politely.isOver = true;
      const { times: waits = [], failed = 0 } = (await watched) ?? {};
      const row = { times, offeredPerSecond, ...result, politeP50Ms: at(waits, 0.5), politeP99Ms: at(waits, 0.99), politeFailed: failed };
      rows.push(row);
      say(overloadLine(row));
      const after = await readStages(mesh);
      say(`  p50 and p99 by stage, at most: ${[...after.keys()].map((stage) => `${stage} ${stageBound(before, after, stage, 0.5)} and ${stageBound(before, after, stage, 0.99)} ms`).join(", ")}`);
    }
    return { capacityPerSecond, rows };
  } finally {
    for (const client of clients) client.close();
    await mesh.stop();
  }
}

/** One operation after the other until it is over. */
async function watch(client: MeshClient, targets: readonly LoadTarget[], until: { isOver: boolean }): Promise<{ times: number[]; failed: number }> {
  const mix = new OperationMix(POLITE_ID);
  const regions = targets.flatMap((target) => target.regions);
  const times: number[] = [];
  let failed = 0;
  while (!until.isOver) {
    const sentMs = performance.now();
    try {
      await client.execute(mix.next(regions));
      times.push(performance.now() - sentMs);
    } catch (error) {
      if (!(error instanceof MeshError)) throw error;
      failed++;
    }
  }
  return { times: times.sort((a, b) => a - b), failed };
}

function overloadLine({ times, offeredPerSecond, decidedPerSecond, heldBackPerSecond, refused, p50Ms, p99Ms, politeP50Ms, politeP99Ms, politeFailed }: OverloadRow): string {
  const errors = Object.entries(refused).map(([reason, count]) => `${whole(count)} ${reason}`).join(", ");
  return [
    `${times}x: offered ${whole(offeredPerSecond)}/s, decided ${whole(decidedPerSecond)}/s, p50 ${p50Ms.toFixed(1)} ms, p99 ${p99Ms.toFixed(1)} ms`,
    `held back by flow control ${whole(heldBackPerSecond)}/s${errors === "" ? "" : `, refused: ${errors}`}`,
    `polite server beside: p50 ${politeP50Ms.toFixed(1)} ms, p99 ${politeP99Ms.toFixed(1)} ms, ${politeFailed} failed`,
  ].join("; ");
}

function at(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}

function whole(value: number): string {
  return Math.round(value).toLocaleString("en");
}
