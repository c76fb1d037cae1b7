import { invariant } from "../invariant.ts";
import type { Quorum, VoteResult } from "./quorum.ts";

/**
 * More than half of the voters, or exactly half of them with the lowest id among them. Among an odd number of voters that is
 * the plain majority; of an even number that falls into two equal parts, the part with the lowest id goes on.
 *
 * It is one vote a voter and half a vote more for the lowest: of any two parts at most one has more than half of the votes,
 * and of two parts that together hold everybody exactly one has. So any two deciding sets share a voter. Every
 * plain majority decides too, so nodes that still count plain majorities may stand beside nodes that do not.
 *
 * The price: of an even number of voters an entry may be committed on exactly half. It outlives the loss for good of any
 * half less one, as with a plain majority, but then what is left may not decide, and of four voters the two that
 * alone hold an entry may be lost together, where a plain majority would have had a third copy. Of two voters the lowest
 * id decides alone, and what only it holds is lost with it. Where that matters, use an odd number of voters.
 */
export class WeightedQuorum implements Quorum {
  readonly voters: readonly number[];
  /** Voters in a deciding set without the lowest id, at least. */
  readonly #size: number;
  readonly #lowest: number;
  readonly #even: boolean;
  readonly #sorted: number[];

  constructor(voters: readonly number[]) {
    invariant(voters.length > 0, "a configuration has at least one voter");
    this.voters = [...new Set(voters)].sort((a, b) => a - b);
    this.#size = Math.floor(this.voters.length / 2) + 1;
    this.#lowest = this.voters[0]!;
    this.#even = this.voters.length % 2 === 0;
    this.#sorted = this.voters.map(() => 0);
  }

  has(voter: number): boolean {
    return this.voters.includes(voter);
  }

  reached(reached: (voter: number) => number): number {
    // Insertion sort, descending, into a kept array: a handful of voters, called on every acknowledgement.
    const sorted = this.#sorted;
    for (let count = 0; count < this.voters.length; count++) {
      const value = reached(this.voters[count]!);
      let at = count;
      for (; at > 0 && sorted[at - 1]! < value; at--) sorted[at] = sorted[at - 1]!;
      sorted[at] = value;
    }
    const byMajority = sorted[this.#size - 1]!;
    if (!this.#even) return byMajority;
    // Half of the voters stand at the value before, or above; it counts as far as the lowest id is among them.
    return Math.max(byMajority, Math.min(sorted[this.#size - 2]!, reached(this.#lowest)));
  }

  decides(agrees: (voter: number) => boolean): boolean {
    let count = 0;
    for (const voter of this.voters) if (agrees(voter)) count++;
    return this.#enough(count, count === this.#size - 1 && agrees(this.#lowest));
  }

  tally(votes: ReadonlyMap<number, boolean>): VoteResult {
    let granted = 0;
    let open = 0;
    for (const voter of this.voters) {
      const vote = votes.get(voter);
      if (vote === true) granted++;
      else if (vote === undefined) open++;
    }
    const lowest = votes.get(this.#lowest);
    if (this.#enough(granted, lowest === true)) return "won";
    return this.#enough(granted + open, lowest !== false) ? "pending" : "lost";
  }

  #enough(count: number, withLowest: boolean): boolean {
    return count >= this.#size || (this.#even && withLowest && count === this.#size - 1);
  }
}
