import type { EventualValue } from "@statemesh/contract";
import type { Caller, EventualPlace, MaterializationRows, MaterializationStore, TransactionOptions } from "@statemesh/store";
import type { Sql, SqlSession } from "../sql/database.ts";
import { removeEntities, sweepEntities, writeEntities } from "./entity-rows.ts";
import { eventualAfter, forgetDeletedEventual, writeEventual } from "./eventual-rows.ts";
import { raiseEpochs, removeBalances, sweepLedger, writeBalances, writeTotals } from "./ledger-rows.ts";
import { claimOwner, findOwner } from "./owning-cluster.ts";
import { advance, allWatermarks, beginCopy, endCopy, ensureWatermark, findWatermark, nextPart } from "./watermark-rows.ts";

/** Materialised state in PostgreSQL or CockroachDB. */
export class SqlMaterialization implements MaterializationStore {
  readonly #database: Sql;

  constructor(database: Sql) {
    this.#database = database;
  }

  async transaction<T>(work: (rows: MaterializationRows) => Promise<T>, options: TransactionOptions): Promise<T> {
    return await this.#database.transaction((session) => work(rowsOf(session)), options);
  }

  async watermarks(caller?: Caller): Promise<{ byGroup: Map<number, number>; owner: string | undefined }> {
    return await this.#database.readAll(async (session) => {
      const byGroup = await allWatermarks(session);
      // Looked up after the rows: whoever moved them had claimed the store before.
      return { byGroup, owner: await findOwner(session) };
    }, caller);
  }

  async eventualAfter(place: EventualPlace | undefined, limit: number, caller?: Caller): Promise<{ values: EventualValue[]; owner: string | undefined }> {
    return await this.#database.readAll(async (session) => {
      const values = await eventualAfter(session, place, limit);
      // Looked up after the rows, as above.
      return { values, owner: await findOwner(session) };
    }, caller);
  }
}

function rowsOf(session: SqlSession): MaterializationRows {
  return {
    owner: () => findOwner(session),
    claim: (clusterId) => claimOwner(session, clusterId),
    watermark: (groupId) => findWatermark(session, groupId),
    ensureWatermark: (groupId) => ensureWatermark(session, groupId),
    advance: (groupId, after, through) => advance(session, groupId, after, through),
    beginCopy: (groupId, copyId, through) => beginCopy(session, groupId, copyId, through),
    nextPart: (groupId, copyId, through, part) => nextPart(session, groupId, copyId, through, part),
    endCopy: (groupId, through) => endCopy(session, groupId, through),
    writeEntities: (groupId, copyId, entities) => writeEntities(session, groupId, copyId, entities),
    removeEntities: (groupId, removed) => removeEntities(session, groupId, removed),
    writeBalances: (groupId, copyId, balances) => writeBalances(session, groupId, copyId, balances),
    removeBalances: (groupId, balances) => removeBalances(session, groupId, balances),
    writeTotals: (groupId, copyId, totals) => writeTotals(session, groupId, copyId, totals),
    raiseEpochs: (epochs) => raiseEpochs(session, epochs),
    async sweep(groupId, copyId) {
      const keys = await sweepEntities(session, groupId, copyId);
      await sweepLedger(session, groupId, copyId);
      return keys;
    },
    writeEventual: (values) => writeEventual(session, values),
    forgetDeletedEventual: (beforeMs, limit) => forgetDeletedEventual(session, beforeMs, limit),
  };
}
