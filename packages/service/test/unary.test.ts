import { ConsistencyServiceService as Service, Decision, ExecuteRequest, type ExecuteResponse, MeshError } from "@statemesh/contract";
import { ErrorInfo, Status } from "@statemesh/contract/google-rpc";
import { Metadata, type ServiceError } from "@grpc/grpc-js";
import { afterEach, expect, test } from "vitest";
import { call, unary, unaryCallback } from "../src/index.ts";
import { CONFIG, type Echo, startEcho, until } from "./echo-server.ts";

let echo: Echo | undefined;

afterEach(async () => {
  await echo?.close();
  echo = undefined;
});

const ANSWER: ExecuteResponse = { decision: Decision.fromPartial({ operationId: "op-1" }) };
const REQUEST = ExecuteRequest.fromPartial({});

async function raw(client: Echo["client"], bytes: Buffer, deadlineMs = 5000): Promise<ServiceError | Buffer> {
  return new Promise((resolve) => {
    client.makeUnaryRequest(
      Service.execute.path,
      (value: Buffer) => value,
      (value: Buffer) => value,
      bytes,
      new Metadata(),
      { deadline: Date.now() + deadlineMs },
      (error, value) => resolve(error ?? value ?? Buffer.alloc(0)),
    );
  });
}

async function failure(promise: Promise<unknown>): Promise<MeshError> {
  const error = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof MeshError)) throw new Error("the call did not fail with a MeshError", { cause: error });
  return error;
}

test("a method may return, promise, or call back", async () => {
  echo = await startEcho({
    execute: unary(() => ANSWER),
    transact: unary(() => Promise.resolve({ committed: true, decisions: [] })),
    publish: unaryCallback((_request, _context, respond) => respond({ updates: 3, staleUpdates: 0, causalToken: undefined, session: undefined })),
  });
  const settings = { timeoutMs: 5000, writes: true };
  expect((await call(echo.client, Service.execute, REQUEST, settings)).decision?.operationId).toBe("op-1");
  expect((await call(echo.client, Service.transact, { transactionId: "t", operations: [] }, settings)).committed).toBe(true);
  const published = await call(echo.client, Service.publish, { serverId: 1, updates: [], events: [], causalToken: undefined, session: undefined }, settings);
  expect(published.updates).toBe(3);
});

test("bytes that are no message are INVALID_ARGUMENT MALFORMED_MESSAGE, and the server lives on", async () => {
  echo = await startEcho({ execute: unary(() => ANSWER) });
  const answer = await raw(echo.client, Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, 2, 3]));
  expect(answer).toMatchObject({ code: 3 });
  const trailer = (answer as ServiceError).metadata.get("grpc-status-details-bin")[0] as Buffer;
  const detail = Status.decode(trailer).details[0];
  expect(detail?.typeUrl).toBe("type.googleapis.com/google.rpc.ErrorInfo");
  expect(ErrorInfo.decode(detail?.value ?? Buffer.alloc(0))).toMatchObject({ reason: "MALFORMED_MESSAGE", domain: "statemesh" });
  expect(await raw(echo.client, Buffer.from(ExecuteRequest.encode(REQUEST).finish()))).toBeInstanceOf(Buffer);
});

