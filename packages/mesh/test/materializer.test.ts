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
  /** Answers to lose after they took effect. */
  lose = 0;
  #copyNames = new Set<string>();

  materialize = (request: MaterializeRequest): MaterializeResponse | undefined => {
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

function ready(touchCapacity = 4_096) {
  const store = new MapStore();
  const cluster = new VirtualCluster({
    groups: 1,
    node: { touchCapacity },
    store: store.materialize,
    watermarks: () => (store.down ? undefined : store.watermarks),
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
});
