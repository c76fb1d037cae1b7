import type { LogEntry } from "@statemesh/contract";

/** The terms of a log's entries, as runs of one term each: a handful, however long the log is. */
export class TermRuns {
  /** Where each run begins, ascending. */
  #runs: { index: number; term: number }[] = [];

  /** Entries are in the log from the first one's index on; what was there before is gone. */
  put(entries: readonly LogEntry[]): void {
    const first = entries[0]?.index ?? Infinity;
    while (this.#runs.length > 0 && this.#runs.at(-1)!.index >= first) this.#runs.pop();
    for (const { index, term } of entries) if (this.#runs.at(-1)?.term !== term) this.#runs.push({ index, term });
  }

  /** The term of the entry at `index`, which the log has; undefined where it is not known any more. */
  at(index: number): number | undefined {
    return this.#runs.findLast((run) => run.index <= index)?.term;
  }

  /** Entries before `index` are of no interest. */
  forgetBefore(index: number): void {
    const current = this.#runs.findLastIndex((run) => run.index <= index);
    if (current > 0) this.#runs.splice(0, current);
  }

  clear(): void {
    this.#runs = [];
  }
}