test("an integer beyond 2^53 is INVALID_ARGUMENT, not a rounded number", async () => {
  echo = await startEcho({ execute: unary(() => ANSWER) });
  // Operation.authority_epoch and every other field 1..15 as the varint 2^64-1.
  const bad: number[] = [];
  for (let field = 1; field < 16; field++) {
    const varint = [field << 3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    const answer = await raw(echo.client, Buffer.from([0x0a, varint.length, ...varint]));
    if (answer instanceof Error) bad.push(answer.code);
  }
  expect(bad.length).toBeGreaterThan(0);
  expect(new Set(bad)).toEqual(new Set([3]));
});

test("a message above the limit is MESSAGE_TOO_LARGE and names both sizes", async () => {
  echo = await startEcho({ execute: unary(() => ANSWER) });
  const { client } = echo;
  const answer = await raw(client, Buffer.alloc(CONFIG.maxMessageBytes + 1));
  expect(answer).toMatchObject({ code: 3, details: "the message has 1048577 bytes; at most 1048576 are taken" });
});

test("a message above what the transport takes is refused too", async () => {
  echo = await startEcho({ execute: unary(() => ANSWER) });
  expect(await raw(echo.client, Buffer.alloc(15 * 1024 * 1024))).toMatchObject({ code: 3 });
});

test("a MeshError reaches the client with reason, metadata and retry delay", async () => {
  echo = await startEcho({});
  const error = await failure(call(echo.client, Service.execute, REQUEST, { timeoutMs: 5000, writes: true }));
  expect(error).toMatchObject({ reason: "NO_QUORUM", code: 14, message: "no leader", retryDelayMs: 1500, metadata: { group: "7" } });
});

test("a field error reaches the client with the field's path", async () => {
  echo = await startEcho({
    execute: unary(() => {
      throw MeshError.field("operation.home_region.x", "must be in -1048576..1048575");
    }),
  });
  const error = await failure(call(echo.client, Service.execute, REQUEST, { timeoutMs: 5000, writes: true }));
  expect(error).toMatchObject({ reason: "INVALID_FIELD", field: "operation.home_region.x" });
});

test("a message that no header can carry is still answered", async () => {
  echo = await startEcho({
    execute: unary(() => {
      throw new MeshError("NOT_FOUND", `${"\ud800"} \n ü ${"x".repeat(100_000)}`, { metadata: { big: "y".repeat(100_000), odd: "\udfff" } });
    }),
  });
  const error = await failure(call(echo.client, Service.execute, REQUEST, { timeoutMs: 5000, writes: true }));
  expect(error.reason).toBe("NOT_FOUND");
  expect(error.message.length).toBeLessThanOrEqual(512);
  expect(error.metadata["big"]?.length).toBe(256);
});

test("an unknown error is INTERNAL without its text, and logged once", async () => {
  echo = await startEcho({
    execute: unary(() => {
      throw new TypeError("secret detail of the inside");
    }),
    read: unary(() => Promise.reject(new TypeError("secret detail of the inside"))),
  });
  const error = await failure(call(echo.client, Service.execute, REQUEST, { timeoutMs: 5000, writes: true }));
  expect(error).toMatchObject({ reason: "INTERNAL", message: "internal error" });
  expect(echo.logLines.filter((line) => line.includes("secret detail"))).toHaveLength(1);
});

test("a call without an answer is ended at its deadline and counted so", async () => {
  let cancelled = false;
  echo = await startEcho({
    execute: unaryCallback((_request, context, respond) => {
      context.onEnd(() => {
        cancelled = true;
        respond.fail(new MeshError("OUTCOME_UNKNOWN", "too late"));
      });
    }),
  });
  const { client, server } = echo;
  const error = await failure(call(client, Service.execute, REQUEST, { timeoutMs: 1_000, writes: true }));
  expect(error.reason).toBe("OUTCOME_UNKNOWN");
  await until(() => cancelled);
  const metrics = await (await fetch(`http://127.0.0.1:${server.metricsPort}/metrics`)).text();
  expect(metrics).toMatch(/statemesh_grpc_calls_total\{method="statemesh.v1.ConsistencyService\/Execute",code="(DEADLINE_EXCEEDED|CANCELLED)"\} 1/);
});

test("the handler sees deadline, peer and cancellation", async () => {
  let aborted = false;
  let seen: { remainingMs: number; peer: string } | undefined;
  echo = await startEcho({
    execute: unaryCallback((_request, context) => {
      seen = { remainingMs: context.remainingMs, peer: context.peer };
      context.signal.addEventListener("abort", () => {
        aborted = true;
      });
    }),
  });
  const controller = new AbortController();
  const pending = failure(call(echo.client, Service.execute, REQUEST, { timeoutMs: 60_000, writes: false, signal: controller.signal }));
  await until(() => seen !== undefined);
  controller.abort();
  expect((await pending).reason).toBe("CANCELLED");
  await until(() => aborted);
  expect(seen?.remainingMs).toBeGreaterThan(30_000);
  expect(seen?.remainingMs).toBeLessThanOrEqual(60_000);
  expect(seen?.peer).toMatch(/^127\.0\.0\.1:\d+$/);
});

test("a server that is not there leaves a write open and a read unreachable", async () => {
  echo = await startEcho({});
  const { client, server } = echo;
  await server.stop();
  expect((await failure(call(client, Service.execute, REQUEST, { timeoutMs: 2000, writes: true }))).reason).toBe("OUTCOME_UNKNOWN");
  const read = call(client, Service.execute, REQUEST, { timeoutMs: 2000, writes: false });
  expect((await failure(read)).reason).toBe("UNREACHABLE");
});

test("calls are counted by code and their latency is measured", async () => {
  echo = await startEcho({ execute: unary(() => ANSWER) });
  for (let i = 0; i < 3; i++) await call(echo.client, Service.execute, REQUEST, { timeoutMs: 5000, writes: true });
  const metrics = await (await fetch(`http://127.0.0.1:${echo.server.metricsPort}/metrics`)).text();
  expect(metrics).toContain('statemesh_grpc_calls_total{method="statemesh.v1.ConsistencyService/Execute",code="OK"} 3');
  expect(metrics).toContain('statemesh_grpc_call_seconds_count{method="statemesh.v1.ConsistencyService/Execute"} 3');
  expect(metrics).toContain('statemesh_grpc_call_seconds_bucket{le="+Inf",method="statemesh.v1.ConsistencyService/Execute"} 3');
});
