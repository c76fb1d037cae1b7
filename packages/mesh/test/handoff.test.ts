import { HandoffPhase, type Region } from "@statemesh/contract";
import { describe, expect, it } from "vitest";
import { mint } from "./operations.ts";
import { VirtualCluster, isDecision } from "./virtual-cluster.ts";

const LEASE_MS = 3_000;

/** Servers 1 and 2, of which 1 owns `region`; both are renewed as long as `alive` holds them. */
function world(seed: number) {
  const cluster = new VirtualCluster({ seed });
  cluster.settle();
  cluster.runUntil(() => cluster.node(1).membership.version >= 3);
  const region = cluster.regionIn(1);
  const alive = new Set([1, 2]);
  const up = (): number => cluster.members.find((id) => cluster.isUp(id)) ?? 0;
  for (const serverId of alive) {
    cluster.directory(up(), { $case: "register", value: { server: { serverId, name: `s${serverId}`, address: "", priority: 0, incarnation: 1, maxRegions: 100 }, ttlMs: 10_000 } });
  }
  cluster.directory(up(), { $case: "acquire", value: { serverId: 1, region, durationMs: LEASE_MS } });
  cluster.runUntil(() => cluster.node(1).group(1).state.fence(region)?.ownerServerId === 1);
  const renew = (): void => {
    for (const serverId of alive) {
      const node = cluster.members.filter((id) => cluster.isUp(id)).map((id) => cluster.node(id)).find((each) => each.group(0).serves);
      const row = node?.directory.directory.lease(region);
      const leases = row?.serverId === serverId ? [{ region, epoch: row.epoch, players: 0 }] : [];
      node?.relay.command(0, { command: { $case: "directory", value: { command: { $case: "renew", value: { serverId, leases, durationMs: LEASE_MS, ttlMs: 10_000, load: undefined } }, nowMs: 0 } }, format: 0 }, cluster.nowMs + 1_000, () => undefined);
      node?.dirty();
    }
    cluster.at(300, renew);
  };
  renew();
  return { cluster, region, alive, up };
}

const prepare = (cluster: VirtualCluster, nodeId: number, region: Region) =>
  cluster.directory(nodeId, { $case: "prepare", value: { handoff: { handoffId: "h", region, fromServerId: 1, toServerId: 2, epoch: 1, phase: HandoffPhase.UNSPECIFIED, reason: "", timeoutMs: 60_000 } } });
const ready = (cluster: VirtualCluster, nodeId: number) => cluster.directory(nodeId, { $case: "ready", value: { handoffId: "h", serverId: 2 } });
const commit = (cluster: VirtualCluster, nodeId: number) => cluster.directory(nodeId, { $case: "finish", value: { handoffId: "h", serverId: 1, commit: true, reason: "" } });
const write = (cluster: VirtualCluster, id: string, serverId: number, region: Region, authorityEpoch: number) =>
  cluster.execute(cluster.members.find((each) => cluster.isUp(each)) ?? 0, [{ ...mint(id, serverId, region, "ada", "ore", 1), authorityEpoch }]).get(id);

