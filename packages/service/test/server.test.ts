import { execFile } from "node:child_process";
import { createServer } from "node:net";
import { promisify } from "node:util";
import { ConsistencyServiceService as Service, ExecuteRequest, ReadRequest, SubscribeRequest, type SubscribeResponse } from "@statemesh/contract";
import { HealthCheckResponse_ServingStatus as Status, HealthClient, HealthService } from "@statemesh/contract/health";
import { afterEach, expect, test } from "vitest";
import { ServerReflectionClient, type ServerReflectionRequest, type ServerReflectionResponse } from "@statemesh/contract/reflection";
import { bidiStream, call, connect, LIVENESS, type Respond, serverStream, unary, unaryCallback } from "../src/index.ts";
import { CONFIG, type Echo, startEcho, until } from "./echo-server.ts";

const run = promisify(execFile);
let echo: Echo | undefined;

afterEach(async () => {
  await echo?.close();
  echo = undefined;
});

const REQUEST = ExecuteRequest.fromPartial({});
const READ = { timeoutMs: 5000, writes: false };

test("health answers for the server, for every service and for liveness", async () => {
  let reasons: string[] = [];
  echo = await startEcho({}, { readiness: () => reasons });
  const client = connect(HealthClient, echo.server.address, { ownConnection: true });
  const status = async (service: string): Promise<Status> => (await call(client, HealthService.check, { service }, READ)).status;
  for (const service of ["", "statemesh.v1.ConsistencyService", LIVENESS]) expect(await status(service)).toBe(Status.SERVING);
  await expect(status("statemesh.v1.NoService")).rejects.toMatchObject({ reason: "NOT_FOUND" });
  reasons = ["group 1 has no leader"];
  expect(await status("")).toBe(Status.NOT_SERVING);
  expect(await status(LIVENESS)).toBe(Status.SERVING);
  client.close();
});

test("a health watch hears every change, and NOT_SERVING at the shutdown", async () => {
  let reasons = ["starting"];
  echo = await startEcho({}, { readiness: () => reasons });
  const client = connect(HealthClient, echo.server.address, { ownConnection: true });
  const seen: Status[] = [];
  const watch = client.watch({ service: "" });
  let ended = false;
  watch.on("data", ({ status }) => seen.push(status));
  watch.on("end", () => {
    ended = true;
  });
  await until(() => seen.length === 1);
  reasons = [];
  await until(() => seen.length === 2);
  await echo.server.stop();
  await until(() => ended);
  expect(seen).toEqual([Status.NOT_SERVING, Status.SERVING, Status.NOT_SERVING]);
  client.close();
});

test("HTTP serves metrics, liveness and readiness with its reasons", async () => {
  let reasons: string[] = [];
  echo = await startEcho({}, { readiness: () => reasons });
  const at = (path: string, init?: RequestInit): Promise<Response> => fetch(`http://127.0.0.1:${echo?.server.metricsPort}${path}`, init);
  expect((await at("/healthz")).status).toBe(200);
  expect((await at("/readyz")).status).toBe(200);
  reasons = ["SQL does not answer"];
  const notReady = await at("/readyz");
  expect([notReady.status, await notReady.text()]).toEqual([503, "SQL does not answer\n"]);
  expect((await at("/healthz")).status).toBe(200);
  expect((await at("/metrics")).headers.get("content-type")).toContain("text/plain");
  expect((await at("/elsewhere")).status).toBe(404);
  expect((await at("/metrics", { method: "POST", body: "x" })).status).toBe(405);
});

test("reflection lists what is served, and calls through it carry maps both ways", async () => {
  let seen: ReadonlyMap<string, string> | undefined;
  echo = await startEcho({
    execute: unary(({ operation }) => {
      if (operation?.body?.$case === "structurePlacement") seen = operation.body.value.attributes;
      return { decision: undefined };
    }),
    executeStream: bidiStream((requests, responses) => {
      const error = { code: 5, reason: "NOT_FOUND", message: "not there", metadata: new Map([["entity_id", "wall-1"]]) };
      const answer = (): void => void responses.write({ results: [{ operationId: "op-1", result: { $case: "error", value: error } }] });
      requests.onMessage(answer, () => responses.end());
    }),
  });
  const base = `http://${echo.server.address}`;
  for (const protocol of ["grpc-v1", "grpc-v1alpha"]) {
    const curl = ["curl", "--protocol", "grpc", "--http2-prior-knowledge", "--reflect-protocol", protocol];
    const { stdout } = await run("node_modules/.bin/buf", [...curl, "--list-methods", base]);
    const methods = stdout.trim().split("\n").toSorted();
    expect(methods).toEqual([
      "grpc.health.v1.Health/Check",
      "grpc.health.v1.Health/Watch",
      ...["Execute", "ExecuteStream", "ListContainers", "Publish", "Read", "ReadSnapshot", "Subscribe", "SubscribeStream", "Transact"].map((name) => `statemesh.v1.ConsistencyService/${name}`),
    ]);
    const request = JSON.stringify({ operation: { structurePlacement: { structureId: "wall-1", attributes: { colour: protocol } } } });
    await run("node_modules/.bin/buf", [...curl, "-d", request, `${base}/statemesh.v1.ConsistencyService/Execute`]);
    expect(seen).toEqual(new Map([["colour", protocol]]));
    const { stdout: streamed } = await run("node_modules/.bin/buf", [...curl, "-d", "{}", `${base}/statemesh.v1.ConsistencyService/ExecuteStream`]);
    expect(JSON.parse(streamed)).toMatchObject({ results: [{ error: { metadata: { entity_id: "wall-1" } } }] });
  }
});

