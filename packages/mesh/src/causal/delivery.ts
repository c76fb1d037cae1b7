import { type CausalEvent, type DeliveredEvent, type VectorClock, type VectorClockEntry } from "@statemesh/contract";
import type { CausalLimits } from "./limits.ts";
import { type KeptEvent, OriginLog, sizeOfEvent } from "./origin-log.ts";
import { nodeOfOrigin } from "./origin.ts";
import type { StableCut } from "./stable-cut.ts";

/** Counters since the start. */
export interface DeliveryCounters {
  delivered: number;
  duplicates: number;
  /** Events not taken: malformed, too far ahead, no room to wait; what is well formed is pulled later. */
  refused: number;
  /** Events that nobody had any more, and that were passed over. */
  gaps: number;
}

/**
 * Delivers events in causal order: an event after its origin's previous one and after everything it depends on.
 * Listeners must not publish while they are called.
 */
export class CausalDelivery {
  readonly origins = new Map<number, OriginLog>();
  readonly counters: DeliveryCounters = { delivered: 0, duplicates: 0, refused: 0, gaps: 0 };
  listener: ((event: DeliveredEvent) => void) | undefined;
  behind: ((event: DeliveredEvent) => void) | undefined;
  // The newest origin of each node.
  readonly #newest = new Map<number, number>();
  // The newest forgotten origin of each node: what it or an earlier one numbered is over.
  readonly #forgotten = new Map<number, number>();
  readonly #limits: CausalLimits;
  readonly #cut: StableCut;
  #number = 0;
  #pending = 0;
  #keptBytes = 0;

  constructor(limits: CausalLimits, cut: StableCut) {
    this.#limits = limits;
    this.#cut = cut;
  }

  /** Events that wait for what they depend on. */
  get pending(): number {
    return this.#pending;
  }

  get keptBytes(): number {
    return this.#keptBytes;
  }

