// What a batch asks of an arbiter: a set of all single operations that can be done, and one a transaction.
import type { ArbitrateResponse, Candidate, CandidateSet, Verdict } from "@statemesh/contract";
import { resolve } from "@statemesh/conflict";
import { collectIncumbents, type GroupState, isImpossible, type PendingOperation } from "@statemesh/replica";
import { candidateOf, type Policy } from "@statemesh/world";
import type { DecisionBatch, QueuedUnit } from "./decision-queue.ts";
import { answersAll } from "./unit-answers.ts";

/** Incumbents that the contract lets a set have. */
const INCUMBENTS_PER_SET = 4_096;

/** A set that is decided by itself. */
interface Part {
  readonly units: readonly QueuedUnit[];
  /** Undefined where nothing of it can be done. */
  readonly set: CandidateSet | undefined;
}

/** The candidates of operations, and what is in force where they want to go. `groups`: how many there are besides group 0. */
export function candidateSet(operations: Iterable<PendingOperation>, state: GroupState, policy: Policy, groups: number): CandidateSet {
  const incumbents = new Map<string, Candidate>();
  const candidates: Candidate[] = [];
  const place = { groupId: state.groupId, groups };
  for (const pending of operations) {
    collectIncumbents(state, pending, policy, incumbents, place);
    candidates.push(candidateOf(pending.operation, pending.touched, pending.stamp, pending.priority));
  }
  return { incumbents: incumbents.size === 0 ? [] : [...incumbents.values()], candidates };
}

/** Calls `decide` with each of the sets that are decided by themselves, and the verdicts on what of it was asked. */
export type DecidePart = (units: readonly QueuedUnit[], verdicts: readonly Verdict[]) => void;

export class Question {
  readonly #parts: readonly Part[];
  readonly #policy: Policy;
  readonly sets: readonly CandidateSet[];

  constructor(batch: DecisionBatch, state: GroupState, policy: Policy, groups: number) {
    this.#policy = policy;
    const parts: Part[] = [];
    if (batch.singles.length > 0) {
      const possible: PendingOperation[] = [];
      for (const unit of batch.singles) for (const pending of unit.operations) if (!isImpossible(state, pending)) possible.push(pending);
      parts.push({ units: batch.singles, set: possible.length === 0 ? undefined : candidateSet(possible, state, policy, groups) });
    }
    // A transaction is alone in its set, and refused whole where a part of it can't be done.
    for (const transaction of batch.transactions) parts.push({ units: [transaction], set: candidateSet(transaction.operations, state, policy, groups) });
    this.#parts = parts;
    this.sets = parts.flatMap((part) => (part.set === undefined ? [] : [part.set]));
  }

  /** Something is to be compared. The verdict on a candidate alone, where nothing is in force, is not worth a call: this node knows it. */
  get hasRivals(): boolean {
    return this.sets.some(({ candidates, incumbents }) => candidates.length + incumbents.length > 1);
  }

  /** There is something to ask, and no more of it than an arbiter takes. */
  get isForArbiter(): boolean {
    return this.hasRivals && this.sets.every((set) => set.incumbents.length <= INCUMBENTS_PER_SET);
  }

  isAnsweredBy({ sets }: ArbitrateResponse): boolean {
    return sets.length === this.sets.length && this.sets.every((set, i) => answersAll(set, sets[i]?.verdicts));
  }

  /** Hands out the verdicts of an answer that fits the question; without one those of the shared rules. */
  decide(answer: ArbitrateResponse | undefined, decide: DecidePart): void {
    let at = 0;
    for (const { units, set } of this.#parts) {
      if (set === undefined) decide(units, []);
      else decide(units, answer?.sets[at++]?.verdicts ?? resolve(set, this.#policy));
    }
  }
}
