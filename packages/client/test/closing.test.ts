import { type EventualUpdate, type ExecuteStreamRequest, MeshError, type Operation, type PublishRequest, PublishResponse, type RegisterRequest } from "@statemesh/contract";
import { afterEach, describe, expect, it } from "vitest";
import { connect, creaturePositions, type MeshClient } from "../src/index.ts";
import { accepted, type Answers, FakeNode, until } from "./fake-node.ts";

const region = { x: 0, y: 0, z: 0 };
const place = { region, epoch: 1 };
const positions = creaturePositions<number>();
const closing: (() => void)[] = [];

async function clientOf(answers: Answers): Promise<MeshClient> {
  const node = await FakeNode.start(answers);
  const client = connect({ endpoints: [node.address], storeEndpoints: [node.address], serverId: 7, name: "seven", backoffMinMs: 1, backoffMaxMs: 5 });
  closing.push(() => client.close(), () => node.kill());
  return client;
}

function claim(client: MeshClient): Operation {
  return client.operations.resourceClaim(place, { resourceId: "vein", playerId: "ann" });
}

async function never(): Promise<never> {
  return await new Promise(() => undefined);
}

afterEach(() => {
  for (const close of closing.splice(0)) close();
});

describe("a client that is shut down", () => {
  it("sends what publishers have, waits for what is undecided, releases its leases, ends its registration and closes, in this order", async () => {
    const log: string[] = [];
    const client = await clientOf({
      unary: {
        register: (request: RegisterRequest) => ({ server: { ...request, priority: 0 }, ttlMs: 10_000 }),
        acquire: () => ({ lease: { region, serverId: 7, epoch: 5, durationMs: 60_000 } }),
        release: () => (log.push("release"), { released: true }),
        unregister: () => (log.push("unregister"), {}),
        publish: ({ updates }: PublishRequest) => (log.push(`publish ${updates.length}`), PublishResponse.fromPartial({ updates: updates.length })),
      },
      executeStream: (call) => call.on("data", ({ operations }: ExecuteStreamRequest) => void setTimeout(() => {
        log.push("decided");
        call.write({ results: operations.map(({ operationId }) => ({ operationId, result: { $case: "decision", value: accepted(operationId) } })) });
      }, 50)),
    });
    await client.authority.register();
    const lease = await client.authority.acquire(region);
    client.publisher({ intervalMs: 60_000 }).set(positions.write(region, "wolf", 1));
    const decision = client.stream().execute(claim(client));
    await Promise.all([client.shutdown(), client.shutdown()]);
    expect((await decision).rule).toBe("uncontested");
    expect([log, lease.held]).toEqual([["publish 1", "decided", "release", "unregister"], false]);
  });

  it("is closed by its deadline, and says what was not done", async () => {
    const client = await clientOf({ executeStream: (call) => void call.on("data", () => undefined) });
    const outcome = client.stream().execute(claim(client)).catch(MeshError.from);
    // On its way before the end begins.
    await new Promise((resolve) => setImmediate(resolve));
    const startedMs = performance.now();
    await expect(client.shutdown({ deadlineMs: 100 })).rejects.toMatchObject({ reason: "DEADLINE_EXCEEDED", message: expect.stringContaining("within 100 ms") as string });
    expect(performance.now() - startedMs).toBeLessThan(2_000);
    expect(await outcome).toMatchObject({ reason: "OUTCOME_UNKNOWN" });
    await expect(client.status()).rejects.toMatchObject({ reason: "CANCELLED", message: "the client is closed" });
  });

  it("is shut down by `await using`", async () => {
    const log: string[] = [];
    const node = await FakeNode.start({ unary: { publish: ({ updates }: PublishRequest) => (log.push(...updates.map(({ key }: EventualUpdate) => key)), PublishResponse.fromPartial({})) } });
    closing.push(() => node.kill());
    {
      await using client = connect({ endpoints: [node.address], serverId: 7, name: "seven" });
      client.publisher({ intervalMs: 60_000 }).set(positions.write(region, "wolf", 1));
    }
    expect(log).toEqual(["wolf"]);
  });
});

