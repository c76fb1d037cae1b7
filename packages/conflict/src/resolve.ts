/** Decides sets of candidates. */
import { type CandidateSet, Outcome, type Verdict } from "@statemesh/contract";
import type { Policy } from "@statemesh/world";
import { type Contender, separatingRule } from "./contender.ts";
import { walk } from "./walk.ts";

/** The rule of a verdict where nothing met. */
export const UNCONTESTED = "uncontested";
/** The rule of a verdict that something already in force decided. */
export const INCUMBENT = "incumbent";
/** The rule of a verdict on an operation whose id another content used first. */
export const OPERATION_ID_REUSED = "operation_id_reused";

function ruleOf(it: Contender): string {
  const { opponent } = it;
  if (it.reusesId) return OPERATION_ID_REUSED;
  if (it.partner !== undefined) return "merge";
  if (opponent === undefined) return UNCONTESTED;
  return opponent.incumbent ? INCUMBENT : separatingRule(it, opponent);
}

/** What the walk made of a candidate. */
export function verdictOf(it: Contender): Verdict {
  const { operationId } = it.candidate;
  return {
    operationId,
    outcome: it.partner !== undefined ? Outcome.MERGED : it.kept ? Outcome.ACCEPTED : Outcome.REJECTED,
    rule: ruleOf(it),
    winnerOperationId: it.kept || it.opponent === undefined ? operationId : it.opponent.candidate.operationId,
    conflict: it.conflict,
    rank: it.rank,
  };
}

/**
 * The verdict on every candidate, in the order of the request; a pure function of the set and the policy.
 *
 * - ACCEPTED: it conflicts with nothing kept. `rule` is the rule that separated it from the first candidate after it that
 *   it conflicts with, or `uncontested` where there is none (who comes before it and conflicts with it has lost to another).
 * - MERGED: as ACCEPTED, and it overlaps others in force with its merge class. `rule` is `merge`.
 * - REJECTED: `winnerOperationId` names the first kept operation, in the order of the walk, that it conflicts with;
 *   `rule` is `incumbent`, or the rule that separated the two. `operation_id_reused`: an operation with the same id and
 *   other content comes before it, or is in force; the winner's id is then its own.
 *
 * An incumbent's own operation, asked for again, is ACCEPTED by `incumbent`.
 *
 * Copies of one operation share its verdict; ranks count each operation once. Incumbents always stand.
 */
export function resolve(set: CandidateSet, policy: Policy): Verdict[] {
  return walk(set, policy).byRequest.map(verdictOf);
}
