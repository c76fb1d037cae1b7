import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as contract from "@statemesh/contract";
import {
  AcquireRequest, AcquireResponse, ExecuteRequest, ExecuteResponse, ExecuteStreamResponse, ListRegionsRequest, ListRegionsResponse, LoadRegionRequest, Operation, PlayerInventory_Action,
  PublishRequest, PublishResponse, ReadRequest, ReadResponse, Reasons, type Region, RegisterRequest, StoreRegionRequest,
} from "@statemesh/contract";
import { formatRegion } from "@statemesh/world";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type LocalPostgres, startPostgres } from "../../tools/local-postgres.ts";
import type { MeshNode } from "../../tools/mesh-processes.ts";
import { DRY_RUN_FIELDS } from "./bad-member-requests.ts";
import type { KnownWorld } from "./bad-operations.ts";
import { type BadRequest, badRequests, tenMebibytes } from "./bad-requests.ts";
import { type Cluster, regionsOfGroup, startCluster } from "./cluster.ts";
import { fuzzRequests } from "./fuzz.ts";
import { MemberCalls } from "./members.ts";
import { isDocumented, type RawAnswer, RawCaller, type RawMethod, varintField } from "./raw-call.ts";
import { caughtUp } from "./sql-rows.ts";

const GROUPS = 4;
const DATABASE = "world";

/** Every service of the contract, as its package exports them. */
const SERVICES: readonly (readonly [string, Readonly<Record<string, RawMethod>>])[] = Object.entries(contract)
  .filter(([name]) => name.endsWith("ServiceService"))
  .map(([name, definition]) => [name.slice(0, -"Service".length), definition as Readonly<Record<string, RawMethod>>]);
const METHODS: readonly RawMethod[] = SERVICES.flatMap(([, definition]) => Object.values(definition));

