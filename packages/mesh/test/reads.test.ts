// Linearizable reads: on the leader, on followers, with leases.
import { Entity, EventualValue, type MeshError, ReadLevel, ReadRequest, ReadResponse } from "@statemesh/contract";
import { read as readRegion } from "@statemesh/mesh";
import type { GroupState } from "@statemesh/replica";
import { describe, expect, it } from "vitest";
import { mint } from "./operations.ts";
import { DONE, openPageToken, placeOfPage, sealPageToken } from "../src/read-page.ts";
import { VirtualCluster, isDecision } from "./virtual-cluster.ts";

const PATIENCE_MS = 5_000;

function ready(options: ConstructorParameters<typeof VirtualCluster>[0] = {}): VirtualCluster {
  const cluster = new VirtualCluster(options);
  cluster.settle();
  cluster.register(1);
  return cluster;
}

/** Ada's ore as a linearizable read through the node says; undefined where it cannot say. */
function read(cluster: VirtualCluster, nodeId: number): { done: boolean; ore: number | undefined; error: MeshError | undefined } {
  const answer: { done: boolean; ore: number | undefined; error: MeshError | undefined } = { done: false, ore: undefined, error: undefined };
  const node = cluster.node(nodeId);
  node.barrier(1, cluster.nowMs + PATIENCE_MS, (error) => {
    answer.done = true;
    answer.error = error;
    if (error === undefined) answer.ore = node.group(1).state.ledger.balance("player:ada", "ore");
  });
  return answer;
}

function give(cluster: VirtualCluster, through: number, id: string): void {
  const answer = cluster.execute(through, [mint(id, 1, cluster.regionIn(1), "ada", "ore", 1)]).get(id);
  if (!isDecision(answer)) throw new Error(`${id} was not decided`);
}

describe.each([false, true])("a linearizable read, leases %s", (leaseReads) => {
  it("through any node shows everything that was answered before it began", () => {
    const cluster = ready({ node: { leaseReads } });
    for (let n = 1; n <= 6; n++) {
      give(cluster, (n % 3) + 1, `m-${n}`);
      const answers = [1, 2, 3].map((nodeId) => read(cluster, nodeId));
      cluster.runUntil(() => answers.every(({ done }) => done));
      expect(answers.map(({ ore }) => ore)).toEqual([n, n, n]);
    }
  });

  it("is not answered by a leader that was held up while others went on", () => {
    const cluster = ready({ node: { leaseReads } });
    give(cluster, 1, "m-1");
    cluster.run(1_000);
    const old = cluster.leaderOf(1);
    cluster.hold(old);
    const other = old === 1 ? 2 : 1;
    cluster.runUntil(() => cluster.node(other).group(1).leader !== old && cluster.node(other).group(1).leader !== 0);
    give(cluster, other, "m-2");
    // It wakes up with the read before anything else: no timer has run, no message has come.
    const answer = read(cluster, old);
    cluster.runUntil(() => answer.done, 100);
    cluster.release(old);
    expect(cluster.runUntil(() => answer.done)).toBe(true);
    expect([answer.ore, answer.error]).toEqual([2, undefined]);
  });

  it("on a follower that is cut off fails in time, and is never served from what the follower has", () => {
    const cluster = ready({ node: { leaseReads } });
    give(cluster, 1, "m-1");
    const follower = cluster.leaderOf(1) === 1 ? 2 : 1;
    cluster.cut([follower], cluster.members.filter((id) => id !== follower));
    const answer = read(cluster, follower);
    cluster.runUntil(() => answer.done, PATIENCE_MS + 1_000);
    expect(answer.error?.reason).toBe("MINORITY_PARTITION");
  });
});

it("a leader with a lease answers a read without a message", () => {
  const cluster = ready({ node: { leaseReads: true } });
  give(cluster, 1, "m-1");
  cluster.run(200);
  const leader = cluster.leaderOf(1);
  for (const id of cluster.members) if (id !== leader) cluster.loseFrames(leader, id, true);
  const answer = read(cluster, leader);
  cluster.runUntil(() => answer.done, 50);
  expect(answer.ore).toBe(1);
});

