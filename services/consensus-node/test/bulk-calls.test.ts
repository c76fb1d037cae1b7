// Bulk calls on a real server: places until the answer is sent, and slices.
import { ConsistencyServiceClient, ConsistencyServiceService, MeshError, type ReadSnapshotResponse } from "@statemesh/contract";
import { SystemClock, SystemTimers } from "@statemesh/ports";
import { bidiStream, bindService, call, type CallContext, connect, createLogger, serverStream, startServer, unary } from "@statemesh/service";
import { afterEach, describe, expect, it, vi } from "vitest";
import { BulkCalls } from "../src/bulk-calls.ts";

const closing: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

function places(calls: number, waiting: number, waitMaxMs = 10_000): BulkCalls {
  return new BulkCalls({ calls, waiting, waitMaxMs, clock: new SystemClock(), timers: new SystemTimers(), defer: (task) => setImmediate(task) });
}

const NOTHING: ReadSnapshotResponse = { parts: [], positions: [] };

describe("bulk calls", () => {
  it("beyond their places wait, then are refused with a delay; a place is free when a call has ended, however it ended", async () => {
    const bulk = places(1, 1);
    const begun: PromiseWithResolvers<ReadSnapshotResponse>[] = [];
    const refuse = (): never => {
      throw new MeshError("NO_QUORUM", "not here");
    };
    const server = await startServer({
      name: "bulk",
      config: { listenAddress: "127.0.0.1:0", metricsAddress: "127.0.0.1:0", logLevel: "info", maxMessageBytes: 65_536, maxStreamsPerConnection: 64, keepaliveMs: 20_000, drainDelayMs: 0, shutdownLimitMs: 5_000 },
      services: [
        bindService(ConsistencyServiceService, {
          execute: unary(refuse), executeStream: bidiStream(refuse), transact: unary(refuse), publish: unary(refuse), subscribe: serverStream(refuse), subscribeStream: bidiStream(refuse), read: unary(refuse), listContainers: unary(refuse),
          readSnapshot: bulk.unary(async () => {
            const answer = Promise.withResolvers<ReadSnapshotResponse>();
            begun.push(answer);
            return await answer.promise;
          }),
        }),
      ],
      ownsProcess: false,
      log: createLogger({ service: "bulk", level: "info", destination: { write: () => undefined } }),
    });
    const client = connect(ConsistencyServiceClient, server.address, { ownConnection: true });
    closing.push(async () => {
      client.close();
      await server.stop();
    });
    const ask = async (deadlineMs = 20_000): Promise<string> =>
      await call(client, ConsistencyServiceService.readSnapshot, { parts: [] }, { timeoutMs: deadlineMs, writes: false }).then(
        () => "answered",
        (error: unknown) => MeshError.from(error).reason,
      );
    const first = ask();
    await vi.waitFor(() => expect(begun).toHaveLength(1));
    const second = ask(200);
    await vi.waitFor(() => expect(bulk.load.waiting).toBe(1));
    expect(await ask()).toBe("OVERLOADED");
    expect(await second).toBe("DEADLINE_EXCEEDED");
    await vi.waitFor(() => expect(bulk.load).toMatchObject({ busy: 1, waiting: 0, expired: 1 }));
    const third = ask();
    begun[0]?.resolve(NOTHING);
    expect(await first).toBe("answered");
    await vi.waitFor(() => expect(begun).toHaveLength(2));
    begun[1]?.reject(new MeshError("NO_QUORUM", "no leader"));
    expect(await third).toBe("NO_QUORUM");
    // One that is given up on holds its place no longer.
    expect(await ask(200)).toBe("DEADLINE_EXCEEDED");
    await vi.waitFor(() => expect(bulk.load.busy).toBe(0));
    expect(bulk.load).toEqual({ busy: 0, waiting: 0, refused: 1, expired: 1 });
  });

  it("that wait for something between their slices hold no place meanwhile, and the one that answers holds it until the answer is sent", async () => {
    const bulk = places(1, 1);
    const ends: (() => void)[] = [];
    const context = (): CallContext => ({ peer: "a", cancelled: false, remainingMs: Infinity, onEnd: (run: () => void) => void ends.push(run) }) as unknown as CallContext;
    const answers: string[] = [];
    const respond = Object.assign((answer: string) => void answers.push(answer), { fail: (error: unknown) => void answers.push(MeshError.from(error).reason) });
    const first = bulk.slices(context(), respond);
    const looked = Promise.withResolvers<void>();
    first.turn(() => looked.resolve());
    await looked.promise;
    await vi.waitFor(() => expect(bulk.load.busy).toBe(0));
    const second = bulk.slices(context(), respond);
    second.turn(() => second.respond("second"));
    await vi.waitFor(() => expect(answers).toEqual(["second"]));
    expect(bulk.load.busy).toBe(1);
    first.turn(() => first.respond("first"));
    await vi.waitFor(() => expect(bulk.load.waiting).toBe(1));
    for (const end of ends.splice(0)) end();
    await vi.waitFor(() => expect(answers).toEqual(["second", "first"]));
    for (const end of ends.splice(0)) end();
    expect(bulk.load.busy).toBe(0);
  });

  it("whose answers nobody reads give their places back after as long as others wait for one", async () => {
    const bulk = places(2, 2, 50);
    const context = { peer: "a", cancelled: false, remainingMs: Infinity, onEnd: () => undefined } as unknown as CallContext;
    const respond = Object.assign(() => undefined, { fail: () => undefined });
    const sliced = bulk.slices(context, respond);
    sliced.turn(() => sliced.respond(undefined));
    let made: (() => void) | undefined;
    bulk.admit(context, respond, (answer) => (made = () => answer(undefined)));
    await vi.waitFor(() => expect(bulk.load.busy).toBe(1));
    // One at work has its place for as long as it takes.
    expect(made).toBeDefined();
    made?.();
    await vi.waitFor(() => expect(bulk.load.busy).toBe(0));
  });

  it("run a slice each time round the event loop: what else comes is served in between", async () => {
    const bulk = places(8, 8);
    const order: string[] = [];
    const done = Promise.withResolvers<void>();
    for (const name of ["one", "two", "three"]) bulk.turn(() => order.push(name));
    bulk.turn(() => {
      order.push("four");
      bulk.turn(() => done.resolve());
    });
    const other = (): void => {
      order.push("other");
      if (order.filter((each) => each === "other").length < 3) setImmediate(other);
    };
    setImmediate(other);
    await done.promise;
    expect(order).toEqual(["one", "other", "two", "other", "three", "other", "four"]);
  });
});
