import { type ExecuteRequest, MeshError, type Operation, type PublishRequest, type ReadRequest } from "@statemesh/contract";
import { afterEach, describe, expect, it } from "vitest";
import { connect, type MeshClient } from "../src/index.ts";
import { accepted, FakeNode, until } from "./fake-node.ts";

const place = { region: { x: 0, y: 0, z: 0 }, epoch: 1 };
const closing: (() => void)[] = [];

async function node(unary: Record<string, (request: never) => unknown>): Promise<FakeNode> {
  const started = await FakeNode.start({ unary });
  closing.push(() => started.kill());
  return started;
}

function clientOf(...nodes: FakeNode[]): MeshClient {
  const client = connect({ endpoints: nodes.map((each) => each.address), serverId: 7, name: "seven", backoffMinMs: 1, backoffMaxMs: 5, deadlineMs: 3_000 });
  closing.push(() => client.close());
  return client;
}

function claim(client: MeshClient): Operation {
  return client.operations.resourceClaim(place, { resourceId: "vein", playerId: "ann" });
}

/** Fails a few times, then answers. */
function failing(errors: MeshError[], seen: string[]): (request: ExecuteRequest) => unknown {
  return (request) => {
    seen.push(request.operation?.operationId ?? "");
    const error = errors.shift();
    if (error !== undefined) throw error;
    return { decision: accepted(request.operation?.operationId ?? "") };
  };
}

afterEach(() => {
  for (const close of closing.splice(0)) close();
});

