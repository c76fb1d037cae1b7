// Which other nodes are heard of. One count a node, for all groups: groups that sleep count no time themselves.

export interface PeerLivenessEvents {
  /** Nothing was heard of the node for `ticks` ticks, or its connection broke. */
  silent(peer: number, ticks: number): void;
  /** A node that was silent is heard. */
  heard(peer: number): void;
}

interface Silence {
  ticks: number;
  /** The groups were told. */
  told: boolean;
}

export class PeerLiveness {
  readonly #limitTicks: number;
  readonly #events: PeerLivenessEvents;
  readonly #peers = new Map<number, Silence>();

  /** @param limitTicks Ticks after which a node is silent. */
  constructor(limitTicks: number, events: PeerLivenessEvents) {
    this.#limitTicks = limitTicks;
    this.#events = events;
  }

  /** Counts for a peer from now on, unless it does already. */
  watch(peer: number): void {
    this.#silence(peer);
  }

  forget(peer: number): void {
    this.#peers.delete(peer);
  }

  /** Ticks since anything came from the peer; infinity where it is not watched. */
  silentTicks(peer: number): number {
    return this.#peers.get(peer)?.ticks ?? Number.POSITIVE_INFINITY;
  }

  tick(): void {
    for (const [peer, silence] of this.#peers) if (++silence.ticks >= this.#limitTicks) this.#tell(peer, silence);
  }

  /** Anything at all came from the peer. */
  heard(peer: number): void {
    const silence = this.#silence(peer);
    silence.ticks = 0;
    if (!silence.told) return;
    silence.told = false;
    this.#events.heard(peer);
  }

  /** The connection broke: the peer may be gone, and what was on its way is. */
  lost(peer: number): void {
    this.#tell(peer, this.#silence(peer));
  }

  #tell(peer: number, silence: Silence): void {
    if (silence.told) return;
    silence.told = true;
    this.#events.silent(peer, silence.ticks);
  }

  #silence(peer: number): Silence {
    let silence = this.#peers.get(peer);
    if (silence === undefined) this.#peers.set(peer, (silence = { ticks: 0, told: false }));
    return silence;
  }
}
