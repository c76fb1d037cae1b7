// Eventual values go to the region store behind the writers' backs: the node that leads the group of a region writes what changed there,
// batch by batch, one at a time. Who comes to lead writes everything that it holds of the group once: what its predecessor had not
// written is among it. Values are merged in the store as on the nodes, so it does not matter that some are written twice.
import type { EventualValue, Region } from "@statemesh/contract";
import { ElapsedTime } from "./elapsed-time.ts";
import { encodedSize } from "./peer-outbox.ts";

export interface WriteBehindOptions {
  /** Whether this node leads the group of the region. */
  readonly leads: (region: Region) => boolean;
  /** Everything that is held of the group's regions, deletions included. */
  readonly valuesOfGroup: (groupId: number) => Iterator<{ readonly value: EventualValue; readonly register: object }>;
  /** Hands values to the store; `done` hears whether it surely has them. */
  readonly store: (values: readonly EventualValue[], forgetDeletedBeforeMs: number, done: (stored: boolean) => void) => void;
  /** How long deletions are kept, milliseconds. */
  readonly horizonMs: number;
  readonly limits?: Partial<WriteBehindLimits>;
}

/** A group that is written as a whole. */
interface Sweep {
  readonly groupId: number;
  readonly values: Iterator<{ readonly value: EventualValue; readonly register: object }>;
}

/** Limits of writing behind. Sizes in bytes, times in milliseconds. */
export interface WriteBehindLimits {
  /** From one write to the next while there is no more than one batch. */
  readonly flushEveryMs: number;
  /** Values and about the bytes of a batch. */
  readonly maxBatchValues: number;
  readonly maxBatchBytes: number;
  /** Changed keys that wait. Reached: everything that is held of the groups led is written, once those that wait are. */
  readonly maxWaiting: number;
  /** From a write that failed to the next. */
  readonly retryMs: number;
}

export const DEFAULT_WRITE_BEHIND_LIMITS: WriteBehindLimits = {
  flushEveryMs: 1_000,
  maxBatchValues: 2_048,
  maxBatchBytes: 1_048_576,
  maxWaiting: 65_536,
  retryMs: 1_000,
};

/** Counters since the start, and what waits now. */
export interface WriteBehindStatistics {
  waiting: number;
  written: number;
  failed: number;
  /** Times that more keys changed than may wait. */
  overflowed: number;
}

/** Pure: time is passed in, batches come out. */
export class WriteBehind {
  readonly limits: WriteBehindLimits;
  readonly #options: WriteBehindOptions;
  /** The latest write of each key that changed, by what stands for the key. */
  readonly #waiting = new Map<object, EventualValue>();
  /** Groups that are written as a whole, in turn. */
  readonly #groups = new Set<number>();
  #sweep: Sweep | undefined;
  #isOver = false;
  #isWriting = false;
  /** What of the batch that is being written waits again if it fails. */
  readonly #inFlight = new Map<object, EventualValue>();
  /** The last write failed. */
  #isAway = false;
  #nextMs = 0;
  readonly #elapsed = new ElapsedTime();
  readonly #led = new Set<number>();
  readonly #counters = { written: 0, failed: 0, overflowed: 0 };

  constructor(options: WriteBehindOptions) {
    this.#options = options;
    this.limits = { ...DEFAULT_WRITE_BEHIND_LIMITS, ...options.limits };
  }

  statistics(): WriteBehindStatistics {
    return { ...this.#counters, waiting: this.#waiting.size };
  }

  /** Nothing waits, and no group is to be written as a whole. */
  get isIdle(): boolean {
    return this.#waiting.size === 0 && this.#groups.size === 0 && this.#sweep === undefined && !this.#isOver && !this.#isWriting;
  }

  /** A write took effect on this node. */
  changed(value: EventualValue, register: object): void {
    if (!this.#options.leads(value.region as Region)) return;
    if (this.#waiting.size >= this.limits.maxWaiting && !this.#waiting.has(register)) {
      if (!this.#isOver) this.#counters.overflowed += 1;
      this.#isOver = true;
      return;
    }
    this.#waiting.set(register, value);
  }

  /** The leader of a group is another. */
  leaderChanged(groupId: number, isOwn: boolean): void {
    if (isOwn) {
      this.#led.add(groupId);
      this.#groups.add(groupId);
      return;
    }
    this.#led.delete(groupId);
    this.#groups.delete(groupId);
    this.#dropOthers();
    if (this.#sweep?.groupId === groupId) this.#sweep = undefined;
  }

  /**
   * What waits for groups that others lead is theirs to write. Of what changes there this node takes no note: a key that was deleted
   * would be written long after its tombstone is forgotten, and live again.
   */
  #dropOthers(): void {
    for (const values of [this.#waiting, this.#inFlight]) {
      for (const [register, { region }] of values) if (!this.#options.leads(region as Region)) values.delete(register);
    }
  }

  tick(nowMs: number): void {
    const elapsedMs = this.#elapsed.advance(nowMs);
    if (this.#isWriting) return;
    // More than a batch does not wait for its time, unless the store is away.
    const isMuch = this.#waiting.size >= this.limits.maxBatchValues || this.#groups.size > 0 || this.#sweep !== undefined;
    if (elapsedMs < this.#nextMs && (this.#isAway || !isMuch)) return;
    if (this.#isOver && this.#waiting.size === 0) {
      this.#isOver = false;
      for (const groupId of this.#led) this.#groups.add(groupId);
    }
    const batch = this.#nextBatch();
    if (batch.size === 0) return;
    this.#isWriting = true;
    this.#nextMs = elapsedMs + this.limits.flushEveryMs;
    for (const [register, value] of batch) this.#inFlight.set(register, value);
    const forgetBeforeMs = Math.max(0, Math.floor(nowMs - this.#options.horizonMs));
    this.#options.store([...batch.values()], forgetBeforeMs, (stored) => this.#written(batch.size, stored));
  }

  #written(values: number, stored: boolean): void {
    const failed = [...this.#inFlight];
    this.#inFlight.clear();
    this.#isWriting = false;
    this.#isAway = !stored;
    if (stored) {
      this.#counters.written += values;
      return;
    }
    this.#counters.failed += 1;
    this.#nextMs = this.#elapsed.ms + this.limits.retryMs;
    // What changed again meanwhile waits already. A batch more than may wait is not held to be too much.
    for (const [register, value] of failed) if (!this.#waiting.has(register)) this.#waiting.set(register, value);
  }

  /** What waits, then what is left of groups that are written as a whole. */
  #nextBatch(): Map<object, EventualValue> {
    const batch = new Map<object, EventualValue>();
    const { maxBatchValues, maxBatchBytes } = this.limits;
    let bytes = 0;
    for (const [register, value] of this.#waiting) {
      if (batch.size >= maxBatchValues || bytes >= maxBatchBytes) return batch;
      this.#waiting.delete(register);
      batch.set(register, value);
      bytes += encodedSize(value);
    }
    while (batch.size < maxBatchValues && bytes < maxBatchBytes) {
      const sweep = this.#sweep ?? this.#beginSweep();
      if (sweep === undefined) break;
      const next = sweep.values.next();
      if (next.done === true) {
        this.#sweep = undefined;
        continue;
      }
      batch.set(next.value.register, next.value.value);
      bytes += encodedSize(next.value.value);
    }
    return batch;
  }

  #beginSweep(): Sweep | undefined {
    for (const groupId of this.#groups) {
      this.#groups.delete(groupId);
      this.#sweep = { groupId, values: this.#options.valuesOfGroup(groupId) };
      return this.#sweep;
    }
    return undefined;
  }
}
