// ./dev bench: a mesh of real processes on this machine, measured. Nothing here decides a test.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AuthorityDirectoryServiceClient, ClusterAdminServiceClient, MeshError, type Region } from "@statemesh/contract";
import { call, clientOptions } from "@statemesh/service";
import { AuthorityDirectoryServiceService, ClusterAdminServiceService } from "@statemesh/contract";
import { groupOf } from "@statemesh/world";
import { credentials } from "@grpc/grpc-js";
import { Command, Option } from "commander";
import { type LoadResult, type LoadTarget, OperationMix, streamLoad, unaryLoad } from "./bench-load.ts";
import { measureTransfers } from "./bench-transfers.ts";
import { type AuthorityTimes, measureFailovers, measureHandoffs } from "./bench-authority.ts";
import { type ArbitrationResult, measureArbitration } from "./bench-arbitration.ts";
import { type Comparison, comparisonLine, measureBesideEtcd } from "./bench-etcd.ts";
import { type ConvergenceResult, measureConvergence } from "./bench-convergence.ts";
import { measureOverload, type OverloadResult } from "./bench-overload.ts";
import { measurePlayers, type PlayersResult } from "./bench-players.ts";
import { measurePublish, type PublishResult } from "./bench-publish.ts";
import { measureSubscribers, type SubscribersResult } from "./bench-subscribers.ts";
import { type DetectionResult, measureDetection } from "./bench-detection.ts";
import { type GroupsResult, measureGroups, processorMs, residentMiB } from "./bench-groups.ts";
import { type Mesh, startMesh } from "./mesh-processes.ts";
import { wholeIn } from "./number-option.ts";

const GROUPS = 4;
const MANY_GROUPS = 1_000;
const SERVER_ID = 4_000_000_000;

interface Options {
  readonly seconds: number;
  readonly kills: number;
  readonly handoffs: number;
  readonly cuts: number;
  readonly subscribers: number;
  readonly seed: number;
  readonly json: boolean;
  readonly only: string | undefined;
  readonly besideEtcd: boolean;
  readonly rounds: number;
}

const options = new Command("./dev bench")
  .description("Measures a mesh of three consensus nodes and an arbiter, real processes with fsync on: strong operations unary and streamed, transfers within groups and across them, the rules in process and through an arbiter, the time from kill -9 of a leader to the next commit, regions handed over and taken over from killed owners, what a thousand groups cost beside four, how soon ten thousand subscribers have a change, how soon five nodes notice that links between them are cut, how soon eight nodes hold the same eventual values and causal events and what that costs on the wire, how many walking players hear of each other in time, and what becomes of more load than can be decided. Memory of each process follows the load.")
  .option("--seconds <n>", "length of each measurement", wholeIn(1, 600), 8)
  .option("--kills <n>", "leaders to kill, and owners of regions", wholeIn(0, 1_000), 20)
  .option("--handoffs <n>", "regions to hand over", wholeIn(1, 100_000), 1_000)
  .option("--cuts <n>", "partitions to make and repair", wholeIn(1, 1_000), 8)
  .option("--subscribers <n>", "subscriptions to open", wholeIn(3, 50_000), 10_000)
  .option("--seed <n>", "walks and wishes of players; left out: by the time", wholeIn(0, 4_294_967_295), Date.now() % 1_000_000)
  .addOption(new Option("--only <part>", "one part").choices(["unary", "stream", "transfers", "arbitration", "kills", "handoff", "failover", "groups", "detection", "publish", "convergence", "subscribers", "players", "overload", "etcd"]))
  .option("--beside-etcd", "also the same work beside etcd (Debian's etcd-server), in turns, with ratios of medians", false)
  .option("--rounds <n>", "turns of the comparison with etcd", wholeIn(1, 100), 3)
  .option("--json", "print one JSON object", false)
  .parse()
  .opts<Options>();

const say = (text: string): void => {
  if (!options.json) process.stdout.write(`${text}\n`);
};

