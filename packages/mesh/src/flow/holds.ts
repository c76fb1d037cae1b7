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
    if (this.#holds.delete(id) && this.isEmpty) this.#restUntilMs = nowMs + REST * (nowMs - this.#sinceMs);
  }

  expire(nowMs: number): void {
    for (const [id, { untilMs }] of this.#holds) if (untilMs <= nowMs) this.release(id, nowMs);
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
