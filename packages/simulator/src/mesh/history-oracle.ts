// What a reader of the stored causal events sees: every event once, those of an origin in order, none before what it follows, and in the end all that the
// nodes keep.
import type { DeliveredEvent, Region, VectorClockEntry } from "@statemesh/contract";
import type { NodeRuntime } from "@statemesh/node";
import { formatRegion, groupOf } from "@statemesh/world";
import type { Recorder } from "../recorder.ts";
import { causalRows } from "../store/sim-causal.ts";
import type { SimSql } from "../store/sim-sql.ts";
import type { CausalObserver } from "./causal-observer.ts";

/** One group's history, as far as it was looked at. */
interface GroupHistory {
  position: number;
  readonly last: Map<number, number>;
  /** What the stored events follow, themselves included, by origin. */
  readonly followed: Map<number, { sequence: number; by: string }>;
}

export class HistoryOracle {
  readonly #sql: SimSql;
  readonly #observer: CausalObserver;
  readonly #groups: number;
  readonly #recorder: Recorder;
  readonly #histories = new Map<number, GroupHistory>();
  readonly #stored = new Set<string>();
  /** Names of events by region, in the order in which they are stored. */
  readonly byRegion = new Map<string, string[]>();

  constructor(sql: SimSql, observer: CausalObserver, groups: number, recorder: Recorder) {
    this.#sql = sql;
    this.#observer = observer;
    this.#groups = groups;
    this.#recorder = recorder;
  }

  /** Looks at what came since the last look. */
  check(): void {
    for (const { groupId, position, event } of causalRows(this.#sql).events) {
      let history = this.#histories.get(groupId);
      if (history === undefined) this.#histories.set(groupId, (history = { position: 0, last: new Map(), followed: new Map() }));
      if (position <= history.position) continue;
      history.position = position;
      this.#add(groupId, history, event);
    }
  }

  #add(groupId: number, history: GroupHistory, event: DeliveredEvent): void {
    const { origin, sequence } = event.id as VectorClockEntry;
    const region = event.event?.region as Region;
    const name = nameOf(event);
    this.#recorder.sometimes("causal event stored");
    if (groupOf(region, this.#groups) !== groupId) this.#fail(`event ${name} of ${formatRegion(region)} is stored with group ${groupId}`);
    if (this.#stored.has(name)) return this.#fail(`event ${name} is stored twice`);
    this.#stored.add(name);
    const before = history.last.get(origin) ?? 0;
    if (sequence <= before) this.#fail(`event ${name} is stored after ${before} of its origin`);
    history.last.set(origin, sequence);
    const effect = history.followed.get(origin);
    if (effect !== undefined && effect.sequence >= sequence) this.#fail(`event ${name} is stored after ${effect.by}, which follows it`);
    for (const [of, at] of this.#observer.pastOf(name)) if (at > (history.followed.get(of)?.sequence ?? 0)) history.followed.set(of, { sequence: at, by: name });
    const text = formatRegion(region);
    const list = this.byRegion.get(text);
    if (list === undefined) this.byRegion.set(text, [name]);
    else list.push(name);
  }

  /** What a node keeps and the store does not have; undefined: nothing. */
  lacks({ mesh }: NodeRuntime): string | undefined {
    const lacking = mesh.causal.since({ entries: [] }, (event) => !this.#stored.has(nameOf(event))).events[0];
    return lacking === undefined ? undefined : `event ${nameOf(lacking)} of ${formatRegion(lacking.event?.region as Region)} is not in the region store`;
  }

  #fail(message: string): void {
    this.#recorder.violation("history is causal", message);
  }
}

/** The name of an event in this oracle's words. */
export function nameOf({ id }: DeliveredEvent): string {
  return `${id?.origin}/${id?.sequence}`;
}
