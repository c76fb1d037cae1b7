import type { ServerDuplexStream } from "@grpc/grpc-js";
import { type Decision, type ExecuteStreamRequest, type ExecuteStreamResponse, MeshError, type Operation, type OperationError } from "@statemesh/contract";
import { afterEach, describe, expect, it } from "vitest";
import { connect, type MeshClient, type OperationStream, type StreamOptions } from "../src/index.ts";
import { accepted, FakeNode, serviceError, until } from "./fake-node.ts";

type Call = ServerDuplexStream<ExecuteStreamRequest, ExecuteStreamResponse>;

const place = { region: { x: 0, y: 0, z: 0 }, epoch: 1 };
const closing: (() => void)[] = [];

async function node(onOperations: (call: Call, operations: Operation[]) => void): Promise<FakeNode> {
  const started = await FakeNode.start({
    executeStream: (call) => {
      call.on("data", (request: ExecuteStreamRequest) => onOperations(call, request.operations));
      call.on("end", () => call.end());
      call.on("error", () => undefined);
    },
  });
  closing.push(() => started.kill());
  return started;
}

function streamOf(nodes: FakeNode[], options: StreamOptions = {}): { client: MeshClient; stream: OperationStream } {
  const client = connect({ endpoints: nodes.map((each) => each.address), serverId: 7, name: "seven", backoffMinMs: 1, backoffMaxMs: 5 });
  closing.push(() => client.close());
  return { client, stream: client.stream(options) };
}

function claim(client: MeshClient, at = 0): Operation {
  return client.operations.resourceClaim(place, { resourceId: `vein-${at}`, playerId: "ann" });
}

function decide(call: Call, operations: readonly Operation[]): void {
  call.write({ results: operations.map(({ operationId }) => ({ operationId, result: { $case: "decision", value: accepted(operationId) } })) });
}

function operationError(reason: string, metadata: [string, string][] = []): OperationError {
  return { code: 14, reason, message: reason, metadata: new Map(metadata) };
}

afterEach(() => {
  for (const close of closing.splice(0)) close();
});

