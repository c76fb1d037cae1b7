import { createHash } from "node:crypto";
import {
  type ArbitrateResponse, ConflictArbiterServiceClient, ConflictArbiterServiceService as Methods, ConflictType, type DetectResponse, type ExplainResponse, type GetStatisticsResponse,
  MeshError, meshErrorFromServiceError, Outcome, type ResolveResponse, type WatchConflictsRequest, type WatchConflictsResponse,
} from "@statemesh/contract";
import { canonicalDecision } from "@statemesh/conflict";
import { call, connect, createLogger, type RunningServer, type UnaryCallDefinition } from "@statemesh/service";
import { DEFAULT_POLICY } from "@statemesh/world";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { serveArbiter } from "../src/serve.ts";
import { box, candidate, CONFIG, dig, PAIR, setOf, until } from "./candidates.ts";

const ALL = { types: [], regions: [], serverIds: [], groupIds: [], resumeToken: "" };

let server: RunningServer;
let client: ConflictArbiterServiceClient;

beforeEach(async () => {
  server = await serveArbiter(CONFIG, createLogger({ service: "conflict-arbiter", level: "error" }), false);
  client = connect(ConflictArbiterServiceClient, server.address, { ownConnection: true });
});

afterEach(async () => {
  client.close();
  await server.stop();
});

async function ask<Q, A>(method: UnaryCallDefinition<Q, A>, request: Q): Promise<A> {
  return call(client, method, request, { timeoutMs: 10_000, writes: false });
}

async function refusal(run: () => Promise<unknown>): Promise<MeshError> {
  const error = await run().then(() => undefined, (thrown: unknown) => thrown);
  if (error instanceof MeshError) return error;
  throw new Error("the call was answered");
}

interface Watch {
  readonly got: WatchConflictsResponse[];
  readonly ended: Promise<MeshError>;
  readonly pause: () => void;
  readonly resume: () => void;
  readonly cancel: () => void;
}

function watch(request: WatchConflictsRequest): Watch {
  const got: WatchConflictsResponse[] = [];
  const stream = client.watchConflicts(request);
  stream.on("data", (message: WatchConflictsResponse) => got.push(message));
  const ended = new Promise<MeshError>((resolve) => {
    stream.on("error", (error) => {
      if ("code" in error) resolve(meshErrorFromServiceError(error as Parameters<typeof meshErrorFromServiceError>[0], { writes: false }));
    });
  });
  return { got, ended, pause: () => stream.pause(), resume: () => stream.resume(), cancel: () => stream.cancel() };
}

async function metric(name: string): Promise<number | undefined> {
  const text = await (await fetch(`http://127.0.0.1:${server.metricsPort}/metrics`)).text();
  const line = text.split("\n").find((each) => each.startsWith(`${name} `));
  return line === undefined ? undefined : Number(line.slice(name.length + 1));
}

const watchers = (count: number) => until(async () => ((await metric("statemesh_arbiter_watchers")) === count ? true : undefined));

