// Causal events go to the region store behind the publishers' backs: the node that leads the group of a region writes its events, in the order in which it
// delivered them, batch by batch, one at a time. Who comes to lead asks where the store stands, which shuts its predecessor out, and goes on from there
// with what it keeps. So of each origin every event comes once and in order, and none before what it depends on.
import type { CausalGroupEvents, CausalGroupStanding, DeliveredEvent, Region, StoreCausalEventsResponse, VectorClockEntry } from "@statemesh/contract";
import { ElapsedTime } from "../eventual/elapsed-time.ts";
import type { CausalLog } from "./causal-log.ts";
import { sizeOfEvent } from "./origin-log.ts";

export interface CausalBehindOptions {
  readonly log: Pick<CausalLog, "origins" | "standingOf" | "since">;
  readonly groupOf: (region: Region) => number;
  /** The term in which this node leads the group; undefined: it does not. */
  readonly termOf: (groupId: number) => number | undefined;
  /** Hands events to the store; `done` hears where it stands then, or undefined where that is not known. */
  readonly store: (groups: CausalGroupEvents[], done: (response: StoreCausalEventsResponse | undefined) => void) => void;
  readonly limits?: Partial<CausalBehindLimits>;
}

/** Limits of writing behind. Sizes in bytes, times in milliseconds. */
export interface CausalBehindLimits {
  /** From one write to the next while there is no more than one batch. */
  readonly flushEveryMs: number;
  /** From a write that failed to the next. */
  readonly retryMs: number;
  /** Groups, origins, events and about the bytes of a batch. */
  readonly maxGroups: number;
  readonly maxOrigins: number;
  readonly maxEvents: number;
  readonly maxBytes: number;
  /**
   * Events that wait, and about their bytes, beside what was kept for peers when the store last said where it stands. Reached: none waits any more, and once
   * the store answers, those go that are kept for peers then.
   */
  readonly maxWaiting: number;
  readonly maxWaitingBytes: number;
  /** How far an origin gets, and how long a group waits, before the store is told that nothing of it was the group's. */
  readonly markEvents: number;
  readonly markEveryMs: number;
}

export const DEFAULT_CAUSAL_BEHIND_LIMITS: CausalBehindLimits = {
  flushEveryMs: 1_000,
  retryMs: 1_000,
  maxGroups: 256,
  maxOrigins: 16_384,
  maxEvents: 2_048,
  maxBytes: 1_048_576,
  maxWaiting: 65_536,
  maxWaitingBytes: 67_108_864,
  markEvents: 2_500,
  markEveryMs: 5_000,
};

/** Counters since the start, and what waits now. */
export interface CausalBehindStatistics {
  waiting: number;
  /** For how long the oldest that waits has waited, or the store has not said where it stands, milliseconds. */
  lagMs: number;
  written: number;
  failed: number;
  /** Times that more waited than may. */
  overflowed: number;
  /** At most so many events were kept no more when the store came back. */
  missing: number;
}

interface Waiting {
  readonly event: DeliveredEvent;
  /** Elapsed time. */
  readonly sinceMs: number;
}

/** A group that this node leads. */
interface LedGroup {
  readonly groupId: number;
  /** Through which sequence of each origin the store has the group's events, as far as is known; undefined: it has to be asked. */
  after: Map<number, number> | undefined;
  /** Behind which what is kept here of an origin begins, where the store stands before that and has not heard of it. */
  readonly lacking: Map<number, number>;
  /** In the order of delivery, from `head` on. */
  queue: Waiting[];
  head: number;
  /** Elapsed time. */
  sinceMs: number;
  markedMs: number;
}

/** What a batch says of a group. */
interface Section {
  readonly led: LedGroup;
  /** The store is only asked where it stands. */
  readonly asks: boolean;
  /** How many of those that wait are done once the store has the batch. */
  readonly taken: number;
  readonly group: CausalGroupEvents;
}

/** Pure: time is passed in, batches come out. */
export class CausalBehind {
  readonly limits: CausalBehindLimits;
  readonly #options: CausalBehindOptions;
  readonly #led = new Map<number, LedGroup>();
  readonly #elapsed = new ElapsedTime();
  readonly #counters = { written: 0, failed: 0, overflowed: 0, missing: 0 };
  #waiting = 0;
  #waitingBytes = 0;
  /** What may wait: more than the limits while what was kept for peers is written. */
  #mayWait: { events: number; bytes: number };
  #isWriting = false;
  #isAway = false;
  #isMore = false;
  #nextMs = 0;

  constructor(options: CausalBehindOptions) {
    this.#options = options;
    this.limits = { ...DEFAULT_CAUSAL_BEHIND_LIMITS, ...options.limits };
    this.#mayWait = { events: this.limits.maxWaiting, bytes: this.limits.maxWaitingBytes };
  }

