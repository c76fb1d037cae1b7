import { type AcquireRequest, MeshError, RegionAuthority, type RegisterRequest, type RenewRequest } from "@statemesh/contract";
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

  it("are over when the directory says that another server holds the region", async () => {
    const client = await clientOf({
      acquire: lease(1_500),
      renew: () => ({
        renewed: [],
        lost: [RegionAuthority.fromPartial({ region, regionText: "region_3_0_-1", owner: { serverId: 9, name: "nine", address: "", priority: 0, incarnation: 1 }, epoch: 6, leaseRemainingMs: 100 })],
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
});
