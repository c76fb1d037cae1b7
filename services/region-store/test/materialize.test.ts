import type { MaterializeRequest } from "@statemesh/contract";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { RegionStore } from "../src/index.ts";
import { batch, bounds, CLUSTER, entity, loading, patching, refusal, region, storing, TestWorld } from "./world.ts";

let world: TestWorld;
let store: RegionStore;
let groups = 0;

beforeAll(async () => {
  world = await TestWorld.start();
  store = await world.store(await world.database());
});

afterAll(async () => {
  await world.stop();
});

function databaseOf(url: string): string {
  return new URL(url).pathname.slice(1);
}

/** A group that nobody used, in a region of its own. */
function newGroup() {
  const groupId = ++groups;
  const home = region(groupId * 10, 5, 5);
  return {
    groupId,
    home,
    send: (after: number, through: number, more: Partial<MaterializeRequest> = {}) => store.materialize(batch(after, through, { groupId, ...more })),
    at: (id: string, version: number, more = {}) => entity(id, version, { region: home, ...more }),
    held: async (where = home) => (await store.loadRegion(loading(where))).entities.map((each) => `${each.entityId}@${each.version}`),
  };
}

describe("Materialize", () => {
  it("applies a batch where the store stands at its beginning, and its repeat changes nothing", async () => {
    const { groupId, send, at, held } = newGroup();
    const first = { entities: [at("a", 3), at("b", 4)] };
    expect(await send(0, 5, first)).toEqual({ applied: true, watermark: 5 });
    expect(await send(0, 5, first)).toEqual({ applied: true, watermark: 5 });
    expect(await send(5, 7, { entities: [at("a", 6)], removed: [{ kind: "structure", entityId: "b", region: undefined, version: 7 }] })).toEqual({ applied: true, watermark: 7 });
    expect(await held()).toEqual(["a@6"]);
    expect((await store.getWatermarks({ clusterId: CLUSTER })).watermarks.get(groupId)).toBe(7);
  });

  it("changes nothing where a batch is missing, comes late, or comes from elsewhere, and says where it stands", async () => {
    const { send, at, held } = newGroup();
    await send(0, 5, { entities: [at("a", 5)] });
    await send(5, 9, { entities: [at("a", 8)] });
    expect(await send(12, 15, { entities: [at("a", 13)] })).toEqual({ applied: false, watermark: 9 });
    expect(await send(0, 5, { entities: [at("a", 5)] })).toEqual({ applied: false, watermark: 9 });
    expect(await send(4, 9, { entities: [at("a", 7)] })).toEqual({ applied: false, watermark: 9 });
    expect(await held()).toEqual(["a@8"]);
  });

  it("lets exactly one of several leaders bring what follows", async () => {
    const { send, at, held } = newGroup();
    await send(0, 5);
    const answers = await Promise.all([6, 7, 8, 9, 10].map((through) => send(5, through, { entities: [at(`by-${through}`, through)] })));
    const applied = answers.filter((answer) => answer.applied);
    expect(applied).toHaveLength(1);
    const watermark = applied[0]?.watermark ?? 0;
    expect(answers.every((answer) => answer.watermark === watermark)).toBe(true);
    expect(await held()).toEqual([`by-${watermark}@${watermark}`]);
  });

  it("keeps a row that is newer than what a batch brings", async () => {
    const { send, at, held } = newGroup();
    await send(0, 5, { entities: [at("a", 9)] });
    await send(5, 8, { entities: [at("a", 7)], removed: [{ kind: "structure", entityId: "a", region: undefined, version: 8 }] });
    expect(await held()).toEqual(["a@9"]);
  });

  it("drops what caches hold of the regions that an entity leaves and enters", async () => {
    const { home, send, at, held } = newGroup();
    const next = region(home.x + 1, 5, 5);
    await send(0, 1, { entities: [at("creature", 1)] });
    expect([await held(), await held(next)]).toEqual([["creature@1"], []]);
    await send(1, 2, { entities: [at("creature", 2, { region: next })] });
    expect([await held(), await held(next)]).toEqual([[], ["creature@2"]]);
    await send(2, 3, { removed: [{ kind: "structure", entityId: "creature", region: next, version: 3 }] });
    expect([await held(), await held(next)]).toEqual([[], []]);
  });

  it("keeps groups apart, though names and log indices are the same", async () => {
    const one = newGroup();
    const two = newGroup();
    await one.send(0, 9, { entities: [one.at("same", 9)] });
    await two.send(0, 2, { entities: [two.at("same", 2)] });
    await two.send(2, 3, { removed: [{ kind: "structure", entityId: "same", region: undefined, version: 3 }] });
    expect(await one.held()).toEqual(["same@9"]);
    expect(await two.held()).toEqual([]);
  });

  it("gives entities back whole", async () => {
    const { home, send } = newGroup();
    const whole = entity("whole \"quoted\" \\ ü", 4, {
      region: home, kind: "item", bounds: bounds(home.x * 2_000, 10_000, 10_000, home.x * 2_000 + 0.25, 10_000, 10_001.5), quantity: 9_007_199_254_740_991,
      attributes: new Map([["k", "v"]]), state: Buffer.from([0, 255, 92, 34]), stamp: { physicalMs: 1_700_000_000_000, logical: 7 }, epoch: 12,
    });
    await send(0, 4, { entities: [whole] });
    expect((await store.loadRegion(loading(home))).entities).toEqual([whole]);
  });

  it("answers at most 1,000 entities with a region, and says that there are more", async () => {
    const { home, send, at } = newGroup();
    await send(0, 1_001, { entities: Array.from({ length: 1_001 }, (_, n) => at(`e${String(n).padStart(4, "0")}`, n + 1)) });
    const loaded = await store.loadRegion(loading(home));
    expect([loaded.entities.length, loaded.moreEntities]).toEqual([1_000, true]);
    await send(1_001, 1_002, { removed: [{ kind: "structure", entityId: "e0000", region: undefined, version: 1_002 }] });
    const fewer = await store.loadRegion(loading(home));
    expect([fewer.entities.length, fewer.moreEntities]).toEqual([1_000, false]);
  });

  it("answers no more bytes of entities than fit into one message", async () => {
    const { home, send, at } = newGroup();
    await send(0, 40, { entities: Array.from({ length: 40 }, (_, n) => at(`e${n}`, n + 1, { state: Buffer.alloc(65_000) })) });
    const loaded = await store.loadRegion(loading(home));
    expect([loaded.entities.length, loaded.moreEntities]).toEqual([12, true]);
  });

  it("keeps balances and totals, so that SQL alone shows what is conserved", async () => {
    const { groupId, send } = newGroup();
    const balance = (accountId: string, quantity: number, version: number) => ({ accountId, itemKind: "iron", quantity, version });
    await send(0, 3, { balances: [balance("ann", 7, 3), balance("bob", 3, 2)], totals: [{ itemKind: "iron", minted: 10, burned: 0 }] });
    await send(3, 6, { balances: [balance("ann", 0, 6), balance("bob", 8, 6), balance("cid", 0, 6)], totals: [{ itemKind: "iron", minted: 10, burned: 2 }] });
    const rows = await world.postgres.query<{ held: string; made: string; accounts: string }>(
      "test_1",
      `SELECT (SELECT sum(quantity) FROM balances WHERE group_id = ${groupId}) AS held, (SELECT sum(minted - burned) FROM item_totals WHERE group_id = ${groupId}) AS made,
        (SELECT count(*) FROM balances WHERE group_id = ${groupId}) AS accounts`,
    );
    expect(rows).toEqual([{ held: "8", made: "8", accounts: "1" }]);
  });

  it("fences the region's writes at once, and epochs never go back", async () => {
    const { home, send } = newGroup();
    await store.storeRegion(storing(home, { epoch: 1 }));
    await send(0, 1, { epochs: [{ region: home, epoch: 4, ownerServerId: 9 }] });
    await send(1, 2, { epochs: [{ region: home, epoch: 3, ownerServerId: 8 }] });
    const error = await refusal(store.patchRegion(patching(home, { epoch: 3 })), "FENCED");
    expect(error.metadata).toMatchObject({ current_epoch: "4", owner_server_id: "9" });
    expect((await store.patchRegion(patching(home, { epoch: 4 }))).version).toBe(2);
    // A region that was leased and never stored is fenced too, and is not listed.
    const empty = region(home.x + 2);
    await send(2, 3, { epochs: [{ region: empty, epoch: 2, ownerServerId: 1 }] });
    await refusal(store.storeRegion(storing(empty)), "FENCED");
    expect((await store.loadRegion(loading(empty))).record).toBeUndefined();
    expect((await store.storeRegion(storing(empty, { epoch: 2 }))).version).toBe(1);
  });

  it("is refused by field where a row cannot be kept", async () => {
    const { groupId, home, send, at } = newGroup();
    const cases: [Partial<MaterializeRequest>, string][] = [
      [{ entities: [at("", 1)] }, "entities[0].entity_id"],
      [{ entities: [at("ok", 1), at("a\0b", 1)] }, "entities[1].entity_id"],
      [{ entities: [at("a", 1, { region: undefined })] }, "entities[0].region"],
      [{ entities: [at("a", 1, { bounds: bounds(1, 0, 0, 0, 0, 0) })] }, "entities[0].bounds.min_x"],
      [{ entities: [at("a", 1, { bounds: bounds(Number.NaN, 0, 0, 0, 0, 0) })] }, "entities[0].bounds.min_x"],
      [{ balances: [{ accountId: "", itemKind: "iron", quantity: 1, version: 1 }] }, "balances[0].account_id"],
      [{ epochs: [{ region: undefined, epoch: 1, ownerServerId: 1 }] }, "epochs[0].region"],
      [{ fullCopy: { copyId: 0, part: 0, last: true } }, "full_copy.copy_id"],
    ];
    for (const [more, field] of cases) await refusal(send(0, 1, more), "INVALID_FIELD", field);
    await refusal(send(5, 4), "INVALID_FIELD", "through_index");
    await refusal(send(0, 1, { entities: [at("twice", 1), at("twice", 1)] }), "INVALID_FIELD");
    expect((await store.getWatermarks({ clusterId: CLUSTER })).watermarks.get(groupId) ?? 0).toBe(0);
    expect((await store.loadRegion(loading(home))).entities).toEqual([]);
  });
});

