import { createServer, type Server } from "node:net";
import { createServer as createHttp } from "node:http";
import type { AddressInfo } from "node:net";
import { Server as GrpcServer, ServerCredentials } from "@grpc/grpc-js";
import { MeshError } from "@statemesh/contract";
import { afterEach, describe, expect, it } from "vitest";
import { connect, type MeshClient } from "../src/index.ts";
import { FakeNode } from "./fake-node.ts";

const region = { x: 0, y: 0, z: 0 };
const closing: (() => void)[] = [];

afterEach(() => {
  for (const close of closing.splice(0)) close();
});

function clientOf(endpoint: string, deadlineMs = 1_500): MeshClient {
  const client = connect({ endpoints: [endpoint], serverId: 7, name: "seven", deadlineMs, backoffMinMs: 1, backoffMaxMs: 20 });
  closing.push(() => client.close());
  return client;
}

async function listening(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closing.push(() => server.close());
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** What a write, an operation on a stream, an event and a read say, all of which were never sent. */
async function errorsAt(endpoint: string, deadlineMs = 1_500): Promise<MeshError[]> {
  const client = clientOf(endpoint, deadlineMs);
  const event = { type: "event_sequence", region, key: "a", payload: new Uint8Array(1) };
  const operation = client.operations.resourceClaim({ region, epoch: 0 }, { resourceId: "vein", playerId: "ann" });
  const calls = [client.execute(operation), client.stream({ deadlineMs }).execute(operation), client.publish({ events: [event] }), client.read({ region })];
  return await Promise.all(calls.map(async (call) => call.then(() => new MeshError("INTERNAL", "no error"), MeshError.from)));
}

describe("an error says that nothing was sent, and what to look at", () => {
  it("where nothing listens", async () => {
    const [execute, stream, publish, read] = await errorsAt("127.0.0.1:1");
    for (const error of [execute, publish, read]) {
      expect(error).toMatchObject({ reason: "UNREACHABLE", message: expect.stringMatching(/^127\.0\.0\.1:1 cannot be reached \(connect ECONNREFUSED.*nothing was sent: nothing listens there: is the mesh running/) as string });
      expect(error?.message).toMatch(/given up after \d+ attempts: the deadline of the call/);
    }
    // What waits for a connection when its time is over counts as sent.
    expect(["DEADLINE_EXCEEDED", "OUTCOME_UNKNOWN"]).toContain(stream?.reason);
    expect(stream).toMatchObject({ message: expect.stringContaining("the last connection: 127.0.0.1:1 cannot be reached") as string });
  });

  it("where something else listens, which ends the connection or speaks another protocol", async () => {
    const ends = await listening(createServer((socket) => socket.on("error", () => undefined).end()));
    const speaksHttp = await listening(createHttp((_request, response) => response.end("hello")));
    for (const endpoint of [ends, speaksHttp]) {
      const [execute, , publish, read] = await errorsAt(endpoint);
      for (const error of [execute, publish, read]) expect(error).toMatchObject({ reason: "UNREACHABLE", message: expect.stringContaining("what listens there does not speak gRPC without TLS") as string });
    }
  });

  it("where nobody answers", async () => {
    const silent = await listening(createServer((socket) => socket.on("error", () => undefined)));
    const [execute, stream, publish, read] = await errorsAt(silent, 300);
    for (const error of [execute, publish, read]) expect(error).toMatchObject({ reason: "UNREACHABLE", message: expect.stringContaining("no answer: is the host up and the port open") as string });
    // Of what was given to a connection nobody knows.
    expect(["DEADLINE_EXCEEDED", "OUTCOME_UNKNOWN"]).toContain(stream?.reason);
  });

  it("where the host is not known", async () => {
    const [execute] = await errorsAt("no-such-host.invalid:7401");
    expect(execute).toMatchObject({ reason: "UNREACHABLE", message: expect.stringContaining("no-such-host.invalid:7401 cannot be reached") as string });
  });

  it("or that it may have been done, where a node was asked and its answer did not come", async () => {
    const node = await FakeNode.start({ slow: { execute: async () => new Promise(() => undefined) } });
    closing.push(() => node.kill());
    const client = clientOf(node.address, 300);
    const operation = client.operations.resourceClaim({ region, epoch: 0 }, { resourceId: "vein", playerId: "ann" });
    await expect(client.execute(operation)).rejects.toMatchObject({ reason: "OUTCOME_UNKNOWN", message: expect.stringMatching(/did not answer in time .*it may have been done, the same id asks again/) as string });
  });

  it("where another gRPC server is", async () => {
    const other = new GrpcServer();
    const port = await new Promise<number>((resolve, reject) => other.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) => (error === null ? resolve(bound) : reject(error))));
    closing.push(() => other.forceShutdown());
    await expect(clientOf(`127.0.0.1:${port}`).status()).rejects.toMatchObject({ reason: "PEER_REFUSED", message: expect.stringContaining("is it the client port of a consensus node") as string });
  });

  it("where a field has a type that JavaScript lets pass", async () => {
    const node = await FakeNode.start({});
    closing.push(() => node.kill());
    const client = clientOf(node.address);
    const operation = client.operations.mint({ region, epoch: 0 }, { playerId: "ann", itemKind: "ore", quantity: "many" as never });
    await expect(client.execute(operation)).rejects.toMatchObject({ reason: "INVALID_FIELD", message: expect.stringContaining("the request cannot be encoded") as string });
  });
});
