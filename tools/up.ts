// ./dev up: a mesh of real processes with a demo world on it.
import { accessSync, constants, readFileSync } from "node:fs";
import { delimiter, join, relative, resolve } from "node:path";
import { credentials } from "@grpc/grpc-js";
import { connect } from "@statemesh/client";
import { type CacheTierStatistics, ConflictArbiterServiceClient, type GetStatisticsResponse, MeshError } from "@statemesh/contract";
import { Command } from "commander";
import {
  checkCache, checkCausal, checkConservation, checkContests, checkDecided, checkDigests, checkEventual, checkLedger, checkOwners, checkStructures, CheckFailed,
  type DemoCheck, runChecks,
} from "./demo-checks.ts";
import { Measure } from "./demo-measure.ts";
import { reportLines } from "./demo-report.ts";
import { type DemoResult, playDemo, stopDemo } from "./demo-run.ts";
import { checkCaughtUp, checkSqlConservation } from "./demo-sql.ts";
import { DemoStore } from "./demo-store.ts";
import { KeepRunning } from "./keep-running.ts";
import { type LocalPostgres, startPostgres } from "./local-postgres.ts";
import { type LocalRedis, startRedis } from "./local-redis.ts";
import { type Mesh, startMesh } from "./mesh-processes.ts";
import { numberIn, wholeIn } from "./number-option.ts";
import { ProgressLine } from "./progress-line.ts";
import { lockFolder, type RunLock } from "./run-lock.ts";
import { ROOT } from "./step.ts";
import { callLines } from "./up-calls.ts";
import { UpData } from "./up-data.ts";
import { parseWorld, type World } from "./world-file.ts";
import { YamlFileError } from "./yaml-problems.ts";

interface Options {
  readonly once: boolean;
  readonly world: string;
  readonly seconds?: number;
  readonly dataDir: string;
  readonly nodes: number;
  readonly groups: number;
  readonly demo: boolean;
  readonly redis: boolean;
  readonly policyFile?: string;
}

const options = new Command("./dev up")
  .description("Starts PostgreSQL, Redis (where redis-server is installed), a region store, an arbiter and consensus nodes, plays a demo world and reports.\nThen it keeps serving until Ctrl-C. What ends by itself is started again.")
  .option("--once", "end after the report; status 0 only if every check holds", false)
  .option("--world <file>", "world file to play (docs/world-file.md)", join(ROOT, "worlds/demo.yaml"))
  .option("--seconds <number>", "how long the demo plays, 1..3600; left out: what the world file says", numberIn(1, 3_600))
  .option("--data-dir <folder>", "where everything is kept between runs", join(ROOT, ".data/up"))
  .option("--nodes <number>", "consensus nodes, 1..9", wholeIn(1, 9), 3)
  .option("--groups <number>", "Raft groups that hold regions, 1..64", wholeIn(1, 64), 4)
  .option("--policy-file <file>", "policy table of nodes and arbiter (docs/policy.md); left out: the built-in one")
  .option("--no-demo", "only serve")
  .option("--no-redis", "leave Redis out")
  .parse()
  .opts<Options>();

/** Everything that runs, in the order in which it was started. */
class Running {
  lock: RunLock | undefined;
  postgres: LocalPostgres | undefined;
  redis: LocalRedis | undefined;
  mesh: Mesh | undefined;

  async stop(): Promise<void> {
    await keeper.settled();
    await this.mesh?.stop();
    await this.redis?.stop();
    await this.postgres?.stop();
    await this.lock?.release();
  }

  /** At once: what is acknowledged is on disk already. */
  async kill(): Promise<void> {
    await this.mesh?.kill();
    this.redis?.kill();
    this.postgres?.kill();
  }
}

const progress = new ProgressLine();
const stop = new AbortController();
const keeper = new KeepRunning((text) => progress.line(text), stop.signal);
const running = new Running();
const startedMs = performance.now();
let signals = 0;

function onSignal(signal: string, code: number): void {
  signals += 1;
  if (signals === 1) {
    progress.line(`${signal}: stopping; once more to force`);
    stop.abort();
    return;
  }
  void running.kill().finally(() => process.exit(code));
}
process.on("SIGINT", () => onSignal("Ctrl-C", 130));
process.on("SIGTERM", () => onSignal("SIGTERM", 143));
process.on("SIGHUP", () => onSignal("SIGHUP", 129));

