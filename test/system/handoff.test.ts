import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { AuthorityDirectoryServiceService, type BalanceResponse, type Entity, HandoffPhase, type Region } from "@statemesh/contract";
import { call } from "@statemesh/service";
import { formatRegion } from "@statemesh/world";
import type { ShardReport } from "../../tools/shard-orders.ts";
import { ShardProcess } from "../../tools/shard-process.ts";
import { type Cluster, startCluster, until } from "./cluster.ts";

const LEASE_MS = 4_000;
/** Long enough for a machine that is busy; then a handoff that nobody goes on with is aborted. */
const HANDOFF_MS = 5_000;
const EVERY_MS = 10;

describe("regions pass from shard to shard, each a process", () => {
  let cluster: Cluster;
  let serverId = 100;
  let regions = 0;
  const shards: ShardProcess[] = [];

  beforeAll(async () => {
    cluster = await startCluster({ groups: 3, extraFlags: { "consensus-node": ["--lease-ms", String(LEASE_MS)] } });
    for (let groupId = 0; groupId <= 3; groupId++) await cluster.leaderOf(groupId);
    await until("handoffs are possible", async () => ((await cluster.statusNow(cluster.node(1)))?.clusterVersion ?? 0) >= 3);
  });

  afterEach(async () => {
    await Promise.all(shards.splice(0).map((shard) => shard.kill()));
  });

  afterAll(async () => cluster.close());

  async function shard(maxRegions = 0): Promise<ShardProcess> {
    const started = await ShardProcess.start({ endpoints: cluster.mesh.endpoints, serverId: ++serverId, maxRegions });
    shards.push(started);
    return started;
  }

  const fresh = (): Region => ({ x: 8 * ++regions, y: 40, z: 0 });
  const builds = async (each: ShardProcess, more: number): Promise<void> => {
    const { accepted } = await each.report();
    await until(`shard ${each.serverId} builds`, async () => (await each.report()).accepted.length >= accepted.length + more);
  };
  /** Of this region alone: a backup also takes over what the dead owners of earlier tests still held. */
  const beginnings = (each: ShardProcess, region: Region) => each.newsOf("begin").filter((news) => formatRegion(news.region) === formatRegion(region));
  const begun = async (each: ShardProcess, region: Region): Promise<number> => {
    await until(`shard ${each.serverId} begins`, () => beginnings(each, region).length > 0);
    return beginnings(each, region)[0]?.epoch ?? 0;
  };

  /** Nobody hears how it ends: whoever asked is killed. */
  function handOverAndDie(from: ShardProcess, region: Region, to: ShardProcess): void {
    from.handOver(region, to.serverId, 60_000).then(
      (phase) => expect(phase, "the owner was killed before it could commit").toBe(HandoffPhase.ABORTED),
      (error: unknown) => expect(String(error)).toContain("hand over"),
    );
  }

  async function structures(region: Region): Promise<Entity[]> {
    const reader = cluster.stranger(99);
    const found: Entity[] = [];
    for (let pageToken = ""; ; ) {
      const page = await reader.read({ region, pageSize: 1_000, pageToken });
      found.push(...page.entities);
      pageToken = page.nextPageToken;
      if (pageToken === "") return found.sort((a, b) => a.version - b.version);
    }
  }

  /** Nothing lost, nothing doubled, and no write of an earlier owner after the next one's first. */
  async function verify(region: Region, reports: readonly ShardReport[]): Promise<void> {
    const built = await structures(region);
    const actions = built.map(({ entityId }) => Number(entityId.slice(2)));
    expect(new Set(actions).size).toBe(actions.length);
    const accepted = reports.flatMap((report) => report.accepted);
    expect(new Set(accepted).size, "nothing is accepted twice").toBe(accepted.length);
    const there = new Set(actions);
    expect(accepted.filter((action) => !there.has(action)), "what was acknowledged is there").toEqual([]);
    const open = new Set([...accepted, ...reports.flatMap((report) => report.unknown)]);
    expect(actions.filter((action) => !open.has(action)), "what was refused is not there").toEqual([]);
    const epochs = built.map(({ epoch }) => epoch);
    expect(epochs, "epochs only grow").toEqual([...epochs].sort((a, b) => a - b));
  }

  test("by plan: the old owner's operations are decided, what comes meanwhile is kept back and done by the new one", async () => {
    const [from, to] = [await shard(), await shard()];
    const region = fresh();
    await from.acquire(region);
    await from.build(region, EVERY_MS);
    await builds(from, 20);
    to.onNews((news) => {
      if (news.news === "begin") void to.build(region, EVERY_MS);
    });
    from.onNews((news) => {
      if (news.news === "handed over") void to.adopt(region, news.held);
    });
    expect(await from.handOver(region, to.serverId)).toBe(HandoffPhase.COMMITTED);
    expect(await begun(to, region)).toBe(2);
    await builds(to, 20);
    await Promise.all([from.rest(), to.rest()]);
    const [first, second] = [await from.report(), await to.report()];
    await verify(region, [first, second]);
    // Every action was taken up once, by one or the other: numbers without a gap.
    const own = (action: number): boolean => Math.floor(action / 10_000) === from.serverId;
    const taken = [first, second].flatMap(({ accepted, unknown }) => [...accepted, ...unknown]).filter(own).sort((a, b) => a - b);
    expect(taken).toEqual(taken.map((_, at) => from.serverId * 10_000 + at));
    expect([first, second].flatMap(({ refused }) => Object.keys(refused))).toEqual([]);
  });

  test("the target dies before it is ready: the owner goes on", async () => {
    const [from, to] = [await shard(), await shard()];
    const region = fresh();
    await from.acquire(region);
    await from.build(region, EVERY_MS);
    await to.stall("load");
    const ended = from.handOver(region, to.serverId, HANDOFF_MS);
    await until("the target loads", () => to.newsOf("stalled").length > 0);
    await to.kill();
    expect(await ended).toBe(HandoffPhase.ABORTED);
    await builds(from, 20);
    await from.rest();
    expect(new Set((await structures(region)).map(({ epoch }) => epoch))).toEqual(new Set([1]));
    await verify(region, [await from.report()]);
  });

  test("the target dies when it is ready: the owner goes on, with what it had kept back", async () => {
    const [from, to] = [await shard(), await shard()];
    const region = fresh();
    await from.acquire(region);
    await from.build(region, EVERY_MS);
    await builds(from, 5);
    await from.stall("drain");
    const ended = from.handOver(region, to.serverId, HANDOFF_MS);
    await until("the owner drains", () => from.newsOf("stalled").length > 0);
    await to.kill();
    expect(await ended).toBe(HandoffPhase.ABORTED);
    await until("the owner goes on", () => from.newsOf("resume").length > 0);
    await builds(from, 20);
    await from.rest();
    const report = await from.report();
    await verify(region, [report]);
    const done = [...report.accepted, ...report.unknown].sort((a, b) => a - b);
    expect(done).toEqual(done.map((_, at) => from.serverId * 10_000 + at));
  });

  test("the owner dies when the target is ready: the target owns the region, whatever backups there are", async () => {
    const [from, to] = [await shard(), await shard()];
    const backup = await shard(10);
    const region = fresh();
    await from.acquire(region);
    await from.build(region, EVERY_MS);
    await builds(from, 5);
    await from.stall("drain");
    handOverAndDie(from, region, to);
    await until("the owner drains", () => from.newsOf("stalled").length > 0);
    const report = await from.report();
    await from.kill();
    expect(await begun(to, region)).toBe(2);
    await to.build(region, EVERY_MS);
    await builds(to, 20);
    await to.rest();
    expect(beginnings(backup, region)).toEqual([]);
    // What the dead one had sent after its report may be there too.
    const late = (await structures(region)).map(({ entityId }) => Number(entityId.slice(2))).filter((action) => Math.floor(action / 10_000) === from.serverId && !report.accepted.includes(action));
    await verify(region, [{ ...report, unknown: [...report.unknown, ...late] }, await to.report()]);
  });

  test("the owner dies before the target is ready: a backup takes over, and the target gets nothing", async () => {
    const [from, to] = [await shard(), await shard()];
    const backup = await shard(10);
    const region = fresh();
    await from.acquire(region);
    await to.stall("load");
    handOverAndDie(from, region, to);
    await until("the target loads", () => to.newsOf("stalled").length > 0);
    await from.kill();
    expect(await begun(backup, region)).toBe(2);
    await backup.build(region, EVERY_MS);
    await builds(backup, 20);
    await backup.rest();
    expect(beginnings(to, region)).toEqual([]);
    await verify(region, [await backup.report()]);
  });

  test("a process that slept through its lease writes nothing under its old epoch once it wakes up", async () => {
    const sleeper = await shard();
    const backup = await shard(10);
    const region = fresh();
    await sleeper.acquire(region);
    await sleeper.build(region, EVERY_MS);
    await builds(sleeper, 20);
    sleeper.pause();
    expect(await begun(backup, region)).toBe(2);
    await backup.build(region, EVERY_MS);
    await builds(backup, 20);
    sleeper.goOn();
    await until("the sleeper finds its lease gone", () => sleeper.newsOf("lost").length > 0);
    await builds(backup, 20);
    await Promise.all([sleeper.rest(), backup.rest()]);
    expect(sleeper.newsOf("lost")).toMatchObject([{ epoch: 1 }]);
    await verify(region, [await sleeper.report(), await backup.report()]);
  });

  test("regions are given out, evened out and shown by their heat", async () => {
    const shardsOf = await Promise.all([1, 2].map(async () => shard(64)));
    const [one, two] = shardsOf;
    if (one === undefined || two === undefined) throw new Error("no shards");
    const operator = cluster.stranger(98);
    const region = fresh();
    const { authority } = await operator.route({ $case: "region", value: region }, { assign: true });
    const first = [one, two].find(({ serverId: id }) => id === authority?.owner?.serverId);
    if (first === undefined) throw new Error(`given to server ${authority?.owner?.serverId}`);
    expect(await begun(first, region)).toBe(1);

    const loaded = Array.from({ length: 8 }, fresh);
    for (const each of loaded) await one.acquire(each);
    const stubs = cluster.stubs(cluster.node(1).clientAddress).authority;
    const balance = async (dryRun: boolean): Promise<BalanceResponse> => call(stubs, AuthorityDirectoryServiceService.balance, { dryRun, movesMax: 0 }, { timeoutMs: 20_000, writes: !dryRun });
    await until("node 1 knows of the regions", async () => ((await balance(true)).servers.find(({ server }) => server?.serverId === one.serverId)?.regions ?? 0) >= 8);
    const planned = await balance(true);
    const towards = planned.moves.filter(({ toServerId }) => toServerId === two.serverId);
    expect(towards.length).toBeGreaterThan(1);
    expect(planned.moves.every(({ handoffId }) => handoffId === "")).toBe(true);
    const applied = await balance(false);
    const moved = applied.moves.find(({ toServerId, handoffId }) => toServerId === two.serverId && handoffId !== "");
    if (moved?.region === undefined) throw new Error("nothing was moved");
    expect(await begun(two, moved.region)).toBeGreaterThan(1);

    await two.build(moved.region, 1);
    await builds(two, 100);
    const hot = await call(stubs, AuthorityDirectoryServiceService.listHotRegions, { limit: 5 }, { timeoutMs: 20_000, writes: false });
    const text = formatRegion(moved.region);
    expect(hot.regions.find(({ authority: of }) => of?.regionText === text)?.operationsPerSecond).toBeGreaterThan(0);
  });
});
