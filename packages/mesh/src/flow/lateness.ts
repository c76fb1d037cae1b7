// Whether a node comes late to everything: what is to be done waits for a processor that has too much to do. Then what can be said again later is
// refused, so that what cannot has the processor: an eventual value that is not taken is followed by a newer one.
import { MeshError } from "@statemesh/contract";
import { type DelayLimits, retryAfterMs, StandingDelay } from "./standing-delay.ts";

export class Lateness {
  readonly #delay: StandingDelay;
  #askedMs = 0;
  #lateMs = 0;
  /** Updates and events that were refused. */
  refused = 0;

  constructor(limits: DelayLimits) {
    this.#delay = new StandingDelay(limits);
  }

  /** Something is to be done, next. */
  asked(nowMs: number): void {
    this.#askedMs = nowMs;
  }

  /** It is done. */
  ran(nowMs: number): void {
    this.#lateMs = nowMs - this.#askedMs;
    this.#delay.note(this.#lateMs, nowMs);
  }

  /** What stands against so many updates and events. */
  refusal(count: number): MeshError | undefined {
    if (!this.#delay.refuses(this.#lateMs)) return undefined;
    this.refused += count;
    return new MeshError("OVERLOADED", `this node is ${Math.ceil(this.#lateMs)} ms late with all it does: strong operations go first`, { retryDelayMs: retryAfterMs(2 * this.#lateMs) });
  }
}