describe("the arbiter over gRPC", () => {
  it("detects who conflicts", async () => {
    const response: DetectResponse = await ask(Methods.detect, { set: setOf([candidate("b"), candidate("a"), candidate("far", { bounds: box(50, 60) })]) });
    expect(response.conflicts).toEqual([{ firstOperationId: "a", secondOperationId: "b", type: ConflictType.STRUCTURE_OVERLAP, key: "" }]);
  });

  it("resolves a set, with a digest that does not depend on its order", async () => {
    const first: ResolveResponse = await ask(Methods.resolve, { set: PAIR });
    const second: ResolveResponse = await ask(Methods.resolve, { set: setOf([...PAIR.candidates].reverse()) });
    expect(first.verdicts).toMatchObject([{ operationId: "a", outcome: Outcome.ACCEPTED }, { operationId: "b", outcome: Outcome.REJECTED, winnerOperationId: "a", rule: "operation_id" }]);
    expect(second.verdicts.map((v) => v.operationId)).toEqual(["b", "a"]);
    expect(second.digest).toEqual(first.digest);
    expect(Buffer.from(first.digest).toString("hex")).toBe(createHash("sha256").update(canonicalDecision(first.verdicts)).digest("hex"));
  });

  it("explains a decision", async () => {
    const response: ExplainResponse = await ask(Methods.explain, { set: PAIR, operationId: "b" });
    expect(response).toMatchObject({ chain: ["priority", "timestamp", "server_id", "operation_id"], text: "b is rejected: a comes before it by operation_id (a against b)." });
  });

  it("arbitrates several sets, counts them, and tells who watches", async () => {
    const all = watch(ALL);
    const terrain = watch({ ...ALL, types: [ConflictType.TERRAIN_OVERLAP] });
    await watchers(2);
    const response: ArbitrateResponse = await ask(Methods.arbitrate, {
      groupId: 2, policyDigest: "",
      sets: [PAIR, setOf([dig("c"), dig("d")]), setOf([candidate("e", { region: { x: -1, y: 0, z: 3 } })], [candidate("old")]), setOf([candidate("alone")])],
    });
    expect(response.sets.map((set) => set.verdicts.map((v) => v.rule))).toEqual([["operation_id", "operation_id"], ["merge", "merge"], ["incumbent"], ["uncontested"]]);
    await until(() => (all.got.length === 3 && terrain.got.length === 1 ? true : undefined));
    expect(all.got.map((m) => [m.sequence, m.conflict?.winnerOperationId, m.conflict?.loserOperationId, m.conflict?.merged])).toEqual([[1, "a", "b", false], [2, "c", "d", true], [3, "old", "e", false]]);
    expect(all.got[2]?.conflict?.resolvedAtMs).toBeGreaterThan(1_700_000_000_000);
    expect(terrain.got).toMatchObject([{ sequence: 1, conflict: { groupId: 2, loserOperationId: "d" } }]);

    const statistics: GetStatisticsResponse = await ask(Methods.getStatistics, {});
    expect(statistics).toMatchObject({ batches: 4, candidates: 6, accepted: 2, merged: 2, rejected: 2 });
    expect(Object.fromEntries(statistics.conflictsByType)).toEqual({ structure_overlap: 2, terrain_overlap: 1 });
    expect(Object.fromEntries(statistics.decisionsByRule)).toEqual({ operation_id: 2, merge: 2, incumbent: 1, uncontested: 1 });
    expect(Object.fromEntries(statistics.conflictsByRegion)).toEqual({ region_0_0_0: 2, "region_-1_0_3": 1 });
    expect(statistics.p50Us).toBeGreaterThan(0);
    expect(statistics.p99Us).toBeGreaterThanOrEqual(statistics.p50Us);
    expect(await metric('statemesh_arbiter_conflicts_total{type="structure_overlap"}')).toBe(2);
    const { latency, latencyByType, latencyByRule, latencyByRegion, startedAtMs } = statistics;
    const count = (histogram: typeof latency): number => histogram?.counts.reduce((sum, each) => sum + each, 0) ?? 0;
    expect(latency?.counts).toHaveLength((latency?.boundsUs.length ?? 0) + 1);
    expect([count(latency), count(latencyByType.get("structure_overlap")), count(latencyByRule.get("merge")), count(latencyByRegion.get("region_-1_0_3"))]).toEqual([4, 2, 1, 1]);
    expect(Math.abs(startedAtMs - Date.now())).toBeLessThan(600_000);
    expect(await metric("statemesh_arbiter_batch_seconds_count")).toBe(4);
    expect(await metric('statemesh_arbiter_batch_seconds_by_rule_bucket{le="+Inf",rule="operation_id"}')).toBe(1);

    const second = all.got[1]?.resumeToken ?? "";
    all.cancel();
    terrain.cancel();
    await watchers(0);
    const resumed = watch({ ...ALL, resumeToken: second });
    await until(() => (resumed.got.length === 2 ? true : undefined));
    expect(resumed.got).toMatchObject([{ sequence: 0, resumed: { restarted: false, forgotten: 0 } }, { sequence: 1, conflict: { loserOperationId: "e" } }]);
    resumed.cancel();
    await watchers(0);
  });

  it("refuses to resume with a token that is none", async () => {
    expect(await watch({ ...ALL, resumeToken: "yesterday" }).ended).toMatchObject({ reason: "INVALID_FIELD", field: "resume_token" });
  });

  it("counts nothing of Resolve, nor of a refused request", async () => {
    await ask(Methods.resolve, { set: PAIR });
    const error = await refusal(() => ask(Methods.arbitrate, { groupId: 1, policyDigest: "", sets: [PAIR, setOf([candidate("x", { bounds: { ...box(0, 1), minX: Infinity } })])] }));
    expect(error).toMatchObject({ reason: "INVALID_FIELD", field: "sets[1].candidates[0].bounds.min_x" });
    expect(await ask(Methods.getStatistics, {})).toMatchObject({ batches: 0, candidates: 0 });
  });

  it("decides nothing for who goes by another policy, and for who goes by its own or is of a build that does not say", async () => {
    const { policyDigest } = await ask(Methods.getStatistics, {});
    expect(policyDigest).toBe(DEFAULT_POLICY.digest);
    const error = await refusal(() => ask(Methods.arbitrate, { groupId: 1, policyDigest: "0123456789abcdef", sets: [PAIR] }));
    expect(error).toMatchObject({ reason: "POLICY_MISMATCH", metadata: { policy_digest: policyDigest, asked_digest: "0123456789abcdef" } });
    expect(await ask(Methods.getStatistics, {})).toMatchObject({ batches: 0, policyRefusals: 1 });
    expect(await metric("statemesh_arbiter_policy_refusals_total")).toBe(1);
    expect(await metric(`statemesh_policy_info{digest="${policyDigest}"}`)).toBe(1);
    for (const said of [policyDigest, ""]) expect((await ask(Methods.arbitrate, { groupId: 1, policyDigest: said, sets: [PAIR] })).sets).toHaveLength(1);
  });

  it.each([
    ["detect", () => ask(Methods.detect, { set: undefined })],
    ["resolve", () => ask(Methods.resolve, { set: undefined })],
    ["explain", () => ask(Methods.explain, { set: undefined, operationId: "" })],
    ["arbitrate", () => ask(Methods.arbitrate, { sets: [], groupId: 0, policyDigest: "" })],
  ])("refuses an empty %s by field", async (_, run) => {
    expect((await refusal(run)).reason).toBe("INVALID_FIELD");
  });

  it("refuses bytes that are no request, and answers the next call", async () => {
    const broken = { ...Methods.resolve, requestSerialize: () => Buffer.from([0xff, 0xff, 0xff]) };
    expect((await refusal(() => ask(broken, { set: PAIR }))).reason).toBe("MALFORMED_MESSAGE");
    const long = { ...Methods.resolve, requestSerialize: () => Buffer.alloc(10_485_760) };
    expect((await refusal(() => ask(long, { set: PAIR }))).reason).toBe("MESSAGE_TOO_LARGE");
    expect((await ask(Methods.resolve, { set: PAIR })).verdicts).toHaveLength(2);
  });

  it("decides 16,384 candidates in one request, and lets other calls in between", async () => {
    const crowd = Array.from({ length: 256 }, (_, at) => dig(`op-${at}`, { stamp: { physicalMs: 1000 + at, logical: 0 } }));
    const large = ask(Methods.arbitrate, { groupId: 1, policyDigest: "", sets: Array.from({ length: 64 }, () => setOf(crowd)) });
    const small = ask(Methods.getStatistics, {});
    expect((await small).batches).toBeLessThanOrEqual(64);
    expect((await large).sets).toHaveLength(64);
  });

  it("refuses more watchers than its limit", async () => {
    const streams = [watch(ALL), watch(ALL)];
    await watchers(2);
    expect(await watch(ALL).ended).toMatchObject({ reason: "OVERLOADED" });
    for (const stream of streams) stream.cancel();
    await watchers(0);
  });

  it("refuses to watch what does not exist", async () => {
    expect(await watch({ ...ALL, types: [0] }).ended).toMatchObject({ reason: "INVALID_FIELD", field: "types[0]" });
  });

  it("drops for a watcher that does not read, holds up nobody, and the gap says how many", async () => {
    const slow = watch(ALL);
    await watchers(1);
    slow.pause();
    const sets = Array.from({ length: 64 }, () => setOf(Array.from({ length: 256 }, (_, at) => candidate(`operation-with-a-rather-long-identifier-${at}`))));
    await until(async () => {
      await ask(Methods.arbitrate, { groupId: 1, policyDigest: "", sets });
      return ((await metric("statemesh_arbiter_watch_dropped_total")) ?? 0) > 0 ? true : undefined;
    });
    const dropped = (await metric("statemesh_arbiter_watch_dropped_total")) ?? 0;
    const statistics = await ask(Methods.getStatistics, {});
    slow.resume();
    await until(() => (slow.got.length === statistics.rejected - dropped ? true : undefined));
    await ask(Methods.arbitrate, { groupId: 1, policyDigest: "", sets: [PAIR] });
    const last = await until(() => (slow.got.length > statistics.rejected - dropped ? slow.got.at(-1) : undefined));
    expect(last.sequence).toBe(statistics.rejected + 1);
    slow.cancel();
  });

  it("tells watchers that it goes down", async () => {
    const stream = watch(ALL);
    await watchers(1);
    const stopping = server.stop();
    expect(await stream.ended).toMatchObject({ reason: "SHUTTING_DOWN" });
    await stopping;
  });
});
