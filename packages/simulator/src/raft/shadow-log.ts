import type { LogEntry, SnapshotMeta } from "@statemesh/contract";
import { decodeConfiguration, EntryKind } from "@statemesh/raft";
import type { Configuration, HardState } from "@statemesh/raft";
import type { GroupUpdate, RecoveredGroup } from "@statemesh/wal";

/** What a node's log holds after some of the updates that were handed to it: the oracle's own copy, in terms only. */
export class ShadowLog {
  term = 0;
  vote = 0;
  commit = 0;
  snapshotIndex = 0;
  snapshotTerm = 0;
  last = 0;
  readonly #terms: number[];
  /** Of the entries, ascending in index; the first is that of the snapshot or of the bootstrap. */
  #configurations: { index: number; configuration: Configuration }[];

  /** @param bootstrap Undefined for a node that joins. */
  constructor(bootstrap: Configuration | undefined, terms: number[] = [], configurations = bootstrap === undefined ? [] : [{ index: 0, configuration: bootstrap }]) {
    this.#terms = terms;
    this.#configurations = configurations;
  }

  copy(): ShadowLog {
    const copy = new ShadowLog(undefined, this.#terms.slice(), this.#configurations.slice());
    copy.#take(this);
    return copy;
  }

  /** Whether the entry is in the log, or in its snapshot. */
  holds(index: number, term: number): boolean {
    return index <= this.snapshotIndex || (index <= this.last && this.#terms[index] === term);
  }

  /** Term of an entry; undefined where it is not there, or only in the snapshot. */
  termOf(index: number): number | undefined {
    if (index === this.snapshotIndex) return this.snapshotTerm;
    return index <= this.last ? this.#terms[index] : undefined;
  }

  get lastTerm(): number {
    return this.termOf(this.last) ?? 0;
  }

  /** The latest configuration, and where it stands; undefined on a node that has heard of none. */
  get configuration(): Configuration | undefined {
    return this.#configurations.at(-1)?.configuration;
  }

  get configurationIndex(): number {
    return this.#configurations.at(-1)?.index ?? 0;
  }

  get previousConfiguration(): { index: number; configuration: Configuration } | undefined {
    return this.#configurations.at(-2);
  }

  apply({ hardState, snapshot, entries }: GroupUpdate): void {
    if (hardState !== undefined) this.#applyHardState(hardState);
    if (snapshot !== undefined) this.#applySnapshot(snapshot);
    if (entries !== undefined && entries.length > 0) this.#applyEntries(entries);
  }

  /** What differs from what a restart found; undefined: nothing that counts. */
  differs({ hardState, snapshot, entries }: RecoveredGroup): string | undefined {
    if (hardState.term !== this.term) return `term ${hardState.term} instead of ${this.term}`;
    if (hardState.vote !== this.vote) return `vote ${hardState.vote} instead of ${this.vote}`;
    if (hardState.commit !== this.commit) return `commit index ${hardState.commit} instead of ${this.commit}`;
    const index = snapshot?.index ?? 0;
    if (index !== this.snapshotIndex) return `snapshot ${index} instead of ${this.snapshotIndex}`;
    const last = Math.max(index, entries.at(-1)?.index ?? 0);
    if (last !== this.last) return `last entry ${last} instead of ${this.last}`;
    const other = entries.find((entry) => entry.index > index && this.#terms[entry.index] !== entry.term);
    return other === undefined ? undefined : `entry ${other.index} of term ${other.term} instead of ${this.#terms[other.index]}`;
  }

  #take(other: ShadowLog): void {
    this.term = other.term;
    this.vote = other.vote;
    this.commit = other.commit;
    this.snapshotIndex = other.snapshotIndex;
    this.snapshotTerm = other.snapshotTerm;
    this.last = other.last;
  }

  #applyHardState({ term, vote, commit }: HardState): void {
    this.term = term;
    this.vote = vote;
    this.commit = commit;
  }

  #applySnapshot(meta: SnapshotMeta): void {
    if (meta.index < this.snapshotIndex) return;
    // A node's own snapshot ends in an entry of its log; one of the leader's that does not replaces the log.
    if (this.termOf(meta.index) !== meta.term) {
      this.last = meta.index;
      this.#configurations = [];
    }
    this.snapshotIndex = meta.index;
    this.snapshotTerm = meta.term;
    if (this.#configurations.length === 0 && meta.voters.length > 0) {
      this.#configurations = [{ index: meta.index, configuration: { voters: meta.voters, outgoing: [], learners: meta.learners } }];
    }
  }

  #applyEntries(entries: readonly LogEntry[]): void {
    const first = entries[0]!.index;
    while (this.#configurations.length > 0 && this.#configurations.at(-1)!.index >= first) this.#configurations.pop();
    for (const entry of entries) {
      this.#terms[entry.index] = entry.term;
      if (entry.kind !== EntryKind.CONFIGURATION) continue;
      const configuration = decodeConfiguration(entry.data);
      if (configuration !== undefined) this.#configurations.push({ index: entry.index, configuration });
    }
    this.last = entries.at(-1)!.index;
  }
}
