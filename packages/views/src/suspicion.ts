// Whether another node is still there, from when it was last heard. How long is too long depends on how regularly a node is heard
// (Hayashibara's phi accrual detector) and on how well this node runs itself (Lifeguard's local health): who was held up blames nobody.

export interface SuspicionOptions {
  /** How often nodes make themselves heard, ms. */
  readonly heartbeatMs: number;
  /** Silence after which a node is suspected, at least, ms. */
  readonly suspicionMs: number;
  /** Silence after which a node is suspected whatever its habits and this node's health, and after which a member counts as gone, ms. */
  readonly removalMs: number;
}

/** Weight of one interval in the mean of a peer's intervals. */
const GAIN = 1 / 8;
/** Deviations above the mean interval that a peer may take: beyond, under a normal distribution, silence is one in 10^15. */
const DEVIATIONS = 8;
/** Steps of this node's own bad health. Each adds the shortest patience once more. */
const HEALTH_MAX = 3;
/** Breaks after which the time that a peer has to be heard without one is doubled no more. */
const BREAKS_MAX = 6;
/** Removal times that a peer has to be heard without a break for the earlier ones to be forgotten. */
const FORGET_REMOVALS = 6;

interface Peer {
  heardMs: number;
  meanMs: number;
  deviationMs: number;
  /** It was suspected at the last look. */
  suspected: boolean;
  /** Since when it is heard without a break. */
  sinceMs: number;
  /** Breaks that are not forgotten. */
  breaks: number;
}

export class Suspicion {
  readonly #options: SuspicionOptions;
  readonly #peers = new Map<number, Peer>();
  /** Time that this node ran, ms: what it slept through is nobody's silence. */
  #ranMs = 0;
  #beatMs: number | undefined;
  #health = 0;
  #wellSinceMs = 0;
  #changes = 0;

  constructor(options: SuspicionOptions) {
    this.#options = options;
  }

  /** 0: this node runs on time; each step up makes it slower to blame others. At most 3. */
  get health(): number {
    return this.#health;
  }

  /** Grows whenever a peer is suspected, or heard again. */
  get changes(): number {
    return this.#changes;
  }

  /** Counts for a peer from now on, as if it was heard. */
  watch(peer: number): void {
    if (this.#peers.has(peer)) return;
    const { heartbeatMs } = this.#options;
    this.#peers.set(peer, { heardMs: this.#ranMs, meanMs: heartbeatMs, deviationMs: heartbeatMs / 4, suspected: false, sinceMs: this.#ranMs, breaks: 0 });
  }

  forget(peer: number): void {
    this.#peers.delete(peer);
  }

  /** Milliseconds that this node ran. What is measured by it leaves out what the node slept through. */
  get ranMs(): number {
    return this.#ranMs;
  }

  /** This node's own beat, to be called at least once a heartbeat. Being late for it counts against this node. */
  beat(nowMs: number): void {
    const { heartbeatMs, suspicionMs } = this.#options;
    const passedMs = this.#beatMs === undefined ? 0 : Math.max(0, nowMs - this.#beatMs);
    this.#beatMs = nowMs;
    // A late beat says nothing of when others spoke meanwhile: their words may wait to be read. So it counts as one on time.
    this.#ranMs += Math.min(passedMs, heartbeatMs);
    if (passedMs > 2 * heartbeatMs) {
      this.#health = Math.min(HEALTH_MAX, this.#health + 1);
      this.#wellSinceMs = this.#ranMs;
    } else if (this.#health > 0 && this.#ranMs - this.#wellSinceMs >= suspicionMs) {
      this.#health--;
      this.#wellSinceMs = this.#ranMs;
    }
    for (const peer of this.#peers.values()) this.#look(peer);
  }

  /** Anything at all came from a peer. */
  heard(peer: number): void {
    this.watch(peer);
    const known = this.#peers.get(peer);
    if (known === undefined) return;
    this.#look(known);
    const intervalMs = this.#ranMs - known.heardMs;
    known.heardMs = this.#ranMs;
    if (known.suspected) {
      known.suspected = false;
      this.#changes++;
      known.sinceMs = this.#ranMs;
      return;
    }
    // Frames that come between two beats say nothing of how regularly a peer beats.
    if (intervalMs < this.#options.heartbeatMs / 2) return;
    const error = intervalMs - known.meanMs;
    known.meanMs += GAIN * error;
    known.deviationMs += GAIN * (Math.abs(error) - known.deviationMs);
  }

  #look(peer: Peer): void {
    if (peer.suspected || this.#ranMs - peer.heardMs < this.#patienceMs(peer)) return;
    peer.breaks = this.#isProven(peer) ? 1 : Math.min(BREAKS_MAX, peer.breaks + 1);
    peer.suspected = true;
    this.#changes++;
  }

  /** It was heard for so long without a break that earlier ones are forgotten. */
  #isProven(peer: Peer): boolean {
    return this.#ranMs - peer.sinceMs >= FORGET_REMOVALS * this.#options.removalMs;
  }

  /** Silence that makes suspect. Between suspicionMs and removalMs. */
  #patienceMs({ meanMs, deviationMs }: Peer): number {
    const { suspicionMs, removalMs } = this.#options;
    return Math.min(removalMs, Math.max(suspicionMs, meanMs + DEVIATIONS * deviationMs) + this.#health * suspicionMs);
  }

  /** Whether a peer is taken to be there. One that was never watched is not. */
  hears(peer: number): boolean {
    return this.#peers.get(peer)?.suspected === false;
  }

  /**
   * Whether a peer is there, and has been for long enough to count on it. Long enough is nothing at first; after a break it is suspicionMs, and
   * twice as much after each further one, up to removalMs: a link that flaps is not counted on and dropped again each time.
   */
  isSteady(peer: number): boolean {
    const known = this.#peers.get(peer);
    if (known === undefined || known.suspected) return false;
    const { suspicionMs, removalMs } = this.#options;
    return known.breaks === 0 || this.#ranMs - known.sinceMs >= Math.min(removalMs, suspicionMs * 2 ** (known.breaks - 1));
  }

  /** Milliseconds, of those that this node ran, since a peer was heard; undefined: it is not watched. */
  silenceMs(peer: number): number | undefined {
    const known = this.#peers.get(peer);
    return known === undefined ? undefined : this.#ranMs - known.heardMs;
  }

  /** Peers that are suspected, ascending. */
  suspected(): number[] {
    return [...this.#peers].filter(([, { suspected }]) => suspected).map(([peer]) => peer).sort((a, b) => a - b);
  }
}
