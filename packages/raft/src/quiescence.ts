/**
 * Whether a replica sleeps. A group with nothing outstanding needs no heartbeats and no election timers, as long as something else
 * tells that its nodes live: the host, once for all groups of a pair of nodes.
 *
 * The leader falls asleep last: it asks its peers to, with its heartbeats, and sleeps when everybody whose node is heard of
 * has answered that it does, and these and itself could decide. So a leader that lost its quorum stays awake and steps down, and
 * a replica that missed the question stays awake and complains. Whoever is woken by another than its leader wakes the leader too.
 * After TiKV's hibernated regions and CockroachDB's quiesced ranges.
 */
export class Quiescence {
  readonly #enabled: boolean;
  /** Ticks without anything to do before the leader asks. */
  readonly #patienceTicks: number;
  #asleep = false;
  #idleTicks = 0;
  /** The leader has asked its peers to sleep, and nothing came since. */
  #asked = false;
  /** Peers that answered that they sleep. */
  readonly #asleepPeers = new Set<number>();
  /** Nodes that the host hears nothing of. */
  readonly #silentNodes = new Set<number>();

  constructor(enabled: boolean, patienceTicks: number) {
    this.#enabled = enabled;
    this.#patienceTicks = patienceTicks;
  }

  get isAsleep(): boolean {
    return this.#asleep;
  }

  /** A tick of a leader went by. */
  tick(): void {
    this.#idleTicks++;
  }

  /** The leader had nothing to do for long enough to ask. */
  get isIdle(): boolean {
    return this.#enabled && this.#idleTicks >= this.#patienceTicks;
  }

  /** Something happens: nobody sleeps as far as this replica knows. True where it slept. */
  stir(): boolean {
    const slept = this.#asleep;
    this.#asleep = false;
    this.#idleTicks = 0;
    this.#asked = false;
    this.#asleepPeers.clear();
    return slept;
  }

  /** Falls asleep, unless it must not. */
  sleep(): boolean {
    this.#asleep = this.#enabled;
    return this.#enabled;
  }

  asked(): void {
    this.#asked = true;
  }

  /** Counts only as the answer to the latest question: what woke the leader since may have woken the peer. */
  peerSleeps(peer: number): void {
    if (this.#asked) this.#asleepPeers.add(peer);
  }

  doesPeerSleep(peer: number): boolean {
    return this.#asleepPeers.has(peer);
  }

  nodeSilent(node: number): void {
    this.#silentNodes.add(node);
    this.#asleepPeers.delete(node);
  }

  nodeHeard(node: number): boolean {
    return this.#silentNodes.delete(node);
  }

  isSilent(node: number): boolean {
    return this.#silentNodes.has(node);
  }
}
