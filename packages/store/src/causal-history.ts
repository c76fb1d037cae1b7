import {
  type CausalGroupEvents,
  type CausalGroupStanding,
  MeshError,
  type ReadCausalHistoryRequest,
  type ReadCausalHistoryResponse,
  type StoreCausalEventsRequest,
  type StoreCausalEventsResponse,
} from "@statemesh/contract";
import { formatRegion } from "@statemesh/world";
import { checkCausalEvents, historyPosition, historyToken } from "./causal-rules.ts";
import type { CausalEventRow, CausalGapRow, CausalGroupRow, CausalMarkRow, CausalStore } from "./causal-store.ts";
import { requireRegion } from "./field-rules.ts";
import { PAGE_BYTES_MAX, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX } from "./limits.ts";
import { claimStore } from "./store-owner.ts";
import { type Caller, WorkConflict } from "./work-runner.ts";

/** How long events are kept, and how many of a group; older ones go, whichever is reached first. */
export interface CausalRetention {
  readonly keepMs: number;
  readonly keepEvents: number;
}

/** Groups that one look trims, and events of each. */
const TRIM_GROUPS = 64;
const TRIM_EVENTS = 2_000;
/** Rough bytes of an event beside its payload. */
const EVENT_BYTES = 320;

/**
 * Causal events in SQL. A group's events stand in the order in which its leaders wrote them, which is one in which causes come first: each leader writes in
 * the order in which it delivered, nothing before what it waits for is there, and what is there is passed over.
 */
export class CausalHistory {
  readonly #store: CausalStore;
  readonly #nowMs: () => number;
  readonly #retention: CausalRetention;

  constructor(store: CausalStore, nowMs: () => number, retention: CausalRetention) {
    this.#store = store;
    this.#nowMs = nowMs;
    this.#retention = retention;
  }

  /** Throws INVALID_FIELD, CLUSTER_MISMATCH, and what the transaction throws. */
  async store(request: StoreCausalEventsRequest, caller?: Caller): Promise<StoreCausalEventsResponse> {
    checkCausalEvents(request);
    const { clusterId, groups } = request;
    const storedAtMs = Math.max(0, Math.floor(this.#nowMs()));
    return await this.#store.transaction(
      async (rows) => {
        await claimStore(rows, clusterId);
        const before = new Map((await rows.lockGroups(groups.map(({ groupId }) => groupId).sort((a, b) => a - b))).map((row) => [row.groupId, row]));
        const marks = marksByGroup(await rows.marks(groups.flatMap(({ groupId, origins }) => origins.map(({ origin }) => ({ groupId, origin })))));
        const change: Change = { groups: [], marks: [], events: [], gaps: [] };
        const standings = groups.map((group) => {
          const row = before.get(group.groupId);
          if (row === undefined) throw new WorkConflict(`the row of group ${group.groupId} cannot be seen yet`);
          return add(group, row, marks.get(group.groupId) ?? new Map<number, number>(), storedAtMs, change);
        });
        await rows.putGroups(change.groups);
        await rows.putMarks(change.marks);
        await rows.addEvents(change.events);
        await rows.addGaps(change.gaps);
        return { groups: standings };
      },
      // What is there already is passed over.
      { decidesRepeats: true, caller },
    );
  }

  /** Throws INVALID_FIELD, INVALID_PAGE_TOKEN, HISTORY_TRIMMED and STORE_UNAVAILABLE. */
  async read({ region: place, pageSize, pageToken }: ReadCausalHistoryRequest, caller?: Caller): Promise<ReadCausalHistoryResponse> {
    const region = requireRegion(place, "region");
    if (pageSize > PAGE_SIZE_MAX) throw MeshError.field("page_size", `must be 1..${PAGE_SIZE_MAX}, or 0 for ${PAGE_SIZE_DEFAULT}`);
    const limit = pageSize === 0 ? PAGE_SIZE_DEFAULT : pageSize;
    const after = pageToken === "" ? 0 : historyPosition(region, pageToken);
    const { page, hasMore, trimmedThrough, gaps, from } = await this.#store.read(async (reads) => {
      // What has a position by now is seen by the next statement.
      const settled = (await reads.region(region))?.position ?? 0;
      const found = await reads.eventsAfter(region, after, limit);
      const page = cut(found);
      const hasMore = page.length < found.length || found.length === limit;
      // What was trimmed before the events were read is told.
      const { groupId, trimmedThrough } = (await reads.region(region)) ?? { groupId: 0, trimmedThrough: 0 };
      const from = Math.max(after, trimmedThrough);
      const last = page.at(-1)?.position ?? from;
      return { page, hasMore, trimmedThrough, from, gaps: await reads.gaps(groupId, from, hasMore ? last : Math.max(last, settled)) };
    }, caller);
    if (pageToken !== "" && after < trimmedThrough) {
      throw new MeshError("HISTORY_TRIMMED", `events of ${formatRegion(region)} after this page token are kept no more: begin anew with an empty one`, { field: "page_token", metadata: { region: formatRegion(region) } });
    }
    const token = historyToken(region, Math.max(page.at(-1)?.position ?? from, gaps.position));
    return {
      events: page.map(({ event, storedAtMs }) => ({ event, storedAtMs })),
      nextPageToken: hasMore ? token : "",
      resumeToken: token,
      trimmed: trimmedThrough > 0,
      missingMax: gaps.missing,
    };
  }

  /** Removes some of what is kept no longer; true where more of it may be left. Throws MeshError. */
  async trim(): Promise<boolean> {
    const { keepEvents, keepMs } = this.#retention;
    const beforeMs = Math.floor(this.#nowMs() - keepMs);
    const due = await this.#store.due(keepEvents, beforeMs, TRIM_GROUPS);
    for (const groupId of due) {
      await this.#store.transaction(
        async (rows) => {
          const [group] = await rows.lockGroups([groupId]);
          const oldest = await rows.oldest(groupId, TRIM_EVENTS);
          let through = 0;
          for (const { position, storedAtMs } of oldest) {
            if (storedAtMs >= beforeMs && position + keepEvents > (group?.position ?? 0)) break;
            through = position;
          }
          if (through > 0) await rows.trim(groupId, through);
        },
        { decidesRepeats: true },
      );
    }
    return due.length > 0;
  }
}

