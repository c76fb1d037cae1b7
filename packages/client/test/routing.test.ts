import { type ExecuteRequest, Lease, MeshError, ReadLevel, type ReadRequest, ReadResponse, type Region, RenewResponse, type RouteRequest, RouteResponse } from "@statemesh/contract";
import { afterEach, describe, expect, it } from "vitest";
import { type ClientOptions, connect, type LossReason, type MeshClient } from "../src/index.ts";
import { accepted, type Answers, FakeNode, until } from "./fake-node.ts";

const region: Region = { x: 0, y: 0, z: 0 };
const closing: (() => void)[] = [];

async function node(answers: Answers): Promise<FakeNode> {
  const started = await FakeNode.start(answers);
  closing.push(() => started.kill());
  return started;
}

function clientOf(nodes: readonly FakeNode[], options: Partial<ClientOptions> = {}): MeshClient {
  const client = connect({ endpoints: nodes.map((each) => each.address), serverId: 7, name: "seven", backoffMinMs: 1, backoffMaxMs: 5, deadlineMs: 5_000, ...options });
  closing.push(() => client.close());
  return client;
}

function routed(leaderAddress: string, owner?: number): RouteResponse {
  const authority = { region, regionText: "region_0_0_0", ...(owner === undefined ? {} : { owner: { serverId: owner, name: "owner", address: "owner:1" } }), epoch: 4, leaseRemainingMs: 3_000 };
  return RouteResponse.fromPartial({ authority, groupId: 1, leaderNodeId: 2, leaderAddress });
}

const emptyRead = ReadResponse.fromPartial({ epoch: 4, ownerServerId: 7 });

afterEach(() => {
  for (const close of closing.splice(0)) close();
});

describe("routing", () => {
  it("sends operations and reads to the node that leads the region's group, once that is known", async () => {
    const asked: string[] = [];
    const answers = (name: string): Answers => ({
      unary: {
        execute: ({ operation }: ExecuteRequest) => {
          asked.push(name);
          return { decision: accepted(operation?.operationId ?? "") };
        },
        read: () => {
          asked.push(`read ${name}`);
          return emptyRead;
        },
        route: () => routed(leader.address),
      },
    });
    const leader = await node(answers("leader"));
    const client = clientOf([await node(answers("first")), leader]);
    const claim = async (): Promise<unknown> => client.execute(client.operations.resourceClaim({ region, epoch: 1 }, { resourceId: "vein", playerId: "ann" }));
    await claim();
    expect(asked).toEqual(["first"]);
    // Nothing waits for the answer to where the leader is.
    for (let tries = 0; asked.at(-1) !== "leader" && tries < 100; tries++) await claim();
    expect(asked.at(-1)).toBe("leader");
    await client.read({ region });
    expect(asked.at(-1)).toBe("read leader");
    // What any node answers by itself does not go to one of them.
    await client.read({ region, level: ReadLevel.EVENTUAL });
    expect(asked.at(-1)).toBe("read first");
  });

  it("goes back to any node where the leader fails", async () => {
    const asked: string[] = [];
    const first = await node({
      unary: {
        route: () => routed(leader.address),
        execute: ({ operation }: ExecuteRequest) => {
          asked.push("first");
          return { decision: accepted(operation?.operationId ?? "") };
        },
      },
    });
    const leader = await node({
      unary: {
        execute: () => {
          asked.push("leader");
          throw new MeshError("SHUTTING_DOWN", "going down");
        },
      },
    });
    const client = clientOf([first, leader]);
    const claim = async (): Promise<unknown> => client.execute(client.operations.resourceClaim({ region, epoch: 1 }, { resourceId: "vein", playerId: "ann" }));
    for (let tries = 0; !asked.includes("leader") && tries < 100; tries++) await claim();
    expect(asked.slice(-2)).toEqual(["leader", "first"]);
  });

  it("stays at its node where it was told to", async () => {
    let routes = 0;
    const first = await node({
      unary: {
        route: () => {
          routes += 1;
          return routed(second.address);
        },
        read: () => emptyRead,
      },
    });
    const second = await node({});
    const client = clientOf([first, second], { routing: "any", hedgePercent: 0 });
    for (let i = 0; i < 5; i++) await client.read({ region });
    expect(routes).toBe(0);
  });

  it("asks once who owns a region for all that ask, and again when an operation was fenced there", async () => {
    let routes = 0;
    const only = await node({
      unary: {
        route: (_request: RouteRequest) => {
          routes += 1;
          return routed("", 8);
        },
        execute: () => {
          throw new MeshError("FENCED", "stale epoch", { metadata: { current_epoch: "9", owner_server_id: "8" } });
        },
      },
    });
    const client = clientOf([only]);
    const owners = await Promise.all([client.ownerOf(region), client.ownerOf(region), client.ownerOf(region)]);
    expect(owners.map(({ owner }) => owner?.address)).toEqual(["owner:1", "owner:1", "owner:1"]);
    await client.ownerOf(region);
    expect(routes).toBe(1);
    await expect(client.execute(client.operations.resourceClaim({ region, epoch: 1 }, { resourceId: "vein", playerId: "ann" }))).rejects.toMatchObject({ reason: "FENCED" });
    await client.ownerOf(region);
    expect(routes).toBe(2);
  });

  it("calls the fencing callback as soon as an operation hears of a later epoch, and stops holding the lease", async () => {
    let current = "9";
    const only = await node({
      unary: {
        acquire: () => ({ lease: Lease.fromPartial({ region, epoch: 5, durationMs: 60_000, serverId: 7 }) }),
        renew: () => RenewResponse.fromPartial({}),
        execute: () => {
          throw new MeshError("FENCED", "stale epoch", { metadata: { current_epoch: current, owner_server_id: "8" } });
        },
      },
    });
    const client = clientOf([only]);
    const lost: LossReason[] = [];
    client.authority.onLost((_lease, reason) => lost.push(reason));
    const lease = await client.authority.acquire(region);
    const claim = client.operations.resourceClaim(lease, { resourceId: "vein", playerId: "ann" });
    // No owner is no later owner: the next renewal says what became of the lease.
    current = "0";
    await expect(client.execute(claim)).rejects.toMatchObject({ reason: "FENCED" });
    expect([lease.held, lost]).toEqual([true, []]);
    current = "9";
    await expect(client.execute(claim)).rejects.toMatchObject({ reason: "FENCED" });
    expect([lease.held, lost]).toEqual([false, ["fenced"]]);
  });
});

