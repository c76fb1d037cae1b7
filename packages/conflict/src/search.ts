/** One search for those that a contender meets: what it has found, and what it need not look at any more. */
import { type Contender, mergeable } from "./contender.ts";

/** What a search is for. */
export type Purpose =
  /** Everyone met. */
  | "all"
  /**
   * Only what a decision needs: the first to beat the contender, one to merge with, and everyone who would learn of its
   * first loser or partner. So a crowd in one place costs a glance each, not a comparison of boxes.
   */
  | "decision";

export class Search {
  /** Everyone found, each once. */
  readonly found: Contender[] = [];
  /** The lowest key shared with each of the found; empty where the boxes overlap. */
  readonly keys: string[] = [];
  #number = 0;
  #it: Contender | undefined;
  #purpose: Purpose = "all";
  #merges = false;
  #winnerPlace = Number.POSITIVE_INFINITY;

  begin(it: Contender, purpose: Purpose): void {
    this.found.length = 0;
    this.keys.length = 0;
    this.#number += 1;
    this.#it = it;
    this.#purpose = purpose;
    this.#merges = false;
    this.#winnerPlace = Number.POSITIVE_INFINITY;
    it.foundBy = this.#number;
  }

  /** Whether one that may meet the contender is still of interest. */
  wants(other: Contender): boolean {
    if (other.foundBy === this.#number || this.#it === undefined) return false;
    if (this.#purpose === "all") return true;
    if (mergeable(other, this.#it)) return !this.#merges || (!other.incumbent && other.partner === undefined);
    return other.place < this.#winnerPlace || (!other.incumbent && other.opponent === undefined);
  }

  /** Takes one that meets the contender, by a key or by its box. */
  take(other: Contender, key: string): void {
    other.foundBy = this.#number;
    this.found.push(other);
    this.keys.push(key);
    if (this.#it !== undefined && mergeable(other, this.#it)) this.#merges = true;
    else if (other.place < this.#winnerPlace) this.#winnerPlace = other.place;
  }
}