  /** The log of an origin, made where it is new; undefined where there are too many, and where it is over and forgotten. */
  open(origin: number): OriginLog | undefined {
    const known = this.origins.get(origin);
    if (known !== undefined) return known;
    const node = nodeOfOrigin(origin);
    if ((this.#forgotten.get(node) ?? 0) >= origin) return undefined;
    if (this.origins.size >= this.#limits.maxOrigins && !this.#forgetOne()) return undefined;
    const log = new OriginLog(origin, this.#limits.window);
    this.origins.set(origin, log);
    if (origin > (this.#newest.get(node) ?? 0)) this.#newest.set(node, origin);
    return log;
  }

  /** Whether no event of the origin can come any more but from those that have it: its node has started anew, or the log removed it. */
  isOver(origin: number): boolean {
    const node = nodeOfOrigin(origin);
    return (this.#newest.get(node) ?? 0) > origin || this.#cut.isEvicted(node);
  }

  /** Whether the origin is over, and was forgotten after everything of it was delivered. */
  isForgotten(origin: number): boolean {
    return (this.#forgotten.get(nodeOfOrigin(origin)) ?? 0) >= origin;
  }

  /** Forgets the oldest start of a node that is over and of which nothing is missing or waits; false where there is none. */
  #forgetOne(): boolean {
    let oldest: OriginLog | undefined;
    for (const log of this.origins.values()) {
      if (!this.isOver(log.origin) || log.delivered < log.known || log.pending.size > 0 || log.waiters.size > 0) continue;
      // Earlier starts of the node first: what is forgotten is told by one number a node.
      if (oldest === undefined || log.origin % 0x1_0000_0000 < oldest.origin % 0x1_0000_0000) oldest = log;
    }
    if (oldest === undefined) return false;
    const { origin } = oldest;
    for (const log of this.origins.values()) if (nodeOfOrigin(log.origin) === nodeOfOrigin(origin) && log.origin < origin) return false;
    this.origins.delete(origin);
    this.#keptBytes -= oldest.keptBytes;
    this.#forgotten.set(nodeOfOrigin(origin), origin);
    for (const log of this.origins.values()) log.forget(origin);
    this.#cut.forgetOrigin(origin);
    return true;
  }

  delivered(origin: number): number {
    return this.origins.get(origin)?.delivered ?? 0;
  }

  /** Takes a well formed event: delivers it and what waited for it, lets it wait, or ignores it. */
  accept(event: DeliveredEvent): void {
    const { origin, sequence } = event.id as VectorClockEntry;
    const log = this.open(origin);
    if (log === undefined) {
      this.counters.refused += 1;
      return;
    }
    if (sequence > log.known) log.known = sequence;
    if (log.received.has(sequence)) {
      this.counters.duplicates += 1;
      return;
    }
    const blocker = sequence === log.delivered + 1 ? this.#blocker(event) : log;
    if (blocker !== undefined && this.#pending >= this.#limits.maxPending) {
      // The event that everything waits for is never refused here: it is delivered at once when it comes.
      this.counters.refused += 1;
      return;
    }
    if (log.received.add(sequence) === "beyond_window") {
      this.counters.refused += 1;
      return;
    }
    const content = event.event as CausalEvent;
    // A decoded payload is a view of its whole message, which would stay in memory with it.
    content.payload = new Uint8Array(content.payload);
    if (blocker === undefined) {
      this.#deliver(event, log);
      this.#advance(log);
    } else {
      log.pending.set(sequence, event);
      this.#pending += 1;
      if (blocker !== log) blocker.waiters.add(log);
    }
  }

  /** Gives up the origin's missing events up to `through`; what came after them goes on. */
  giveUp(log: OriginLog, through: number): void {
    this.counters.gaps += log.received.skipTo(through);
    if (through > log.known) log.known = through;
    this.#advance(log);
  }

  /** Kept events that the clock has not seen and `wants` accepts, in the order in which this node delivered them; `lost`: how many unseen ones, of whatever region, are kept no more. */
  since(clock: VectorClock, wants: (event: DeliveredEvent) => boolean): { events: DeliveredEvent[]; lost: number } {
    const seen = new Map<number, number>();
    for (const { origin, sequence } of clock.entries) seen.set(origin, sequence);
    const found: KeptEvent[] = [];
    let lost = 0;
    for (const log of this.origins.values()) {
      const from = seen.get(log.origin) ?? 0;
      if (from >= log.delivered) continue;
      lost += Math.max(0, log.keptFrom - 1 - from);
      for (const kept of log.after(from)) if (wants(kept.event)) found.push(kept);
    }
    found.sort((a, b) => a.number - b.number);
    return { events: found.map(({ event }) => event), lost };
  }

  /** The origin of the first event that this one waits for; undefined where it can be delivered. */
  #blocker(event: DeliveredEvent): OriginLog | undefined {
    const own = (event.id as VectorClockEntry).origin;
    for (const { origin, sequence } of event.dependencies?.entries ?? []) {
      if (origin === own) continue;
      const log = this.open(origin);
      // With too many origins the dependency can't be followed: the event is not held up for ever.
      if (log === undefined) continue;
      if (sequence > log.known) log.known = sequence;
      if (log.delivered < sequence) return log;
    }
    return undefined;
  }

  #deliver(event: DeliveredEvent, log: OriginLog): void {
    const { sequence } = event.id as VectorClockEntry;
    log.delivered = sequence;
    for (const entry of event.dependencies?.entries ?? []) {
      const other = this.origins.get(entry.origin);
      if (other !== undefined && other !== log) log.sees(sequence, other, entry.sequence);
    }
    this.#number += 1;
    log.keep({ event, number: this.#number });
    this.#keptBytes += sizeOfEvent(event);
    if (log.keptEvents > this.#limits.maxKeptEvents) this.#keptBytes -= log.drop(1);
    if (this.#keptBytes > this.#limits.maxKeptBytes) this.#makeRoom();
    this.counters.delivered += 1;
    this.listener?.(event);
    this.behind?.(event);
  }

  /** Delivers everything that an origin's progress allows, on it and on those that wait for it. */
  #advance(first: OriginLog): void {
    const work = [first];
    for (let log = work.pop(); log !== undefined; log = work.pop()) {
      this.#drain(log);
      for (const waiter of log.waiters) work.push(waiter);
      log.waiters.clear();
    }
  }

  #drain(log: OriginLog): void {
    while (log.delivered < log.received.prefix) {
      const event = log.pending.get(log.delivered + 1);
      if (event === undefined) {
        this.#passOver(log);
        continue;
      }
      const blocker = this.#blocker(event);
      if (blocker !== undefined) {
        blocker.waiters.add(log);
        return;
      }
      log.pending.delete(log.delivered + 1);
      this.#pending -= 1;
      this.#deliver(event, log);
    }
  }

  /** Passes over given-up events, up to the next that waits. */
  #passOver(log: OriginLog): void {
    let through = log.received.prefix;
    for (const sequence of log.pending.keys()) if (sequence <= through) through = sequence - 1;
    this.#keptBytes -= log.keptBytes;
    log.passOver(through);
  }

  #makeRoom(): void {
    let largest: OriginLog | undefined;
    for (const log of this.origins.values()) if (log.keptBytes > (largest?.keptBytes ?? 0)) largest = log;
    // A sixteenth at a time, so that the search is rare.
    if (largest !== undefined) this.#keptBytes -= largest.drop(Math.max(1, largest.keptEvents >> 4));
  }
}