/** What a call changes. */
interface Change {
  readonly groups: CausalGroupRow[];
  readonly marks: CausalMarkRow[];
  readonly events: CausalEventRow[];
  readonly gaps: CausalGapRow[];
}

/** Adds what a leader brings of a group and the store has not. Returns where the store stands with it then. */
function add({ groupId, term, origins, events }: CausalGroupEvents, row: CausalGroupRow, marks: Map<number, number>, storedAtMs: number, change: Change): CausalGroupStanding {
  if (term < row.term) return { groupId, applied: false, term: row.term, origins: entriesOf(marks) };
  let { position } = row;
  let missing = 0;
  const before = new Map(marks);
  for (const { origin, afterSequence, throughSequence } of origins) {
    const held = marks.get(origin) ?? 0;
    if (throughSequence <= held) continue;
    if (afterSequence > held) missing += afterSequence - held;
    marks.set(origin, throughSequence);
    change.marks.push({ groupId, origin, sequence: throughSequence });
  }
  if (missing > 0) change.gaps.push({ groupId, position: (position += 1), missing });
  for (const event of events) {
    const { origin, sequence } = event.id ?? { origin: 0, sequence: 0 };
    if (sequence > (before.get(origin) ?? 0)) change.events.push({ groupId, position: (position += 1), storedAtMs, event });
  }
  if (position > row.position || term > row.term) change.groups.push({ groupId, term, position });
  return { groupId, applied: true, term, origins: entriesOf(marks) };
}

function entriesOf(marks: ReadonlyMap<number, number>): { origin: number; sequence: number }[] {
  return [...marks].map(([origin, sequence]) => ({ origin, sequence }));
}

function marksByGroup(rows: readonly CausalMarkRow[]): Map<number, Map<number, number>> {
  const byGroup = new Map<number, Map<number, number>>();
  for (const { groupId, origin, sequence } of rows) {
    let marks = byGroup.get(groupId);
    if (marks === undefined) byGroup.set(groupId, (marks = new Map()));
    marks.set(origin, sequence);
  }
  return byGroup;
}

/** What fits a page. */
function cut(events: readonly CausalEventRow[]): readonly CausalEventRow[] {
  let count = 0;
  for (let bytes = 0; count < events.length && (count === 0 || bytes < PAGE_BYTES_MAX); count += 1) {
    const { event } = events[count] as CausalEventRow;
    bytes += (event.event?.payload.length ?? 0) + (event.dependencies?.entries.length ?? 0) * 16 + EVENT_BYTES;
  }
  return events.slice(0, count);
}
