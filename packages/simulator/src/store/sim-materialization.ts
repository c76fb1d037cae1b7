import type { Balance, Entity, EventualValue, ItemTotal, Region, RegionEpoch } from "@statemesh/contract";
import { type Caller, type EventualPlace, type MaterializationRows, type MaterializationStore, type TransactionOptions, type WatermarkRow, WorkRunner } from "@statemesh/store";
import type { Random, Timers } from "@statemesh/ports";
import { compareWrites } from "@statemesh/mesh";
import { formatRegion, mortonKey } from "@statemesh/world";
import { type SimConnection, type SimSql, type SimSqlClient, SimSqlError, type Transaction } from "./sim-sql.ts";

export interface EntityRow {
  readonly entity: Entity;
  readonly copyId: number;
}

export interface BalanceRow {
  readonly balance: Balance;
  readonly copyId: number;
}

export interface TotalRow {
  readonly total: ItemTotal;
  readonly copyId: number;
}

interface GroupWatermark extends WatermarkRow {
  readonly groupId: number;
}

/** Everything that is committed, for oracles and tests. */
export interface MaterializedRows {
  readonly owner: string | undefined;
  /** Log index by group. */
  readonly watermarks: ReadonlyMap<number, number>;
  readonly entities: readonly Entity[];
  readonly balances: readonly Balance[];
  readonly totals: readonly ItemTotal[];
  readonly epochs: readonly RegionEpoch[];
  readonly eventual: readonly EventualValue[];
}

/** Materialised state in a simulated database, through the production code that runs transactions again. */
export class SimMaterialization implements MaterializationStore {
  readonly #runner: WorkRunner<SimConnection>;

  constructor(client: SimSqlClient, timers: Timers, random: Random) {
    this.#runner = new WorkRunner(() => client.connect(), timers, random);
  }

  async transaction<T>(work: (rows: MaterializationRows) => Promise<T>, options: TransactionOptions): Promise<T> {
    return await this.#runner.transaction((session) => work(new SimRows(session)), options);
  }

  async watermarks(caller?: Caller): Promise<{ byGroup: Map<number, number>; owner: string | undefined }> {
    return await this.#runner.read(async (session) => {
      const byGroup = await session.run((rows) => new Map(rows.scan<GroupWatermark>("watermark/").map(([, row]) => [row.groupId, row.logIndex])));
      return { byGroup, owner: await new SimRows(session).owner() };
    }, caller);
  }

  async eventualAfter(place: EventualPlace | undefined, limit: number, caller?: Caller): Promise<{ values: EventualValue[]; owner: string | undefined }> {
    return await this.#runner.read(async (session) => {
      const after = place === undefined ? "" : eventualKey(place.regionKey, place.type, place.key);
      const values = await session.run((rows) => rows.scan<EventualValue>("eventual/").filter(([key]) => key > after).slice(0, limit).map(([, row]) => row));
      return { values, owner: await new SimRows(session).owner() };
    }, caller);
  }
}

/** Rows of one group, or of all, as they are committed. */
export function materializedRows(sql: SimSql, groupId?: number): MaterializedRows {
  const group = groupId === undefined ? "" : `${groupId}/`;
  return {
    owner: sql.committed<{ clusterId: string }>("owner")[0]?.clusterId,
    watermarks: new Map(sql.committed<GroupWatermark>(`watermark/${group}`).map((row) => [row.groupId, row.logIndex])),
    entities: sql.committed<EntityRow>(`entity/${group}`).map((row) => row.entity),
    balances: sql.committed<BalanceRow>(`balance/${group}`).map((row) => row.balance),
    totals: sql.committed<TotalRow>(`total/${group}`).map((row) => row.total),
    epochs: sql.committed<RegionEpoch>("epoch/"),
    eventual: sql.committed<EventualValue>("eventual/"),
  };
}

/** Entities of a region as a statement sees them, and how far the logs of all groups are written down then. */
export function storedInRegion(rows: Transaction, groupId: number, region: Region): { readonly entities: Entity[]; readonly stands: number } {
  const key = String(mortonKey(region));
  const entities = rows.scan<EntityRow>(`entity/${groupId}/`).map(([, { entity }]) => entity).filter((entity) => regionKey(entity) === key);
  return { entities, stands: rows.scan<GroupWatermark>("watermark/").reduce((sum, [, { logIndex }]) => sum + logIndex, 0) };
}

