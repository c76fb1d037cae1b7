import type { Quorum, VoteResult } from "./quorum/quorum.ts";

/** The votes of one campaign, of whatever kind. */
export class Campaign {
  readonly #nodeId: number;
  readonly #votes = new Map<number, boolean>();
  /** The Ready whose durability makes the candidate's vote for itself count; 0: not handed out yet. */
  #ownVoteSequence = 0;

  constructor(nodeId: number) {
    this.#nodeId = nodeId;
  }

  reset(): void {
    this.#votes.clear();
    this.#ownVoteSequence = 0;
  }

  /** The first word of a voter counts. */
  count(from: number, granted: boolean, quorum: Quorum): VoteResult {
    if (!this.#votes.has(from)) this.#votes.set(from, granted);
    return quorum.tally(this.#votes);
  }

  /** Ready `sequence` carries the candidate's vote to storage, unless an earlier one does. */
  handedOut(sequence: number): void {
    if (this.#ownVoteSequence === 0 && !this.#votes.has(this.#nodeId)) this.#ownVoteSequence = sequence;
  }

  /** Whether the candidate's vote for itself became durable just now. True once. */
  takeOwnVote(durableSequence: number): boolean {
    if (this.#ownVoteSequence === 0 || durableSequence < this.#ownVoteSequence) return false;
    this.#ownVoteSequence = 0;
    return true;
  }
}
