/** What bot shards count and measure: told in parts, added up by whoever started them. */
import { build, decodeFromCompressedBase64, encodeIntoCompressedBase64, type Histogram } from "hdr-histogram-js";

const COUNTS = [
  "players", "published", "beats", "beatsLate", "replaced", "received", "echoed", "crossings", "handoffs",
  "accepted", "merged", "rejected", "unknown", "lagged", "snapshots", "leasesLost", "doubled",
] as const;
/** Each is a number since the beginning, but for `players`: those that are simulated now. `doubled`: positions of a player that this shard simulated at the time, too. */
export type CountName = (typeof COUNTS)[number];

const TIMES = ["arrival", "strong", "handoff", "publish"] as const;
/**
 * `arrival`: from a shard's publish to another shard's subscription. `handoff`: from a shard's handing a player on until the other
 * simulates it. `strong`: an operation. `publish`: a Publish call. All in milliseconds.
 */
export type TimesName = (typeof TIMES)[number];

/** A part of what happened. */
export interface BooksPart {
  /** How long it took. */
  readonly spanMs: number;
  readonly counts: Readonly<Record<CountName, number>>;
  /** By type and reason, such as `structure_placement: CONFLICT`. */
  readonly rejections: Readonly<Record<string, number>>;
  /** By what was asked and the reason of the error. */
  readonly errors: Readonly<Record<string, number>>;
  readonly acts: Readonly<Record<string, number>>;
  readonly times: Readonly<Record<TimesName, string>>;
}

/** Microseconds up to ten minutes. */
function histogram(): Histogram {
  return build({ lowestDiscernibleValue: 1, highestTrackableValue: 600_000_000, numberOfSignificantValueDigits: 2 });
}

function perName<Name extends string, Value>(names: readonly Name[], make: () => Value): Record<Name, Value> {
  return Object.fromEntries(names.map((name) => [name, make()])) as Record<Name, Value>;
}

export class BotBooks {
  readonly counts: Record<CountName, number> = perName(COUNTS, () => 0);
  rejections: Record<string, number> = {};
  errors: Record<string, number> = {};
  /** Operations that are in force, by type. */
  acts: Record<string, number> = {};
  /** How long everything took that was added, one shard after the other. */
  spanMs = 0;
  readonly #times: Record<TimesName, Histogram> = perName(TIMES, histogram);
  #sinceMs = performance.now();

  took(name: TimesName, ms: number): void {
    this.#times[name].recordValue(Math.max(1, Math.min(600_000_000, Math.round(ms * 1_000))));
  }

  /** Times measured. */
  timesOf(name: TimesName): number {
    return this.#times[name].totalCount;
  }

  /** Milliseconds; 0 where nothing was measured. */
  at(name: TimesName, percentile: number): number {
    return this.#times[name].totalCount === 0 ? 0 : this.#times[name].getValueAtPercentile(percentile) / 1_000;
  }

  /** What happened since the last time that it was taken. */
  take(): BooksPart {
    const part: BooksPart = {
      spanMs: performance.now() - this.#sinceMs,
      counts: { ...this.counts },
      rejections: this.rejections,
      errors: this.errors,
      acts: this.acts,
      times: Object.fromEntries(TIMES.map((name) => [name, encodeIntoCompressedBase64(this.#times[name])])) as Record<TimesName, string>,
    };
    this.#reset();
    return part;
  }

  /** Forgets all but how many players there are. */
  #reset(): void {
    this.#sinceMs = performance.now();
    for (const name of COUNTS) if (name !== "players") this.counts[name] = 0;
    for (const name of TIMES) this.#times[name].reset();
    this.rejections = {};
    this.errors = {};
    this.acts = {};
  }

  /** Adds what a shard has told; `players` is not added: each shard says how many it has now. */
  add(part: BooksPart): void {
    this.spanMs += part.spanMs;
    for (const name of COUNTS) if (name !== "players") this.counts[name] += part.counts[name];
    for (const name of TIMES) this.#times[name].add(decodeFromCompressedBase64(part.times[name]) as Histogram);
    for (const which of ["rejections", "acts"] as const) {
      for (const [name, count] of Object.entries(part[which])) tallyIn(this[which], name, count);
    }
    this.addTroubles(part);
  }

  /** Adds what went wrong alone: after the measuring. */
  addTroubles(part: BooksPart): void {
    for (const [name, count] of Object.entries(part.errors)) tallyIn(this.errors, name, count);
  }
}

/** Adds to a count by name. */
export function tallyIn(counts: Record<string, number>, name: string, by = 1): void {
  counts[name] = (counts[name] ?? 0) + by;
}
