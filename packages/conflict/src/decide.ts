/** Decides a set and says which conflicts that settled, for counts and for those who watch. */
import type { CandidateSet, ConflictType, Region, Verdict } from "@statemesh/contract";
import type { Policy } from "@statemesh/world";
import type { Contender } from "./contender.ts";
import { verdictOf } from "./resolve.ts";
import { walk } from "./walk.ts";

/** A candidate that lost, or that merged with one before it. */
export interface DecidedConflict {
  readonly type: ConflictType;
  readonly winnerOperationId: string;
  /** Where merged: the later of the two. */
  readonly loserOperationId: string;
  /** 0: nobody, of what is in force and owned by none. */
  readonly winnerServerId: number;
  readonly loserServerId: number;
  readonly rule: string;
  /** The loser's. */
  readonly region: Region | undefined;
  /** Both are in force. */
  readonly merged: boolean;
}

/** What came of a set. */
export interface Decision {
  /** As `resolve` gives them. */
  readonly verdicts: Verdict[];
  /** In the order of the walk, at most one a candidate. */
  readonly conflicts: readonly DecidedConflict[];
}

const NONE: readonly DecidedConflict[] = [];

function conflictOf(it: Contender): DecidedConflict | undefined {
  const merged = it.kept;
  const other = merged ? it.partner : it.opponent;
  // Of two that merged, the later one tells.
  if (other === undefined || other.place >= it.place) return undefined;
  const { candidate } = it;
  return { type: it.conflict, winnerOperationId: other.candidate.operationId, loserOperationId: candidate.operationId, winnerServerId: other.candidate.serverId, loserServerId: candidate.serverId, rule: verdictOf(it).rule, region: candidate.region, merged };
}

/** Decides a set, as `resolve` does. */
export function decide(set: CandidateSet, policy: Policy): Decision {
  const { candidates, byRequest } = walk(set, policy);
  let conflicts: DecidedConflict[] | undefined;
  for (const it of candidates) {
    if (it.opponent === undefined && it.partner === undefined) continue;
    const conflict = conflictOf(it);
    if (conflict !== undefined) (conflicts ??= []).push(conflict);
  }
  return { verdicts: byRequest.map(verdictOf), conflicts: conflicts ?? NONE };
}
