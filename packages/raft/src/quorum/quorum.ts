/** Where an election stands. */
export type VoteResult = "pending" | "won" | "lost";

/**
 * Which sets of voters may decide. The core asks only these questions, so that joint and weighted
 * configurations can stand beside the plain majority. Any two deciding sets must share a voter.
 */
export interface Quorum {
  /** All voters, ascending, without repeats. */
  readonly voters: readonly number[];
  has(voter: number): boolean;
  /** The highest value that a deciding set has reached, where `reached(voter)` is what each stands at. */
  reached(reached: (voter: number) => number): number;
  /** Whether the voters for which `agrees` holds can decide. */
  decides(agrees: (voter: number) => boolean): boolean;
  /** The result of an election from the votes so far; absent voters may still answer. */
  tally(votes: ReadonlyMap<number, boolean>): VoteResult;
}
