import { invariant } from "./invariant.ts";
import type { HardState } from "./options.ts";

/** A replica's term and its vote in that term: one value, stored as one record together with the commit index. */
export class Ballot {
  #term: number;
  /** Whom this node voted for in its term; 0: nobody. */
  #vote: number;
  #storedTerm: number;
  #storedVote: number;
  #storedCommit: number;

  /** @param restored What storage holds; undefined: nothing. */
  constructor(restored: HardState | undefined) {
    this.#term = restored?.term ?? 0;
    this.#vote = restored?.vote ?? 0;
    this.#storedTerm = this.#term;
    this.#storedVote = this.#vote;
    this.#storedCommit = restored?.commit ?? 0;
  }

  get term(): number {
    return this.#term;
  }

  get vote(): number {
    return this.#vote;
  }

  /** Term or vote have changed since they were handed to storage. */
  get hasChanged(): boolean {
    return this.#term !== this.#storedTerm || this.#vote !== this.#storedVote;
  }

  /** The commit index that was handed to storage last. */
  get storedCommit(): number {
    return this.#storedCommit;
  }

  /** A new term begins without a vote. */
  enter(term: number): void {
    invariant(term >= this.#term, "the term never goes back");
    if (term !== this.#term) {
      this.#term = term;
      this.#vote = 0;
    }
  }

  /** Who has voted for somebody votes for nobody else in that term. */
  cast(candidate: number): void {
    invariant(this.#vote === 0 || this.#vote === candidate, "a node votes once a term");
    this.#vote = candidate;
  }

  /** What is to be stored. */
  take(commit: number): HardState {
    this.#storedTerm = this.#term;
    this.#storedVote = this.#vote;
    this.#storedCommit = commit;
    return { term: this.#term, vote: this.#vote, commit };
  }
}
