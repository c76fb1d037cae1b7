/** Says why a candidate won or lost. */
import { type CandidateSet, type Comparison, type ExplainResponse, MeshError, Outcome, type Verdict } from "@statemesh/contract";
import type { Policy } from "@statemesh/world";
import { type Contender, mergeable, separatingRule } from "./contender.ts";
import { conflictAt, Meetings } from "./meetings.ts";
import { INCUMBENT, OPERATION_ID_REUSED, UNCONTESTED, verdictOf } from "./resolve.ts";
import type { Search } from "./search.ts";
import { walk } from "./walk.ts";

/** What a rule compared, of one of the two. */
function valueOf(it: Contender, rule: string): string {
  const { candidate, order } = it;
  switch (rule) {
    case "merge":
      return candidate.mergeClass;
    case "priority":
      // A chain without the rule is compared by the default.
      return String(order.chain.includes("priority") ? candidate.priority : -it.first);
    case "timestamp":
    case "last_write_wins":
      return `${candidate.stamp?.physicalMs ?? 0}.${candidate.stamp?.logical ?? 0}`;
    case "server_id":
      return String(order.chain.includes("server_id") ? candidate.serverId : 0);
    case "type":
      return order.chain.join(", ");
    case INCUMBENT:
      return it.incumbent ? "in force" : "candidate";
    default:
      return candidate.operationId;
  }
}

function comparisonOf(it: Contender, other: Contender, search: Search, at: number): Comparison {
  const rule = mergeable(it, other) ? "merge" : other.incumbent ? INCUMBENT : separatingRule(it, other);
  return {
    otherOperationId: other.candidate.operationId,
    otherIsIncumbent: other.incumbent,
    otherWon: other.kept,
    conflict: conflictAt(search, at, it),
    rule,
    ownValue: valueOf(it, rule),
    otherValue: valueOf(other, rule),
  };
}

function sentence(verdict: Verdict, comparisons: readonly Comparison[]): string {
  const { operationId, rule } = verdict;
  const beaten = comparisons.filter((it) => !it.otherWon).length;
  const meetings = `it met ${comparisons.length} other${comparisons.length === 1 ? "" : "s"}`;
  if (rule === OPERATION_ID_REUSED) return `${operationId} is rejected: its id stands for an operation with other content.`;
  if (rule === INCUMBENT && verdict.outcome === Outcome.ACCEPTED) return `${operationId} is in force already.`;
  if (verdict.outcome === Outcome.MERGED) return `${operationId} is in force, merged with those it overlaps (${meetings}).`;
  if (rule === UNCONTESTED) return `${operationId} is in force: ${comparisons.length === 0 ? "it met nobody" : `${meetings}, refused for another reason`}.`;
  if (verdict.outcome === Outcome.ACCEPTED) return `${operationId} is in force: ${meetings} and beat ${beaten}, the first by ${rule}.`;
  const winner = verdict.winnerOperationId;
  if (rule === INCUMBENT) return `${operationId} is rejected: ${winner} was in force before.`;
  const against = comparisons.find((it) => it.otherOperationId === winner && it.rule === rule);
  return `${operationId} is rejected: ${winner} comes before it by ${rule} (${against?.otherValue ?? ""} against ${against?.ownValue ?? ""}).`;
}

/**
 * Decides the set, and says of one candidate whom it met, what was compared and which rule set them apart. Where the
 * id stands for several contents, the first in the order is explained.
 *
 * @throws MeshError INVALID_FIELD where no candidate has the id
 */
export function explain(set: CandidateSet, operationId: string, policy: Policy): ExplainResponse {
  const { incumbents, candidates } = walk(set, policy);
  const it = candidates.find((candidate) => candidate.candidate.operationId === operationId);
  if (it === undefined) throw MeshError.field("operation_id", "must be the id of one of set.candidates");
  const meetings = new Meetings();
  for (const other of incumbents) meetings.add(other);
  for (const other of candidates) if (other !== it && !other.inForce && !other.reusesId) meetings.add(other);
  const search = meetings.search(it, "all");
  // What is told by its id alone met nobody.
  const comparisons = (it.inForce || it.reusesId ? [] : search.found)
    .map((other, at) => ({ other, at }))
    .sort((a, b) => a.other.place - b.other.place)
    .map(({ other, at }) => comparisonOf(it, other, search, at));
  const verdict = verdictOf(it);
  return { verdict, chain: [...it.order.chain], comparisons, text: sentence(verdict, comparisons) };
}