describe("bad input", () => {
  let folder: string;
  let postgres: LocalPostgres;
  let cluster: Cluster;
  const callers = new Map<string, RawCaller>();
  let world: KnownWorld;
  let cases: ReadonlyMap<string, readonly BadRequest[]>;

  function addressOf(method: RawMethod): string {
    if (method.path.includes("RegionStoreService")) return cluster.mesh.regionStore?.address ?? "";
    if (/ConflictArbiterService|PartitionService/.test(method.path)) return cluster.mesh.arbiter?.address ?? "";
    return cluster.node(1).address;
  }

  function callerOf(method: RawMethod): RawCaller {
    const address = addressOf(method);
    const known = callers.get(address) ?? new RawCaller(address);
    callers.set(address, known);
    return known;
  }

  function method(path: string): RawMethod {
    const found = METHODS.find((each) => each.path === `/statemesh.v1.${path}`);
    if (found === undefined) throw new Error(`no method ${path}`);
    return found;
  }

  /** A call that must succeed. */
  async function good(path: string, request: Buffer): Promise<Buffer> {
    const answer = await callerOf(method(path)).call(method(path), [request]);
    if (answer.code !== 0 || answer.responses[0] === undefined) throw new Error(`${path}: ${answer.code} ${answer.message}`);
    return answer.responses[0];
  }

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "statemesh-bad-"));
    postgres = await startPostgres({ dataDir: join(folder, "data"), databases: [DATABASE] });
    // Long leases: nothing renews them, so nothing changes by itself.
    const nodeFlags = ["--lease-ms", "600000", "--registration-ttl-ms", "3600000", "--default-deadline-ms", "1500"];
    cluster = await startCluster({ groups: GROUPS, postgres: postgres.urlOf(DATABASE), extraFlags: { "consensus-node": nodeFlags } });
    for (let groupId = 0; groupId <= GROUPS; groupId++) await cluster.leaderOf(groupId);
    await new MemberCalls(cluster, cluster.node(1).clientAddress).onRecord();
    const [free = { x: 0, y: 0, z: 0 }, owned = free] = regionsOfGroup(1, GROUPS, 2);
    const [elsewhere = free] = regionsOfGroup(2, GROUPS, 1);
    for (const serverId of [7, 8]) await good("AuthorityDirectoryService/Register", RegisterRequest.encode({ serverId, name: `shard-${serverId}`, address: "", incarnation: 1, maxRegions: 0 }).finish() as Buffer);
    const { lease } = AcquireResponse.decode(await good("AuthorityDirectoryService/Acquire", AcquireRequest.encode({ serverId: 7, region: owned }).finish() as Buffer));
    world = { serverId: 7, otherServerId: 8, owned, ownedEpoch: lease?.epoch ?? 0, free, elsewhere, usedId: "used", origin: 0 };
    await execute(mint("used", free));
    await execute(structure("s1", free, 10));
    await execute(structure("s2", free, 20));
    await execute(structure("s3", elsewhere, 10));
    const published = await good("ConsistencyService/Publish", PublishRequest.encode(PublishRequest.fromPartial({ serverId: 7, updates: [{ type: "creature_position", region: free, key: "wolf", value: Buffer.from("here") }], events: [{ type: "event_sequence", region: free, key: "quest" }] })).finish() as Buffer);
    world = { ...world, origin: PublishResponse.decode(published).causalToken?.entries[0]?.origin ?? 0 };
    const store = (fields: object): Buffer => StoreRegionRequest.encode(StoreRegionRequest.fromPartial({ attributes: new Map([["biome", "tundra"]]), ...fields })).finish() as Buffer;
    await good("RegionStoreService/StoreRegion", store({ region: free, requestId: "stored" }));
    await good("RegionStoreService/StoreRegion", store({ region: elsewhere }));
    await caughtUp(cluster);
    const readPage = ReadResponse.decode(await good("ConsistencyService/Read", ReadRequest.encode(ReadRequest.fromPartial({ region: free, pageSize: 1 })).finish() as Buffer)).nextPageToken;
    const listPage = ListRegionsResponse.decode(await good("RegionStoreService/ListRegions", ListRegionsRequest.encode({ pageSize: 1, pageToken: "" }).finish() as Buffer)).nextPageToken;
    expect(readPage).not.toBe("");
    expect(listPage).not.toBe("");
    cases = badRequests(world, { readPage, listPage });
  });

  afterAll(async () => {
    for (const caller of callers.values()) caller.close();
    await cluster.close();
    await postgres.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  async function execute(operation: Operation): Promise<void> {
    const { decision } = ExecuteResponse.decode(await good("ConsistencyService/Execute", ExecuteRequest.encode({ operation }).finish() as Buffer));
    expect(decision?.outcome).toBe(contract.Outcome.ACCEPTED);
  }

  const mint = (operationId: string, region: Region): Operation => ({
    ...Operation.fromPartial({ operationId, type: "player_inventory", serverId: 7, homeRegion: region }),
    body: { $case: "playerInventory", value: { action: PlayerInventory_Action.MINT, playerId: "rich", itemKind: "gold", quantity: 5, counterpartyId: "", itemId: "", position: undefined, counterpartyRegion: undefined, containerId: "", counterpartyContainerId: "" } },
  });

  const structure = (structureId: string, region: Region, at: number): Operation => {
    const x = region.x * 2_000 + at;
    const bounds = { minX: x, minY: 1, minZ: 1, maxX: x + 1, maxY: 2, maxZ: 2 };
    return {
      ...Operation.fromPartial({ operationId: structureId, type: "structure_placement", serverId: 7, homeRegion: region }),
      body: { $case: "structurePlacement", value: { structureId, kind: "wall", bounds, playerId: "", attributes: new Map() } },
    };
  };

  /** Decisions that a node has written into its groups' state: refusals are not in the digest, but they are kept. */
  async function decisionsOf(node: MeshNode): Promise<readonly string[]> {
    const page = await (await fetch(`http://${node.metricsAddress}/metrics`)).text();
    return page.split("\n").filter((line) => line.startsWith("statemesh_decisions_kept{")).sort();
  }

  /**
   * Everything that a bad request could have changed: replicated state, decisions, eventual values, SQL. No term and no
   * position of a log: those also move where leadership does.
   */
  async function everything(): Promise<unknown> {
    const digests = await cluster.settled();
    const decisions = await Promise.all(cluster.nodes.map(decisionsOf));
    expect(decisions.every((lines) => lines.length === GROUPS + 1)).toBe(true);
    const read = ReadResponse.decode(await good("ConsistencyService/Read", ReadRequest.encode(ReadRequest.fromPartial({ region: world.free, includeEventual: true })).finish() as Buffer));
    const tables: unknown[] = [];
    for (const table of ["regions", "region_layers", "entities", "balances", "item_totals", "owning_cluster", "requests"]) {
      tables.push([table, await postgres.query(DATABASE, `SELECT count(*) AS rows, md5(COALESCE(string_agg(t::TEXT, '|' ORDER BY t::TEXT), '')) AS content FROM ${table} t`)]);
    }
    tables.push(["watermarks", await postgres.query(DATABASE, "SELECT group_id FROM watermarks WHERE group_id > 0 ORDER BY group_id")]);
    return { digests, decisions, entities: read.entities, values: read.values, tables };
  }

  async function expectAlive(): Promise<void> {
    for (const each of cluster.mesh.processes) {
      expect(each.running, `${each.spec.name} is gone:\n${each.logTail()}`).toBe(true);
      await each.waitUntilServing();
    }
  }

  /** Lines of a fatal or error level: a defect of the product, whatever the caller was told. That SQL is slow is this machine's. */
  function defects(): string[] {
    return cluster.mesh.processes.flatMap((each) => each.logTail().split("\n").filter((line) => /"level":"?(error|fatal|50|60)\b/.test(line) && !line.includes('"msg":"SQL does not answer"')));
  }

  test("every method of every service has its cases", () => {
    expect(SERVICES.length).toBe(10);
    expect([...cases.keys()].sort()).toEqual(METHODS.map(({ path }) => path).sort());
  });

  for (const [service, definition] of SERVICES) {
    test(`${service}: each bad request gets its reason and its field, and changes nothing`, async () => {
      const before = await everything();
      const wrong: string[] = [];
      for (const each of Object.values(definition)) {
        for (const it of cases.get(each.path) ?? []) {
          const answer = await callerOf(each).call(each, it.requests);
          const problem = it.inResult === true ? problemOfResult(answer, it) : problemOf(answer, it);
          if (problem !== undefined) wrong.push(`${each.path}, ${it.name}: ${problem}`);
        }
      }
      expect(wrong).toEqual([]);
      await expectAlive();
      expect(await everything()).toEqual(before);
      expect(defects()).toEqual([]);
    });
  }

  test("bytes that are no message, and 10 MiB, are refused by every method", async () => {
    const before = await everything();
    const wrong: string[] = [];
    const huge = tenMebibytes();
    const nonsense = [Buffer.from([0xff]), Buffer.from([0x0a, 0x7f, 0x01]), Buffer.from("GET / HTTP/1.1\r\n\r\n"), Buffer.alloc(64, 0xff), Buffer.from([0x08, ...Array.from({ length: 11 }, () => 0xff)])];
    for (const each of METHODS) {
      for (const bytes of nonsense) {
        const answer = await callerOf(each).call(each, [bytes]);
        if (answer.code !== Reasons.MALFORMED_MESSAGE || answer.reason !== "MALFORMED_MESSAGE") wrong.push(`${each.path} ${bytes.subarray(0, 12).toString("hex")}: ${shown(answer)}`);
      }
      const answer = await callerOf(each).call(each, [huge]);
      if (answer.code !== Reasons.MESSAGE_TOO_LARGE || answer.reason !== "MESSAGE_TOO_LARGE") wrong.push(`${each.path} with 10 MiB: ${shown(answer)}`);
    }
    expect(wrong).toEqual([]);
    await expectAlive();
    expect(await everything()).toEqual(before);
  });

  test("cancelled calls and calls past their deadline end as such, and the server goes on", async () => {
    const before = await everything();
    const wrong: string[] = [];
    for (const each of METHODS) {
      const request = cases.get(each.path)?.[0]?.requests[0] ?? Buffer.alloc(0);
      const cancelled = await callerOf(each).call(each, [request], { cancel: true });
      if (cancelled.code !== contract.Code.CANCELLED) wrong.push(`${each.path} cancelled: ${shown(cancelled)}`);
      const late = await callerOf(each).call(each, [request], { timeoutMs: -1 });
      if (late.code !== contract.Code.DEADLINE_EXCEEDED) wrong.push(`${each.path} late: ${shown(late)}`);
    }
    expect(wrong).toEqual([]);
    await expectAlive();
    expect(await everything()).toEqual(before);
  });

  test("an operation that is cancelled on its way is decided once or not at all", async () => {
    const each = method("ConsistencyService/Execute");
    for (let at = 0; at < 50; at++) {
      const request = ExecuteRequest.encode({ operation: mint(`cancelled-${at}`, world.free) }).finish() as Buffer;
      await callerOf(each).call(each, [request], at % 2 === 0 ? { cancel: true } : { timeoutMs: 2 });
      const { decision } = ExecuteResponse.decode(await good("ConsistencyService/Execute", request));
      expect(decision?.outcome).toBe(contract.Outcome.ACCEPTED);
    }
    const read = ReadResponse.decode(await good("ConsistencyService/Read", ReadRequest.encode(ReadRequest.fromPartial({ region: world.free, accounts: ["rich"] })).finish() as Buffer));
    expect(read.balances.map(({ quantity }) => quantity)).toEqual([5 + 50 * 5]);
  });

  test("a region is loaded by its text as by its coordinates", async () => {
    const bytes = await good("RegionStoreService/LoadRegion", LoadRegionRequest.encode(LoadRegionRequest.fromPartial({ regionText: formatRegion(world.free) })).finish() as Buffer);
    expect(contract.LoadRegionResponse.decode(bytes).record?.attributes).toEqual(new Map([["biome", "tundra"]]));
  });

  test("messages of the right shape with any content are never an internal error and never end a process", async () => {
    const wrong = await fuzzRequests(METHODS, async (each, request) => {
      // What would take the nodes of this test out is only asked about.
      const dryRun = DRY_RUN_FIELDS.get(each.path);
      const sent = dryRun === undefined ? request : Buffer.concat([request, varintField(dryRun, 1n)]);
      const answer = await callerOf(each).call(each, [sent], { quietMs: 30, timeoutMs: 15_000 });
      if (answer.code === 0) return undefined;
      return isDocumented(answer) && answer.code === Reasons[answer.reason as contract.Reason] && answer.reason !== "INTERNAL" ? undefined : shown(answer);
    });
    expect(wrong).toBeUndefined();
    await expectAlive();
    expect(defects()).toEqual([]);
  });
});

function shown(answer: RawAnswer): string {
  return `${answer.code} ${answer.reason || "no reason"} at "${answer.field}": ${answer.message.slice(0, 200)}`;
}

function problemOf(answer: RawAnswer, it: BadRequest): string | undefined {
  if (answer.reason === it.reason && answer.code === Reasons[it.reason] && isDocumented(answer) && (it.field === undefined || answer.field === it.field)) return undefined;
  return `wanted ${it.reason} at "${it.field ?? ""}", got ${shown(answer)}`;
}

function problemOfResult(answer: RawAnswer, it: BadRequest): string | undefined {
  const [response] = answer.responses;
  if (answer.code !== 0 || response === undefined) return `wanted a result, got ${shown(answer)}`;
  const result = ExecuteStreamResponse.decode(response).results[0]?.result;
  if (result?.$case !== "error") return "wanted an error in the result, got a decision";
  const { reason, code, metadata } = result.value;
  if (reason === it.reason && code === Reasons[it.reason] && (it.field === undefined || metadata.get("field") === it.field)) return undefined;
  return `wanted ${it.reason} at "${it.field ?? ""}", got ${code} ${reason} at "${metadata.get("field") ?? ""}"`;
}
