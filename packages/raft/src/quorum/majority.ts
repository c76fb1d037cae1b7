import { invariant } from "../invariant.ts";
import type { Quorum, VoteResult } from "./quorum.ts";

/** More than half of the voters, each with one vote. */
export class MajorityQuorum implements Quorum {
  readonly voters: readonly number[];
  /** Voters in the smallest deciding set. */
  readonly size: number;
  readonly #sorted: number[];

  constructor(voters: readonly number[]) {
    invariant(voters.length > 0, "a configuration has at least one voter");
    this.voters = [...new Set(voters)].sort((a, b) => a - b);
    this.size = Math.floor(this.voters.length / 2) + 1;
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
    return sorted[this.size - 1]!;
  }

  decides(agrees: (voter: number) => boolean): boolean {
    let count = 0;
    for (const voter of this.voters) if (agrees(voter)) count++;
    return count >= this.size;
  }

  tally(votes: ReadonlyMap<number, boolean>): VoteResult {
    let granted = 0;
    let refused = 0;
    for (const voter of this.voters) {
      const vote = votes.get(voter);
      if (vote === true) granted++;
      else if (vote === false) refused++;
    }
    if (granted >= this.size) return "won";
    return this.voters.length - refused < this.size ? "lost" : "pending";
  }
}
