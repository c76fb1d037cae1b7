// When handoffs end that nobody finishes. As with leases, every node keeps the times and only the directory's leader asks;
// a new leader lets all of them run anew, which is late, never early.
import type { Directory, DirectoryChange } from "@statemesh/replica";

/** Handoffs that one entry ends, at most. */
const ENDED_PER_ENTRY = 256;

export class HandoffClock {
  readonly #endMs = new Map<string, number>();

  /** Takes in what the directory's log did, at monotonic `nowMs`. */
  observe({ prepared }: DirectoryChange, directory: Directory, nowMs: number): void {
    for (const { handoffId, timeoutMs } of prepared) this.#endMs.set(handoffId, nowMs + timeoutMs);
    // What ended is not asked for again: looked at once there is much of it.
    if (this.#endMs.size <= 2 * directory.tables.handoffs.size + ENDED_PER_ENTRY) return;
    const running = new Set([...directory.tables.handoffs.running()].map(({ handoffId }) => handoffId));
    for (const handoffId of this.#endMs.keys()) if (!running.has(handoffId)) this.#endMs.delete(handoffId);
  }

  restart(directory: Directory, nowMs: number): void {
    this.#endMs.clear();
    for (const { handoffId, timeoutMs } of directory.tables.handoffs.running()) this.#endMs.set(handoffId, nowMs + timeoutMs);
  }

  /** Ids of handoffs whose time is over. */
  overdue(directory: Directory, nowMs: number): string[] {
    const overdue: string[] = [];
    for (const { handoffId } of directory.tables.handoffs.running()) {
      if (overdue.length >= ENDED_PER_ENTRY) break;
      if ((this.#endMs.get(handoffId) ?? 0) <= nowMs) overdue.push(handoffId);
    }
    return overdue;
  }
}
