// Rows of decisions and transactions as they stand in snapshots.
import type { BeginTransaction, DecisionRecord, PrepareTransaction } from "@statemesh/contract/log";
import type { DecisionRow } from "./group-state.ts";
import { type CoordinatedRow, type PreparedRow, TransactionState } from "./transaction-table.ts";

const NO_STAMP = { physicalMs: 0, logical: 0 };

export function decisionRecord({ elsewhere, currentVersion = 0, ...row }: DecisionRow, recent: boolean): DecisionRecord {
  return { ...row, recent, currentVersion, elsewhereGroup: elsewhere?.groupId ?? 0, elsewhereIndex: elsewhere?.index ?? 0, elsewhereTerm: elsewhere?.term ?? 0 };
}

export function decisionRow({ recent: _, stamp, elsewhereGroup, elsewhereIndex, elsewhereTerm, currentVersion, ...row }: DecisionRecord): DecisionRow {
  const known = { ...row, stamp: stamp ?? NO_STAMP, ...(currentVersion > 0 && { currentVersion }) };
  return elsewhereGroup === 0 ? known : { ...known, elsewhere: { groupId: elsewhereGroup, index: elsewhereIndex, term: elsewhereTerm } };
}

/** What the coordinating group itself is prepared for is a record of its own. */
export function begunRecord({ key, beginIndex, stamp, operations, homeGroups, groups, deadlineMs, state, clears }: CoordinatedRow): BeginTransaction {
  return { key, stamp, operations: [...operations], homeGroups: [...homeGroups], groups: [...groups], deadlineMs, decided: [], locks: [], state, beginIndex, clears: [...clears] };
}

export function coordinatedRow({ key, beginIndex, stamp, operations, homeGroups, groups, deadlineMs, state, clears }: BeginTransaction): CoordinatedRow {
  const known = Object.values(TransactionState).find((one) => one === state);
  if (known === undefined) throw new Error(`snapshot: transaction ${key} in a state of a newer version`);
  return { key, beginIndex, stamp: stamp ?? NO_STAMP, operations, homeGroups, groups, deadlineMs, state: known, clears };
}

export function preparedRecord({ key, coordinatorGroup, beginIndex, stamp, groups, deadlineMs, decided, locks, index }: PreparedRow): PrepareTransaction {
  return { transaction: { key, coordinatorGroup, beginIndex }, stamp, deadlineMs, groups: [...groups], decided: [...decided], locks: [...locks], index };
}

export function preparedRow({ transaction, stamp, deadlineMs, groups, decided, locks, index }: PrepareTransaction): PreparedRow {
  if (transaction === undefined) throw new Error("snapshot: a prepared transaction without a name");
  return { ...transaction, stamp: stamp ?? NO_STAMP, groups, deadlineMs, decided, locks, index };
}
