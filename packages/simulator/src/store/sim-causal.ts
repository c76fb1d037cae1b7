import type { Region } from "@statemesh/contract";
import type { Random, Timers } from "@statemesh/ports";
import { type Caller, type CausalEventRow, type CausalGapRow, type CausalGroupRow, type CausalMarkRow, type CausalReads, type CausalRows, type CausalStore, type TransactionOptions, WorkRunner } from "@statemesh/store";
import { mortonKey } from "@statemesh/world";
import { type SimConnection, type SimSql, type SimSqlClient, SimSqlError } from "./sim-sql.ts";

interface GroupRow extends CausalGroupRow {
  readonly trimmedThrough: number;
}

interface RegionRow {
  readonly groupId: number;
  readonly trimmedThrough: number;
}

/** Everything of causal events that is committed, for oracles: events by group and position. */
export interface CausalHistoryRows {
  readonly groups: readonly CausalGroupRow[];
  readonly marks: readonly CausalMarkRow[];
  readonly events: readonly CausalEventRow[];
  readonly gaps: readonly CausalGapRow[];
}

export function causalRows(sql: SimSql): CausalHistoryRows {
  return {
    groups: sql.committed<GroupRow>("causal-group/"),
    marks: sql.committed<CausalMarkRow>("causal-mark/"),
    events: sql.committed<CausalEventRow>("causal-event/"),
    gaps: sql.committed<CausalGapRow>("causal-gap/"),
  };
}

/** Causal events in a simulated database, through the production code that runs transactions again. */
export class SimCausal implements CausalStore {
  readonly #runner: WorkRunner<SimConnection>;

  constructor(client: SimSqlClient, timers: Timers, random: Random) {
    this.#runner = new WorkRunner(() => client.connect(), timers, random);
  }

  async transaction<T>(work: (rows: CausalRows) => Promise<T>, options: TransactionOptions): Promise<T> {
    return await this.#runner.transaction((session) => work(new SimCausalRows(session)), options);
  }

  async read<T>(work: (reads: CausalReads) => Promise<T>, caller?: Caller): Promise<T> {
    return await this.#runner.read((session) => work(readsOf(session)), caller);
  }

  async due(keep: number, beforeMs: number, limit: number): Promise<number[]> {
    return await this.#runner.read((session) =>
      session.run((rows) =>
        rows
          .scan<GroupRow>("causal-group/")
          .map(([, row]) => row)
          .filter(({ groupId, position, trimmedThrough }) => position - trimmedThrough > keep || (rows.scan<CausalEventRow>(eventPrefix(groupId))[0]?.[1].storedAtMs ?? Number.POSITIVE_INFINITY) < beforeMs)
          .slice(0, limit)
          .map(({ groupId }) => groupId),
      ),
    );
  }
}

function readsOf(session: SimConnection): CausalReads {
  return {
    eventsAfter: async (region, position, limit) =>
      await session.run((rows) => {
        const key = mortonKey(region);
        return rows
          .scan<CausalEventRow>("causal-event/")
          .map(([, row]) => row)
          .filter((row) => row.position > position && mortonKey(row.event.event?.region as Region) === key)
          .slice(0, limit);
      }),
    region: async (region) =>
      await session.run((rows) => {
        const row = rows.get<RegionRow>(regionKey(region));
        return row === undefined ? undefined : { ...row, position: rows.get<GroupRow>(groupKey(row.groupId))?.position ?? 0 };
      }),
    gaps: async (groupId, after, through) =>
      await session.run((rows) => {
        const gaps = rows.scan<CausalGapRow>(gapPrefix(groupId)).map(([, row]) => row).filter(({ position }) => position > after && position <= through);
        return { missing: gaps.reduce((sum, { missing }) => sum + missing, 0), position: gaps.at(-1)?.position ?? 0 };
      }),
  };
}

class SimCausalRows implements CausalRows {
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

