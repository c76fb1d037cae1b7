import type { Balance, Entity, MaterializeRequest, MaterializeResponse } from "@statemesh/contract";
import { describe, expect, it } from "vitest";
import { give, mint, place, removeStructure } from "./operations.ts";
import { VirtualCluster } from "./virtual-cluster.ts";

/** A region store of maps, with the rules of the contract. */
class MapStore {
  readonly watermarks = new Map<number, number>();
  readonly entities = new Map<string, Entity>();
  readonly balances = new Map<string, Balance>();
  down = false;
  fullCopies = 0;
  requests: MaterializeRequest[] = [];
  /** Answers to lose after they took effect. */
  lose = 0;
  asked = 0;
  #copyNames = new Set<string>();

  ask = (): ReadonlyMap<number, number> | undefined => {
    this.asked++;
    return this.down ? undefined : this.watermarks;
  };

  materialize = (request: MaterializeRequest): MaterializeResponse | undefined => {
    this.requests.push(request);
    if (this.down) return undefined;
    const { groupId, afterIndex, throughIndex, fullCopy } = request;
    const stands = this.watermarks.get(groupId) ?? 0;
    if (fullCopy === undefined && stands !== afterIndex) return { applied: stands === throughIndex, watermark: stands };
    if (fullCopy?.part === 0) this.#copyNames = new Set();
    for (const entity of request.entities) {
      const name = `${groupId}/${entity.kind}/${entity.entityId}`;
      this.#copyNames.add(name);
      if ((this.entities.get(name)?.version ?? 0) < entity.version) this.entities.set(name, entity);
    }
    for (const { kind, entityId } of request.removed) this.entities.delete(`${groupId}/${kind}/${entityId}`);
    for (const balance of request.balances) {
      const name = `${groupId}/${balance.accountId}/${balance.itemKind}`;
      this.#copyNames.add(name);
      if (balance.quantity === 0) this.balances.delete(name);
      else this.balances.set(name, balance);
    }
    if (fullCopy !== undefined && !fullCopy.last) return { applied: true, watermark: stands };
    if (fullCopy !== undefined) {
      this.fullCopies++;
      for (const rows of [this.entities, this.balances]) {
        for (const name of rows.keys()) if (name.startsWith(`${groupId}/`) && !this.#copyNames.has(name)) rows.delete(name);
      }
    }
    this.watermarks.set(groupId, throughIndex);
    return this.lose-- > 0 ? undefined : { applied: true, watermark: throughIndex };
  };
}

function ready(touchCapacity = 4_096, store = new MapStore()) {
  const cluster = new VirtualCluster({
    groups: 1,
    node: { touchCapacity },
    store: store.materialize,
    watermarks: store.ask,
  });
  cluster.settle();
  cluster.register(1);
  return { store, cluster };
}

function expectEqual({ store, cluster }: ReturnType<typeof ready>): void {
  const caughtUp = cluster.runUntil(() => {
    const leader = cluster.leaderOf(1);
    return leader !== 0 && store.watermarks.get(1) === cluster.node(leader).group(1).state.appliedIndex;
  });
  expect(caughtUp).toBe(true);
  const { state } = cluster.node(cluster.leaderOf(1)).group(1);
  const stored = [...store.entities.values()].map((entity) => `${entity.kind}/${entity.entityId}@${entity.version}`).sort();
  expect(stored).toEqual([...state.entities.values()].map((entity) => `${entity.kind}/${entity.entityId}@${entity.version}`).sort());
  const balances = [...store.balances.values()].map((row) => `player:${row.accountId} ${row.itemKind} ${row.quantity}`).sort();
  expect(balances).toEqual([...state.ledger.rows()].map((row) => `${row.account} ${row.itemKind} ${row.quantity}`).sort());
}

function play(cluster: VirtualCluster, from: number, count: number): void {
  const region = cluster.regionIn(1);
  for (let i = from; i < from + count; i++) {
    cluster.execute(cluster.members.filter((id) => cluster.isUp(id))[i % 3] ?? 1, [mint(`m${i}`, 1, region, `p${i % 5}`, "ore", 3), place(`b${i}`, 1, region, [(i % 300) * 5, 0, Math.floor(i / 300) * 5])]);
    if (i % 3 === 0) cluster.execute(1, [removeStructure(`r${i}`, 1, region, `s-b${i}`), give(`g${i}`, 1, region, `p${i % 5}`, "p9", "ore", 3)]);
  }
}

describe("materialisation", () => {
  it("brings the store to the state of the group", () => {
    const mesh = ready();
    play(mesh.cluster, 0, 20);
    expectEqual(mesh);
    expect(mesh.store.fullCopies).toBe(0);
  });

  it("catches up after the store was away, from where it stands", () => {
    const mesh = ready();
    play(mesh.cluster, 0, 5);
    expectEqual(mesh);
    mesh.store.down = true;
    play(mesh.cluster, 5, 20);
    mesh.cluster.run(3_000);
    mesh.store.down = false;
    expectEqual(mesh);
    expect(mesh.store.fullCopies).toBe(0);
  });

  it("sends a full copy where the store is behind what the leader remembers", () => {
    const mesh = ready(16);
    play(mesh.cluster, 0, 3);
    expectEqual(mesh);
    mesh.store.down = true;
    play(mesh.cluster, 3, 40);
    mesh.store.down = false;
    expectEqual(mesh);
    expect(mesh.store.fullCopies).toBeGreaterThan(0);
  });

  it("takes effect once where answers are lost and leaders change", () => {
    const mesh = ready();
    const { cluster, store } = mesh;
    for (let round = 0; round < 4; round++) {
      store.lose = 2;
      play(cluster, round * 6, 6);
      const leader = cluster.leaderOf(1);
      cluster.kill(leader);
      cluster.settle();
      cluster.start(leader);
      cluster.run(500);
    }
    expectEqual(mesh);
  });

  it("says whose state it is", () => {
    const mesh = ready();
    play(mesh.cluster, 0, 2);
    expectEqual(mesh);
    expect(new Set(mesh.store.requests.map((request) => request.clusterId))).toEqual(new Set(["test"]));
  });

  describe("where the store is ahead of the log, as after a cluster was wiped", () => {
    const AHEAD = 40;

    function wiped() {
      const store = new MapStore();
      store.watermarks.set(1, AHEAD);
      const mesh = ready(4_096, store);
      mesh.cluster.run(2_000);
      const sent = () => store.requests.filter((request) => request.groupId === 1).length;
      return { ...mesh, sent, leader: () => mesh.cluster.node(mesh.cluster.leaderOf(1)) };
    }

    it("sends nothing and says so once, also when the log has grown past it", () => {
      const { cluster, leader, sent } = wiped();
      expect(leader().isStoreAhead).toBe(true);
      play(cluster, 0, 40);
      cluster.run(20_000);
      expect(leader().group(1).state.appliedIndex).toBeGreaterThan(AHEAD);
      expect([sent(), leader().isStoreAhead]).toEqual([0, true]);
      expect(cluster.complaints).toHaveLength(1);
      expect(cluster.complaints[0]).toMatchObject({ message: expect.stringContaining("ahead of the log"), fields: { group: 1, watermark: AHEAD } });
    });

    it("sends to the empty database that it is given then", () => {
      const { cluster, store, leader } = wiped();
      play(cluster, 0, 5);
      store.watermarks.clear();
      expectEqual({ cluster, store });
      expect(leader().isStoreAhead).toBe(false);
    });
  });

  it("does not take the store for another cluster's where a leader that was cut off finds it ahead", () => {
    const mesh = ready();
    const { cluster, store } = mesh;
    play(cluster, 0, 3);
    expectEqual(mesh);
    const old = cluster.leaderOf(1);
    // A leader that could not send asks anew where the store stands. As if the next leader had been there already:
    store.down = true;
    play(cluster, 3, 1);
    const { appliedIndex } = cluster.node(old).group(1).state;
    cluster.cut([old], cluster.members.filter((id) => id !== old));
    const stands = store.watermarks.get(1) ?? 0;
    store.watermarks.set(1, appliedIndex + 5);
    store.down = false;
    store.asked = 0;
    cluster.runUntil(() => store.asked > 0);
    expect(cluster.node(old).group(1).serves).toBe(true);
    cluster.run(50);
    store.watermarks.set(1, stands);
    cluster.run(3_000);
    expect(cluster.complaints).toEqual([]);
    cluster.heal();
    cluster.settle();
    expectEqual(mesh);
  });
});