class SimRows implements MaterializationRows {
  readonly #session: SimConnection;

  constructor(session: SimConnection) {
    this.#session = session;
  }

  async owner(): Promise<string | undefined> {
    return await this.#session.run((rows) => rows.get<{ clusterId: string }>("owner")?.clusterId);
  }

  async claim(clusterId: string): Promise<void> {
    await this.#session.run((rows) => {
      if (rows.get("owner") === undefined) rows.put("owner", { clusterId });
    });
  }

  async watermark(groupId: number): Promise<WatermarkRow | undefined> {
    return await this.#session.run((rows) => rows.get<GroupWatermark>(watermarkKey(groupId)));
  }

  async ensureWatermark(groupId: number): Promise<void> {
    await this.#session.run((rows) => {
      const key = watermarkKey(groupId);
      if (rows.get(key) === undefined) rows.put(key, { groupId, logIndex: 0, afterIndex: 0, copyId: 0, copyNextPart: 0, copyThroughIndex: 0 } satisfies GroupWatermark);
    });
  }

  async advance(groupId: number, after: number, through: number): Promise<boolean> {
    return await this.#update(groupId, (row) => row.logIndex === after, (row) => ({ ...row, logIndex: through, afterIndex: after }));
  }

  async beginCopy(groupId: number, copyId: number, through: number): Promise<boolean> {
    return await this.#update(groupId, (row) => row.copyId !== copyId && row.logIndex <= through, (row) => ({ ...row, copyId, copyNextPart: 1, copyThroughIndex: through }));
  }

  async nextPart(groupId: number, copyId: number, through: number, part: number): Promise<boolean> {
    return await this.#update(
      groupId,
      (row) => row.copyId === copyId && row.copyThroughIndex === through && row.copyNextPart === part && row.logIndex <= through,
      (row) => ({ ...row, copyNextPart: part + 1 }),
    );
  }

  async endCopy(groupId: number, through: number): Promise<void> {
    await this.#update(groupId, () => true, (row) => ({ ...row, logIndex: through, afterIndex: -1 }));
  }

  async writeEntities(groupId: number, copyId: number, entities: readonly Entity[]): Promise<string[]> {
    return await this.#unlessEmpty(entities, (rows) => {
      const left = new Set<string>();
      for (const [key, entity] of keyed(entities, (each) => entityKey(groupId, each.kind, each.entityId))) {
        const before = rows.get<EntityRow>(key);
        if (before !== undefined && copyId === 0 && before.entity.version >= entity.version) continue;
        rows.put(key, { entity, copyId: copyId === 0 ? (before?.copyId ?? 0) : copyId } satisfies EntityRow);
        if (before !== undefined && regionKey(before.entity) !== regionKey(entity)) left.add(regionKey(before.entity));
      }
      return [...left];
    });
  }

  async removeEntities(groupId: number, removed: Parameters<MaterializationRows["removeEntities"]>[1]): Promise<string[]> {
    return await this.#unlessEmpty(removed, (rows) => {
      const left = new Set<string>();
      for (const { kind, entityId, version } of removed) {
        const key = entityKey(groupId, kind, entityId);
        const row = rows.get<EntityRow>(key);
        if (row === undefined || row.entity.version > version) continue;
        rows.remove(key);
        left.add(regionKey(row.entity));
      }
      return [...left];
    });
  }

  async writeBalances(groupId: number, copyId: number, balances: readonly Balance[]): Promise<void> {
    await this.#unlessEmpty(balances, (rows) => {
      for (const [key, balance] of keyed(balances, (each) => balanceKey(groupId, each))) {
        const before = rows.get<BalanceRow>(key);
        if (before !== undefined && copyId === 0 && before.balance.version >= balance.version) continue;
        rows.put(key, { balance, copyId: copyId === 0 ? (before?.copyId ?? 0) : copyId } satisfies BalanceRow);
      }
      return [];
    });
  }

  async removeBalances(groupId: number, balances: readonly Balance[]): Promise<void> {
    await this.#unlessEmpty(balances, (rows) => {
      for (const balance of balances) {
        const key = balanceKey(groupId, balance);
        const before = rows.get<BalanceRow>(key);
        if (before !== undefined && before.balance.version <= balance.version) rows.remove(key);
      }
      return [];
    });
  }

  async writeTotals(groupId: number, copyId: number, totals: readonly ItemTotal[]): Promise<void> {
    await this.#unlessEmpty(totals, (rows) => {
      for (const [key, total] of keyed(totals, (each) => `total/${groupId}/${each.itemKind}`)) rows.put(key, { total, copyId } satisfies TotalRow);
      return [];
    });
  }

  async raiseEpochs(epochs: readonly RegionEpoch[]): Promise<void> {
    await this.#unlessEmpty(epochs, (rows) => {
      for (const [key, epoch] of keyed(epochs, ({ region }) => `epoch/${region === undefined ? "" : formatRegion(region)}`)) {
        const before = rows.get<RegionEpoch>(key);
        if (before === undefined || before.epoch <= epoch.epoch) rows.put(key, epoch);
      }
      return [];
    });
  }

  async sweep(groupId: number, copyId: number): Promise<string[]> {
    return await this.#session.run((rows) => {
      const left = new Set<string>();
      for (const [key, row] of rows.scan<EntityRow>(`entity/${groupId}/`)) {
        if (row.copyId === copyId) continue;
        rows.remove(key);
        left.add(regionKey(row.entity));
      }
      for (const table of ["balance", "total"]) {
        for (const [key, row] of rows.scan<BalanceRow | TotalRow>(`${table}/${groupId}/`)) if (row.copyId !== copyId) rows.remove(key);
      }
      return [...left];
    });
  }

  async writeEventual(values: readonly EventualValue[]): Promise<void> {
    await this.#unlessEmpty(values, (rows) => {
      for (const [key, value] of keyed(values, ({ region, type, key: name }) => eventualKey(region === undefined ? 0n : mortonKey(region), type, name))) {
        const before = rows.get<EventualValue>(key);
        if (before === undefined || compareWrites(value, before) > 0) rows.put(key, value);
      }
      return [];
    });
  }

  async forgetDeletedEventual(beforeMs: number, limit: number): Promise<void> {
    await this.#session.run((rows) => {
      const old = rows.scan<EventualValue>("eventual/").filter(([, { deleted, stamp }]) => deleted && (stamp?.physicalMs ?? 0) < beforeMs);
      for (const [key] of old.slice(0, limit)) rows.remove(key);
    });
  }

  async #update(groupId: number, when: (row: GroupWatermark) => boolean, change: (row: GroupWatermark) => GroupWatermark): Promise<boolean> {
    return await this.#session.run((rows) => {
      const row = rows.get<GroupWatermark>(watermarkKey(groupId));
      if (row === undefined || !when(row)) return false;
      rows.put(watermarkKey(groupId), change(row));
      return true;
    });
  }

  async #unlessEmpty(list: readonly unknown[], statement: (rows: Transaction) => string[]): Promise<string[]> {
    return list.length === 0 ? [] : await this.#session.run(statement);
  }
}

/** Rows by key. Throws 21000 where one is named twice, as INSERT ... ON CONFLICT DO UPDATE does. */
function keyed<Row>(rows: readonly Row[], keyOf: (row: Row) => string): Map<string, Row> {
  const byKey = new Map<string, Row>();
  for (const row of rows) {
    const key = keyOf(row);
    if (byKey.has(key)) throw new SimSqlError("ON CONFLICT DO UPDATE command cannot affect row a second time", "21000");
    byKey.set(key, row);
  }
  return byKey;
}

function watermarkKey(groupId: number): string {
  return `watermark/${groupId}/`;
}

function entityKey(groupId: number, kind: string, entityId: string): string {
  return `entity/${groupId}/${JSON.stringify([kind, entityId])}`;
}

function balanceKey(groupId: number, { accountId, itemKind }: Balance): string {
  return `balance/${groupId}/${JSON.stringify([accountId, itemKind])}`;
}

function eventualKey(region: bigint, type: string, key: string): string {
  return `eventual/${String(region).padStart(19, "0")}/${JSON.stringify([type, key])}`;
}

function regionKey(entity: Entity): string {
  return entity.region === undefined ? "" : String(mortonKey(entity.region));
}