describe("an operation stream", () => {
  it("carries operations that were submitted together in one message", async () => {
    const sizes: number[] = [];
    const only = await node((call, operations) => {
      sizes.push(operations.length);
      decide(call, operations);
    });
    const { client, stream } = streamOf([only]);
    const decisions = await Promise.all(Array.from({ length: 100 }, (_, at) => stream.execute(claim(client, at))));
    expect(decisions).toHaveLength(100);
    expect(sizes).toEqual([100]);
    expect(stream.counts).toMatchObject({ submitted: 100, decided: 100, failed: 0, resent: 0, connections: 1 });
  });

  it("takes results in any order and hands each to its own caller", async () => {
    const only = await node((call, operations) => decide(call, [...operations].reverse()));
    const { client, stream } = streamOf([only]);
    const operations = Array.from({ length: 10 }, (_, at) => claim(client, at));
    const decisions = await Promise.all(operations.map((operation) => stream.execute(operation)));
    expect(decisions.map((each) => each.operationId)).toEqual(operations.map((each) => each.operationId));
  });

  it("never has more undecided than its window, and refuses politely beyond it", async () => {
    let most = 0;
    let undecided = 0;
    const only = await node((call, operations) => {
      undecided += operations.length;
      most = Math.max(most, undecided);
      setTimeout(() => {
        undecided -= operations.length;
        decide(call, operations);
      }, 5);
    });
    const { client, stream } = streamOf([only], { window: 8 });
    const waiting = Array.from({ length: 16 }, (_, at) => stream.execute(claim(client, at)));
    expect(stream.submit(claim(client, 99), () => undefined)).toBe(false);
    await expect(stream.execute(claim(client, 100))).rejects.toMatchObject({ reason: "OVERLOADED" });
    await Promise.all(waiting);
    expect(most).toBeLessThanOrEqual(8);
    expect(() => client.stream({ window: 5_000 })).toThrow("1..4096");
  });

  it("sends what is undecided to another node under the same ids when the connection breaks", async () => {
    const seenByFirst: string[] = [];
    const seenBySecond: string[] = [];
    const first = await node((call, operations) => {
      seenByFirst.push(...operations.map((each) => each.operationId));
      decide(call, operations.slice(0, 1));
      setImmediate(() => first.kill());
    });
    const second = await node((call, operations) => {
      seenBySecond.push(...operations.map((each) => each.operationId));
      decide(call, operations);
    });
    const { client, stream } = streamOf([first, second]);
    const operations = Array.from({ length: 5 }, (_, at) => claim(client, at));
    const calls = new Map<string, number>();
    for (const operation of operations) {
      stream.submit(operation, (error, decision) => {
        expect(error).toBeUndefined();
        calls.set(decision?.operationId ?? "", (calls.get(decision?.operationId ?? "") ?? 0) + 1);
      });
    }
    await stream.drain();
    expect(seenByFirst).toEqual(operations.map((each) => each.operationId));
    // Whether the first decision was read before the connection broke is the network's to say.
    expect(operations.map((each) => each.operationId).slice(1)).toEqual(seenBySecond.slice(-4));
    expect([...calls.values()]).toEqual([1, 1, 1, 1, 1]);
  });

  it("is drained of one region while others go on", async () => {
    const kept: Parameters<typeof decide>[] = [];
    const only = await node((call, operations) => {
      for (const operation of operations) {
        if (operation.homeRegion?.x === 1) kept.push([call, [operation]]);
        else decide(call, [operation]);
      }
    });
    const { client, stream } = streamOf([only]);
    const at = (x: number, n: number) => client.operations.resourceClaim({ region: { x, y: 0, z: 0 }, epoch: 0 }, { resourceId: `r-${x}-${n}`, playerId: "p" });
    for (const x of [1, 2]) stream.submit(at(x, 0), () => undefined);
    await stream.drain({ x: 2, y: 0, z: 0 });
    expect(stream.undecided).toBe(1);
    let drained = false;
    const waiting = stream.drain({ x: 1, y: 0, z: 0 }).then(() => (drained = true));
    await until(() => kept.length === 1);
    stream.submit(at(1, 1), () => undefined);
    await until(() => kept.length === 2);
    expect(drained).toBe(false);
    const [first] = kept;
    if (first !== undefined) decide(...first);
    await waiting;
    expect(stream.undecided).toBe(1);
  });

  it("asks again for one operation whose outcome is open, and not for its neighbours", async () => {
    const seen: string[] = [];
    const only = await node((call, operations) => {
      for (const { operationId } of operations) {
        const again = seen.includes(operationId);
        seen.push(operationId);
        if (!again && seen.length === 2) call.write({ results: [{ operationId, result: { $case: "error", value: operationError("OUTCOME_UNKNOWN") } }] });
        else call.write({ results: [{ operationId, result: { $case: "decision", value: accepted(operationId) } }] });
      }
    });
    const { client, stream } = streamOf([only]);
    const operations = [claim(client, 0), claim(client, 1), claim(client, 2)];
    await Promise.all(operations.map((operation) => stream.execute(operation)));
    expect(seen).toEqual([...operations, operations[1]].map((each) => each?.operationId));
  });

  it("hands a refusal of one operation to its caller with reason and field", async () => {
    const only = await node((call, operations) => {
      const results = operations.map(({ operationId }) => ({
        operationId, result: { $case: "error" as const, value: operationError("INVALID_FIELD", [["field", "operations[0].type"]]) },
      }));
      call.write({ results });
    });
    const { client, stream } = streamOf([only]);
    await expect(stream.execute(claim(client))).rejects.toMatchObject({ reason: "INVALID_FIELD", field: "operations[0].type" });
  });

  it("does not take a later refusal as proof that an earlier attempt was not accepted", async () => {
    const answers = ["OUTCOME_UNKNOWN", "FENCED"];
    const only = await node((call, operations) => {
      const results = operations.map(({ operationId }) => ({ operationId, result: { $case: "error" as const, value: operationError(answers.shift() ?? "INTERNAL") } }));
      call.write({ results });
    });
    const { client, stream } = streamOf([only]);
    await expect(stream.execute(claim(client))).rejects.toMatchObject({ reason: "OUTCOME_UNKNOWN", metadata: { last_reason: "FENCED" } });

    const refusing = await node((call, operations) => void call.write({ results: operations.map(({ operationId }) => ({ operationId, result: { $case: "error", value: operationError("FENCED") } })) }));
    const first = await node(() => first.kill());
    const broken = streamOf([first, refusing]);
    await expect(broken.stream.execute(claim(broken.client))).rejects.toMatchObject({ reason: "OUTCOME_UNKNOWN", metadata: { last_reason: "FENCED" } });
    await expect(broken.stream.execute(claim(broken.client))).rejects.toMatchObject({ reason: "FENCED" });
  });

  it("fails an operation that stays undecided with OUTCOME_UNKNOWN, because it may have been committed", async () => {
    const only = await node(() => undefined);
    const { client, stream } = streamOf([only], { deadlineMs: 100 });
    await expect(stream.execute(claim(client))).rejects.toMatchObject({ reason: "OUTCOME_UNKNOWN" });
    expect(stream.undecided).toBe(0);
  });

  it("leaves a node that holds the connection and says nothing", async () => {
    const silent = await node(() => undefined);
    const speaking = await node(decide);
    const { client, stream } = streamOf([silent, speaking], { silenceMs: 100 });
    await expect(stream.execute(claim(client))).resolves.toMatchObject({ rule: "uncontested" });
    expect(stream.counts.connections).toBeGreaterThanOrEqual(2);
  });

  it("does not take its own process's pause for the server's silence", async () => {
    const only = await node((call, operations) => void setTimeout(() => decide(call, operations), 200));
    const { client, stream } = streamOf([only], { silenceMs: 1_000 });
    const decided = stream.execute(claim(client));
    await until(() => stream.counts.connections === 1);
    const end = performance.now() + 1_500;
    while (performance.now() < end);
    await expect(decided).resolves.toMatchObject({ rule: "uncontested" });
    expect(stream.counts).toMatchObject({ connections: 1, resent: 0 });
  });

  it("gives every undecided operation its answer when it is closed", async () => {
    const seen: string[] = [];
    const only = await node((_, operations) => void seen.push(...operations.map((each) => each.operationId)));
    const { client, stream } = streamOf([only]);
    const sent = stream.execute(claim(client, 0));
    const sentRejected = expect(sent).rejects.toMatchObject({ reason: "OUTCOME_UNKNOWN" });
    await until(() => seen.length === 1);
    const queued = stream.execute(claim(client, 1));
    const queuedRejected = expect(queued).rejects.toMatchObject({ reason: "CANCELLED" });
    stream.close();
    await Promise.all([sentRejected, queuedRejected]);
    expect(() => stream.submit(claim(client), () => undefined)).toThrow("closed");
  });

  it("refuses an id that is undecided already", async () => {
    const only = await node(() => undefined);
    const { client, stream } = streamOf([only]);
    const operation = claim(client);
    stream.submit(operation, () => undefined);
    expect(() => stream.submit(operation, () => undefined)).toThrow("operation_id");
  });

  it("does not send for ever what the server refuses as a whole", async () => {
    const only = await node((call) => void call.emit("error", serviceError(new MeshError("MALFORMED_MESSAGE", "not a message"))));
    const { client, stream } = streamOf([only]);
    const failed = await stream.execute(claim(client)).then((decision: Decision) => decision, (error: unknown) => error);
    expect(failed).toMatchObject({ reason: "OUTCOME_UNKNOWN", cause: { reason: "MALFORMED_MESSAGE" } });
  });

  it("waits for a retry where the client has none left, and decides all the same", async () => {
    const seen = new Map<string, number>();
    const only = await node((call, operations) => {
      const results = operations.map(({ operationId }) => {
        const times = (seen.get(operationId) ?? 0) + 1;
        seen.set(operationId, times);
        return times === 1
          ? { operationId, result: { $case: "error" as const, value: operationError("NO_QUORUM") } }
          : { operationId, result: { $case: "decision" as const, value: accepted(operationId) } };
      });
      call.write({ results });
    });
    const client = connect({ endpoints: [only.address], serverId: 7, name: "seven", backoffMinMs: 1, backoffMaxMs: 5, retryBudget: 8 });
    closing.push(() => client.close());
    const stream = client.stream();
    const startedMs = performance.now();
    // Eight retries are there, and two come back a second.
    await Promise.all(Array.from({ length: 10 }, async (_, at) => stream.execute(claim(client, at))));
    expect(performance.now() - startedMs).toBeGreaterThan(400);
    expect(stream.counts).toMatchObject({ decided: 10, failed: 0, resent: 10 });
  });
});