  async lockGroups(groupIds: readonly number[]): Promise<CausalGroupRow[]> {
    return await this.#session.run((rows) =>
      groupIds.map((groupId) => {
        const row = rows.get<GroupRow>(groupKey(groupId)) ?? { groupId, term: 0, position: 0, trimmedThrough: 0 };
        // Written, so that of two transactions one fails.
        rows.put(groupKey(groupId), row);
        return { groupId, term: row.term, position: row.position };
      }),
    );
  }

  async marks(of: readonly Omit<CausalMarkRow, "sequence">[]): Promise<CausalMarkRow[]> {
    return await this.#session.run((rows) => of.flatMap(({ groupId, origin }) => rows.get<CausalMarkRow>(markKey(groupId, origin)) ?? []));
  }

  async putGroups(groups: readonly CausalGroupRow[]): Promise<void> {
    await this.#session.run((rows) => {
      for (const group of groups) rows.put(groupKey(group.groupId), { ...group, trimmedThrough: rows.get<GroupRow>(groupKey(group.groupId))?.trimmedThrough ?? 0 } satisfies GroupRow);
    });
  }

  async putMarks(marks: readonly CausalMarkRow[]): Promise<void> {
    await this.#session.run((rows) => {
      for (const mark of marks) rows.put(markKey(mark.groupId, mark.origin), { ...mark });
    });
  }

  async addEvents(events: readonly CausalEventRow[]): Promise<void> {
    await this.#session.run((rows) => {
      for (const event of events) {
        const key = `${eventPrefix(event.groupId)}${padded(event.position)}`;
        // Somebody else had the group's row meanwhile, and gave the position out.
        if (rows.get(key) !== undefined) throw new SimSqlError("could not serialize access due to concurrent update", "40001");
        rows.put(key, event);
        const region = regionKey(event.event.event?.region as Region);
        if (rows.get(region) === undefined) rows.put(region, { groupId: event.groupId, trimmedThrough: 0 } satisfies RegionRow);
      }
    });
  }

  async addGaps(gaps: readonly CausalGapRow[]): Promise<void> {
    await this.#session.run((rows) => {
      for (const gap of gaps) rows.put(`${gapPrefix(gap.groupId)}${padded(gap.position)}`, { ...gap });
    });
  }

  async oldest(groupId: number, limit: number): Promise<{ position: number; storedAtMs: number }[]> {
    return await this.#session.run((rows) => rows.scan<CausalEventRow>(eventPrefix(groupId)).slice(0, limit).map(([, { position, storedAtMs }]) => ({ position, storedAtMs })));
  }

  async trim(groupId: number, through: number): Promise<void> {
    await this.#session.run((rows) => {
      for (const [key, { position, event }] of rows.scan<CausalEventRow>(eventPrefix(groupId))) {
        if (position > through) break;
        rows.remove(key);
        rows.put(regionKey(event.event?.region as Region), { groupId, trimmedThrough: position } satisfies RegionRow);
      }
      for (const [key, { position }] of rows.scan<CausalGapRow>(gapPrefix(groupId))) if (position <= through) rows.remove(key);
      const row = rows.get<GroupRow>(groupKey(groupId));
      if (row !== undefined) rows.put(groupKey(groupId), { ...row, trimmedThrough: through } satisfies GroupRow);
    });
  }
}

function padded(position: number): string {
  return String(position).padStart(16, "0");
}

function groupKey(groupId: number): string {
  return `causal-group/${groupId}/`;
}

function markKey(groupId: number, origin: number): string {
  return `causal-mark/${groupId}/${origin}`;
}

function eventPrefix(groupId: number): string {
  return `causal-event/${groupId}/`;
}

function gapPrefix(groupId: number): string {
  return `causal-gap/${groupId}/`;
}

function regionKey(region: Region): string {
  return `causal-region/${String(mortonKey(region)).padStart(19, "0")}`;
}