  statistics(): CausalBehindStatistics {
    let lagMs = 0;
    for (const led of this.#led.values()) {
      const sinceMs = led.after === undefined ? led.sinceMs : (led.queue[led.head]?.sinceMs ?? this.#elapsed.ms);
      lagMs = Math.max(lagMs, this.#elapsed.ms - sinceMs);
    }
    return { ...this.#counters, waiting: this.#waiting, lagMs };
  }

  /** Nothing waits, and of every group it is known where the store stands. */
  get isIdle(): boolean {
    return !this.#isWriting && this.#waiting === 0 && [...this.#led.values()].every(({ after }) => after !== undefined);
  }

  /** The leader of a group is another. */
  leaderChanged(groupId: number, isOwn: boolean): void {
    const led = this.#led.get(groupId);
    if (led !== undefined) this.#forget(led);
    this.#led.delete(groupId);
    // Group 0 has no regions.
    if (isOwn && groupId > 0) this.#led.set(groupId, { groupId, after: undefined, lacking: new Map(), queue: [], head: 0, sinceMs: this.#elapsed.ms, markedMs: this.#elapsed.ms });
  }

  /** An event was delivered here. */
  delivered(event: DeliveredEvent): void {
    const led = this.#led.get(this.#options.groupOf(event.event?.region as Region));
    // Until it is known where the store stands, what is kept is all that is needed.
    if (led?.after === undefined) return;
    const { origin } = event.id as VectorClockEntry;
    if (!led.after.has(origin)) {
      led.after.set(origin, 0);
      this.#look(led, origin);
    }
    this.#wait(led, event);
    if (this.#waiting <= this.#mayWait.events && this.#waitingBytes <= this.#mayWait.bytes) return;
    this.#counters.overflowed += 1;
    for (const each of this.#led.values()) this.#forget(each);
  }

  tick(nowMs: number): void {
    const elapsedMs = this.#elapsed.advance(nowMs);
    if (this.#isWriting || (elapsedMs < this.#nextMs && (this.#isAway || !this.#isMore))) return;
    const sections = this.#nextBatch();
    // A full batch does not wait for the next one's time.
    this.#isMore = sections.length === this.limits.maxGroups || sections.reduce((sum, { taken }) => sum + taken, 0) >= this.limits.maxEvents / 2 || sections.some(({ asks }) => asks);
    if (sections.length === 0) return;
    this.#isWriting = true;
    this.#nextMs = elapsedMs + this.limits.flushEveryMs;
    this.#options.store(sections.map(({ group }) => group), (response) => this.#answered(sections, response));
  }

  #answered(sections: readonly Section[], response: StoreCausalEventsResponse | undefined): void {
    this.#isWriting = false;
    this.#isAway = response === undefined;
    if (response === undefined) {
      // It may have taken them: they go again, and what it has it passes over.
      this.#counters.failed += 1;
      this.#nextMs = this.#elapsed.ms + this.limits.retryMs;
      return;
    }
    const standings = new Map(response.groups.map((standing) => [standing.groupId, standing]));
    const found: LedGroup[] = [];
    for (const section of sections) {
      const { led, asks, group } = section;
      const standing = standings.get(led.groupId);
      // Leads no more, or leads anew, or begins anew: the answer says nothing about that.
      if (this.#led.get(led.groupId) !== led || standing === undefined || (led.after === undefined) !== asks) continue;
      if (!standing.applied) {
        // Somebody leads in a later term. If it is this node after all, it asks again.
        this.#forget(led);
        this.#isMore = false;
      } else if (asks) {
        this.#stands(led, standing);
        found.push(led);
      } else {
        this.#counters.written += group.events.length;
        this.#drop(led, section.taken);
        this.#advance(led, group, standing);
      }
    }
    if (found.length > 0) this.#fill(found);
  }

  /** The store said where it stands: what is kept here may begin behind that. */
  #stands(led: LedGroup, standing: CausalGroupStanding): void {
    const marks = new Map(standing.origins.map(({ origin, sequence }) => [origin, sequence]));
    led.after = marks;
    led.lacking.clear();
    for (const origin of this.#options.log.origins()) this.#look(led, origin);
  }

  /** Looks whether what is kept of an origin begins behind where the store stands. */
  #look(led: LedGroup, origin: number): void {
    const held = led.after?.get(origin) ?? 0;
    const begins = this.#options.log.standingOf(origin).keptFrom - 1;
    if (begins <= held) return;
    this.#counters.missing += begins - held;
    led.lacking.set(origin, begins);
  }

  /** What of groups is kept here and not in the store, in the order of delivery. */
  #fill(groups: readonly LedGroup[]): void {
    const wanted = new Map(groups.map((led) => [led.groupId, led]));
    this.#options.log.since({ entries: [] }, (event) => {
      const led = wanted.get(this.#options.groupOf(event.event?.region as Region));
      return led !== undefined && !isThere(led, event);
    }).events.forEach((event) => this.#wait(wanted.get(this.#options.groupOf(event.event?.region as Region)) as LedGroup, event));
    this.#mayWait = { events: this.#waiting + this.limits.maxWaiting, bytes: this.#waitingBytes + this.limits.maxWaitingBytes };
  }

  #wait(led: LedGroup, event: DeliveredEvent): void {
    led.queue.push({ event, sinceMs: this.#elapsed.ms });
    this.#waiting += 1;
    this.#waitingBytes += sizeOfEvent(event);
  }

  /** Takes the first from those that wait. */
  #drop(led: LedGroup, count: number): void {
    for (const { event } of led.queue.slice(led.head, led.head + count)) this.#waitingBytes -= sizeOfEvent(event);
    this.#waiting -= count;
    if (this.#waiting === 0) this.#mayWait = { events: this.limits.maxWaiting, bytes: this.limits.maxWaitingBytes };
    led.head += count;
    if (led.head * 2 < led.queue.length) return;
    led.queue = led.queue.slice(led.head);
    led.head = 0;
  }

  /** Nothing of the group waits, and where the store stands has to be asked. */
  #forget(led: LedGroup): void {
    if (led.after !== undefined) led.sinceMs = led.queue[led.head]?.sinceMs ?? this.#elapsed.ms;
    this.#drop(led, led.queue.length - led.head);
    led.after = undefined;
    led.lacking.clear();
  }

  #advance(led: LedGroup, group: CausalGroupEvents, standing: CausalGroupStanding): void {
    const stands = new Map(standing.origins.map(({ origin, sequence }) => [origin, sequence]));
    for (const { origin, throughSequence } of group.origins) {
      led.after?.set(origin, Math.max(throughSequence, stands.get(origin) ?? 0));
      led.lacking.delete(origin);
    }
    led.markedMs = this.#elapsed.ms;
  }

  /** Groups in turn, each with what finds room. */
  #nextBatch(): Section[] {
    const sections: Section[] = [];
    const room = { origins: this.limits.maxOrigins, events: this.limits.maxEvents, bytes: this.limits.maxBytes };
    for (const led of [...this.#led.values()]) {
      if (sections.length >= this.limits.maxGroups || room.events <= 0 || room.bytes <= 0 || room.origins <= 0) break;
      const term = this.#options.termOf(led.groupId);
      if (term === undefined) continue;
      const section = led.after === undefined ? this.#question(led, term, room.origins) : this.#section(led, term, room);
      if (section === undefined) continue;
      room.origins -= section.group.origins.length;
      sections.push(section);
      // Whoever had a turn is the last of the next.
      this.#led.delete(led.groupId);
      this.#led.set(led.groupId, led);
    }
    return sections;
  }

  #question(led: LedGroup, term: number, room: number): Section | undefined {
    const origins = this.#options.log.origins();
    if (origins.length > room) return undefined;
    const asked = origins.map((origin) => ({ origin, afterSequence: 0, throughSequence: 0 }));
    return { led, asks: true, taken: 0, group: { groupId: led.groupId, term, origins: asked, events: [] } };
  }

  #section(led: LedGroup, term: number, room: { origins: number; events: number; bytes: number }): Section | undefined {
    const through = new Map<number, number>();
    const events: DeliveredEvent[] = [];
    let taken = 0;
    for (; led.head + taken < led.queue.length; taken += 1) {
      const { event } = led.queue[led.head + taken] as Waiting;
      const { origin, sequence } = event.id as VectorClockEntry;
      if (isThere(led, event)) continue;
      if (room.events <= 0 || room.bytes <= 0 || (through.size >= room.origins && !through.has(origin))) break;
      through.set(origin, sequence);
      events.push(event);
      room.events -= 1;
      room.bytes -= sizeOfEvent(event) + (event.dependencies?.entries.length ?? 0) * 16;
    }
    if (led.head + taken === led.queue.length) this.#markRest(led, through, room.origins);
    if (through.size === 0) {
      this.#drop(led, taken);
      return undefined;
    }
    const origins = [...through].map(([origin, throughSequence]) => ({ origin, afterSequence: this.#afterOf(led, origin), throughSequence }));
    return { led, asks: false, taken, group: { groupId: led.groupId, term, origins, events } };
  }

  /** Everything of the group that was delivered here is in the batch: so the store has it of each origin as far as this node, with nothing said of what is not the group's. */
  #markRest(led: LedGroup, through: Map<number, number>, room: number): void {
    const isDue = this.#elapsed.ms - led.markedMs >= this.limits.markEveryMs;
    for (const origin of this.#options.log.origins()) {
      const { delivered } = this.#options.log.standingOf(origin);
      const isFar = delivered - this.#afterOf(led, origin) >= this.limits.markEvents;
      if (delivered === 0 || !(through.has(origin) || led.lacking.has(origin) || (isDue && isFar))) continue;
      if (through.has(origin) || through.size < room) through.set(origin, Math.max(delivered, this.#afterOf(led, origin)));
    }
  }

  /** Behind which the next events of an origin follow: where the store stands, or where what is kept begins. */
  #afterOf(led: LedGroup, origin: number): number {
    return Math.max(led.after?.get(origin) ?? 0, led.lacking.get(origin) ?? 0);
  }
}

/** The store has the event. */
function isThere(led: LedGroup, event: DeliveredEvent): boolean {
  const { origin, sequence } = event.id as VectorClockEntry;
  return sequence <= (led.after?.get(origin) ?? 0);
}
