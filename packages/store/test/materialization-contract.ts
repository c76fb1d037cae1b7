// What every SQL under the materializer must do, run against each adapter: PostgreSQL, and the simulated database.
import { type Balance, type Entity, type ItemTotal, type MaterializeRequest, MeshError, type RegionEpoch } from "@statemesh/contract";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type MaterializationStore, Materializer, WorkConflict } from "../src/index.ts";

/** Everything that is committed. */
export interface StoredRows {
  readonly owner: string | undefined;
  readonly watermarks: ReadonlyMap<number, number>;
  readonly entities: readonly Entity[];
  readonly balances: readonly Balance[];
  readonly totals: readonly ItemTotal[];
  readonly epochs: readonly RegionEpoch[];
}

/** One database, and two processes that use it. */
export interface StoreUnderTest {
  readonly stores: readonly [MaterializationStore, MaterializationStore];
  /** Waits for work, on whatever time the adapter lives. */
  settle<T>(work: Promise<T>): Promise<T>;
  rows(): Promise<StoredRows>;
  /** The next COMMIT of the first process gets this fate: its connection breaks before or after the server heard it. */
  loseNextCommit(what: "request" | "answer"): void;
  close(): Promise<void>;
}

const CLUSTER = "contract";
const region = (x: number) => ({ x, y: 0, z: 0 });

export function entityOf(entityId: string, version: number, x = 0): Entity {
  return {
    entityId, kind: "structure", region: region(x), version, operationId: `op-${version}`, serverId: 3, playerId: "ann", bounds: undefined, label: "wall",
    quantity: 0, attributes: new Map(), state: Buffer.alloc(0), stamp: undefined, epoch: 0,
  };
}

export function batchOf(groupId: number, afterIndex: number, throughIndex: number, more: Partial<MaterializeRequest> = {}): MaterializeRequest {
  return { clusterId: CLUSTER, groupId, afterIndex, throughIndex, entities: [], removed: [], balances: [], epochs: [], totals: [], fullCopy: undefined, ...more };
}

