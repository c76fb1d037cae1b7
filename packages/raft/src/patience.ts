/** A replica's sense of time, in ticks: how long it has heard nothing, and so when it campaigns and whom it may vote for. */
export class Patience {
  readonly #electionTicks: number;
  readonly #random: () => number;
  /** Ticks of this life. */
  #now = 0;
  /** When a leader was last heard, of whatever term. A replica that starts may have heard one just before. */
  #heardAt = 0;
  /** Since the last word of the leader, or the last vote given; on a leader, since the last check for a quorum. */
  #elapsed = 0;
  #timeout = 0;

  /** @param random Uniform in [0, 1). */
  constructor(electionTicks: number, random: () => number) {
    this.#electionTicks = electionTicks;
    this.#random = random;
  }

  get now(): number {
    return this.#now;
  }

  tick(): void {
    this.#now++;
    this.#elapsed++;
  }

  /** Time that went by without ticks. Nobody was silent in it, because nobody listened. */
  missed(ticks: number): void {
    this.#now += ticks;
  }

  /** An election timeout has gone by: the least that any replica waits. */
  get isPeriodOver(): boolean {
    return this.#elapsed >= this.#electionTicks;
  }

  /** This replica has waited for as long as it drew, between once and twice an election timeout. */
  get isOver(): boolean {
    return this.#elapsed >= this.#timeout;
  }

  /** Counts from the beginning. */
  restart(): void {
    this.#elapsed = 0;
  }

  /** Counts from the beginning, for another length than before, so that replicas that campaigned at once do not again. */
  redraw(): void {
    this.#elapsed = 0;
    this.#timeout = this.#electionTicks + Math.floor(this.#random() * this.#electionTicks);
  }

  /** Word from a leader. */
  heard(): void {
    this.#elapsed = 0;
    this.#heardAt = this.#now;
  }

  /** The host has heard nothing of the leader's node for so many ticks, which this replica did not count itself. */
  silent(ticks: number): void {
    this.#elapsed = Math.max(this.#elapsed, ticks);
    this.#now = Math.max(this.#now, this.#heardAt + ticks);
  }

  /**
   * A leader may count on this replica: it heard one less than an election timeout ago, or does not know because it has
   * just started. What has happened since (a newer term, another role) changes nothing about that.
   */
  get isPromised(): boolean {
    return this.#now - this.#heardAt < this.#electionTicks;
  }
}
