/** When a read is asked of a second node: after the time that most reads take, and for a few of a hundred reads at most. */

/** Reads whose times are remembered. */
const SAMPLES = 128;
/** Reads before their times say anything. */
const SAMPLES_MIN = 20;
/** Wait until there are that many, ms. */
const FIRST_DELAY_MS = 100;
/** A second read within this time is the event loop's doing, not the node's, ms. */
const DELAY_MIN_MS = 5;
/** Second reads that can be saved up. */
const SAVED_MAX = 10;

/** Times of the last reads of one kind. */
class Times {
  readonly #ms: number[] = [];
  #next = 0;
  #sorted: number[] | undefined;

  add(ms: number): void {
    this.#ms[this.#next] = ms;
    this.#next = (this.#next + 1) % SAMPLES;
    // Sorted anew every few reads: the time moves slowly.
    if (this.#next % 16 === 0) this.#sorted = undefined;
  }

  /** The time within which 95 of 100 reads were answered. */
  get delayMs(): number {
    if (this.#ms.length < SAMPLES_MIN) return FIRST_DELAY_MS;
    this.#sorted ??= [...this.#ms].sort((a, b) => a - b);
    return Math.max(DELAY_MIN_MS, this.#sorted[Math.floor(this.#sorted.length * 0.95)] ?? FIRST_DELAY_MS);
  }
}

/** Counts since the client was made. */
export interface HedgeCounts {
  /** Reads that may be asked twice. */
  readonly reads: number;
  /** Reads that were. */
  readonly hedged: number;
  /** Second ones that answered first. */
  readonly won: number;
}

/** Decides which reads are asked twice, for one client. */
export class Hedging {
  readonly #share: number;
  readonly #times = new Map<string, Times>();
  #saved = SAVED_MAX;
  #counts = { reads: 0, hedged: 0, won: 0 };

  /** @param percent of a hundred reads so many may be asked twice; 0: none */
  constructor(percent: number) {
    this.#share = percent / 100;
    if (percent === 0) this.#saved = 0;
  }

  get counts(): HedgeCounts {
    return { ...this.#counts };
  }

  /** A read begins: how long to wait for it before another node is asked too, ms. Kinds of reads that take different times have names of their own. */
  begin(kind: string): number {
    this.#counts.reads += 1;
    this.#saved = Math.min(SAVED_MAX, this.#saved + this.#share);
    return this.#of(kind).delayMs;
  }

  /** Whether a second read may go out now. */
  take(): boolean {
    if (this.#share === 0 || this.#saved < 1) return false;
    this.#saved -= 1;
    this.#counts.hedged += 1;
    return true;
  }

  /** A read was answered. */
  answered(kind: string, ms: number, bySecond: boolean): void {
    if (bySecond) this.#counts.won += 1;
    this.#of(kind).add(ms);
  }

  #of(kind: string): Times {
    const known = this.#times.get(kind);
    if (known !== undefined) return known;
    const made = new Times();
    this.#times.set(kind, made);
    return made;
  }
}
