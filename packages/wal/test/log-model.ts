import type { LogEntry, SnapshotMeta } from "@statemesh/contract";
import type { HardState } from "@statemesh/raft";
import { expect } from "vitest";
import type { GroupUpdate, RecoveredGroup } from "../src/index.ts";

export interface ModelGroup {
  hardState: HardState | undefined;
  snapshot: SnapshotMeta | undefined;
  /** From index 1 on; entries that an installed snapshot skipped are undefined. */
  entries: (LogEntry | undefined)[];
}

export type ModelState = Map<number, ModelGroup>;

/** What a log must hold after the updates, spelled out without segments, frames or files. */
export function applyUpdates(state: ModelState, batch: readonly GroupUpdate[]): ModelState {
  const next = new Map(state);
  for (const { groupId, hardState, snapshot, entries } of batch) {
    const before = next.get(groupId) ?? { hardState: undefined, snapshot: undefined, entries: [] };
    const group: ModelGroup = { ...before, entries: before.entries.slice() };
    if (hardState !== undefined) group.hardState = hardState;
    if (snapshot !== undefined) {
      if (group.entries[snapshot.index - 1]?.term !== snapshot.term) group.entries = Array.from({ length: snapshot.index }, () => undefined);
      group.snapshot = snapshot;
    }
    if (entries !== undefined && entries.length > 0) {
      group.entries.length = entries[0]!.index - 1;
      group.entries.push(...entries);
    }
    next.set(groupId, group);
  }
  return next;
}

/** Why a recovered log is not that state, undefined where it is. It may hold entries that were released, or begin behind them. */
export function differs(recovered: ReadonlyMap<number, RecoveredGroup>, state: ModelState): string | undefined {
  for (const groupId of recovered.keys()) if (!state.has(groupId)) return `group ${groupId} is there`;
  for (const [groupId, model] of state) {
    const group = recovered.get(groupId);
    if (group === undefined) return `group ${groupId} is missing`;
    const expected = model.hardState ?? { term: 0, vote: 0, commit: 0 };
    if (group.hardState.term !== expected.term || group.hardState.vote !== expected.vote || group.hardState.commit !== expected.commit) return `group ${groupId}: hard state`;
    if (group.snapshot?.index !== model.snapshot?.index || group.snapshot?.term !== model.snapshot?.term) return `group ${groupId}: snapshot`;
    const floor = model.snapshot?.index ?? 0;
    const first = group.entries[0]?.index ?? floor + 1;
    if (first > floor + 1) return `group ${groupId}: begins at ${first}`;
    if (Math.max(group.entries.at(-1)?.index ?? 0, floor) !== Math.max(model.entries.length, floor)) return `group ${groupId}: last index`;
    for (const entry of group.entries) {
      const wanted = model.entries[entry.index - 1];
      if (wanted === undefined || wanted.term !== entry.term || wanted.kind !== entry.kind || Buffer.compare(wanted.data, entry.data) !== 0) return `group ${groupId}: entry ${entry.index}`;
    }
  }
  return undefined;
}

export function expectState(recovered: ReadonlyMap<number, RecoveredGroup>, state: ModelState): void {
  expect(differs(recovered, state)).toBeUndefined();
}

export function entry(index: number, term: number, bytes = 20): LogEntry {
  return { index, term, kind: 0, data: new Uint8Array(bytes).fill((index * 31 + term * 7) & 255) };
}

export function entries(first: number, last: number, term: number, bytes = 20): LogEntry[] {
  return Array.from({ length: last - first + 1 }, (_, n) => entry(first + n, term, bytes));
}

export function snapshotAt(groupId: number, index: number, term: number): SnapshotMeta {
  return { groupId, index, term, voters: [1, 2, 3], learners: [], size: index * 10, crc32c: 0xdeadbeef };
}

/** Random work of a few groups, as their Raft cores would do it: appends, truncations above what is committed, votes, snapshots. */
export class Workload {
  readonly #next: () => number;
  readonly #groups = new Map<number, { last: number; term: number; committed: number; snapshot: number; terms: number[] }>();

  constructor(next: () => number) {
    this.#next = next;
  }

  batch(): GroupUpdate[] {
    return Array.from({ length: 1 + Math.floor(this.#next() * 3) }, () => this.#update());
  }

  /** The group's snapshot, through which it may be released. */
  snapshotOf(groupId: number): number {
    return this.#groups.get(groupId)?.snapshot ?? 0;
  }

  #update(): GroupUpdate {
    const random = this.#next;
    const groupId = 1 + Math.floor(random() * 3);
    let group = this.#groups.get(groupId);
    if (group === undefined) {
      group = { last: 0, term: 1, committed: 0, snapshot: 0, terms: [] };
      this.#groups.set(groupId, group);
    }
    const dice = random();
    if (dice < 0.1) {
      group.term++;
      return { groupId, hardState: { term: group.term, vote: 1 + Math.floor(random() * 3), commit: group.committed } };
    }
    if (dice < 0.2 && group.committed > group.snapshot) {
      group.snapshot = group.committed;
      return { groupId, snapshot: snapshotAt(groupId, group.snapshot, group.terms[group.snapshot - 1]!) };
    }
    if (dice < 0.23) {
      // A snapshot from the leader, ahead of everything; the log goes on behind it.
      group.term++;
      const index = group.last + 1 + Math.floor(random() * 5);
      group.terms = Array.from({ length: index }, () => group.term);
      Object.assign(group, { last: index, committed: index, snapshot: index });
      return { groupId, snapshot: snapshotAt(groupId, index, group.term), hardState: { term: group.term, vote: 0, commit: index } };
    }
    const first = dice < 0.3 && group.last > group.committed ? group.committed + 1 + Math.floor(random() * (group.last - group.committed)) : group.last + 1;
    if (first <= group.last) group.term++;
    const last = first + Math.floor(random() * 6);
    group.terms.length = first - 1;
    for (let index = first; index <= last; index++) group.terms.push(group.term);
    group.last = last;
    group.committed = Math.max(group.committed, Math.min(last, first - 1 + Math.floor(random() * 3)));
    return {
      groupId,
      hardState: { term: group.term, vote: 1, commit: group.committed },
      entries: entries(first, last, group.term, Math.floor(random() * 60)),
    };
  }
}