describe("a region's handoff through the log", () => {
  it("changes who may write, once: the old owner's operations before it stand, those after it are fenced", () => {
    const { cluster, region } = world(1);
    prepare(cluster, 1, region);
    ready(cluster, 2);
    expect(isDecision(write(cluster, "before", 1, region, 1))).toBe(true);
    expect(write(cluster, "early", 2, region, 2)).toMatchObject({ reason: "FENCED" });
    commit(cluster, 3);
    expect(cluster.runUntil(() => cluster.node(1).group(1).state.fence(region)?.ownerServerId === 2)).toBe(true);
    cluster.run(500);
    expect(write(cluster, "late", 1, region, 1)).toMatchObject({ reason: "FENCED", metadata: new Map([["region", "region_0_0_0"], ["current_epoch", "2"], ["owner_server_id", "2"]]) });
    expect(isDecision(write(cluster, "after", 2, region, 2))).toBe(true);
    cluster.converge();
  });

  it.each(["prepared", "accepted", "committed"])("is what it was where the directory's leader dies after it was %s", (step) => {
    for (let seed = 1; seed <= 3; seed++) {
      const { cluster, region, up } = world(seed);
      prepare(cluster, 1, region);
      if (step !== "prepared") ready(cluster, 1);
      if (step === "committed") commit(cluster, 1);
      const leader = cluster.leaderOf(0);
      cluster.kill(leader);
      cluster.settle();
      if (step === "prepared") ready(cluster, up());
      expect(commit(cluster, up()).handoff?.phase, `seed ${seed}`).toBe(HandoffPhase.COMMITTED);
      expect(cluster.runUntil(() => cluster.node(up()).group(1).state.fence(region)?.ownerServerId === 2), `seed ${seed}`).toBe(true);
      expect(cluster.runUntil(() => cluster.node(up()).directory.directory.lease(region)?.epoch === 2), `seed ${seed}`).toBe(true);
      expect(cluster.node(up()).directory.directory.lease(region)).toMatchObject({ serverId: 2, epoch: 2 });
      cluster.start(leader);
      cluster.converge();
    }
  });

  it("ends by its time where nobody goes on with it, also under a new leader, and the owner still owns", () => {
    const { cluster, region, up } = world(2);
    cluster.directory(1, { $case: "prepare", value: { handoff: { handoffId: "short", region, fromServerId: 1, toServerId: 2, epoch: 1, phase: HandoffPhase.UNSPECIFIED, reason: "", timeoutMs: 2_000 } } });
    const leader = cluster.leaderOf(0);
    cluster.kill(leader);
    cluster.settle();
    expect(cluster.runUntil(() => cluster.node(up()).directory.directory.tables.handoffs.size === 0)).toBe(true);
    expect(cluster.node(up()).directory.directory.tables.handoffs.get("short")).toMatchObject({ phase: HandoffPhase.ABORTED, reason: "DEADLINE" });
    expect(cluster.node(up()).directory.directory.lease(region)).toMatchObject({ serverId: 1, epoch: 1 });
    cluster.start(leader);
    cluster.converge();
  });
});

describe("the directory's memory", () => {
  it("outlives a restart of all nodes: handoffs and backups stand as they were, and epochs only grow", () => {
    for (let seed = 1; seed <= 3; seed++) {
      const { cluster, region, up } = world(seed);
      expect(cluster.runUntil(() => cluster.node(1).directory.directory.lease(region)?.backups.length === 1)).toBe(true);
      prepare(cluster, 1, region);
      ready(cluster, 1);
      cluster.converge();
      for (const id of cluster.members) cluster.kill(id);
      for (const id of cluster.members) cluster.start(id);
      cluster.settle();
      const { directory } = cluster.node(up()).directory;
      expect(directory.lease(region)).toMatchObject({ epoch: 1, serverId: 1, backups: [2] });
      expect(directory.tables.handoffs.ofRegion(region)?.phase).toBe(HandoffPhase.ACCEPTED);
      commit(cluster, up());
      cluster.directory(up(), { $case: "release", value: { serverId: 2, region, epoch: 2 } });
      for (const id of cluster.members) cluster.kill(id);
      for (const id of cluster.members) cluster.start(id);
      cluster.settle();
      expect(cluster.directory(up(), { $case: "acquire", value: { serverId: 1, region, durationMs: LEASE_MS } }).lease?.epoch, `seed ${seed}`).toBe(3);
      cluster.converge();
    }
  });
});

describe("a region whose owner dies", () => {
  it("goes to its backup by itself within five seconds, and the dead owner's writes are fenced", () => {
    for (let seed = 1; seed <= 3; seed++) {
      const { cluster, region, alive } = world(seed);
      const directory = cluster.node(1).directory.directory;
      expect(cluster.runUntil(() => directory.lease(region)?.backups[0] === 2), "a backup is chosen").toBe(true);
      alive.delete(1);
      const diedMs = cluster.nowMs;
      expect(cluster.runUntil(() => cluster.node(1).group(1).state.fence(region)?.ownerServerId === 2)).toBe(true);
      expect(cluster.nowMs - diedMs, `seed ${seed}`).toBeLessThan(5_000);
      expect(cluster.nowMs - diedMs, `seed ${seed}: a lease that runs is not taken`).toBeGreaterThan(LEASE_MS - 400);
      expect(write(cluster, "late", 1, region, 1)).toMatchObject({ reason: "FENCED" });
      expect(isDecision(write(cluster, "new", 2, region, 2))).toBe(true);
      cluster.converge();
    }
  });

  it("goes to nobody where the backup is as silent as the owner", () => {
    const { cluster, region, alive } = world(4);
    cluster.run(1_500);
    alive.clear();
    expect(cluster.runUntil(() => cluster.node(1).directory.directory.lease(region)?.serverId !== 1)).toBe(true);
    expect(cluster.node(1).directory.directory.lease(region)).toMatchObject({ serverId: 0, epoch: 1 });
  });
});
