import type { Caller, CausalReads, CausalRows, CausalStore, TransactionOptions } from "@statemesh/store";
import { claimOwner, findOwner } from "../entities/owning-cluster.ts";
import type { Sql, SqlSession } from "../sql/database.ts";
import { addEvents, addGaps, dueGroups, eventsAfter, findMarks, findRegion, gapsBetween, lockGroups, oldest, putGroups, putMarks, trim } from "./causal-rows.ts";

/** Causal events in PostgreSQL or CockroachDB: nodes write, game servers read. */
export class SqlCausal implements CausalStore {
  readonly #writes: Sql;
  readonly #reads: Sql;

  constructor(writes: Sql, reads: Sql) {
    this.#writes = writes;
    this.#reads = reads;
  }

  async transaction<T>(work: (rows: CausalRows) => Promise<T>, options: TransactionOptions): Promise<T> {
    return await this.#writes.transaction((session) => work(rowsOf(session)), options);
  }

  async read<T>(work: (reads: CausalReads) => Promise<T>, caller?: Caller): Promise<T> {
    return await this.#reads.readAll((session) => work(readsOf(session)), caller);
  }

  async due(keep: number, beforeMs: number, limit: number): Promise<number[]> {
    return await this.#writes.readAll((session) => dueGroups(session, keep, beforeMs, limit));
  }
}

function readsOf(session: SqlSession): CausalReads {
  return {
    eventsAfter: (region, position, limit) => eventsAfter(session, region, position, limit),
    region: (region) => findRegion(session, region),
    gaps: (groupId, after, through) => gapsBetween(session, groupId, after, through),
  };
}

function rowsOf(session: SqlSession): CausalRows {
  return {
    owner: () => findOwner(session),
    claim: (clusterId) => claimOwner(session, clusterId),
    lockGroups: (groupIds) => lockGroups(session, groupIds),
    marks: (of) => findMarks(session, of),
    putGroups: (groups) => putGroups(session, groups),
    putMarks: (marks) => putMarks(session, marks),
    addEvents: (events) => addEvents(session, events),
    addGaps: (gaps) => addGaps(session, gaps),
    oldest: (groupId, limit) => oldest(session, groupId, limit),
    trim: (groupId, through) => trim(session, groupId, through),
  };
}
