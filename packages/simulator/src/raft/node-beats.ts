import type { RaftCore } from "@statemesh/raft";

/** Ticks from one beat to the next. */
const BEAT_TICKS = 2;

/** What nodes tell each other beneath their groups: that they live. Replicas that sleep are woken by its end. */
export class NodeBeats {
  readonly #peers: readonly number[];
  readonly #silentTicks: number;
  readonly #send: (peer: number) => void;
  /** Ticks since a peer was heard. */
  readonly #silence = new Map<number, number>();
  #ticks = 0;

  /** @param silentTicks After so many without word a peer counts as silent. */
  constructor(peers: readonly number[], silentTicks: number, send: (peer: number) => void) {
    this.#peers = peers;
    this.#silentTicks = silentTicks;
    this.#send = send;
  }

  tick(core: RaftCore): void {
    const isDue = ++this.#ticks % BEAT_TICKS === 0;
    for (const peer of this.#peers) {
      if (isDue) this.#send(peer);
      const ticks = (this.#silence.get(peer) ?? 0) + 1;
      this.#silence.set(peer, ticks);
      if (ticks === this.#silentTicks) core.nodeSilent(peer, ticks);
    }
  }

  heard(peer: number, core: RaftCore): void {
    if ((this.#silence.get(peer) ?? 0) >= this.#silentTicks) core.nodeHeard(peer);
    this.#silence.set(peer, 0);
  }
}
