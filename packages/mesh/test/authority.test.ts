import type { Region } from "@statemesh/contract";
import { describe, expect, it } from "vitest";
import { mint } from "./operations.ts";
import { VirtualCluster, isDecision } from "./virtual-cluster.ts";

function ready(seed = 1): VirtualCluster {
  const cluster = new VirtualCluster({ seed });
  cluster.settle();
  cluster.register(1, 2);
  return cluster;
}

/** Takes a lease as the service does: the grant, then the fence in the region's group. */
function acquire(cluster: VirtualCluster, nodeId: number, serverId: number, region: Region) {
  const result = cluster.directory(nodeId, { $case: "acquire", value: { serverId, region, durationMs: 3_000 } });
  const { lease } = result;
  if (lease === undefined) return result;
  let fenced = false;
  cluster.node(nodeId).authority.fences.push({ region, epoch: lease.epoch, serverId }, cluster.nowMs + 10_000, (error) => {
    fenced = error === undefined;
  });
  cluster.node(nodeId).dirty();
  if (!cluster.runUntil(() => fenced)) throw new Error("the fence was not committed");
  return result;
}

const write = (cluster: VirtualCluster, id: string, serverId: number, region: Region, authorityEpoch: number) =>
  cluster.execute(1, [{ ...mint(id, serverId, region, "ada", "ore", 1), authorityEpoch }]).get(id);

describe("authority over a region", () => {
  it("lets only the holder write, under its epoch", () => {
    const cluster = ready();
    const region = cluster.regionIn(1);
    expect(isDecision(write(cluster, "free", 2, region, 0))).toBe(true);
    expect(acquire(cluster, 2, 1, region).lease?.epoch).toBe(1);
    expect(isDecision(write(cluster, "own", 1, region, 1))).toBe(true);
    expect(write(cluster, "zero", 2, region, 0)).toMatchObject({ reason: "FENCED" });
    expect(write(cluster, "forged", 2, region, 1)).toMatchObject({ reason: "FENCED" });
    expect(write(cluster, "ahead", 1, region, 2)).toMatchObject({ reason: "FENCED" });
  });

  it("ends without renewal, and the next owner fences the last", () => {
    const cluster = ready();
    const region = cluster.regionIn(1);
    acquire(cluster, 1, 1, region);
    expect(acquire(cluster, 3, 2, region).reason).toBe("LEASE_HELD");
    cluster.run(4_000);
    expect(isDecision(write(cluster, "after", 2, region, 0))).toBe(true);
    expect(acquire(cluster, 3, 2, region).lease?.epoch).toBe(2);
    expect(write(cluster, "stale", 1, region, 1)).toMatchObject({ reason: "FENCED", metadata: new Map([["region", "region_0_0_0"], ["current_epoch", "2"], ["owner_server_id", "2"]]) });
  });

  it("is not kept by a later start of its server, which asks for the id of a dead one all the time until that runs out", () => {
    const cluster = ready();
    const start = (incarnation: number): string =>
      cluster.directory(1, { $case: "register", value: { server: { serverId: 9, name: "nine", address: "", priority: 0, incarnation, maxRegions: 0 }, ttlMs: 10_000 } }).reason;
    expect(start(1)).toBe("");
    const diedMs = cluster.nowMs;
    while (start(2) !== "" && cluster.nowMs - diedMs < 60_000) cluster.run(250);
    expect(cluster.nowMs - diedMs).toBeGreaterThanOrEqual(10_000);
    expect(cluster.nowMs - diedMs).toBeLessThan(12_000);
  });

  it("keeps epochs and fences across the death of the directory's leader, and never ends a lease early", () => {
    for (let seed = 1; seed <= 5; seed++) {
      const cluster = ready(seed);
      const region = cluster.regionIn(1);
      acquire(cluster, 1, 1, region);
      const leader = cluster.leaderOf(0);
      cluster.kill(leader);
      cluster.settle();
      const survivor = cluster.members.find((id) => cluster.isUp(id)) ?? 0;
      // Whatever is left of it: the new leader lets it run its full length.
      expect(cluster.node(survivor).directory.directory.lease(region), `seed ${seed}`).toMatchObject({ serverId: 1, epoch: 1 });
      cluster.start(leader);
      cluster.run(5_000);
      expect(acquire(cluster, survivor, 2, region).lease?.epoch, `seed ${seed}`).toBe(2);
      cluster.converge();
    }
  });

  it("of a lease that ended is cleared in the region's group, also where the leader died in between", () => {
    for (let seed = 1; seed <= 5; seed++) {
      const cluster = ready(seed);
      const region = cluster.regionIn(1);
      acquire(cluster, 1, 1, region);
      const released = cluster.directory(1, { $case: "release", value: { serverId: 1, region, epoch: 1 } });
      expect(released.released).toBe(true);
      const leader = cluster.leaderOf(0);
      cluster.kill(leader);
      cluster.settle();
      const survivor = cluster.members.find((id) => cluster.isUp(id)) ?? 0;
      const cleared = cluster.runUntil(() => cluster.node(survivor).group(1).state.fence(region)?.ownerServerId === 0);
      expect(cleared, `seed ${seed}`).toBe(true);
    }
  });
});