describe("a store", () => {
  const tables = async (database: string) =>
    await world.postgres.query(
      database,
      `SELECT (SELECT string_agg(t::TEXT, '|') FROM owning_cluster t) AS owner, (SELECT string_agg(t::TEXT, '|' ORDER BY group_id) FROM watermarks t) AS watermarks,
        (SELECT string_agg(entity_id, '|' ORDER BY entity_id) FROM entities) AS entities`,
    );

  it("belongs to the cluster that brought the first batch, and refuses others by name without a change", async () => {
    const url = await world.database();
    const ours = await world.store(url);
    await ours.materialize(batch(0, 5, { entities: [entity("a", 3)] }));
    const before = await tables(databaseOf(url));
    for (const each of [ours, await world.store(url)]) {
      for (const more of [{}, { groupId: 2 }, { fullCopy: { copyId: 7, part: 0, last: true } }]) {
        const error = await refusal(each.materialize(batch(0, 9, { clusterId: "another", entities: [entity("b", 8)], ...more })), "CLUSTER_MISMATCH");
        expect(error.metadata).toEqual({ stored_cluster_id: "test" });
      }
      expect((await refusal(each.getWatermarks({ clusterId: "another" }), "CLUSTER_MISMATCH")).metadata).toEqual({ stored_cluster_id: "test" });
    }
    expect(await tables(databaseOf(url))).toEqual(before);
    expect(await ours.materialize(batch(5, 6))).toEqual({ applied: true, watermark: 6 });
    expect((await ours.getWatermarks({ clusterId: CLUSTER })).watermarks).toEqual(new Map([[1, 6]]));
  });

  it("belongs to exactly one of several clusters that bring their first batches to its replicas at once", async () => {
    const url = await world.database();
    const replicas = await Promise.all([1, 2, 3].map(() => world.store(url)));
    const clusters = ["red", "green", "blue", "grey"];
    const answers = await Promise.all(
      Array.from({ length: 24 }, async (_, at) => {
        const clusterId = clusters[at % clusters.length] ?? "";
        const request = batch(0, 4, { clusterId, groupId: at + 1, entities: [entity(`${clusterId}-${at}`, 4)] });
        const applied = await (replicas[at % replicas.length] ?? store).materialize(request).then(
          (response) => response.applied,
          async (error: unknown) => (await refusal(Promise.reject(error), "CLUSTER_MISMATCH"), false),
        );
        return { clusterId, groupId: at + 1, applied };
      }),
    );
    const owner = answers.find(({ applied }) => applied)?.clusterId ?? "";
    expect(answers.filter(({ clusterId, applied }) => applied !== (clusterId === owner))).toEqual([]);
    const { watermarks } = await (replicas[0] ?? store).getWatermarks({ clusterId: owner });
    expect([...watermarks.keys()].sort((a, b) => a - b)).toEqual(answers.filter(({ applied }) => applied).map(({ groupId }) => groupId));
    const rows = await world.postgres.query<{ entity_id: string }>(databaseOf(url), "SELECT entity_id FROM entities");
    expect(rows).toHaveLength(6);
    expect(rows.filter((row) => !row.entity_id.startsWith(`${owner}-`))).toEqual([]);
  });

  it("is nobody's where a cluster only asked, or its batch was refused", async () => {
    const fresh = await world.store(await world.database());
    expect((await fresh.getWatermarks({ clusterId: "asks" })).watermarks.size).toBe(0);
    await refusal(fresh.materialize(batch(0, 1, { clusterId: "twice", entities: [entity("a", 1), entity("a", 1)] })), "INVALID_FIELD");
    expect(await fresh.materialize(batch(0, 5))).toEqual({ applied: true, watermark: 5 });
  });

  it("takes no call without a cluster id of 1..64 bytes", async () => {
    for (const clusterId of ["", "c".repeat(65), "ü".repeat(33), "a\nb"]) {
      await refusal(store.materialize(batch(0, 1, { clusterId })), "INVALID_FIELD", "cluster_id");
      await refusal(store.getWatermarks({ clusterId }), "INVALID_FIELD", "cluster_id");
    }
  });
});

