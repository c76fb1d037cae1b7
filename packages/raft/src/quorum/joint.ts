import type { Quorum, VoteResult } from "./quorum.ts";

/**
 * Two configurations at once, while one gives way to the other: what the one and the other decide, each by its own rule.
 * So a deciding set shares a voter with every deciding set of the old configuration and with every one of the new
 * (Ongaro's dissertation, §4.3).
 */
export class JointQuorum implements Quorum {
  readonly voters: readonly number[];
  readonly #incoming: Quorum;
  readonly #outgoing: Quorum;

  constructor(incoming: Quorum, outgoing: Quorum) {
    this.#incoming = incoming;
    this.#outgoing = outgoing;
    this.voters = [...new Set([...incoming.voters, ...outgoing.voters])].sort((a, b) => a - b);
  }

  has(voter: number): boolean {
    return this.#incoming.has(voter) || this.#outgoing.has(voter);
  }

  reached(reached: (voter: number) => number): number {
    return Math.min(this.#incoming.reached(reached), this.#outgoing.reached(reached));
  }

  decides(agrees: (voter: number) => boolean): boolean {
    return this.#incoming.decides(agrees) && this.#outgoing.decides(agrees);
  }

  tally(votes: ReadonlyMap<number, boolean>): VoteResult {
    const incoming = this.#incoming.tally(votes);
    const outgoing = this.#outgoing.tally(votes);
    if (incoming === "lost" || outgoing === "lost") return "lost";
    return incoming === "won" && outgoing === "won" ? "won" : "pending";
  }
}
