interface Sent {
  /** The leader's clock, in ticks, when it sent the round. */
  tick: number;
  /** The round: what its heartbeats carry and peers echo. */
  round: number;
}

/**
 * How long a leader may take for granted that there is no other. A voter that answers a heartbeat votes for nobody for an
 * election timeout from when it came, so not for one from when it was *sent*. When the answer came back says nothing: it
 * may have been under way for as long.
 */
export class Lease {
  readonly #durationTicks: number;
  #sent: Sent[] = [];
  /** The leader told another to campaign in its place: that may arrive late, and needs no voter's patience. For the rest of the term. */
  #void = false;

  /** @param durationTicks The election timeout less the margin. */
  constructor(durationTicks: number) {
    this.#durationTicks = durationTicks;
  }

  /** The node begins to lead, or ends. */
  reset(): void {
    this.#sent = [];
    this.#void = false;
  }

  void(): void {
    this.#void = true;
  }

  /** Round `round` leaves at `tick`. Rounds that are too old to count are forgotten. */
  sent(round: number, tick: number): void {
    this.#sent.push({ tick, round });
    let old = 0;
    while (tick - this.#sent[old]!.tick >= this.#durationTicks) old++;
    if (old > 0) this.#sent.splice(0, old);
  }

  /** Ticks that are left at `now`, where a quorum answered `round` or later ones; 0: no lease. */
  ticksLeft(round: number, now: number): number {
    if (this.#void) return 0;
    // Later rounds, of reads, are sent no earlier.
    const sent = this.#sent.findLast((candidate) => candidate.round <= round);
    return sent === undefined ? 0 : Math.max(0, this.#durationTicks - (now - sent.tick));
  }
}
