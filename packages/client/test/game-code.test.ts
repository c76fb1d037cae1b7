import { type AcquireRequest, type ExecuteStreamRequest, MeshError, PublishResponse, type RegisterRequest, type RenewRequest } from "@statemesh/contract";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type ClientOptions, connect, creaturePositions, type LossReason, type MeshClient, type RegionHandlers } from "../src/index.ts";
import { accepted, type Answers, FakeNode, until } from "./fake-node.ts";

const region = { x: 3, y: 0, z: -1 };
const closing: (() => void)[] = [];
/** What `onError` was told: which callback, and what it threw. */
let told: string[] = [];
/** Errors that nobody handled: they would end a game. */
let unhandled: unknown[] = [];
const noteUnhandled = (error: unknown): number => unhandled.push(error);

beforeEach(() => {
  leaseMs = 1_500;
  told = [];
  unhandled = [];
  process.on("unhandledRejection", noteUnhandled);
});

afterEach(async () => {
  for (const close of closing.splice(0)) close();
  await new Promise((resolve) => setImmediate(resolve));
  process.off("unhandledRejection", noteUnhandled);
  expect(unhandled).toEqual([]);
});

/** Length of leases, ms: long where they have to be renewed, also on a machine that is busy; short where they have to end. */
let leaseMs = 1_500;
const lease = { region, regionText: "region_3_0_-1", serverId: 7, epoch: 5 };
const renewing = {
  register: (request: RegisterRequest) => ({ server: { ...request, priority: 0 }, ttlMs: 10_000 }),
  acquire: ({ serverId }: AcquireRequest) => ({ lease: { region, serverId, epoch: 5, durationMs: leaseMs } }),
  release: () => ({ released: true }),
  renew: ({ leases, serverId }: RenewRequest) => ({ renewed: leases.map((each) => ({ ...each, serverId, durationMs: leaseMs })), lost: [], assigned: [], handoffs: [] }),
};

async function clientOf(answers: Answers, options: Partial<ClientOptions> = {}): Promise<MeshClient> {
  const node = await FakeNode.start(answers);
  const onError = (error: unknown, callback: string): number => told.push(`${callback}: ${error instanceof Error ? error.message : String(error)}`);
  const client = connect({ endpoints: [node.address], serverId: 7, name: "seven", backoffMinMs: 1, backoffMaxMs: 5, heartbeatMs: 50, onError, ...options });
  closing.push(() => client.close(), () => node.kill());
  return client;
}

function fails(text: string): never {
  throw new Error(text);
}

/** As a game writes it in JavaScript: nobody awaits what comes of it. */
async function failsLater(text: string): Promise<never> {
  await Promise.resolve();
  throw new Error(text);
}