describe("a client that is closed", () => {
  it("ends calls under way at once: writes are open, reads are cancelled", async () => {
    let asked = 0;
    const hangs = async (): Promise<never> => ((asked += 1), never());
    const client = await clientOf({ slow: { execute: hangs, read: hangs } });
    const ends = [client.execute(claim(client)), client.read({ region })].map(async (call) => call.catch(MeshError.from));
    await until(() => asked === 2);
    const closedMs = performance.now();
    client.close();
    expect(await Promise.all(ends)).toMatchObject([{ reason: "OUTCOME_UNKNOWN" }, { reason: "CANCELLED", message: "the client was closed" }]);
    expect(performance.now() - closedMs).toBeLessThan(1_000);
  });

  it("ends a wait for the next attempt at once", async () => {
    let asked = 0;
    const client = await clientOf({ unary: { read: () => {
      asked += 1;
      throw new MeshError("OVERLOADED", "wait", { retryDelayMs: 5_000 });
    } } });
    const read = client.read({ region }).catch(MeshError.from);
    await until(() => asked > 0);
    await new Promise((resolve) => setTimeout(resolve, 20));
    const closedMs = performance.now();
    client.close();
    expect(await read).toMatchObject({ reason: "CANCELLED" });
    expect(performance.now() - closedMs).toBeLessThan(1_000);
  });

  it("ends the iterations of subscriptions and watches", async () => {
    let open = 0;
    const stays = (call: { on(event: "cancelled", told: () => void): void }): void => {
      open += 1;
      call.on("cancelled", () => (open -= 1));
    };
    const client = await clientOf({ watch: stays, subscribe: stays, watchView: stays, watchTentative: stays });
    const iterations = [client.subscribe({ regions: [region] }), client.watch(), client.watchView(), client.healing.watch()].map(async (stream) => {
      for await (const _message of stream as AsyncIterable<unknown>);
      return "ended";
    });
    await until(() => open === 4);
    client.close();
    expect(await Promise.all(iterations)).toEqual(["ended", "ended", "ended", "ended"]);
    await until(() => open === 0);
  });

  it("says so whatever of it is used", async () => {
    const client = await clientOf({});
    const stream = client.stream();
    const publisher = client.publisher();
    const subscription = client.subscribe({ regions: [region] });
    client.close();
    client.close();
    const uses: (() => unknown)[] = [
      () => client.execute(claim(client)), () => client.read({ region }), () => client.publish({ updates: [] }), () => client.transact([claim(client)]), () => client.status(),
      () => client.ownerOf(region), () => client.route({ $case: "region", value: region }), () => client.session().read({ region }), () => client.store.load(region),
      () => client.authority.register(), () => client.authority.acquire(region), () => client.stream(), () => client.publisher(), () => client.healing.reports(),
      () => client.follow({} as never), () => stream.execute(claim(client)), () => stream.submit(claim(client), () => undefined), () => publisher.set(positions.write(region, "wolf", 1)),
      () => subscription[Symbol.asyncIterator]().next(), () => client.subscribe({ regions: [region] })[Symbol.asyncIterator]().next(), () => client.healing.watch().next(),
    ];
    for (const use of uses) {
      const said = await Promise.resolve().then(use).then(() => "nothing", MeshError.from);
      expect([use.toString(), said]).toMatchObject([use.toString(), { reason: "CANCELLED", message: expect.stringContaining("closed") as string }]);
    }
  });
});

describe("a caller that gives up", () => {
  it("of an operation on a stream hears that it may be done, or where it was not sent that it is not", async () => {
    const client = await clientOf({ executeStream: (call) => void call.on("data", () => undefined) });
    const stream = client.stream({ window: 1 });
    const first = new AbortController();
    const sent = stream.execute(claim(client), { signal: first.signal }).catch(MeshError.from);
    const second = new AbortController();
    const waiting = stream.execute(claim(client), { signal: second.signal }).catch(MeshError.from);
    await until(() => stream.counts.connections === 1);
    second.abort();
    expect(await waiting).toMatchObject({ reason: "CANCELLED" });
    await expect(stream.drain(undefined, { signal: AbortSignal.timeout(10) })).rejects.toMatchObject({ reason: "CANCELLED" });
    first.abort();
    expect(await sent).toMatchObject({ reason: "OUTCOME_UNKNOWN" });
    await expect(stream.execute(claim(client), { signal: AbortSignal.abort() })).rejects.toMatchObject({ reason: "CANCELLED" });
    expect(stream.undecided).toBe(0);
  });

  it("of an iteration ends it, and the server is told; so it is by `break`", async () => {
    let open = 0;
    const client = await clientOf({ subscribe: (call) => {
      open += 1;
      call.on("cancelled", () => (open -= 1));
      call.write({ resumeToken: "r", event: undefined } as never);
    } });
    const giveUp = new AbortController();
    for await (const _message of client.subscribe({ regions: [region], signal: giveUp.signal })) {
      expect(open).toBe(1);
      giveUp.abort();
    }
    await until(() => open === 0);
    for await (const _message of client.subscribe({ regions: [region] })) {
      expect(open).toBe(1);
      break;
    }
    await until(() => open === 0);
    {
      using subscription = client.subscribe({ regions: [region] });
      void subscription[Symbol.asyncIterator]().next();
      await until(() => open === 1);
    }
    await until(() => open === 0);
  });
});