try {
  process.exitCode = await main();
} catch (error) {
  progress.line(error instanceof YamlFileError ? error.message : `./dev up: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = error instanceof YamlFileError ? 2 : 1;
} finally {
  stop.abort();
  await running.stop();
}

async function main(): Promise<number> {
  const world = readWorld(options.world);
  const dataDir = resolve(options.dataDir);
  running.lock = await lockFolder(dataDir);
  const data = UpData.open(dataDir, options.nodes, options.groups);
  await startServices(dataDir, data);
  if (stop.signal.aborted) return 130;
  const { mesh, postgres } = running;
  if (mesh === undefined || postgres === undefined) throw new Error("nothing runs");
  progress.line(`mesh of ${mesh.nodes.length} nodes after ${((performance.now() - startedMs) / 1_000).toFixed(1)} s; logs in ${relative(process.cwd(), join(dataDir, "logs")) || "."}`);
  for (const each of mesh.processes) progress.line(`  ${each.spec.name.padEnd(12)} gRPC ${each.address}  metrics http://${each.metricsAddress}/metrics`);
  progress.line(`  ${"postgres".padEnd(12)} ${postgres.url}`);
  if (running.redis !== undefined) progress.line(`  ${"redis".padEnd(12)} ${running.redis.url}`);

  const ok = !options.demo || (await demonstrate(world, data, mesh, postgres));
  if (stop.signal.aborted) return 130;
  if (options.once) return ok ? 0 : 1;
  progress.line("");
  const near = world.paths[0]?.points[0] ?? { x: 0, y: 0, z: 0 };
  for (const line of callLines(mesh.nodes[0]?.clientAddress ?? "", mesh.arbiter?.address, mesh.regionStore?.address, near)) progress.line(line);
  progress.line("");
  progress.line("Serving. Ctrl-C stops everything.");
  await untilStopped();
  return 0;
}

function readWorld(file: string): World {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    throw new Error(`--world ${file}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
  return parseWorld(text, relative(process.cwd(), file) || file);
}

/** Keeps the process alive until a signal comes. */
async function untilStopped(): Promise<void> {
  if (stop.signal.aborted) return;
  await new Promise<void>((done) => {
    const timer = setInterval(() => undefined, 60_000);
    stop.signal.addEventListener("abort", () => {
      clearInterval(timer);
      done();
    });
  });
}

function isInstalled(programs: readonly string[]): boolean {
  const places = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/bin", "/usr/local/bin"].filter((place) => place !== "");
  return places.some((place) => programs.some((program) => {
    try {
      accessSync(join(place, program), constants.X_OK);
      return true;
    } catch {
      return false; // Not there or not for us: the answer either way is no.
    }
  }));
}

function policyFlags(file: string): Record<string, string[]> {
  const flags = ["--policy-file", file];
  return { "consensus-node": flags, "conflict-arbiter": flags };
}

async function startServices(dataDir: string, data: UpData): Promise<void> {
  progress.update("starting PostgreSQL");
  await keepPostgres(dataDir, data);
  if (options.redis && isInstalled(["redis-server", "valkey-server"])) {
    progress.update("starting Redis");
    await keepRedis();
  }
  progress.update("starting the mesh");
  running.mesh = await startMesh({
    nodes: options.nodes,
    groups: options.groups,
    dataDir,
    postgres: running.postgres?.url,
    redis: running.redis?.url,
    fixedPorts: true,
    ...(options.policyFile === undefined ? {} : { extraFlags: policyFlags(resolve(options.policyFile)) }),
    onCrash: (process, how) => keeper.ended(process.spec.name, how, async () => await running.mesh?.restart(process)),
    onProgress: (text) => progress.update(text),
  });
  progress.clear();
}

/** Starts PostgreSQL, and starts it again on its port when it ends by itself. */
async function keepPostgres(dataDir: string, data: UpData, port?: number): Promise<void> {
  const started = await startPostgres({ dataDir: join(dataDir, "postgres"), databases: [data.database], ...(port === undefined ? {} : { port }) });
  running.postgres = started;
  started.onCrash((how) => keeper.ended("postgres", how, async () => await keepPostgres(dataDir, data, started.port)));
}

async function keepRedis(port?: number): Promise<void> {
  const started = await startRedis(port === undefined ? {} : { port });
  running.redis = started;
  started.onCrash((how) => keeper.ended("redis", how, async () => await keepRedis(started.port)));
}

async function demonstrate(world: World, data: UpData, mesh: Mesh, postgres: LocalPostgres): Promise<boolean> {
  const measure = new Measure();
  const store = mesh.regionStore === undefined ? undefined : new DemoStore(mesh.regionStore.address, measure);
  const arbiter = mesh.arbiter === undefined ? undefined : new ConflictArbiterServiceClient(mesh.arbiter.address, credentials.createInsecure());
  const reader = connect({ endpoints: mesh.endpoints, serverId: 1, name: "report", attemptTimeoutMs: 10_000, deadlineMs: 30_000 });
  const seconds = options.seconds ?? world.durationSeconds;
  let result: DemoResult | undefined;
  try {
    const cacheBefore = await cacheOf(store);
    const bots = world.paths.reduce((sum, path) => sum + path.bots, 0);
    result = await playDemo({
      world, endpoints: mesh.endpoints, groups: options.groups, seconds, prefix: `r${data.run}-`, measure, store,
      incarnationOf: (shardId) => data.incarnationOf(shardId),
      signal: stop.signal,
      onProgress: (text) => progress.update(text),
      onBeat: (played) => progress.update(
        `${played.toFixed(1).padStart(5)} s of ${seconds}  ${bots} bots  strong ${measure.decided} (${Math.round(measure.decided / Math.max(0.1, played))}/s)` +
          `  merged ${measure.total("merged")}  rejected ${measure.total("rejected")}  eventual ${measure.updatesPublished} sent, ${measure.eventualArrival.count} arrived` +
          `  causal ${measure.eventsPublished}  borders ${measure.bordersCrossed}`,
      ),
    });
    if (result.stopped) return false;
    const played = result;
    await keeper.settled();
    progress.update("checking");
    const arrived = played.followers.reduce((sum, it) => sum + it.values, 0);
    const checks = await checkDemo(played, mesh, postgres, store, reader);
    const status = await reader.status();
    const conservation = await reader.verifyConservation();
    progress.clear();
    const lines = reportLines({
      worldName: world.name, bots, shards: world.shards.length, nodes: mesh.nodes.length, groups: options.groups, seconds: played.secondsPlayed,
      structuresPlaced: played.structuresPlaced, structuresFound: played.structuresFound, measure, arrived,
      questSteps: played.quests.reduce((sum, it) => sum + it.steps, 0),
      arbiter: await statisticsOf(arbiter), arbiterFallbacks: status.arbiterFallbacks,
      cache: cacheBefore === undefined ? undefined : cacheSince(cacheBefore, (await cacheOf(store)) ?? new Map()),
      redis: running.redis !== undefined, conservation, notes: notesOf(played, mesh), checks,
    });
    for (const line of lines) progress.line(line);
    return checks.every((check) => check.ok);
  } finally {
    if (result !== undefined) await stopDemo(result);
    store?.close();
    arbiter?.close();
    reader.close();
  }
}

async function checkDemo(result: DemoResult, mesh: Mesh, postgres: LocalPostgres, store: DemoStore | undefined, reader: ReturnType<typeof connect>): Promise<DemoCheck[]> {
  const endpoints = mesh.endpoints;
  const checks: { name: string; run: () => Promise<string> | string }[] = [
    { name: "every strong operation has its decision", run: () => checkDecided(result) },
    { name: "a contest for one thing has one winner", run: () => checkContests(result) },
    { name: "conflicts appeared and were decided", run: () => checkConflicts(result) },
    { name: "the mesh holds what the shards were told", run: async () => await checkLedger(result, reader) },
    { name: "each region has the owner that it was handed to", run: async () => await checkOwners(result, reader) },
    { name: "no two structures overlap", run: async () => await checkStructures(result, reader) },
    { name: "items are conserved in the replicated state", run: async () => checkConservation(await reader.verifyConservation()) },
    { name: "eventual state converged on all nodes", run: async () => await checkEventual(result, endpoints, keeper.ends) },
    { name: "no effect was seen before its cause", run: () => checkCausal(result) },
    {
      name: "the state is equal on all nodes",
      run: async () => {
        // Renewed leases move the directory's log on: shards end first.
        await stopDemo(result);
        return await checkDigests(endpoints);
      },
    },
  ];
  if (store !== undefined) {
    const leaders = mesh.nodes.map((node) => connect({ endpoints: [node.clientAddress], serverId: 1, name: "check" }));
    checks.push(
      { name: "SQL has caught up with the log", run: async () => await checkCaughtUp(postgres.url, async () => await leaderStatus(leaders)) },
      { name: "items are conserved in SQL's rows", run: async () => await checkSqlConservation(postgres.url, async () => await reader.verifyConservation()) },
      { name: "caches answer what SQL holds", run: async () => await checkCache(result, store, keeper.ends) },
    );
    try {
      return await runChecks(checks);
    } finally {
      for (const each of leaders) each.close();
    }
  }
  return await runChecks(checks);
}

/** The status with each group as its leader sees it. */
async function leaderStatus(nodes: readonly ReturnType<typeof connect>[]): ReturnType<ReturnType<typeof connect>["status"]> {
  const all = await Promise.all(nodes.map(async (node) => await node.status()));
  const [first] = all;
  if (first === undefined) throw new MeshError("INTERNAL", "no node");
  return { ...first, groups: first.groups.map((group) => all.flatMap((each) => each.groups).find((it) => it.groupId === group.groupId && it.role === "leader") ?? group) };
}

function checkConflicts(result: DemoResult): string {
  const { measure } = result.demo;
  const met = measure.total("merged") + [...measure.rejections].reduce((sum, [name, count]) => sum + (name.endsWith(": CONFLICT") ? count : 0), 0);
  if (met === 0 && result.contests.sites > 0) throw new CheckFailed("two shards wanted the same again and again, and no conflict was seen");
  return `${met} operations met another one`;
}

function notesOf(result: DemoResult, mesh: Mesh): string[] {
  const notes = result.demo.shards.flatMap((shard) => shard.lost.slice(0, 3).map((text) => `${shard.name}: ${text}`));
  for (const [type, counts] of result.demo.measure.strong) {
    for (const [reason, count] of counts.refused) notes.push(`${count} of ${type} refused: ${reason}`);
  }
  const lagged = result.followers.reduce((sum, it) => sum + it.lagged, 0);
  if (lagged > 0) notes.push(`subscribers were too slow ${lagged} times and started again with a snapshot`);
  if (result.demo.measure.publishFailures > 0) notes.push(`${result.demo.measure.publishFailures} publish calls failed`);
  if (result.demo.measure.storeFailures > 0) notes.push(`${result.demo.measure.storeFailures} calls to the region store failed`);
  if (keeper.ends > 0) notes.push(`processes ended by themselves ${keeper.ends} times and were started again`);
  const memory = mesh.processes.map((each) => `${each.spec.name} ${((each.residentBytes() ?? 0) / 1_048_576).toFixed(0)}`);
  notes.push(`resident memory, MiB: ${memory.join(", ")}`);
  return notes;
}

async function statisticsOf(arbiter: ConflictArbiterServiceClient | undefined): Promise<GetStatisticsResponse | undefined> {
  if (arbiter === undefined) return undefined;
  return await new Promise((done, failed) => {
    arbiter.getStatistics({}, (error, response) => (error === null ? done(response) : failed(error)));
  });
}

async function cacheOf(store: DemoStore | undefined): Promise<Map<string, CacheTierStatistics> | undefined> {
  if (store === undefined) return undefined;
  return await new Promise((done, failed) => {
    store.client.getCacheStatistics({}, (error, response) => (error === null ? done(response.tiers) : failed(error)));
  });
}

/** Counts since an earlier look; what is held is as it is now. */
function cacheSince(before: ReadonlyMap<string, CacheTierStatistics>, now: ReadonlyMap<string, CacheTierStatistics>): Map<string, CacheTierStatistics> {
  return new Map([...now].map(([tier, it]) => {
    const was = before.get(tier);
    return [tier, { ...it, hits: it.hits - (was?.hits ?? 0), misses: it.misses - (was?.misses ?? 0), errors: it.errors - (was?.errors ?? 0) }];
  }));
}