describe("a unary call", () => {
  it("asks another node under the same id when the outcome is unknown", async () => {
    const seenByFirst: string[] = [];
    const seenBySecond: string[] = [];
    const first = await node({ execute: failing([new MeshError("OUTCOME_UNKNOWN", "leader lost")], seenByFirst) });
    const second = await node({ execute: failing([], seenBySecond) });
    const client = clientOf(first, second);
    const operation = claim(client);
    const decision = await client.execute(operation);
    expect(decision.operationId).toBe(operation.operationId);
    expect(seenByFirst).toEqual([operation.operationId]);
    expect(seenBySecond).toEqual([operation.operationId]);
  });

  it("goes to the next node when the first one is not there", async () => {
    const gone = await node({});
    gone.kill();
    const there = await node({ execute: failing([], []) });
    const client = clientOf(gone, there);
    await expect(client.execute(claim(client))).resolves.toMatchObject({ rule: "uncontested" });
  });

  it("waits as long as the server says before it asks again", async () => {
    const seen: string[] = [];
    const only = await node({ execute: failing([new MeshError("OVERLOADED", "full", { retryDelayMs: 120 })], seen) });
    const client = clientOf(only);
    const startedMs = performance.now();
    await client.execute(claim(client));
    expect(performance.now() - startedMs).toBeGreaterThanOrEqual(119);
    expect(seen).toHaveLength(2);
  });

  it("hands a refusal to the caller at once, with field and metadata", async () => {
    const seen: string[] = [];
    const fenced = new MeshError("FENCED", "stale epoch", { metadata: { current_epoch: "9", owner_server_id: "3" } });
    const only = await node({ execute: failing([fenced, MeshError.field("operation.type", "is required")], seen) });
    const client = clientOf(only);
    await expect(client.execute(claim(client))).rejects.toMatchObject({ reason: "FENCED", metadata: { current_epoch: "9", owner_server_id: "3" } });
    await expect(client.execute(claim(client))).rejects.toMatchObject({ reason: "INVALID_FIELD", field: "operation.type" });
    expect(seen).toHaveLength(2);
  });

  it("says OUTCOME_UNKNOWN where one attempt may have been done and none brought the answer", async () => {
    let attempts = 0;
    const only = await node({
      execute: () => {
        attempts += 1;
        throw attempts === 1 ? new MeshError("OUTCOME_UNKNOWN", "leader lost") : new MeshError("NO_QUORUM", "no leader");
      },
    });
    const client = connect({ endpoints: [only.address], serverId: 7, name: "seven", backoffMinMs: 1, backoffMaxMs: 1, retryBudget: 4 });
    closing.push(() => client.close());
    await expect(client.execute(claim(client))).rejects.toMatchObject({ reason: "OUTCOME_UNKNOWN" });
    expect(attempts).toBeGreaterThan(2);
  });

  it("does not take a later refusal as proof that an earlier attempt was not accepted", async () => {
    const answers = [new MeshError("OUTCOME_UNKNOWN", "leader lost"), new MeshError("SERVER_NOT_REGISTERED", "whose registration ran out meanwhile")];
    const client = clientOf(await node({ execute: failing(answers, []) }));
    await expect(client.execute(claim(client))).rejects.toMatchObject({ reason: "OUTCOME_UNKNOWN", metadata: { last_reason: "SERVER_NOT_REGISTERED" } });
    // That the id stands for other content is proof.
    const reused = [new MeshError("OUTCOME_UNKNOWN", "leader lost"), new MeshError("OPERATION_ID_REUSED", "other content")];
    const another = clientOf(await node({ execute: failing(reused, []) }));
    await expect(another.execute(claim(another))).rejects.toMatchObject({ reason: "OPERATION_ID_REUSED" });
  });

  it("stops asking when the retry budget is used up", async () => {
    let attempts = 0;
    const only = await node({
      execute: () => {
        attempts += 1;
        throw new MeshError("NO_QUORUM", "no leader");
      },
    });
    const client = connect({ endpoints: [only.address], serverId: 7, name: "seven", backoffMinMs: 1, backoffMaxMs: 1, retryBudget: 4 });
    closing.push(() => client.close());
    await expect(client.execute(claim(client))).rejects.toMatchObject({ reason: "NO_QUORUM" });
    // One came back a second: a slow machine sees more.
    expect(attempts).toBeGreaterThanOrEqual(5);
    expect(attempts).toBeLessThan(50);
  });

  it("gives up when its caller does, and says whether the operation may have been committed", async () => {
    const silent = await node({ execute: () => undefined });
    const client = clientOf(silent);
    await expect(client.execute(claim(client), { signal: AbortSignal.abort() })).rejects.toMatchObject({ reason: "CANCELLED" });
    await expect(client.execute(claim(client), { signal: AbortSignal.timeout(50) })).rejects.toMatchObject({ reason: "OUTCOME_UNKNOWN" });
  });

  it("that may have been done says so where its client is closed before it asks again", async () => {
    const seen: string[] = [];
    const only = await node({ execute: failing([new MeshError("OUTCOME_UNKNOWN", "leader lost", { retryDelayMs: 50 })], seen) });
    const client = clientOf(only);
    const executing = client.execute(claim(client));
    await until(() => seen.length === 1);
    setTimeout(() => client.close(), 20);
    await expect(executing).rejects.toMatchObject({ reason: "OUTCOME_UNKNOWN" });
    expect(seen.length).toBe(1);
  });

  it("never publishes events twice, and repeats updates that carry their time", async () => {
    const published: PublishRequest[] = [];
    let fail = true;
    const only = await node({
      publish: (request: PublishRequest) => {
        published.push(request);
        if (fail) throw new MeshError("OUTCOME_UNKNOWN", "connection lost");
        return { updates: request.updates.length, staleUpdates: 0, causalToken: undefined, session: undefined };
      },
    });
    const client = clientOf(only);
    const event = { type: "event_sequence", region: place.region, key: "quest", payload: new Uint8Array(1) };
    await expect(client.publish({ events: [event] })).rejects.toMatchObject({ reason: "OUTCOME_UNKNOWN" });
    expect(published).toHaveLength(1);
    setTimeout(() => (fail = false), 30);
    const update = { type: "creature_position", region: place.region, key: "wolf", value: new Uint8Array(1), deleted: false, timestampMs: 5 };
    await expect(client.publish({ updates: [update] })).resolves.toMatchObject({ updates: 1 });
  });

  it("fills in a read's defaults", async () => {
    let got: ReadRequest | undefined;
    const only = await node({
      read: (request: ReadRequest) => {
        got = request;
        return { entities: [], balances: [], values: [], nextPageToken: "", position: undefined, epoch: 4, ownerServerId: 7, containers: [] };
      },
    });
    const client = clientOf(only);
    expect((await client.read({ region: place.region, accounts: ["ann"] })).epoch).toBe(4);
    expect(got).toMatchObject({ accounts: ["ann"], level: 0, entities: [] });
  });

  it("refuses to call after close", async () => {
    const only = await node({});
    const client = clientOf(only);
    client.close();
    await expect(client.status()).rejects.toMatchObject({ reason: "CANCELLED" });
  });

  it("names the option that is wrong", () => {
    expect(() => connect({ endpoints: [], serverId: 1, name: "x" })).toThrow("endpoints");
    expect(() => connect({ endpoints: ["nowhere"], serverId: 1, name: "x" })).toThrow("host:port");
    expect(() => connect({ endpoints: ["a:1"], serverId: 0, name: "x" })).toThrow("serverId");
    expect(() => connect({ endpoints: ["a:1"], serverId: 1, name: "" })).toThrow("name");
  });
});
