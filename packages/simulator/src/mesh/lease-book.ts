// Who holds which region, as the holders themselves see it: at no instant two.
import type { Region } from "@statemesh/contract";
import { formatRegion } from "@statemesh/world";
import type { Recorder } from "../recorder.ts";

interface Belief {
  readonly serverId: number;
  readonly epoch: number;
  untilMs: number;
}

export class LeaseBook {
  readonly #recorder: Recorder;
  readonly #nowMs: () => number;
  readonly #fencedAt: (region: Region) => number;
  readonly #beliefs = new Map<string, Belief>();

  /** `fencedAt`: the epoch at which the log of the region's group stands. */
  constructor(recorder: Recorder, nowMs: () => number, fencedAt: (region: Region) => number) {
    this.#recorder = recorder;
    this.#nowMs = nowMs;
    this.#fencedAt = fencedAt;
  }

  /** Somebody was told of an epoch: from here on nothing may be decided under the one before. */
  answered(region: Region, epoch: number): void {
    const fenced = this.#fencedAt(region);
    if (fenced < epoch) this.#recorder.violation("fenced before it is told", `${formatRegion(region)} was answered at epoch ${epoch}, its group's log stands at ${fenced}`);
  }

  granted(region: string, serverId: number, epoch: number, untilMs: number): void {
    const before = this.#beliefs.get(region);
    if (before !== undefined) {
      if (epoch < before.epoch) {
        // An older grant that was long on its way: its holder is fenced already.
        return;
      }
      if (epoch === before.epoch && serverId !== before.serverId) this.#recorder.violation("epochs only grow", `servers ${before.serverId} and ${serverId} hold ${region} at epoch ${epoch}`);
      if (serverId !== before.serverId && before.untilMs > this.#nowMs()) {
        this.#recorder.violation("one holder", `server ${serverId} holds ${region} at epoch ${epoch}, while server ${before.serverId} may trust its lease of epoch ${before.epoch} for ${(before.untilMs - this.#nowMs()).toFixed(0)} ms more`);
      }
    }
    this.#beliefs.set(region, { serverId, epoch, untilMs });
  }

  renewed(region: string, epoch: number, untilMs: number): void {
    const belief = this.#beliefs.get(region);
    if (belief?.epoch === epoch) belief.untilMs = Math.max(belief.untilMs, untilMs);
    else if (belief !== undefined && belief.epoch > epoch && untilMs > this.#nowMs()) {
      this.#recorder.sometimes("a renewal came after its lease was taken over");
    }
  }

  ended(region: string, epoch: number): void {
    const belief = this.#beliefs.get(region);
    if (belief?.epoch === epoch) belief.untilMs = 0;
  }
}