test("every symbol of the contract is found by reflection, and files come with their imports", async () => {
  echo = await startEcho({});
  const client = connect(ServerReflectionClient, echo.server.address, { ownConnection: true });
  const stream = client.serverReflectionInfo();
  const answers: ServerReflectionResponse[] = [];
  stream.on("data", (answer) => answers.push(answer));
  const ask = (messageRequest: ServerReflectionRequest["messageRequest"]): void => void stream.write({ host: "", messageRequest });
  ask({ $case: "fileContainingSymbol", value: "statemesh.v1.ConsistencyService.Execute" });
  ask({ $case: "fileByFilename", value: "statemesh/v1/space.proto" });
  ask({ $case: "fileContainingSymbol", value: "statemesh.v1.Nothing" });
  ask({ $case: "fileByFilename", value: "no/such.proto" });
  ask({ $case: "allExtensionNumbersOfType", value: "statemesh.v1.Operation" });
  ask(undefined);
  await until(() => answers.length === 6);
  stream.end();
  client.close();
  const cases = answers.map(({ messageResponse }) => messageResponse?.$case);
  expect(cases).toEqual(["fileDescriptorResponse", "fileDescriptorResponse", ...Array<string>(4).fill("errorResponse")]);
  expect(answers[0]?.messageResponse).toMatchObject({ value: { fileDescriptorProto: { length: 3 } } });
  expect(answers.slice(2).map(({ messageResponse }) => (messageResponse?.$case === "errorResponse" ? messageResponse.value.errorCode : 0))).toEqual([5, 5, 5, 3]);
});

test("a shutdown lets calls in flight finish and refuses new ones", async () => {
  let respond: Respond<{ decision: undefined }> | undefined;
  const steps: string[] = [];
  echo = await startEcho(
    {
      execute: unaryCallback((_request, _context, answer) => {
        respond = answer;
      }),
    },
    { onDrain: () => void steps.push("drain"), onShutdown: () => void steps.push("shutdown") },
  );
  const { client, server } = echo;
  const pending = call(client, Service.execute, REQUEST, READ);
  await until(() => respond !== undefined);
  let down = false;
  const stopping = server.stop().then(() => {
    down = true;
  });
  await until(() => steps.includes("drain"));
  await expect(call(client, Service.read, ReadRequest.fromPartial({}), { timeoutMs: 1000, writes: false })).rejects.toBeInstanceOf(Error);
  expect(down).toBe(false);
  respond?.({ decision: undefined });
  expect(await pending).toEqual({ decision: undefined });
  await stopping;
  await server.stopped;
  expect(steps).toEqual(["drain", "shutdown"]);
});

test("calls that do not finish are cut at the limit, and the last step still runs", async () => {
  let arrived = false;
  let closed = false;
  echo = await startEcho(
    {
      execute: unaryCallback(() => {
        arrived = true;
      }),
    },
    {
      config: { ...CONFIG, shutdownLimitMs: 200 },
      onShutdown: () => {
        closed = true;
      },
    },
  );
  const pending = call(echo.client, Service.execute, REQUEST, { timeoutMs: 60_000, writes: true });
  const failed = expect(pending).rejects.toMatchObject({ reason: "OUTCOME_UNKNOWN" });
  await until(() => arrived);
  await echo.server.stop();
  await failed;
  expect(closed).toBe(true);
});

test("a long stream hears of the shutdown and ends itself", async () => {
  echo = await startEcho({
    subscribe: serverStream((_request, responses, context) => {
      responses.write({ event: undefined, resumeToken: "first" } satisfies SubscribeResponse);
      context.onShutdown(() => responses.end());
    }),
  });
  const stream = echo.client.subscribe(SubscribeRequest.fromPartial({}));
  let ended = false;
  stream.on("end", () => {
    ended = true;
  });
  await new Promise((resolve) => stream.once("data", resolve));
  await echo.server.stop();
  await until(() => ended);
});

test("a port that is taken is an error that names it", async () => {
  const blocker = createServer();
  await new Promise<void>((resolve) => {
    blocker.listen(0, "127.0.0.1", resolve);
  });
  const taken = blocker.address();
  if (taken === null || typeof taken === "string") throw new Error("no port");
  await expect(startEcho({}, { config: { ...CONFIG, listenAddress: `127.0.0.1:${taken.port}` } })).rejects.toThrow(`cannot listen on 127.0.0.1:${taken.port}`);
  blocker.close();
});
