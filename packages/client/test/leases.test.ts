import { type AcquireRequest, MeshError, type RegisterRequest, type ReleaseRequest, type RenewRequest } from "@statemesh/contract";
import { afterEach, describe, expect, it } from "vitest";
import { connect, type LossReason, type MeshClient } from "../src/index.ts";
import { FakeNode, until } from "./fake-node.ts";

const region = { x: 3, y: 0, z: -1 };
const closing: (() => void)[] = [];

async function clientOf(unary: Record<string, (request: never) => unknown>): Promise<MeshClient> {
  const node = await FakeNode.start({
    unary: { register: (request: RegisterRequest) => ({ server: { ...request, priority: 0 }, ttlMs: 10_000 }), ...unary },
  });
  const client = connect({ endpoints: [node.address], serverId: 7, name: "seven", backoffMinMs: 1, backoffMaxMs: 5 });
  closing.push(() => client.close(), () => node.kill());
  return client;
}

function lease(durationMs: number): (request: AcquireRequest) => unknown {
  return ({ serverId }) => ({ lease: { region, serverId, epoch: 5, durationMs } });
}

afterEach(() => {
  for (const close of closing.splice(0)) close();
});

describe("leases", () => {
  it("are renewed as long as the directory answers", async () => {
    let renewals = 0;
    const client = await clientOf({
      acquire: lease(1_500),
      renew: ({ leases, serverId }: RenewRequest) => {
        renewals += 1;
        return { renewed: leases.map((each) => ({ ...each, serverId, durationMs: 60_000 })), lost: [], assigned: [], handoffs: [] };
      },
    });
    await client.authority.register();
    const held = await client.authority.acquire(region);
    expect(held).toMatchObject({ epoch: 5, held: true });
    const endMs = performance.now() + 1_500;
    await until(() => renewals >= 3 && performance.now() > endMs);
    expect(held.held).toBe(true);
    expect(client.authority.leaseOf(region)).toBe(held);
  });

  it("are renewed whatever the game counts as players", async () => {
    const told: number[] = [];
    const client = await clientOf({
      acquire: lease(3_000),
      renew: ({ leases, serverId }: RenewRequest) => {
        told.push(...leases.map(({ players }) => players));
        return { renewed: leases.map((each) => ({ ...each, serverId, durationMs: 3_000 })), lost: [], assigned: [], handoffs: [] };
      },
    });
    const held = await client.authority.acquire(region);
    for (const [at, count] of [-1, Number.NaN, 2.5, 1e9, Number.POSITIVE_INFINITY].entries()) {
      held.players = count;
      const before = told.length;
      await until(() => told.length > before + 1);
      expect([count, told.at(-1), held.held]).toEqual([count, [0, 0, 2, 1_000_000, 1_000_000][at], true]);
    }
  });

  it("count from before the call was sent", async () => {
    const client = await clientOf({
      // The answer is slow by more than the lease is long: it is no right to anything.
      acquire: (request: AcquireRequest) => {
        const end = performance.now() + 80;
        while (performance.now() < end);
        return lease(60)(request);
      },
    });
    await expect(client.authority.acquire(region)).rejects.toMatchObject({ reason: "OUTCOME_UNKNOWN" });
  });

  it("are given up by a release that waits for an acquire under way, and the other way round", async () => {
    const calls: string[] = [];
    const answers: (() => void)[] = [];
    const node = await FakeNode.start({
      unary: { release: ({ epoch }: ReleaseRequest) => (calls.push(`release ${epoch}`), { released: true }) },
      slow: {
        acquire: async (request: AcquireRequest) => {
          calls.push("acquire");
          await new Promise<void>((resolve) => answers.push(resolve));
          return lease(60_000)(request);
        },
      },
    });
    const client = connect({ endpoints: [node.address], serverId: 7, name: "seven" });
    closing.push(() => client.close(), () => node.kill());
    const first = client.authority.acquire(region);
    await until(() => answers.length === 1);
    answers[0]?.();
    const held = await first;
    const again = client.authority.acquire(region);
    await until(() => answers.length === 2);
    const released = client.authority.release(held);
    expect(held.held).toBe(false);
    expect(calls).toEqual(["acquire", "acquire"]);
    answers[1]?.();
    await expect(released).resolves.toBe(true);
    // It is the same lease, under the same epoch: the later word counts.
    expect((await again).held).toBe(false);
    expect(client.authority.leases).toEqual([]);
    expect(calls).toEqual(["acquire", "acquire", "release 5"]);
    expect(client.authority.knows(region, 5)).toBe(true);
    expect(client.authority.knows(region, 6)).toBe(false);
  });

  it("are not got by an answer that comes after the caller's time", async () => {
    let answers = 0;
    const node = await FakeNode.start({
      slow: {
        acquire: async (request: AcquireRequest) => {
          await new Promise((resolve) => setTimeout(resolve, 1_500));
          answers++;
          return lease(60_000)(request);
        },
      },
    });
    const client = connect({ endpoints: [node.address], serverId: 7, name: "seven" });
    closing.push(() => client.close(), () => node.kill());
    await expect(client.authority.acquire(region, { deadlineMs: 1_000 })).rejects.toMatchObject({ reason: "OUTCOME_UNKNOWN" });
    await until(() => answers > 0);
    expect(client.authority.leases).toEqual([]);
    expect(client.authority.leaseOf(region)).toBeUndefined();
  });

  it("are renewed with what the server says of its load and its players", async () => {
    const said: RenewRequest[] = [];
    const client = await clientOf({
      acquire: lease(60_000),
      renew: (request: RenewRequest) => {
        said.push(request);
        return { renewed: request.leases.map((each) => ({ ...each, serverId: 7, durationMs: 60_000 })), lost: [], assigned: [], handoffs: [] };
      },
    });
    await client.authority.register();
    client.authority.reportLoad(() => ({ players: 12, tickUs: 9_000, cpuPermille: 300 }));
    (await client.authority.acquire(region)).players = 11;
    await until(() => said.some(({ leases }) => leases.length > 0));
    expect(said.find(({ leases }) => leases.length > 0)).toMatchObject({ load: { players: 12, tickUs: 9_000, cpuPermille: 300 }, leases: [{ epoch: 5, players: 11 }] });
  });

  it("are over when they could not be renewed in time, and the holder is told once", async () => {
    const client = await clientOf({
      acquire: lease(1_000),
      renew: () => {
        throw new MeshError("NO_QUORUM", "no leader");
      },
    });
    const lost: LossReason[] = [];
    client.authority.onLost((_, reason) => lost.push(reason));
    const held = await client.authority.acquire(region);
    await until(() => lost.length > 0);
    expect(lost).toEqual(["expired"]);
    expect(held.held).toBe(false);
    expect(client.authority.leases).toEqual([]);
  });

  it("are over the moment that a stalled event loop goes on, before anything told their holder", async () => {
    const client = await clientOf({ acquire: lease(400), renew: ({ leases, serverId }: RenewRequest) => ({ renewed: leases.map((each) => ({ ...each, serverId, durationMs: 400 })), lost: [], assigned: [], handoffs: [] }) });
    const held = await client.authority.acquire(region);
    const before = held.held;
    // A long frame, a collection of garbage, a debugger: no timer runs, and no answer comes in.
    const endMs = performance.now() + 500;
    while (performance.now() < endMs);
    expect([before, held.held, held.remainingMs]).toEqual([true, false, 0]);
  });

  it("are over when the directory says that another server holds the region", async () => {
    const client = await clientOf({
      acquire: lease(1_500),
      renew: () => ({
        renewed: [],
        lost: [{ region, regionText: "region_3_0_-1", owner: { serverId: 9, name: "nine", address: "", priority: 0, incarnation: 1, maxRegions: 0 }, epoch: 6, leaseRemainingMs: 100, backupServerIds: [] }],
        assigned: [],
        handoffs: [],
      }),
    });
    const owners: (number | undefined)[] = [];
    client.authority.onLost((_, reason, now) => owners.push(reason === "taken" ? now?.owner?.serverId : -1));
    const held = await client.authority.acquire(region);
    await until(() => owners.length > 0);
    expect(owners).toEqual([9]);
    expect(held.held).toBe(false);
  });

  it("are one lease where one region is taken twice at the same epoch, so that its release is seen by both", async () => {
    const client = await clientOf({ acquire: lease(3_000), release: () => ({ released: true }) });
    const [first, second] = await Promise.all([client.authority.acquire(region), client.authority.acquire(region)]);
    await client.authority.release(first);
    expect([first.held, second.held, client.authority.leaseOf(region)]).toEqual([false, false, undefined]);
  });

  it("are over at once when they are released, before the directory answers", async () => {
    let releasedEpoch = 0;
    const client = await clientOf({
      acquire: lease(3_000),
      release: ({ epoch }: { epoch: number }) => {
        releasedEpoch = epoch;
        return { released: true };
      },
    });
    const held = await client.authority.acquire(region);
    const released = client.authority.release(held);
    expect(held.held).toBe(false);
    await expect(released).resolves.toBe(true);
    expect(releasedEpoch).toBe(5);
  });

  it("keep the registration alive, and register again where the directory forgot the server", async () => {
    let registrations = 0;
    let renewals = 0;
    const client = await clientOf({
      register: (request: RegisterRequest) => {
        registrations += 1;
        return { server: { ...request, priority: 0 }, ttlMs: 150 };
      },
      renew: () => {
        renewals += 1;
        if (renewals === 2) throw new MeshError("SERVER_NOT_REGISTERED", "who?");
        return { renewed: [], lost: [], assigned: [], handoffs: [] };
      },
    });
    await client.authority.register();
    await until(() => renewals >= 3);
    expect(registrations).toBe(2);
  });

  it("tell who holds a region that is not free", async () => {
    const client = await clientOf({
      acquire: () => {
        throw new MeshError("LEASE_HELD", "held", { metadata: { owner_server_id: "9" } });
      },
    });
    await expect(client.authority.acquire(region)).rejects.toMatchObject({ reason: "LEASE_HELD", metadata: { owner_server_id: "9" } });
  });

  it("wait for an earlier start of their server to end, and not for another server that has its name", async () => {
    let refusals = 3;
    let isSameId = true;
    const client = await clientOf({
      register: (request: RegisterRequest) => {
        if (refusals-- > 0) throw new MeshError("SERVER_ALREADY_REGISTERED", "alive", { metadata: { ttl_ms: "10000", same_id: String(isSameId) } });
        return { server: { ...request, priority: 0 }, ttlMs: 10_000 };
      },
    });
    await expect(client.authority.register()).resolves.toMatchObject({ serverId: 7 });
    refusals = 1;
    isSameId = false;
    await expect(client.authority.register()).rejects.toMatchObject({ reason: "SERVER_ALREADY_REGISTERED" });
    refusals = Number.MAX_SAFE_INTEGER;
    isSameId = true;
    await expect(client.authority.register({ deadlineMs: 300 })).rejects.toMatchObject({ reason: "SERVER_ALREADY_REGISTERED" });
    // Given up between two attempts, or in the middle of one.
    const givenUp = await client.authority.register({ signal: AbortSignal.timeout(50) }).then(() => undefined, MeshError.from);
    expect(["CANCELLED", "OUTCOME_UNKNOWN"]).toContain(givenUp?.reason);
  });

  it("end with the registration, and nothing registers the server again", async () => {
    const calls: string[] = [];
    const client = await clientOf({
      register: (request: RegisterRequest) => (calls.push("register"), { server: { ...request, priority: 0 }, ttlMs: 150 }),
      unregister: ({ serverId }: { serverId: number }) => (calls.push(`unregister ${serverId}`), {}),
      acquire: lease(60_000),
      renew: () => {
        calls.push("renew");
        throw new MeshError("SERVER_NOT_REGISTERED", "who?");
      },
    });
    await client.authority.register();
    const held = await client.authority.acquire(region);
    await client.authority.unregister();
    expect([held.held, client.authority.leases, client.authority.isRegistered]).toEqual([false, [], false]);
    const until3 = performance.now() + 400;
    await until(() => performance.now() > until3);
    expect(calls.slice(calls.indexOf("unregister 7"))).toEqual(["unregister 7"]);
    await client.authority.register();
    expect([client.authority.isRegistered, calls.at(-1)]).toEqual([true, "register"]);
  });
});
