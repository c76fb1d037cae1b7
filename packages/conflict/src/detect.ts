/** Finds who conflicts, without deciding. */
import { type CandidateSet, type Conflict, MeshError } from "@statemesh/contract";
import type { Policy } from "@statemesh/world";
import { mergeable } from "./contender.ts";
import { conflictAt, Meetings } from "./meetings.ts";
import { lineUp } from "./walk.ts";

/** Most conflicts that one call names. */
export const CONFLICTS_MAX = 16_384;

/**
 * Every pair that conflicts: of two candidates, or of an incumbent and a candidate. Edits that merge do not conflict,
 * and incumbents among themselves have been decided. First comes who precedes in the total order (incumbents before
 * candidates); pairs are ordered by their second, then their first. Independent of the order of the request.
 *
 * @throws MeshError INVALID_FIELD where the set has more than `max` conflicts: split it
 */
export function detect(set: CandidateSet, policy: Policy, max: number = CONFLICTS_MAX): Conflict[] {
  const { incumbents, candidates } = lineUp(set, policy);
  const meetings = new Meetings();
  for (const it of incumbents) meetings.add(it);
  const conflicts: Conflict[] = [];
  for (const it of candidates) {
    if (it.inForce || it.reusesId) continue;
    const search = meetings.search(it, "all");
    const met = search.found
      .map((other, at) => ({ other, at }))
      .filter(({ other }) => !mergeable(other, it))
      .sort((a, b) => a.other.place - b.other.place);
    if (conflicts.length + met.length > max) throw MeshError.field("set", `has more than ${max} conflicts: split it`);
    for (const { other, at } of met) {
      conflicts.push({
        firstOperationId: other.candidate.operationId,
        secondOperationId: it.candidate.operationId,
        type: conflictAt(search, at, it),
        key: search.keys[at] ?? "",
      });
    }
    meetings.add(it);
  }
  return conflicts;
}
