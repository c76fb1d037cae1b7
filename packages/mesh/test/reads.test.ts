// Linearizable reads: on the leader, on followers, with leases.
import { Entity, type MeshError, ReadLevel, ReadRequest, type ReadResponse } from "@statemesh/contract";
import { read as readRegion } from "@statemesh/mesh";
import type { GroupState } from "@statemesh/replica";
import { describe, expect, it } from "vitest";
import { mint } from "./operations.ts";
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
});