describe("a hedged read", () => {
  it("takes the second node's answer where the first is slow, and cancels the first", async () => {
    const cancelled: string[] = [];
    const stuck = await node({ slow: { read: async () => new Promise(() => undefined) }, cancelled: (method) => cancelled.push(method) });
    const other = await node({ unary: { read: () => ({ ...emptyRead, epoch: 44 }) } });
    const client = clientOf([stuck, other], { routing: "any" });
    expect((await client.read({ region })).epoch).toBe(44);
    await until(() => cancelled.length === 1);
    expect(cancelled).toEqual(["read"]);
    expect(client.hedges).toEqual({ reads: 1, hedged: 1, won: 1 });
  });

  it("waits for the first where the second has trouble of its own, and takes a refusal from either", async () => {
    let answer: (response: unknown) => void = () => undefined;
    const late = new Promise((resolve) => (answer = resolve));
    const slow = await node({ slow: { read: async () => late } });
    const troubled = await node({
      unary: {
        read: ({ accounts }: ReadRequest) => {
          setTimeout(() => answer(emptyRead), 50);
          throw accounts.length > 0 ? MeshError.field("accounts", "must be shorter") : new MeshError("NO_QUORUM", "no leader");
        },
      },
    });
    const client = clientOf([slow, troubled], { routing: "any" });
    expect((await client.read({ region })).epoch).toBe(4);
    const stuck = await node({ slow: { read: async () => new Promise(() => undefined) } });
    const another = clientOf([stuck, troubled], { routing: "any" });
    await expect(another.read({ region, accounts: ["x"] })).rejects.toMatchObject({ reason: "INVALID_FIELD" });
  });

  it("is asked of nobody else once its client is closed", async () => {
    let answer: (response: unknown) => void = () => undefined;
    const late = new Promise((resolve) => (answer = resolve));
    let asked = 0;
    const slow = { slow: { read: async () => ((asked += 1), late) } };
    const client = clientOf([await node(slow), await node(slow)], { routing: "any" });
    const reading = client.read({ region });
    await until(() => asked === 1);
    client.close();
    await expect(reading).rejects.toMatchObject({ reason: "CANCELLED", message: "the client was closed" });
    expect(asked).toBe(1);
    answer(emptyRead);
  });

  it("is asked twice for a few reads of a hundred at most, and never where that is switched off", async () => {
    const slow = { slow: { read: async () => new Promise((resolve) => setTimeout(() => resolve(emptyRead), 130)) } };
    const nodes = [await node(slow), await node(slow)];
    const client = clientOf(nodes, { routing: "any" });
    await Promise.all(Array.from({ length: 200 }, async () => client.read({ region })));
    const { reads, hedged } = client.hedges;
    // Ten are saved up, and each read brings a twentieth.
    expect(reads).toBe(200);
    expect(hedged).toBeGreaterThan(0);
    expect(hedged).toBeLessThanOrEqual(10 + 200 * 0.05);
    const never = clientOf(nodes, { routing: "any", hedgePercent: 0 });
    await Promise.all(Array.from({ length: 20 }, async () => never.read({ region })));
    expect(never.hedges.hedged).toBe(0);
  });

  it("is never a write", async () => {
    let executed = 0;
    const execute = async ({ operation }: ExecuteRequest): Promise<unknown> => {
      executed += 1;
      await new Promise((resolve) => setTimeout(resolve, 300));
      return { decision: accepted(operation?.operationId ?? "") };
    };
    const count = { slow: { execute } };
    const client = clientOf([await node(count), await node(count)], { routing: "any" });
    await client.execute(client.operations.resourceClaim({ region, epoch: 1 }, { resourceId: "vein", playerId: "ann" }));
    expect(executed).toBe(1);
    expect(client.hedges).toEqual({ reads: 0, hedged: 0, won: 0 });
  });
});
