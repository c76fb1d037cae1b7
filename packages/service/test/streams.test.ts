import { ExecuteStreamRequest, type ExecuteStreamResponse, ConsistencyServiceService as Service, MeshError, meshErrorFromServiceError, SubscribeRequest, type SubscribeResponse } from "@statemesh/contract";
import type { Readable } from "node:stream";
import { Metadata, type ServiceError } from "@grpc/grpc-js";
import { afterEach, expect, test } from "vitest";
import { bidiStream, type ResponseStream, serverStream } from "../src/index.ts";
import { type Echo, startEcho, until } from "./echo-server.ts";

let echo: Echo | undefined;

afterEach(async () => {
  await echo?.close();
  echo = undefined;
});

const CHANGE: SubscribeResponse = { event: undefined, resumeToken: "t" };

interface Ended {
  readonly messages: number;
  readonly error: MeshError | undefined;
}

async function readAll(stream: Readable): Promise<Ended> {
  let messages = 0;
  return new Promise((resolve) => {
    stream.on("data", () => {
      messages++;
    });
    stream.on("error", (error: ServiceError) => resolve({ messages, error: meshErrorFromServiceError(error, { writes: false }) }));
    stream.on("end", () => resolve({ messages, error: undefined }));
  });
}

test("a stream of responses ends when the handler's promise settles", async () => {
  echo = await startEcho({
    subscribe: serverStream(async (_request, responses) => {
      for (let i = 0; i < 1000; i++) await responses.send(CHANGE);
    }),
  });
  expect(await readAll(echo.client.subscribe(SubscribeRequest.fromPartial({})))).toEqual({ messages: 1000, error: undefined });
});

test("a stream that fails delivers what was sent before, then the reason", async () => {
  echo = await startEcho({
    subscribe: serverStream((_request, responses) => {
      responses.write(CHANGE);
      responses.write(CHANGE);
      responses.fail(new MeshError("INVALID_RESUME_TOKEN", "not of this cluster"));
    }),
  });
  const ended = await readAll(echo.client.subscribe(SubscribeRequest.fromPartial({})));
  expect(ended.messages).toBe(2);
  expect(ended.error?.reason).toBe("INVALID_RESUME_TOKEN");
});

test("a handler that does not wait for a slow reader loses the stream, and memory stays bounded", async () => {
  let responses: ResponseStream<SubscribeResponse> | undefined;
  echo = await startEcho({
    subscribe: serverStream((_request, out) => {
      responses = out;
    }),
  });
  const stream = echo.client.subscribe(SubscribeRequest.fromPartial({}));
  stream.on("error", () => undefined);
  stream.pause();
  await until(() => responses !== undefined);
  const big: SubscribeResponse = { event: undefined, resumeToken: "x".repeat(10_000) };
  for (let i = 0; i < 20_000 && responses?.over === false; i++) responses?.write(big);
  expect(responses?.over).toBe(true);
  expect(responses?.waiting).toBeLessThanOrEqual(4096);
  stream.cancel();
});

test("a caller that goes away wakes a handler that waits", async () => {
  let reason: unknown;
  echo = await startEcho({
    subscribe: serverStream(async (_request, responses) => {
      try {
        for (;;) await responses.send({ event: undefined, resumeToken: "x".repeat(10_000) });
      } catch (error) {
        reason = error;
      }
    }),
  });
  const stream = echo.client.subscribe(SubscribeRequest.fromPartial({}));
  stream.on("error", () => undefined);
  stream.once("data", () => stream.cancel());
  await until(() => reason !== undefined);
  expect(reason).toMatchObject({ reason: "CANCELLED" });
});

function echoStream() {
  return bidiStream<ExecuteStreamRequest, ExecuteStreamResponse>((requests, responses) => {
    requests.onMessage(
      () => responses.write({ results: [] }),
      () => responses.end(),
    );
  });
}

test("both ways: every message is answered, and the stream ends with the caller's end", async () => {
  echo = await startEcho({ executeStream: echoStream() });
  const stream = echo.client.executeStream();
  const done = readAll(stream);
  for (let i = 0; i < 500; i++) stream.write(ExecuteStreamRequest.fromPartial({}));
  stream.end();
  expect(await done).toEqual({ messages: 500, error: undefined });
});

test("both ways with for await", async () => {
  echo = await startEcho({
    executeStream: bidiStream(async (requests, responses) => {
      for await (const _request of requests) await responses.send({ results: [] });
    }),
  });
  const stream = echo.client.executeStream();
  const done = readAll(stream);
  for (let i = 0; i < 50; i++) stream.write(ExecuteStreamRequest.fromPartial({}));
  stream.end();
  expect(await done).toEqual({ messages: 50, error: undefined });
});

test("a message that cannot be decoded ends the stream with MALFORMED_MESSAGE", async () => {
  for (const executeStream of [
    echoStream(),
    bidiStream<ExecuteStreamRequest, ExecuteStreamResponse>(async (requests, responses) => {
      for await (const _request of requests) await responses.send({ results: [] });
    }),
  ]) {
    const current = await startEcho({ executeStream });
    echo = current;
    const stream = current.client.makeBidiStreamRequest(
      Service.executeStream.path,
      (value: Buffer) => value,
      (value: Buffer) => value,
      new Metadata(),
    );
    const done = readAll(stream);
    stream.write(Buffer.alloc(0));
    stream.write(Buffer.from([0x0a, 0xff, 0x01]));
    stream.write(Buffer.alloc(0));
    const ended = await done;
    expect(ended.messages).toBe(1);
    expect(ended.error?.reason).toBe("MALFORMED_MESSAGE");
    await current.close();
  }
  echo = undefined;
});

test("what a handler throws on a message fails the stream, not the process", async () => {
  echo = await startEcho({
    executeStream: bidiStream((requests) => {
      requests.onMessage(
        () => {
          throw new TypeError("inside");
        },
        () => undefined,
      );
    }),
  });
  const stream = echo.client.executeStream();
  const done = readAll(stream);
  stream.write(ExecuteStreamRequest.fromPartial({}));
  expect((await done).error?.reason).toBe("INTERNAL");
  expect(echo.logLines.filter((line) => line.includes("inside"))).toHaveLength(1);
});