describe("a callback of the game that throws", () => {
  it("stops no renewal, and the others are told all the same", async () => {
    let renewals = 0;
    const client = await clientOf({ unary: { ...renewing, renew: (request: RenewRequest) => ((renewals += 1), renewing.renew(request)) } });
    await client.authority.register();
    const held = await client.authority.acquire(region);
    let heard = 0;
    client.authority.onRenewed(() => fails("renewed"));
    client.authority.onRenewed(() => heard++);
    await until(() => heard > 8 && renewals > 8);
    expect(held.held).toBe(true);
    expect(new Set(told)).toEqual(new Set(["authority.onRenewed: renewed"]));
  });

  it("stops no renewal where it says how busy the server is, or says nonsense", async () => {
    const loads: unknown[] = [];
    const client = await clientOf({ unary: { ...renewing, renew: (request: RenewRequest) => (loads.push(request.load), renewing.renew(request)) } });
    await client.authority.register();
    const held = await client.authority.acquire(region);
    const says = async (read: () => unknown, expected: unknown): Promise<void> => {
      client.authority.reportLoad(read as never);
      const before = loads.length;
      // One may be on its way.
      await until(() => loads.length > before + 2);
      expect([loads.at(-1), held.held]).toEqual([expected, true]);
    };
    await says(() => fails("load"), undefined);
    await says(async () => failsLater("async load"), undefined);
    await says(() => ({ players: Number.NaN, tickUs: -5, cpuPermille: 1e9 }), { players: 0, tickUs: 0, cpuPermille: 1_000 });
    await says(() => ({ players: 3.7, tickUs: 9_000, cpuPermille: 300 }), { players: 3, tickUs: 9_000, cpuPermille: 300 });
    expect(new Set(told)).toEqual(new Set(["authority.reportLoad: load", "authority.reportLoad: async load", "authority.reportLoad: load: must be the numbers players, tickUs and cpuPermille, and no promise"]));
  });

  it("keeps no other from hearing that a lease is lost, and renewals of other leases go on", async () => {
    leaseMs = 600;
    let refuses = false;
    const client = await clientOf({ unary: { ...renewing, renew: (request: RenewRequest) => {
      if (refuses) throw new MeshError("NO_QUORUM", "no leader");
      return renewing.renew(request);
    } } });
    const lost: LossReason[] = [];
    client.authority.onLost(() => fails("lost"));
    client.authority.onLost((async () => failsLater("lost later")) as never);
    client.authority.onLost((_lease, reason, _now, cause) => lost.push(reason) && expect(cause?.reason).toBe("NO_QUORUM"));
    await client.authority.acquire(region);
    refuses = true;
    await until(() => lost.length > 0);
    expect([lost, told]).toEqual([["expired"], ["authority.onLost: lost", "authority.onLost: lost later"]]);
    refuses = false;
    const again = await client.authority.acquire(region);
    const endMs = performance.now() + 2 * leaseMs;
    await until(() => performance.now() > endMs);
    expect(again.held).toBe(true);
  });

  it("stops no stream of operations", async () => {
    const client = await clientOf({ executeStream: (call) => call.on("data", ({ operations }: ExecuteStreamRequest) => call.write({ results: operations.map(({ operationId }) => ({ operationId, result: { $case: "decision", value: accepted(operationId) } })) })) });
    const stream = client.stream();
    for (let at = 0; at < 3; at++) stream.submit(client.operations.resourceClaim(lease, { resourceId: `vein-${at}`, playerId: "ann" }), () => fails(`done ${at}`));
    await stream.drain();
    expect(told).toEqual([0, 1, 2].map((at) => `stream.submit's done: done ${at}`));
    expect(stream.counts).toMatchObject({ decided: 3, failed: 0 });
  });

  it("stops no publisher", async () => {
    let calls = 0;
    const client = await clientOf({ unary: { publish: () => {
      if (++calls === 1) throw new MeshError("UNKNOWN_TYPE", "no such type");
      return PublishResponse.fromPartial({ updates: 1 });
    } } });
    const publisher = client.publisher({ intervalMs: 5, refused: () => fails("refused") });
    const positions = creaturePositions<number>();
    publisher.set(positions.write(region, "wolf", 1));
    await until(() => told.length > 0);
    publisher.set(positions.write(region, "bear", 1));
    await until(() => publisher.counts.sent === 1);
    expect(told).toEqual(["publisher's refused: refused"]);
  });

  it("ends no following of the directory, and a region that could not be begun is given back", async () => {
    const released: number[] = [];
    const server = { serverId: 7, name: "seven", address: "", priority: 0, incarnation: 1, maxRegions: 0 };
    const authority = { region, regionText: "region_3_0_-1", owner: server, epoch: 5, leaseRemainingMs: 100, backupServerIds: [] };
    const client = await clientOf({
      unary: {
        ...renewing,
        renew: (request: RenewRequest) => ({ ...renewing.renew(request), assigned: [authority] }),
        release: ({ epoch }: { epoch: number }) => (released.push(epoch), { released: true }),
      },
      watch: () => undefined,
    });
    await client.authority.register();
    const handlers: RegionHandlers<string> = {
      load: async () => Promise.resolve(), begin: (async () => failsLater("begin")) as never, drain: async () => Promise.resolve(),
      handedOver: () => fails("handed over"), resume: () => fails("resume"), failed: (_region, error) => fails(`failed, ${error.message}`),
    };
    const follower = client.follow(handlers);
    await until(() => told.length > 0);
    expect(told[0]).toBe("follow's failed: failed, the game's handler failed: begin");
    expect(released).toContain(5);
    follower.close();
    await follower.ended;
  });

  it("is written to stderr where the client has no onError, or where that throws too", async () => {
    const written: string[] = [];
    const write = process.stderr.write;
    process.stderr.write = ((text: string) => written.push(text) > 0) as never;
    closing.push(() => (process.stderr.write = write));
    for (const onError of [undefined, () => fails("the handler too")]) {
      const options = onError === undefined ? {} : { onError };
      const node = await FakeNode.start({ unary: renewing });
      const client = connect({ endpoints: [node.address], serverId: 7, name: "seven", heartbeatMs: 50, ...options });
      closing.push(() => client.close(), () => node.kill());
      client.authority.onRenewed(() => fails("renewed"));
      await client.authority.register();
      await client.authority.acquire(region);
      const before = written.length;
      await until(() => written.length > before + 1);
    }
    expect(written[0]).toContain("statemesh: authority.onRenewed of the game threw (give connect() an onError to handle this): Error: renewed");
    expect(written.some((text) => text.startsWith("statemesh: onError of the game threw") && text.includes("the handler too"))).toBe(true);
  });
});

describe("the end of a lease", () => {
  it("is told at its time, though the renewal of it hangs", async () => {
    leaseMs = 300;
    let hangs = false;
    const client = await clientOf({ slow: { renew: async (request: RenewRequest) => (hangs ? new Promise(() => undefined) : Promise.resolve(renewing.renew(request))) }, unary: renewing });
    let lostMs = 0;
    client.authority.onLost(() => (lostMs = performance.now()));
    const held = await client.authority.acquire(region);
    hangs = true;
    await until(() => !held.held);
    const overMs = performance.now();
    await until(() => lostMs > 0);
    // Far below what an attempt to renew may take.
    expect(lostMs - overMs).toBeLessThan(150);
  });

  it("is final where the process was held up beyond it, though the directory has renewed it meanwhile", async () => {
    leaseMs = 600;
    const client = await clientOf({ unary: renewing });
    const held = await client.authority.acquire(region);
    const lost: LossReason[] = [];
    client.authority.onLost((_lease, reason) => lost.push(reason));
    let renewed = 0;
    client.authority.onRenewed(() => {
      if (++renewed !== 1) return;
      // As a long garbage collection does, with a renewal and its answer on their way.
      const endMs = performance.now() + leaseMs + 50;
      while (performance.now() < endMs);
    });
    await until(() => renewed > 0);
    expect(held.held).toBe(false);
    await until(() => lost.length > 0);
    expect([lost, held.held, client.authority.leaseOf(region)]).toEqual([["expired"], false, undefined]);
  });

  it("does not come by one node that says nothing: another one is asked in time", async () => {
    const silent = await FakeNode.start({ unary: renewing, slow: { renew: async () => new Promise(() => undefined) } });
    const answering = await FakeNode.start({ unary: renewing });
    const client = connect({ endpoints: [silent.address, answering.address], serverId: 7, name: "seven", heartbeatMs: 50 });
    closing.push(() => client.close(), () => silent.kill(), () => answering.kill());
    const held = await client.authority.acquire(region);
    const endMs = performance.now() + 2 * leaseMs;
    await until(() => performance.now() > endMs);
    expect(held.held).toBe(true);
  });
});
