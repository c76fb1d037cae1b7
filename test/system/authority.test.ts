import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { MeshClient } from "@statemesh/client";
import { type AcquireResponse, AuthorityDirectoryServiceService, type Decision, MeshError, Outcome, type Region, type RegisterResponse, type RenewResponse, type RouteRequest, type RouteResponse } from "@statemesh/contract";
import { call } from "@statemesh/service";
import { formatRegion } from "@statemesh/world";
import { type Cluster, LIMIT_MS, startCluster, until } from "./cluster.ts";

const LEASE_MS = 1_500;

describe("the authority directory", () => {
  let cluster: Cluster;

  beforeAll(async () => {
    cluster = await startCluster({ groups: 3, extraFlags: { "consensus-node": ["--lease-ms", String(LEASE_MS), "--registration-ttl-ms", "600000"] } });
    for (let groupId = 0; groupId <= 3; groupId++) await cluster.leaderOf(groupId);
    for (const id of [1, 2, 3]) await register(id, `shard-${id}`, 1);
  });

  afterAll(async () => cluster.close());

  const at = (node: number) => cluster.stubs(cluster.node(node).clientAddress).authority;
  const limits = { timeoutMs: 20_000, writes: true };

  async function register(serverId: number, name: string, incarnation: number, node = 1): Promise<RegisterResponse> {
    return await call(at(node), AuthorityDirectoryServiceService.register, { serverId, name, address: "play.example:7000", incarnation, maxRegions: 0 }, limits);
  }

  async function acquire(serverId: number, region: Region, node = 1): Promise<AcquireResponse> {
    return await call(at(node), AuthorityDirectoryServiceService.acquire, { serverId, region }, limits);
  }

  async function epochOf(answer: Promise<AcquireResponse>): Promise<number> {
    return (await answer).lease?.epoch ?? 0;
  }

  async function renew(serverId: number, region: Region, epoch: number, node = 1): Promise<RenewResponse> {
    return await call(at(node), AuthorityDirectoryServiceService.renew, { serverId, leases: [{ region, epoch, players: 0 }], load: undefined }, limits);
  }

  async function route(place: RouteRequest["place"], node = 1): Promise<RouteResponse> {
    return await call(at(node), AuthorityDirectoryServiceService.route, { place, assign: false }, { timeoutMs: 20_000, writes: false });
  }

  /** A client that keeps nothing alive by itself. */
  const quiet = (serverId: number): MeshClient => cluster.stranger(serverId);

  const reasonOf = async (promise: Promise<unknown>): Promise<string> => await promise.then(() => "nothing", (error: unknown) => MeshError.from(error).reason);

  /** Takes the lease as soon as the directory gives it. */
  async function acquireWhenFree(serverId: number, region: Region, node = 1): Promise<number> {
    let epoch = 0;
    await until(`${formatRegion(region)} is free`, async () => {
      try {
        epoch = await epochOf(acquire(serverId, region, node));
      } catch (error) {
        const { reason } = MeshError.from(error);
        if (reason !== "LEASE_HELD" && reason !== "NO_QUORUM" && reason !== "MINORITY_PARTITION" && reason !== "OUTCOME_UNKNOWN" && reason !== "NOT_LEADER") throw error;
      }
      return epoch > 0;
    });
    return epoch;
  }

  /**
   * Runs what is true only while a lease runs. `check` takes its lease itself; where this machine was so busy that the
   * lease may have run out meanwhile, a failure proves nothing, and all of it runs again.
   */
  async function whileLeaseRuns(check: () => Promise<void>): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      const beganMs = performance.now();
      try {
        return await check();
      } catch (error) {
        if (performance.now() - beganMs < LEASE_MS || attempt === 10) throw error;
      }
    }
  }

  test("a live server's name and id are its own; the same start may register again", async () => {
    expect((await register(20, "harbour", 5)).server).toMatchObject({ serverId: 20, name: "harbour", incarnation: 5, address: "play.example:7000" });
    expect((await register(20, "harbour", 5, 2)).ttlMs).toBe(600_000);
    expect(await reasonOf(register(21, "harbour", 6, 2))).toBe("SERVER_ALREADY_REGISTERED");
    expect(await reasonOf(register(20, "harbour", 6, 3))).toBe("SERVER_ALREADY_REGISTERED");
    expect(await reasonOf(register(20, "another", 6))).toBe("SERVER_ALREADY_REGISTERED");
    expect((await register(21, "lighthouse", 6)).server?.serverId).toBe(21);
  });

  test("a registration that is ended frees its id, its name and its regions at once; the word of another start ends nothing", async () => {
    const region = { x: 7, y: 3, z: 7 };
    const unregister = async (incarnation: number, node: number): Promise<unknown> => call(at(node), AuthorityDirectoryServiceService.unregister, { serverId: 90, incarnation }, limits);
    await register(90, "short", 1);
    const epoch = await acquireWhenFree(90, region);
    await unregister(2, 2);
    expect(await reasonOf(register(90, "short", 2))).toBe("SERVER_ALREADY_REGISTERED");
    await unregister(1, 2);
    await unregister(1, 3);
    await register(90, "short", 2, 3);
    await register(91, "other", 1);
    expect(await epochOf(acquire(91, region, 2))).toBeGreaterThan(epoch);
    expect((await renew(90, region, epoch)).renewed).toEqual([]);
    await unregister(2, 1);
    expect(await reasonOf(renew(90, region, epoch))).toBe("SERVER_NOT_REGISTERED");
  });

  test("a region is routed by position, coordinates and text, to one owner on every node", async () => {
    const region = { x: -3, y: 0, z: 17 };
    const places: RouteRequest["place"][] = [
      { $case: "region", value: region },
      { $case: "regionText", value: "region_-3_0_17" },
      { $case: "position", value: { x: -4_001, y: 50, z: 35_999 } },
    ];
    for (const node of [1, 2, 3]) {
      for (const place of places) {
        await whileLeaseRuns(async () => {
          const epoch = await acquireWhenFree(1, region, 2);
          await until(`node ${node} knows the owner`, async () => (await route(place, node)).authority?.epoch === epoch, () => "", LEASE_MS);
          const { authority, groupId, leaderNodeId, leaderAddress, overlapping } = await route(place, node);
          expect(authority).toMatchObject({ region, regionText: "region_-3_0_17", epoch, owner: { serverId: 1 } });
          expect(authority?.leaseRemainingMs).toBeGreaterThanOrEqual(0);
          expect(groupId).toBeGreaterThan(0);
          expect(cluster.node(leaderNodeId).clientAddress).toBe(leaderAddress);
          const neighbours = overlapping.map(({ regionText }) => regionText).sort();
          // 1 m below the border on x, 50 m above that on y, 1 m below that on z: seven neighbours' zones hold it.
          expect(neighbours.length).toBe(place?.$case === "position" ? 7 : 0);
          if (place?.$case === "position") expect(neighbours).toContain("region_-2_-1_18");
        });
      }
    }
  });

  test("a lease is held until it is not renewed; epochs only grow, and the old holder is fenced wherever it asks", async () => {
    const region = { x: 100, y: 0, z: 0 };
    let again = 0;
    await whileLeaseRuns(async () => {
      const first = await acquireWhenFree(1, region);
      const held: unknown = await acquire(2, region).catch((error: unknown) => error);
      expect(held).toMatchObject({ reason: "LEASE_HELD", metadata: { owner_server_id: "1", current_epoch: String(first), region: "region_100_0_0" } });
      expect(MeshError.from(held).retryDelayMs).toBeGreaterThan(0);
      // Asking again for what it holds gives the holder no new epoch to be confused by, or a greater one.
      again = await epochOf(acquire(1, region));
      expect(again).toBeGreaterThanOrEqual(first);
    });

    // Renewed over and over, it outlives its duration. Two renewals that lie a lease apart are this machine's fault: begin again.
    let renewedMs = Number.NEGATIVE_INFINITY;
    let untilMs = 0;
    while (performance.now() < untilMs || untilMs === 0) {
      const beganMs = performance.now();
      const { renewed } = await renew(1, region, again);
      if (renewed.length === 0 && performance.now() - renewedMs > LEASE_MS) {
        again = await acquireWhenFree(1, region);
        untilMs = 0;
      } else expect(renewed.map(({ epoch }) => epoch)).toEqual([again]);
      renewedMs = beganMs;
      if (untilMs === 0) untilMs = performance.now() + 2 * LEASE_MS;
    }
    const late = await reasonOf(acquire(2, region));
    if (performance.now() - renewedMs < LEASE_MS) expect(late).toBe("LEASE_HELD");

    // Left alone, it ends, and the next owner's epoch is greater.
    const second = await acquireWhenFree(2, region);
    expect(second).toBeGreaterThan(again);
    await whileLeaseRuns(async () => {
      const current = await acquireWhenFree(2, region);
      const lost = await renew(1, region, again);
      expect(lost.renewed).toEqual([]);
      expect(lost.lost).toMatchObject([{ epoch: current, owner: { serverId: 2 } }]);
    });
    const stale = quiet(1);
    for (const node of cluster.nodes) {
      const only = cluster.only(stale, node);
      await whileLeaseRuns(async () => {
        const current = await acquireWhenFree(2, region);
        for (const epoch of [again, 0, current, current + 1]) {
          const operation = stale.operations.mint({ region, epoch }, { playerId: "p", itemKind: "gold", quantity: 1 });
          const refused: unknown = await only.execute(operation).catch((error: unknown) => error);
          expect(refused, `epoch ${epoch} on node ${node.nodeId}`).toMatchObject({ reason: "FENCED", metadata: { current_epoch: String(current), owner_server_id: "2" } });
        }
      });
    }
  });

  test("a holder that slept through its lease is refused, also what it had decided before it slept", async () => {
    const region = { x: 110, y: 0, z: 0 };
    const sleeper = quiet(1);
    let inHand = sleeper.operations.mint({ region, epoch: 0 }, { playerId: "p", itemKind: "gold", quantity: 1 });
    let before = inHand;
    let decided: Decision | undefined;
    await whileLeaseRuns(async () => {
      const epoch = await acquireWhenFree(1, region);
      before = sleeper.operations.mint({ region, epoch }, { playerId: "p", itemKind: "gold", quantity: 1 });
      inHand = sleeper.operations.mint({ region, epoch }, { playerId: "p", itemKind: "gold", quantity: 1 });
      decided = await sleeper.execute(before);
      expect(decided.outcome).toBe(Outcome.ACCEPTED);
    });
    await acquireWhenFree(3, region);
    expect(await reasonOf(sleeper.execute(inHand))).toBe("FENCED");
    // What was decided in time stays decided.
    expect(await sleeper.execute(before)).toEqual({ ...decided, repeated: true });
    const owner = quiet(3);
    await whileLeaseRuns(async () => {
      const epoch = await acquireWhenFree(3, region);
      const { outcome } = await owner.execute(owner.operations.mint({ region, epoch }, { playerId: "p", itemKind: "gold", quantity: 1 }));
      expect(outcome).toBe(Outcome.ACCEPTED);
    });
  });

  test("a lease that is given up is free at once, and gives its old holder nothing", async () => {
    const region = { x: 120, y: 0, z: 0 };
    let last = 0;
    for (const serverId of [1, 2, 3, 1, 2, 3]) {
      let epoch = 0;
      await whileLeaseRuns(async () => {
        epoch = await epochOf(acquire(serverId, region, (serverId % 3) + 1));
        expect(epoch).toBeGreaterThan(last);
        last = epoch;
        const { released } = await call(at(serverId), AuthorityDirectoryServiceService.release, { serverId, region, epoch }, limits);
        expect(released).toBe(true);
      });
      expect((await call(at(1), AuthorityDirectoryServiceService.release, { serverId, region, epoch }, limits)).released).toBe(false);
      const past = quiet(serverId);
      expect(await reasonOf(past.execute(past.operations.mint({ region, epoch }, { playerId: "p", itemKind: "gold", quantity: 1 })))).toBe("FENCED");
    }
  });

  test("nobody else can release or renew a lease", async () => {
    const region = { x: 130, y: 0, z: 0 };
    await whileLeaseRuns(async () => {
      const epoch = await acquireWhenFree(1, region);
      expect((await call(at(2), AuthorityDirectoryServiceService.release, { serverId: 2, region, epoch }, limits)).released).toBe(false);
      expect((await renew(2, region, epoch)).renewed).toEqual([]);
      expect(await reasonOf(acquire(2, region))).toBe("LEASE_HELD");
    });
  });

  test("across kill -9 of the directory's leader one server holds a region at a time, with epochs that grow", async () => {
    const region = { x: 140, y: 0, z: 0 };
    let last = 0;
    for (let round = 0; round < 2; round++) {
      const leader = await cluster.leaderOf(0);
      const epoch = await acquireWhenFree(1, region, leader.nodeId);
      expect(epoch).toBeGreaterThan(last);
      await leader.kill();
      const others = cluster.nodes.filter((node) => node.running);
      // Two servers through two nodes: one gets it, once the lease that the dead leader gave has run out.
      const [one, two] = await Promise.all(others.map(async (node, index) => await acquireOnce(index + 2, region, node.nodeId)));
      const grants = [one, two].filter((each) => each !== undefined);
      expect(new Set(grants).size).toBe(grants.length);
      for (const each of grants) expect(each).toBeGreaterThan(epoch);
      last = Math.max(epoch, ...grants);
      await leader.start();
      await cluster.settled();
      const authority = (await route({ $case: "region", value: region })).authority;
      expect(authority?.epoch).toBe(last);
    }
  });

  /** Asks until the region is given, or another's lease is seen that began after the kill. */
  async function acquireOnce(serverId: number, region: Region, node: number): Promise<number | undefined> {
    let epoch: number | undefined;
    let another = false;
    await until("an answer", async () => {
      try {
        epoch = await epochOf(acquire(serverId, region, node));
      } catch (error) {
        const { reason, metadata } = MeshError.from(error);
        another = reason === "LEASE_HELD" && metadata["owner_server_id"] !== "1";
      }
      return epoch !== undefined || another;
    }, () => "", LIMIT_MS);
    return epoch;
  }
});