describe("pages of a region", () => {
  function pagesOf(all: readonly Entity[], pageSize: number): string[][] {
    const entities = new Map(all.map((entity) => [entity.entityId, entity]));
    const state = { entities: { inRegion: () => entities }, fence: () => undefined, position: () => ({ groupId: 1, index: 1 }) } as unknown as GroupState;
    const unused = (): never => {
      throw new Error("an eventual read asks nobody");
    };
    const node = { state: () => state, barrier: unused, whenApplied: unused, stalenessMs: unused, eventualValues: unused };
    const region = { x: 0, y: 0, z: 0 };
    const pages: string[][] = [];
    for (let pageToken = ""; ; ) {
      let page: ReadResponse | undefined;
      readRegion(node, 1, region, ReadRequest.fromPartial({ region, level: ReadLevel.EVENTUAL, pageSize, pageToken }), 0, (response) => (page = response));
      pages.push((page?.entities ?? []).map(({ entityId }) => entityId));
      pageToken = page?.nextPageToken ?? "";
      if (pageToken === "") return pages;
    }
  }

  it.each([1, 3, 64, 1_000])("of %i hold every entity once, in order of their names, however many there are", (pageSize) => {
    const names = Array.from({ length: 700 }, (_, n) => `e${(n * 389) % 700}`);
    const pages = pagesOf(names.map((entityId) => Entity.fromPartial({ entityId })), pageSize);
    expect(pages.flat()).toEqual(names.toSorted());
    expect(pages.length).toBe(Math.ceil(700 / pageSize));
  });

  it("end earlier where entities are large, so that an answer is never larger than a message", () => {
    const names = Array.from({ length: 700 }, (_, n) => `e${n}`);
    const attributes = new Map(Array.from({ length: 16 }, (_, at) => [`a${at}`, "x".repeat(1_024)] as const));
    const pages = pagesOf(names.map((entityId) => Entity.fromPartial({ entityId, attributes })), 1_000);
    expect(pages.flat()).toEqual(names.toSorted());
    expect(Math.max(...pages.map((page) => page.length)) * 16_384).toBeLessThan(1.1 * 1_048_576);
  });

  /** What each page holds of the region's values, beside `entities` entities. */
  function valuePages(values: readonly EventualValue[], entities: number, request: object = {}): { values: string[]; entities: number; bytes: number }[] {
    const held = new Map(Array.from({ length: entities }, (_, n) => [`e${n}`, Entity.fromPartial({ entityId: `e${n}` })]));
    const state = {
      entities: { inRegion: () => held, get: (_kind: string, id: string) => held.get(id) }, fence: () => undefined, position: () => ({ groupId: 1, index: 1, term: 1 }),
    } as unknown as GroupState;
    const unused = (): never => {
      throw new Error("an eventual read asks nobody");
    };
    const node = { state: () => state, barrier: unused, whenApplied: unused, stalenessMs: unused, eventualValues: () => values };
    const region = { x: 0, y: 0, z: 0 };
    const pages: ReturnType<typeof valuePages> = [];
    for (let pageToken = ""; ; ) {
      let page: ReadResponse | undefined;
      readRegion(node, 1, region, ReadRequest.fromPartial({ region, level: ReadLevel.EVENTUAL, includeEventual: true, pageToken, ...request }), 0, (response) => (page = response));
      if (page === undefined) throw new Error("no page");
      pages.push({ values: page.values.map(({ key, type }) => `${key} ${type}`), entities: page.entities.length, bytes: ReadResponse.encode(page).finish().length });
      pageToken = page.nextPageToken;
      if (pageToken === "") return pages;
    }
  }
  const value = (key: string, type: string, bytes = 0) => EventualValue.fromPartial({ key, type, value: new Uint8Array(bytes), region: { x: 0, y: 0, z: 0 } });

  it.each([[0, 3_000], [2_000, 3_000], [2_000, 10], [100, 100]])("hold each of %i entities and %i eventual values once, however many there are of either", (entities, count) => {
    const values = Array.from({ length: count }, (_, n) => value(`k${(n * 1_009) % count}`, "b")).flatMap((each) => (each.key === "k7" ? [each, value("k7", "a")] : [each]));
    const pages = valuePages(values, entities);
    expect(pages.flatMap((page) => page.values)).toEqual([...new Set(values.map(({ key, type }) => `${key} ${type}`))].sort());
    expect(pages.reduce((sum, page) => sum + page.entities, 0)).toBe(entities);
    expect(pages.length).toBe(Math.max(1, Math.ceil(entities / 256), Math.ceil(values.length / 1_024)));
  });

  it("hold large values in answers below the size of a message, also beside entities that are named", () => {
    const pages = valuePages(Array.from({ length: 1_024 }, (_, n) => value(`k${String(n).padStart(4, "0")}`, "a", 4_096)), 3, { entities: [{ kind: "wall", entityId: "e1" }] });
    expect(pages.flatMap((page) => page.values)).toHaveLength(1_024);
    expect(Math.max(...pages.map(({ bytes }) => bytes))).toBeLessThan(2 * 1_048_576);
    expect(pages.length).toBeGreaterThan(3);
  });

  it("are refused where their token is damaged, or of another region", () => {
    const home = { x: 0, y: 0, z: 0 };
    const token = sealPageToken({ entity: DONE, value: { key: "k\u0000.%", type: "a" } }, home);
    expect(openPageToken(token, home)).toEqual({ entity: DONE, value: { key: "k\u0000.%", type: "a" } });
    for (const bad of [`${token}x`, token.slice(1), "v1.%5B%5D", "v.", "."]) expect(() => openPageToken(bad, home)).toThrow(/page_token/);
    expect(() => openPageToken(token, { x: 1, y: 0, z: 0 })).toThrow(/page_token/);
    // A read without values would end with it as if there were no more.
    expect(placeOfPage({ pageToken: token, includeEventual: true }, home).value).toEqual({ key: "k\u0000.%", type: "a" });
    expect(() => placeOfPage({ pageToken: token, includeEventual: false }, home)).toThrow(/page_token/);
  });
});
