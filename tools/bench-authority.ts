// How long regions take from server to server: handed over by plan, and taken over from one that was killed.
import { connect, type HeldLease, type MeshClient, type RegionFollower } from "@statemesh/client";
import { HandoffPhase, MeshError, Outcome, type Region } from "@statemesh/contract";
import { formatRegion } from "@statemesh/world";
import type { Mesh } from "./mesh-processes.ts";
import { ShardProcess } from "./shard-process.ts";

const FIRST_SERVER = 4_000_000_100;
const REGIONS = 16;
const VICTIM = 4_000_000_200;
const LIMIT_MS = 60_000;
const LOOK_MS = 2;

/** Milliseconds, ascending. */
export interface AuthorityTimes {
  /** From the owner's wish to the new owner's lease. */
  readonly handoffMs: number[];
  /** Of that, how long no operation of the region could be decided. */
  readonly gapMs: number[];
  /** From SIGKILL of the owner's process to the backup's first decided operation. */
  readonly failoverMs: number[];
}

/** A server of this process: it takes whatever comes. */
class Server {
  readonly client: MeshClient;
  readonly follower: RegionFollower;
  readonly begun = new Map<string, { readonly lease: HeldLease; readonly atMs: number }>();
  readonly drainedMs = new Map<string, number>();

  constructor(endpoints: readonly string[], serverId: number) {
    this.client = connect({ endpoints, serverId, name: `bench-${serverId}`, maxRegions: 1_000 });
    this.follower = this.client.follow({
      load: () => Promise.resolve(),
      begin: (lease) => this.begun.set(formatRegion(lease.region), { lease, atMs: performance.now() }),
      drain: ({ region }) => {
        this.drainedMs.set(formatRegion(region), performance.now());
        return Promise.resolve();
      },
      handedOver: () => undefined,
      resume: () => undefined,
      failed: (region, error) => process.stderr.write(`${formatRegion(region)}: ${error.message}\n`),
    });
  }

  async until(what: string, condition: () => boolean): Promise<void> {
    const endMs = performance.now() + LIMIT_MS;
    while (!condition()) {
      if (performance.now() > endMs) throw new Error(`bench: after ${LIMIT_MS} ms still not: ${what}`);
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  }

  async write(lease: HeldLease): Promise<void> {
    const { outcome, reason } = await this.client.execute(this.client.operations.mint(lease, { playerId: "bench", itemKind: "ore", quantity: 1 }));
    if (outcome !== Outcome.ACCEPTED) throw new Error(`bench: a write of the new owner was refused: ${reason}`);
  }
}

/** Hands regions to and fro between two servers, one at a time. */
export async function measureHandoffs(mesh: Mesh, count: number): Promise<Pick<AuthorityTimes, "handoffMs" | "gapMs">> {
  const servers = [new Server(mesh.endpoints, FIRST_SERVER), new Server(mesh.endpoints, FIRST_SERVER + 1)] as const;
  const handoffMs: number[] = [];
  const gapMs: number[] = [];
  try {
    for (const { client } of servers) await client.authority.register();
    const regions: Region[] = Array.from({ length: REGIONS }, (_, at) => ({ x: at * 8, y: 8, z: 0 }));
    for (const region of regions) await acquired(servers[0], region);
    for (let done = 0; done < count; done++) {
      const region = regions[done % REGIONS] as Region;
      const key = formatRegion(region);
      const from = servers[Math.floor(done / REGIONS) % 2 === 0 ? 0 : 1];
      const to = from === servers[0] ? servers[1] : servers[0];
      const lease = from.client.authority.leaseOf(region);
      if (lease === undefined) throw new Error(`bench: ${key} was lost`);
      to.begun.delete(key);
      const beganMs = performance.now();
      const { phase, reason } = await from.follower.handOver(lease, to.client.serverId);
      if (phase !== HandoffPhase.COMMITTED) throw new Error(`bench: the handoff of ${key} was aborted: ${reason}`);
      await to.until(`${key} has its new owner`, () => to.begun.has(key));
      const begun = to.begun.get(key);
      if (begun === undefined) continue;
      handoffMs.push(begun.atMs - beganMs);
      gapMs.push(begun.atMs - (from.drainedMs.get(key) ?? begun.atMs));
      await to.write(begun.lease);
    }
    return { handoffMs: sorted(handoffMs), gapMs: sorted(gapMs) };
  } finally {
    for (const { client } of servers) client.close();
  }
}

/** Kills the process that owns a region, again and again, and waits for its backup to write. */
export async function measureFailovers(mesh: Mesh, kills: number, say: (text: string) => void): Promise<number[]> {
  const backup = new Server(mesh.endpoints, FIRST_SERVER + 2);
  const failoverMs: number[] = [];
  try {
    await backup.client.authority.register();
    for (let kill = 0; kill < kills; kill++) {
      const region: Region = { x: kill * 8, y: 16, z: 0 };
      const key = formatRegion(region);
      const victim = await ShardProcess.start({ endpoints: mesh.endpoints, serverId: VICTIM + kill, maxRegions: 0 });
      await victim.acquire(region);
      await backedUp(backup, region);
      await victim.kill();
      const killedMs = performance.now();
      await backup.until(`${key} has its backup as owner`, () => backup.begun.has(key));
      const begun = backup.begun.get(key);
      if (begun === undefined) continue;
      await backup.write(begun.lease);
      failoverMs.push(performance.now() - killedMs);
      say(`kill ${kill + 1} of ${kills}: the backup's first operation after ${(failoverMs.at(-1) ?? 0).toFixed(0)} ms`);
      await backup.client.authority.release(begun.lease);
    }
    return sorted(failoverMs);
  } finally {
    backup.client.close();
  }
}

/** The directory has chosen backups for the region. */
async function backedUp(backup: Server, region: Region): Promise<void> {
  const endMs = performance.now() + LIMIT_MS;
  for (;;) {
    const { authority } = await backup.client.route({ $case: "region", value: region });
    if (authority?.backupServerIds.includes(backup.client.serverId) === true) return;
    if (performance.now() > endMs) throw new Error(`bench: ${formatRegion(region)} gets no backup`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function acquired({ client }: Server, region: Region): Promise<void> {
  try {
    await client.authority.acquire(region);
  } catch (error) {
    throw new Error(`bench: ${formatRegion(region)} could not be acquired`, { cause: MeshError.from(error) });
  }
}

function sorted(values: readonly number[]): number[] {
  return [...values].sort((a, b) => a - b);
}
