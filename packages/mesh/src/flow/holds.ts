// What a leader decides nothing of for a moment, so that a snapshot of several groups finds it standing still. Kept in memory only: a snapshot is right by
// what it looks at, and without a hold takes longer or is refused. Readers must not keep writers out, so a group that was held rests for longer
// than it was.
import type { PendingOperation } from "@statemesh/replica";
import { formatRegion } from "@statemesh/world";

/** The longest time for which a group is held without rest, ms. */
export const HOLD_MAX_MS = 250;
/** So many times as long as it was held a group rests. */
const REST = 3;
/** Holds of a group at a time. */
const HOLDS_MAX = 16;

interface Hold {
  readonly untilMs: number;
  readonly regions: ReadonlySet<string>;
  readonly accounts: ReadonlySet<string>;
}

export class Holds {
  readonly #holds = new Map<string, Hold>();
  /** Since when the group is held without rest. */
  #sinceMs = 0;
  #restUntilMs = Number.NEGATIVE_INFINITY;

  get isEmpty(): boolean {
    return this.#holds.size === 0;
  }

  /** False where the group rests, or is held by too many. `regions`: canonical; `accounts`: ids of players. */
  take(id: string, regions: Iterable<string>, accounts: Iterable<string>, ms: number, nowMs: number): boolean {
    this.expire(nowMs);
    if (this.isEmpty) {
      if (nowMs < this.#restUntilMs) return false;
      this.#sinceMs = nowMs;
    }
    if (this.#holds.size >= HOLDS_MAX || nowMs >= this.#sinceMs + HOLD_MAX_MS) return false;
    this.#holds.set(id, { untilMs: Math.min(nowMs + ms, this.#sinceMs + HOLD_MAX_MS), regions: new Set(regions), accounts: new Set(Array.from(accounts, (id) => `account:${id}`)) });
    return true;
  }

  release(id: string, nowMs: number): void {
    this.expire(nowMs);
    this.#end(id, nowMs);
  }

  expire(nowMs: number): void {
    if (this.isEmpty) return;
    // In the order of their ends: whenever somebody looks, each ended at its time.
    const over = [...this.#holds].filter(([, { untilMs }]) => untilMs <= nowMs).sort(([, a], [, b]) => a.untilMs - b.untilMs);
    for (const [id, { untilMs }] of over) this.#end(id, untilMs);
  }

  #end(id: string, atMs: number): void {
    if (this.#holds.delete(id) && this.isEmpty) this.#restUntilMs = atMs + REST * (atMs - this.#sinceMs);
  }

  /** True where the operation may write what is held. */
  blocks({ touched }: PendingOperation): boolean {
    if (this.isEmpty) return false;
    const regions = touched.regions.map(formatRegion);
    for (const hold of this.#holds.values()) {
      if (regions.some((text) => hold.regions.has(text)) || touched.shared.some((name) => hold.accounts.has(name))) return true;
    }
    return false;
  }

  clear(): void {
    this.#holds.clear();
  }
}
