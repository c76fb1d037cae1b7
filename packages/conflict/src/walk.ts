/**
 * The winner set: a greedy maximal independent set over the strict total order. Incumbents come first and all stand;
 * then the candidates in order, and each is kept where it conflicts with nothing kept. The outcome is a function of the
 * set alone: not of the order of the request, nor of how often an operation is in it.
 *
 * It is not path-independent: with A > B > C where A meets B and B meets C, {A, B, C} gives {A, C}, while the winner of
 * {B, C} set against {A} gives {A}. Who merges decisions must resolve whole sets, losers included.
 */
import type { CandidateSet, ConflictType } from "@statemesh/contract";
import type { Policy } from "@statemesh/world";
import { compareContenders, Contender, contentOf, mergeable } from "./contender.ts";
import { conflictAt, Meetings } from "./meetings.ts";
import type { Search } from "./search.ts";
import { typeOrdersOf } from "./type-order.ts";

/** A set that was walked. */
export interface Walk {
  /** In order. */
  readonly incumbents: readonly Contender[];
  /** In order, each operation once. */
  readonly candidates: readonly Contender[];
  /** The contender of each candidate, in the order of the request; copies share one. */
  readonly byRequest: readonly Contender[];
}

/** Puts a set in order, and copies of one operation together. */
export function lineUp(set: CandidateSet, policy: Policy): Walk {
  const orders = typeOrdersOf(policy);
  const incumbents = set.incumbents.map((it) => new Contender(it, true, orders));
  if (incumbents.length > 1) incumbents.sort(compareContenders);
  const byRequest = set.candidates.map((it) => new Contender(it, false, orders));
  const sorted = byRequest.slice().sort(compareContenders);

  const firstById = new Map<string, Contender>();
  for (let at = incumbents.length - 1; at >= 0; at--) {
    const it = incumbents[at];
    if (it === undefined) continue;
    it.place = at;
    firstById.set(it.candidate.operationId, it);
  }
  const candidates: Contender[] = [];
  const copies = new Map<Contender, Contender>();
  for (const it of sorted) {
    const same = firstById.get(it.candidate.operationId);
    if (same === undefined) {
      firstById.set(it.candidate.operationId, it);
    } else {
      // Copies stand side by side in the order.
      const before = candidates.at(-1);
      if (before !== undefined && compareContenders(before, it) === 0) {
        copies.set(it, before);
        continue;
      }
      it.inForce = same.incumbent && contentOf(same) === contentOf(it);
      it.reusesId = !it.inForce;
      it.opponent = same;
    }
    it.rank = candidates.length;
    it.place = incumbents.length + candidates.length;
    candidates.push(it);
  }
  return { incumbents, candidates, byRequest: copies.size === 0 ? byRequest : byRequest.map((it) => copies.get(it) ?? it) };
}

/** Notes that `it` loses to one kept, or that both merge. */
function meet(it: Contender, search: Search): void {
  const { found } = search;
  let winner: Contender | undefined;
  for (let at = 0; at < found.length; at++) {
    const other = found[at];
    if (other === undefined || mergeable(other, it) || (winner !== undefined && winner.place < other.place)) continue;
    winner = other;
    it.conflict = conflictAt(search, at, it);
  }
  it.opponent = winner;
  it.kept = winner === undefined;
  for (let at = 0; at < found.length; at++) {
    const other = found[at];
    if (other === undefined) continue;
    if (!mergeable(other, it)) {
      // Losers come in order, so the first to get here is the first that the winner beat.
      if (other.opponent !== undefined || other.incumbent) continue;
      other.opponent = it;
      if (other.partner === undefined) other.conflict = conflictAt(search, at, it);
    } else if (winner === undefined) {
      const conflict = conflictAt(search, at, it);
      noteMerge(it, other, conflict);
      noteMerge(other, it, conflict);
    }
  }
}

function noteMerge(it: Contender, partner: Contender, conflict: ConflictType): void {
  if (it.partner !== undefined) return;
  it.partner = partner;
  it.conflict = conflict;
}

/** Decides a set. */
export function walk(set: CandidateSet, policy: Policy): Walk {
  const lined = lineUp(set, policy);
  const meetings = new Meetings();
  for (const it of lined.incumbents) {
    it.kept = true;
    meetings.add(it);
  }
  for (const it of lined.candidates) {
    if (it.inForce || it.reusesId) {
      it.kept = it.inForce;
      continue;
    }
    const search = meetings.search(it, "decision");
    if (search.found.length === 0) it.kept = true;
    else meet(it, search);
    if (it.kept) meetings.add(it);
  }
  return lined;
}