describe("a full copy", () => {
  const part = (copyId: number, at: number, last = false) => ({ fullCopy: { copyId, part: at, last } });

  it("replaces what the group has, and moves the watermark with its last part", async () => {
    const { groupId, send, at, held } = newGroup();
    const balance = (accountId: string) => ({ accountId, itemKind: "iron", quantity: 1, version: 4 });
    await send(0, 9, { entities: [at("gone", 5), at("kept", 9), at("changed", 6)], balances: [balance("gone"), balance("kept")] });
    expect(await send(0, 20, { ...part(77, 0), entities: [at("kept", 9), at("changed", 15)] })).toEqual({ applied: true, watermark: 9 });
    expect(await held()).toEqual(["changed@15", "gone@5", "kept@9"]);
    expect(await send(0, 20, { ...part(77, 1, true), entities: [at("new", 20)], balances: [balance("kept")] })).toEqual({ applied: true, watermark: 20 });
    expect(await held()).toEqual(["changed@15", "kept@9", "new@20"]);
    expect(await world.postgres.query("test_1", `SELECT account_id FROM balances WHERE group_id = ${groupId}`)).toEqual([{ account_id: "kept" }]);
    expect(await send(20, 21, { entities: [at("new", 21)] })).toEqual({ applied: true, watermark: 21 });
  });

  it("takes each part once and in order", async () => {
    const { send, at, held } = newGroup();
    expect(await send(0, 8, { ...part(5, 1), entities: [at("early", 2)] })).toEqual({ applied: false, watermark: 0 });
    await send(0, 8, { ...part(5, 0), entities: [at("a", 1)] });
    expect(await send(0, 8, { ...part(5, 0), entities: [at("a", 1)] })).toEqual({ applied: true, watermark: 0 });
    expect(await send(0, 8, { ...part(5, 2, true) })).toEqual({ applied: false, watermark: 0 });
    await send(0, 8, { ...part(5, 1, true), entities: [at("b", 2)] });
    expect(await send(0, 8, { ...part(5, 1, true), entities: [at("b", 2)] })).toEqual({ applied: true, watermark: 8 });
    expect(await held()).toEqual(["a@1", "b@2"]);
  });

  it("begins anew when another copy came in between", async () => {
    const { send, at, held } = newGroup();
    await send(0, 8, { ...part(1, 0), entities: [at("a", 1)] });
    await send(0, 9, { ...part(2, 0), entities: [at("b", 2)] });
    expect(await send(0, 8, { ...part(1, 1, true) })).toEqual({ applied: false, watermark: 0 });
    expect(await send(0, 9, { ...part(2, 1, true), entities: [at("c", 3)] })).toEqual({ applied: true, watermark: 9 });
    expect(await held()).toEqual(["b@2", "c@3"]);
  });

  it("ends where batches went beyond it", async () => {
    const { send, at, held } = newGroup();
    await send(0, 4, { entities: [at("a", 4)] });
    await send(0, 8, { ...part(3, 0), entities: [at("a", 4)] });
    await send(4, 12, { entities: [at("a", 11)] });
    expect(await send(0, 8, { ...part(3, 1, true) })).toEqual({ applied: false, watermark: 12 });
    expect(await send(0, 8, { ...part(4, 0, true) })).toEqual({ applied: false, watermark: 12 });
    expect(await held()).toEqual(["a@11"]);
  });
});