/** Regions whose groups each node leads, so that load goes where it is decided. */
async function targetsOf(mesh: Mesh, groups: number): Promise<LoadTarget[]> {
  const regionsByNode = new Map<number, Region[]>();
  const admin = new ClusterAdminServiceClient(mesh.endpoints[0] ?? "", credentials.createInsecure(), clientOptions());
  const status = await call(admin, ClusterAdminServiceService.getStatus, {}, { timeoutMs: 5_000, writes: false });
  admin.close();
  const leaders = new Map(status.groups.map((group) => [group.groupId, group.leaderNodeId]));
  for (let x = 0; x < 8 * 64; x += 8) {
    const region = { x, y: 0, z: 0 };
    const leader = leaders.get(groupOf(region, groups)) ?? 0;
    const regions = regionsByNode.get(leader) ?? [];
    if (regions.length < 16) regions.push(region);
    regionsByNode.set(leader, regions);
  }
  return mesh.nodes
    .map((node) => ({ address: node.clientAddress, regions: regionsByNode.get(node.nodeId) ?? [] }))
    .filter(({ regions }) => regions.length > 0);
}

/** Keeps the bench's server registered; returns what ends it. */
async function register(mesh: Mesh): Promise<() => void> {
  const clients = mesh.endpoints.map((address) => new AuthorityDirectoryServiceClient(address, credentials.createInsecure(), clientOptions()));
  const incarnation = Date.now();
  const once = async (): Promise<void> => {
    for (const client of clients) {
      try {
        await call(client, AuthorityDirectoryServiceService.register, { serverId: SERVER_ID, name: "bench", address: "", incarnation, maxRegions: 0 }, { timeoutMs: 5_000, writes: true });
        return;
      } catch (error) {
        say(`register: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
  };
  await once();
  const timer = setInterval(() => void once(), 3_000);
  return () => {
    clearInterval(timer);
    for (const client of clients) client.close();
  };
}

function line(result: LoadResult): string {
  const errors = Object.entries(result.errors).map(([reason, count]) => `${count} ${reason}`).join(", ");
  return `${result.name.padEnd(50)} ${Math.round(result.perSecond).toLocaleString("en").padStart(9)}/s   p50 ${result.p50Ms.toFixed(2)} ms   p99 ${result.p99Ms.toFixed(2)} ms${errors === "" ? "" : `   errors: ${errors}`}`;
}

/** Processor time that each process has used, milliseconds. */
function processorOf(mesh: Mesh): Record<string, number> {
  const own = process.cpuUsage();
  return Object.fromEntries([...mesh.processes.map((each) => [each.spec.name, processorMs(each)]), ["client", (own.user + own.system) / 1_000]]);
}

function memory(mesh: Mesh): Record<string, number> {
  return Object.fromEntries(mesh.processes.map((each) => [each.spec.name, residentMiB(each)]));
}

/** Kills the leader of group 1 over and over, and measures how long no operation of that group is decided. */
async function leaderKills(mesh: Mesh, kills: number): Promise<number[]> {
  const outages: number[] = [];
  const mix = new OperationMix(SERVER_ID);
  const regions = Array.from({ length: 64 }, (_, i) => ({ x: i * 8, y: 0, z: 0 })).filter((region) => groupOf(region, GROUPS) === 1).slice(0, 4);
  for (let kill = 0; kill < kills; kill++) {
    const leader = await leaderOf(mesh, 1);
    const other = mesh.nodes.find((node) => node.nodeId !== leader?.nodeId);
    if (leader === undefined || other === undefined) throw new Error("bench: group 1 has no leader");
    await leader.kill();
    const startMs = performance.now();
    const result = await unaryLoadOnce(other.clientAddress, mix, regions);
    const outageMs = result - startMs;
    outages.push(outageMs);
    say(`kill ${kill + 1} of ${kills}: next commit after ${outageMs.toFixed(0)} ms`);
    await leader.start();
  }
  return outages.sort((a, b) => a - b);
}

async function unaryLoadOnce(address: string, mix: OperationMix, regions: readonly Region[]): Promise<number> {
  for (;;) {
    const result = await unaryLoad([{ address, regions }], mix, 1, 0.001);
    if (result.operations > 0) return performance.now();
  }
}

async function leaderOf(mesh: Mesh, groupId: number): Promise<Mesh["nodes"][number] | undefined> {
  for (let tried = 0; tried < 200; tried++) {
    for (const node of mesh.nodes) {
      const admin = new ClusterAdminServiceClient(node.clientAddress, credentials.createInsecure(), clientOptions());
      try {
        const status = await call(admin, ClusterAdminServiceService.getStatus, {}, { timeoutMs: 2_000, writes: false });
        const group = status.groups.find((each) => each.groupId === groupId);
        if (group?.role === "leader" && group.match.size > 0) return node;
      } catch (error) {
        // One that starts, or goes, or is busy: another one may know.
        if (MeshError.from(error).reason === "INTERNAL") throw error;
      } finally {
        admin.close();
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return undefined;
}

const dataDir = mkdtempSync(join(tmpdir(), "statemesh-bench-"));
const results: LoadResult[] = [];
let outages: number[] = [];
let memoryMiB: Record<string, number> = {};
const groupsResults: GroupsResult[] = [];
let comparisons: Comparison[] = [];
let arbitration: ArbitrationResult | undefined;
let authority: AuthorityTimes = { handoffMs: [], gapMs: [], failoverMs: [] };
let detection: DetectionResult | undefined;
let publish: PublishResult | undefined;
let convergence: ConvergenceResult | undefined;
let subscribers: SubscribersResult | undefined;
let players: PlayersResult | undefined;
let overload: OverloadResult | undefined;
const wants = (part: string): boolean => (options.only === undefined ? part !== "etcd" || options.besideEtcd : options.only === part);
try {
  if (["unary", "stream", "transfers", "kills", "handoff", "failover", "etcd"].some(wants)) await measureMesh();
  if (wants("arbitration")) arbitration = await measureArbitration(options.seconds, dataDir, say);
  if (wants("groups")) for (const groups of [GROUPS, MANY_GROUPS]) groupsResults.push(await measureGroups(groups, dataDir, { idleSeconds: options.seconds, say, adminOf, load: measureOperations }));
  if (wants("publish")) {
    publish = await measurePublish(dataDir, options.seconds);
    for (const [what, { perSecond, p50Ms, p99Ms }] of Object.entries({ "the others up": publish.peersUp, "the others stopped": publish.peersStopped })) {
      say(`Publish with ${what}: ${perSecond.toFixed(0)}/s, p50 ${p50Ms.toFixed(2)} ms, p99 ${p99Ms.toFixed(2)} ms`);
    }
  }
  if (wants("convergence")) convergence = await measureConvergence(dataDir, options.seconds, say);
  if (wants("subscribers")) subscribers = await measureSubscribers(dataDir, options.subscribers, options.seconds, say);
  if (wants("players")) {
    players = await measurePlayers(dataDir, { seconds: options.seconds, seed: options.seed, say });
    say(`sustained: ${players.sustained} players at 20 Hz`);
    if (players.rows.some(({ failed }) => failed.length > 0)) process.exitCode = 1;
  }
  if (wants("overload")) overload = await measureOverload(dataDir, options.seconds, targetsOf, say);
  if (wants("detection")) {
    detection = await measureDetection(dataDir, options.cuts, say);
    for (const [what, values] of Object.entries({ "noticed by who lost": detection.lostMs, "a new view": detection.viewMs, "the arbiter's verdict": detection.arbiterMs, "whole again after repair": detection.healedMs })) {
      const sorted = values.toSorted((a, b) => a - b);
      say(`${what}: median ${percentile(sorted, 50).toFixed(0)} ms, worst ${percentile(sorted, 100).toFixed(0)} ms`);
    }
  }
} finally {
  rmSync(dataDir, { recursive: true, force: true });
}

async function measureMesh(): Promise<void> {
  const mesh = await startMesh({ nodes: 3, groups: GROUPS, dataDir, extraFlags: { "consensus-node": ["--log-level", "warn"], "conflict-arbiter": ["--log-level", "warn"] } });
  try {
    await leaderOf(mesh, 1);
    const end = await register(mesh);
    const mix = new OperationMix(SERVER_ID);
    if (wants("unary")) {
      await unaryLoad(await targetsOf(mesh, GROUPS), mix, 64, 2);
      for (const inFlight of [1, 64, 256]) results.push(await record(mesh, async () => unaryLoad(await targetsOf(mesh, GROUPS), mix, inFlight, options.seconds)));
    }
    if (wants("stream")) {
      await streamLoad(await targetsOf(mesh, GROUPS), mix, 4_096, 256, 2);
      for (const [window, batch] of [[1_024, 64], [4_096, 256]] as const) results.push(await record(mesh, async () => streamLoad(await targetsOf(mesh, GROUPS), mix, window, batch, options.seconds)));
    }
    if (wants("transfers")) results.push(...await measureTransfers(async () => targetsOf(mesh, GROUPS), SERVER_ID, options.seconds, (result) => say(line(result))));
    memoryMiB = memory(mesh);
    say(`memory, MiB: ${Object.entries(memoryMiB).map(([name, mib]) => `${name} ${mib}`).join(", ")}`);
    if (wants("etcd")) {
      const { rounds, seconds } = options;
      comparisons = await measureBesideEtcd({ rounds, seconds, mix, targets: async () => targetsOf(mesh, GROUPS), say });
      for (const each of comparisons) say(comparisonLine(each));
    }
    if (wants("kills") && options.kills > 0) {
      outages = await leaderKills(mesh, options.kills);
      say(`kill -9 of the leader, ${outages.length} times: median ${percentile(outages, 50).toFixed(0)} ms, worst ${percentile(outages, 100).toFixed(0)} ms to the next commit`);
    }
    if (wants("handoff")) {
      const { handoffMs, gapMs } = await measureHandoffs(mesh, options.handoffs);
      authority = { ...authority, handoffMs, gapMs };
      say(`${handoffMs.length} handoffs of a region: ${spread(handoffMs)}; of that without an owner who writes: ${spread(gapMs)}`);
    }
    if (wants("failover") && options.kills > 0) {
      authority = { ...authority, failoverMs: await measureFailovers(mesh, options.kills, say) };
      say(`kill -9 of a region's owner, lease 3 s: ${spread(authority.failoverMs)} to the backup's first operation`);
    }
    end();
  } finally {
    await mesh.stop();
  }
}

async function record(mesh: Mesh, load: () => Promise<LoadResult>): Promise<LoadResult> {
  const before = processorOf(mesh);
  const result = await load();
  const after = processorOf(mesh);
  say(line(result));
  const each = Object.keys(after).map((name) => `${name} ${((((after[name] ?? 0) - (before[name] ?? 0)) * 1_000) / result.operations).toFixed(1)}`);
  say(`  processor, µs an operation: ${each.join(", ")}`);
  return result;
}

/** The same load on any number of groups, after a moment to warm up. */
async function measureOperations(mesh: Mesh, groups: number): Promise<LoadResult[]> {
  const end = await register(mesh);
  const mix = new OperationMix(SERVER_ID);
  await streamLoad(await targetsOf(mesh, groups), mix, 4_096, 256, 2);
  const unary = await record(mesh, async () => unaryLoad(await targetsOf(mesh, groups), mix, 256, options.seconds));
  const streamed = await record(mesh, async () => streamLoad(await targetsOf(mesh, groups), mix, 4_096, 256, options.seconds));
  end();
  return [unary, streamed];
}

function adminOf(node: Mesh["nodes"][number]): ClusterAdminServiceClient {
  return new ClusterAdminServiceClient(node.clientAddress, credentials.createInsecure(), clientOptions({ ownConnection: true }));
}

if (options.json) process.stdout.write(`${JSON.stringify({ results, outagesMs: outages, memoryMiB, authority, arbitration, groups: groupsResults, detection, publish, convergence, subscribers, players, overload, besideEtcd: comparisons }, undefined, 2)}\n`);
process.exit();

/** Ascending milliseconds in a line. */
function spread(sorted: readonly number[]): string {
  return `p50 ${percentile(sorted, 50).toFixed(1)} ms, p99 ${percentile(sorted, 99).toFixed(1)} ms, worst ${percentile(sorted, 100).toFixed(1)} ms`;
}

function percentile(sorted: readonly number[], at: number): number {
  return sorted[Math.min(sorted.length - 1, Math.ceil((sorted.length * at) / 100) - 1)] ?? 0;
}