/** `make` gives an empty database. */
export function materializationContract(name: string, make: () => Promise<StoreUnderTest>): void {
  describe(`materialised state in ${name}`, () => {
    let sql: StoreUnderTest;
    let groups = 0;
    const forgotten: string[] = [];

    beforeAll(async () => {
      sql = await make();
    });

    afterAll(async () => {
      await sql.close();
    });

    const materializer = (process: 0 | 1 = 0) => new Materializer(sql.stores[process], { invalidate: async (keys) => void forgotten.push(...keys) });

    /** A group that nobody used. */
    function newGroup() {
      const groupId = ++groups;
      const send = async (after: number, through: number, more: Partial<MaterializeRequest> = {}) => await sql.settle(materializer().materialize(batchOf(groupId, after, through, more)));
      const of = async () => {
        const rows = await sql.rows();
        const ours = `g${groupId}-`;
        return {
          watermark: rows.watermarks.get(groupId) ?? 0,
          entities: rows.entities.filter(({ entityId }) => entityId.startsWith(ours)).map(({ entityId, version }) => `${entityId.slice(ours.length)}@${version}`).sort(),
          balances: rows.balances.filter(({ accountId }) => accountId.startsWith(ours)).map(({ accountId, quantity }) => `${accountId.slice(ours.length)}=${quantity}`).sort(),
          totals: rows.totals.filter(({ itemKind }) => itemKind.startsWith(ours)).map(({ minted, burned }) => `${minted}-${burned}`),
        };
      };
      const at = (id: string, version: number, x = groupId) => entityOf(`g${groupId}-${id}`, version, x);
      const balance = (account: string, quantity: number, version: number): Balance => ({ accountId: `g${groupId}-${account}`, itemKind: "iron", quantity, version });
      const total = (minted: number, burned: number): ItemTotal => ({ itemKind: `g${groupId}-iron`, minted, burned });
      const gone = (id: string, version: number) => ({ kind: "structure", entityId: `g${groupId}-${id}`, region: undefined, version });
      return { groupId, send, of, at, balance, total, gone };
    }

    it("takes a batch where it stands at its beginning, and its repeat changes nothing", async () => {
      const { send, of, at, balance, total, gone } = newGroup();
      const first = { entities: [at("a", 3), at("b", 4)], balances: [balance("ann", 7, 3)], totals: [total(7, 0)] };
      expect(await send(0, 5, first)).toEqual({ applied: true, watermark: 5 });
      expect(await send(0, 5, first)).toEqual({ applied: true, watermark: 5 });
      expect(await send(5, 7, { entities: [at("a", 6)], removed: [gone("b", 7)], balances: [balance("ann", 0, 7), balance("bob", 6, 7)], totals: [total(7, 1)] })).toEqual({ applied: true, watermark: 7 });
      expect(await of()).toEqual({ watermark: 7, entities: ["a@6"], balances: ["bob=6"], totals: ["7-1"] });
    });

    it("changes nothing where a batch is missing, comes late, or comes from elsewhere, and says where it stands", async () => {
      const { send, of, at } = newGroup();
      await send(0, 5, { entities: [at("a", 5)] });
      await send(5, 9, { entities: [at("a", 8)] });
      for (const [after, through] of [[12, 15], [0, 5], [4, 9]] as const) expect(await send(after, through, { entities: [at("x", through)] })).toEqual({ applied: false, watermark: 9 });
      expect(await of()).toMatchObject({ watermark: 9, entities: ["a@8"] });
    });

    it("takes accounts whose names are as long as the mesh makes them: of players, containers and escrows with ids of 64 bytes", async () => {
      const { groupId, send } = newGroup();
      const names = ["", "player:", "container:", "escrow:"].map((prefix) => prefix + `g${groupId}-`.padEnd(64, "x"));
      const balances = names.map((accountId): Balance => ({ accountId, itemKind: "k".repeat(64), quantity: 1, version: 1 }));
      expect(await send(0, 1, { balances })).toEqual({ applied: true, watermark: 1 });
      const { balances: stored } = await sql.rows();
      expect(stored.map(({ accountId }) => accountId)).toEqual(expect.arrayContaining(names));
    });

    it("keeps a row that is newer than what a batch brings", async () => {
      const { send, of, at, balance, gone } = newGroup();
      await send(0, 5, { entities: [at("a", 9)], balances: [balance("ann", 3, 9), balance("bob", 4, 9)] });
      await send(5, 8, { entities: [at("a", 7)], removed: [gone("a", 8)], balances: [balance("ann", 1, 7), balance("bob", 0, 8)] });
      expect(await of()).toMatchObject({ entities: ["a@9"], balances: ["ann=3", "bob=4"] });
    });

    it("lets exactly one of several leaders bring what follows, through two processes at once", async () => {
      const { groupId, send, of, at } = newGroup();
      await send(0, 5);
      const answers = await sql.settle(
        Promise.all([6, 7, 8, 9, 10].map((through) => materializer(through % 2 === 0 ? 0 : 1).materialize(batchOf(groupId, 5, through, { entities: [at(`by-${through}`, through)] })))),
      );
      const [winner, ...others] = answers.filter((answer) => answer.applied);
      expect(others).toEqual([]);
      expect(answers.every((answer) => answer.watermark === winner?.watermark)).toBe(true);
      expect(await of()).toMatchObject({ watermark: winner?.watermark, entities: [`by-${winner?.watermark}@${winner?.watermark}`] });
    });

    it("takes a batch once where the connection broke at COMMIT, before or after it took effect", async () => {
      for (const what of ["request", "answer"] as const) {
        const { send, of, at } = newGroup();
        await send(0, 5, { entities: [at("a", 5)] });
        sql.loseNextCommit(what);
        expect(await send(5, 9, { entities: [at("b", 9)] }), what).toEqual({ applied: true, watermark: 9 });
        expect(await of()).toMatchObject({ watermark: 9, entities: ["a@5", "b@9"] });
      }
    });

    it("says that the outcome is unknown where the work cannot find it out", async () => {
      for (const [what, expected] of [["request", 0], ["answer", 1]] as const) {
        const { groupId } = newGroup();
        sql.loseNextCommit(what);
        const work = sql.stores[0].transaction(async (rows) => {
          await rows.ensureWatermark(groupId);
          await rows.advance(groupId, 0, 1);
        }, { decidesRepeats: false });
        await expect(sql.settle(work)).rejects.toMatchObject({ reason: "OUTCOME_UNKNOWN" });
        expect((await sql.rows()).watermarks.get(groupId) ?? 0).toBe(expected);
      }
    });

    it("runs work again that found its rows changed, and rolls back what it refuses", async () => {
      const { groupId, of } = newGroup();
      let attempts = 0;
      const done = await sql.settle(
        sql.stores[0].transaction(async (rows) => {
          await rows.ensureWatermark(groupId);
          expect(await rows.advance(groupId, 0, ++attempts)).toBe(true);
          if (attempts < 3) throw new WorkConflict("again");
          return attempts;
        }, { decidesRepeats: true }),
      );
      expect(done).toBe(3);
      const refused = sql.stores[0].transaction(async (rows) => {
        await rows.advance(groupId, 3, 9);
        throw MeshError.field("x", "must be good");
      }, { decidesRepeats: true });
      await expect(sql.settle(refused)).rejects.toMatchObject({ reason: "INVALID_FIELD" });
      expect(await of()).toMatchObject({ watermark: 3 });
    });

    it("refuses a row that is named twice, and keeps nothing of the batch", async () => {
      const { groupId, of, at, balance, total } = newGroup();
      const epoch = { region: region(groupId), epoch: 1, ownerServerId: 1 };
      const twice: Partial<MaterializeRequest>[] = [{ entities: [at("a", 1), at("a", 1)] }, { balances: [balance("ann", 1, 1), balance("ann", 2, 1)] }, { totals: [total(1, 0), total(2, 0)] }, { epochs: [epoch, epoch] }];
      for (const more of twice) await expect(sql.settle(materializer().materialize(batchOf(groupId, 0, 1, { entities: [at("b", 1)], ...more })))).rejects.toMatchObject({ reason: "INVALID_FIELD" });
      expect(await of()).toEqual({ watermark: 0, entities: [], balances: [], totals: [] });
    });

    it("keeps epochs that only grow, and the owner of the newest", async () => {
      const { groupId, send } = newGroup();
      const epochs = (epoch: number, ownerServerId: number) => ({ epochs: [{ region: region(groupId), epoch, ownerServerId }] });
      const stored = async () => (await sql.rows()).epochs.find((each) => each.region?.x === groupId);
      await send(0, 1, epochs(4, 9));
      await send(1, 2, epochs(3, 8));
      expect(await stored()).toMatchObject({ epoch: 4, ownerServerId: 9 });
      await send(2, 3, epochs(4, 0));
      expect(await stored()).toMatchObject({ epoch: 4, ownerServerId: 0 });
    });

    it("names the regions that entities left, entered and were removed from", async () => {
      const { groupId, send, at, gone } = newGroup();
      const there = groupId + 500;
      const keys = async (more: Partial<MaterializeRequest>, after: number) => {
        forgotten.length = 0;
        await send(after, after + 1, more);
        return new Set(forgotten).size;
      };
      expect(await keys({ entities: [at("creature", 1)] }, 0)).toBe(1);
      expect(await keys({ entities: [at("creature", 2, there)] }, 1)).toBe(2);
      expect(await keys({ removed: [gone("creature", 3)] }, 2)).toBe(1);
      expect(await keys({ removed: [gone("creature", 3)] }, 3)).toBe(0);
    });

    it("takes the parts of a full copy once and in order, and with the last one only what it named is left", async () => {
      const { send, of, at, balance, total } = newGroup();
      const part = (copyId: number, number: number, last = false) => ({ fullCopy: { copyId, part: number, last } });
      await send(0, 9, { entities: [at("gone", 5), at("kept", 9), at("changed", 6)], balances: [balance("gone", 1, 2), balance("kept", 1, 2)], totals: [total(3, 0)] });
      expect(await send(0, 20, { ...part(7, 1), entities: [at("early", 2)] })).toEqual({ applied: false, watermark: 9 });
      expect(await send(0, 20, { ...part(7, 0), entities: [at("kept", 9), at("changed", 15)] })).toEqual({ applied: true, watermark: 9 });
      expect(await send(0, 20, { ...part(7, 0), entities: [at("twice", 15)] })).toEqual({ applied: true, watermark: 9 });
      expect(await of()).toMatchObject({ entities: ["changed@15", "gone@5", "kept@9"] });
      sql.loseNextCommit("answer");
      expect(await send(0, 20, { ...part(7, 1, true), entities: [at("new", 20)], balances: [balance("kept", 1, 2)] })).toEqual({ applied: true, watermark: 20 });
      expect(await of()).toEqual({ watermark: 20, entities: ["changed@15", "kept@9", "new@20"], balances: ["kept=1"], totals: [] });
      expect(await send(20, 21, { entities: [at("new", 21)] })).toEqual({ applied: true, watermark: 21 });
    });

    it("lets no part of a full copy overwrite a batch that went beyond it", async () => {
      const { send, of, at } = newGroup();
      const part = (number: number, last = false) => ({ fullCopy: { copyId: 3, part: number, last } });
      await send(0, 5, { entities: [at("a", 5)] });
      await send(0, 8, { ...part(0), entities: [at("a", 8)] });
      await send(5, 12, { entities: [at("a", 12)] });
      expect(await send(0, 8, { ...part(1, true), entities: [at("b", 8)] })).toEqual({ applied: false, watermark: 12 });
      expect(await of()).toMatchObject({ watermark: 12, entities: ["a@12"] });
    });

    it("belongs to the cluster that came first, and refuses others without a change", async () => {
      const { groupId, send, of, at } = newGroup();
      await send(0, 5, { entities: [at("a", 3)] });
      const other = sql.settle(materializer(1).materialize(batchOf(groupId, 5, 9, { clusterId: "another", entities: [at("b", 8)] })));
      await expect(other).rejects.toMatchObject({ reason: "CLUSTER_MISMATCH", metadata: { stored_cluster_id: CLUSTER } });
      await expect(sql.settle(materializer(1).watermarks({ clusterId: "another" }))).rejects.toMatchObject({ reason: "CLUSTER_MISMATCH" });
      expect((await sql.settle(materializer(1).watermarks({ clusterId: CLUSTER }))).watermarks.get(groupId)).toBe(5);
      expect(await of()).toMatchObject({ watermark: 5, entities: ["a@3"] });
    });

    it("starts no work for a caller that has gone", async () => {
      const { groupId, of } = newGroup();
      const request = batchOf(groupId, 0, 5);
      await expect(sql.settle(materializer().materialize(request, { cancelled: true, remainingMs: 1_000 }))).rejects.toMatchObject({ reason: "CANCELLED" });
      await expect(sql.settle(materializer().materialize(request, { cancelled: false, remainingMs: 0 }))).rejects.toMatchObject({ reason: "DEADLINE_EXCEEDED" });
      expect(await of()).toMatchObject({ watermark: 0 });
    });
  });
}
