import type { CausalRange, DeliveredEvent, VectorClockEntry } from "@statemesh/contract";
import type { CausalLimits } from "./limits.ts";
import { type OriginLog, sizeOfEvent } from "./origin-log.ts";

/** What a node knows of a peer that it can reach, and what it owes it. */
export class CausalPeer {
  /** Own events up to here were sent. */
  sentThrough: number;
  /** The peer has said where it stands since it came up. */
  heard = false;
  /** Where the peer stands, an origin. */
  readonly frontier = new Map<number, number>();
  /** Where the peer's kept events begin, of origins of which it was asked for older ones. */
  readonly keptFrom = new Map<number, number>();
  #ranges: CausalRange[] = [];
  readonly #limits: CausalLimits;

  constructor(sentThrough: number, limits: CausalLimits) {
    this.sentThrough = sentThrough;
    this.#limits = limits;
  }

  /** Whether the peer can be expected to have the event. */
  holds(origin: number, sequence: number): boolean {
    return (this.frontier.get(origin) ?? 0) >= sequence && (this.keptFrom.get(origin) ?? 0) <= sequence;
  }

  /** The peer asks for events. Beyond the limit it is not heard, and asks again. */
  ask(range: CausalRange): void {
    if (this.#ranges.length >= this.#limits.maxRanges || range.firstSequence > range.lastSequence) return;
    for (const waiting of this.#ranges) if (waiting.origin === range.origin && waiting.firstSequence === range.firstSequence) return;
    this.#ranges.push({ ...range });
  }

  /** Moves asked events into `events`, within the limits of a tick, and says where an origin's kept events begin instead of older ones. */
  answer(origins: ReadonlyMap<number, OriginLog>, events: DeliveredEvent[], keptFrom: VectorClockEntry[]): void {
    let left = this.#limits.maxEventsPerTick;
    let bytes = this.#limits.maxBytesPerTick;
    let done = 0;
    for (const range of this.#ranges) {
      const log = origins.get(range.origin);
      const last = log === undefined ? 0 : Math.min(range.lastSequence, log.received.highest);
      if (log !== undefined && range.firstSequence < log.keptFrom && range.firstSequence <= log.delivered) {
        keptFrom.push({ origin: range.origin, sequence: log.keptFrom });
        range.firstSequence = log.keptFrom;
      }
      for (; log !== undefined && range.firstSequence <= last && left > 0 && bytes > 0; range.firstSequence += 1) {
        const event = log.find(range.firstSequence);
        if (event === undefined) continue;
        events.push(event);
        left -= 1;
        bytes -= sizeOfEvent(event);
      }
      if (range.firstSequence <= last) break;
      done += 1;
    }
    if (done > 0) this.#ranges = this.#ranges.slice(done);
  }
}
