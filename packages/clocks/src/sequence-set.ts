/** What came of adding a sequence. */
export type Addition = "added" | "duplicate" | "beyond_window";

/** Consecutive sequences, both ends included. */
export interface SequenceRange {
  first: number;
  last: number;
}

/** Sequences above the prefix that a set can hold, unless told otherwise. */
export const DEFAULT_WINDOW = 16_384;

/**
 * The sequences of one origin that have come: all of 1..prefix, and a bitmap of those above it. Memory is
 * bounded by the window: a sequence further above the prefix is not taken (`beyond_window`), it must come again
 * when the prefix has grown.
 */
export class SequenceSet {
  /** Sequences above the prefix that fit; a power of two. */
  readonly window: number;
  #prefix = 0;
  #highest = 0;
  #count = 0;
  // A ring: bit `sequence mod window`. Allocated with the first gap; most origins never have one.
  #bits: Uint32Array | undefined;

  /** `window`: a power of two, 32..2^26. */
  constructor(window: number = DEFAULT_WINDOW) {
    if (!Number.isInteger(Math.log2(window)) || window < 32 || window > 2 ** 26) {
      throw new RangeError("window must be a power of two, 32..2^26");
    }
    this.window = window;
  }

  /** Every sequence from 1 to here is in the set. */
  get prefix(): number {
    return this.#prefix;
  }

  /** The highest sequence in the set; 0 where it is empty. */
  get highest(): number {
    return this.#highest;
  }

  /** How many sequences above the prefix are in the set. */
  get sparse(): number {
    return this.#count;
  }

  has(sequence: number): boolean {
    if (sequence <= this.#prefix) return sequence >= 1;
    return sequence <= this.#highest && this.#bit(sequence);
  }

  /** Adds a sequence of 1 or more. */
  add(sequence: number): Addition {
    if (!Number.isSafeInteger(sequence) || sequence < 1) throw new RangeError("sequence must be 1..2^53-1");
    if (this.has(sequence)) return "duplicate";
    if (sequence === this.#prefix + 1) {
      this.#prefix = sequence;
      if (sequence > this.#highest) this.#highest = sequence;
      this.#absorb();
      return "added";
    }
    if (sequence > this.#prefix + this.window) return "beyond_window";
    this.#bits ??= new Uint32Array(this.window >>> 5);
    const place = sequence % this.window;
    this.#bits[place >>> 5] = (this.#bits[place >>> 5] as number) | (1 << (place & 31));
    this.#count += 1;
    if (sequence > this.#highest) this.#highest = sequence;
    return "added";
  }

  /** Takes a sequence above the prefix out again: its event was evicted and must be pulled. False where it was not in. */
  remove(sequence: number): boolean {
    if (sequence <= this.#prefix || !this.has(sequence)) return false;
    this.#clear(sequence);
    while (this.#highest > this.#prefix && !this.#bit(this.#highest)) this.#highest -= 1;
    return true;
  }

  /** Counts everything up to `sequence` as come. Returns how many of them had not. */
  skipTo(sequence: number): number {
    if (sequence <= this.#prefix) return 0;
    let skipped = sequence - this.#prefix;
    const last = Math.min(sequence, this.#highest);
    for (let s = this.#prefix + 1; s <= last && this.#count > 0; s += 1) {
      if (this.#bit(s)) {
        this.#clear(s);
        skipped -= 1;
      }
    }
    this.#prefix = sequence;
    if (sequence > this.#highest) this.#highest = sequence;
    this.#absorb();
    return skipped;
  }

  /** The first missing ranges up to `through`, at most `limit` of them, in order. */
  missing(through: number, limit: number): SequenceRange[] {
    const ranges: SequenceRange[] = [];
    let sequence = this.#prefix + 1;
    while (sequence <= through && ranges.length < limit) {
      if (this.has(sequence)) {
        sequence += 1;
        continue;
      }
      const first = sequence;
      if (first > this.#highest) sequence = through + 1;
      else while (sequence <= through && sequence <= this.#highest && !this.#bit(sequence)) sequence += 1;
      ranges.push({ first, last: sequence - 1 });
    }
    return ranges;
  }

  #absorb(): void {
    while (this.#count > 0 && this.#bit(this.#prefix + 1)) {
      this.#prefix += 1;
      this.#clear(this.#prefix);
    }
  }

  #bit(sequence: number): boolean {
    if (this.#bits === undefined) return false;
    const place = sequence % this.window;
    return ((this.#bits[place >>> 5] as number) & (1 << (place & 31))) !== 0;
  }

  #clear(sequence: number): void {
    if (this.#bits === undefined) return;
    const place = sequence % this.window;
    this.#bits[place >>> 5] = (this.#bits[place >>> 5] as number) & ~(1 << (place & 31));
    this.#count -= 1;
  }
}
