// A sparse vector clock is the contract's `VectorClock`: entries strictly ordered by origin, sequences of
// 1 and more; an absent origin stands at 0. Functions never change their arguments.
import type { VectorClock, VectorClockEntry } from "@statemesh/contract";

/** Entries that a clock may have on the wire. */
export const MAX_CLOCK_ENTRIES = 64;

/** How one clock stands to another. */
export type ClockOrder = "before" | "after" | "equal" | "concurrent";

/** A clock that has seen nothing. */
export function emptyClock(): VectorClock {
  return { entries: [] };
}

/** Where the clock stands for an origin; 0 where it names none. */
export function sequenceOf(clock: VectorClock, origin: number): number {
  const entries = clock.entries;
  let low = 0;
  let high = entries.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const entry = entries[middle] as VectorClockEntry;
    if (entry.origin === origin) return entry.sequence;
    if (entry.origin < origin) low = middle + 1;
    else high = middle;
  }
  return 0;
}

/** The least clock that dominates both: the higher sequence of each origin. */
export function merge(a: VectorClock, b: VectorClock): VectorClock {
  const entries: VectorClockEntry[] = [];
  walk(a, b, (origin, left, right) => {
    entries.push({ origin, sequence: left > right ? left : right });
    return true;
  });
  return a.collapsed === true || b.collapsed === true ? { entries, collapsed: true } : { entries };
}

/** `before`: b has seen everything of a, and more. */
export function compare(a: VectorClock, b: VectorClock): ClockOrder {
  let less = false;
  let more = false;
  walk(a, b, (_origin, left, right) => {
    if (left < right) less = true;
    else if (left > right) more = true;
    return !(less && more);
  });
  if (less && more) return "concurrent";
  if (less) return "before";
  return more ? "after" : "equal";
}

/** True where `a` has seen everything that `b` has seen. */
export function dominates(a: VectorClock, b: VectorClock): boolean {
  for (const entry of b.entries) if (sequenceOf(a, entry.origin) < entry.sequence) return false;
  return true;
}

/** The clock with one more event of the origin. */
export function increment(clock: VectorClock, origin: number): VectorClock {
  return merge(clock, { entries: [{ origin, sequence: sequenceOf(clock, origin) + 1 }] });
}

/** A clock of entries in any order: the highest sequence of an origin counts, sequence 0 says nothing. */
export function fromEntries(entries: Iterable<VectorClockEntry>): VectorClock {
  const highest = new Map<number, number>();
  for (const { origin, sequence } of entries) {
    if (sequence > (highest.get(origin) ?? 0)) highest.set(origin, sequence);
  }
  return { entries: toEntries(highest) };
}

/** Entries in the clock's order of sequences by origin. */
export function toEntries(sequences: ReadonlyMap<number, number>): VectorClockEntry[] {
  const entries: VectorClockEntry[] = [];
  for (const [origin, sequence] of sequences) if (sequence > 0) entries.push({ origin, sequence });
  return entries.sort((a, b) => a.origin - b.origin);
}

/** What is wrong with a clock that came from outside. */
export interface ClockViolation {
  /** Path below the clock, such as `entries[3].sequence`. */
  readonly path: string;
  readonly rule: string;
}

/** The first rule that a clock breaks, or undefined where it is well formed. */
export function violationOf(clock: VectorClock, maxEntries: number = MAX_CLOCK_ENTRIES): ClockViolation | undefined {
  if (clock.entries.length > maxEntries) return { path: "entries", rule: `at most ${maxEntries} entries` };
  let previous = 0;
  for (const [index, { origin, sequence }] of clock.entries.entries()) {
    if (!Number.isSafeInteger(origin) || origin < 1) return { path: `entries[${index}].origin`, rule: "1..2^53-1" };
    if (origin <= previous) return { path: `entries[${index}].origin`, rule: "ordered by origin, each once" };
    if (!Number.isSafeInteger(sequence) || sequence < 1) return { path: `entries[${index}].sequence`, rule: "1..2^53-1" };
    previous = origin;
  }
  return undefined;
}

/** Visits every origin of either clock in order; stops where the visitor returns false. */
function walk(a: VectorClock, b: VectorClock, visit: (origin: number, left: number, right: number) => boolean): void {
  let i = 0;
  let j = 0;
  while (i < a.entries.length || j < b.entries.length) {
    const left = a.entries[i];
    const right = b.entries[j];
    let goOn: boolean;
    if (right === undefined || (left !== undefined && left.origin < right.origin)) {
      const { origin, sequence } = left as VectorClockEntry;
      goOn = visit(origin, sequence, 0);
      i += 1;
    } else if (left === undefined || right.origin < left.origin) {
      goOn = visit(right.origin, 0, right.sequence);
      j += 1;
    } else {
      goOn = visit(left.origin, left.sequence, right.sequence);
      i += 1;
      j += 1;
    }
    if (!goOn) return;
  }
}
