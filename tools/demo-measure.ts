/** Counts and latencies of the demo. */
import { build, type Histogram } from "hdr-histogram-js";

/** Latencies in milliseconds with fractions. */
export class Latencies {
  // In microseconds, up to ten minutes.
  readonly #histogram: Histogram = build({ lowestDiscernibleValue: 1, highestTrackableValue: 600_000_000, numberOfSignificantValueDigits: 3 });

  add(ms: number): void {
    this.#histogram.recordValue(Math.max(1, Math.min(600_000_000, Math.round(ms * 1_000))));
  }

  get count(): number {
    return this.#histogram.totalCount;
  }

  /** @param percentile 0..100 */
  at(percentile: number): number {
    return this.#histogram.getValueAtPercentile(percentile) / 1_000;
  }
}

/** What became of the operations of one type. */
export class OperationCounts {
  readonly latencies: Latencies = new Latencies();
  sent = 0;
  accepted = 0;
  merged = 0;
  rejected = 0;
  /** Refused before a decision, by reason. */
  readonly refused = new Map<string, number>();
  /** Nobody knows whether they were committed. */
  unknown = 0;
}

/** Everything that the demo counts. */
export class Measure {
  /** Strong operations by type. */
  readonly strong = new Map<string, OperationCounts>();
  /** Rejections by rule and reason, such as `timestamp: CONFLICT`. */
  readonly rejections = new Map<string, number>();
  /** Publish calls. */
  readonly publish = new Latencies();
  /** From a shard's clock to a subscriber on another node. */
  readonly eventualArrival = new Latencies();
  readonly causalArrival = new Latencies();
  /** Region store calls by method. */
  readonly store = new Map<string, Latencies>();
  /** Leases handed from one shard to another. */
  readonly handoffs = new Latencies();
  updatesPublished = 0;
  updatesStale = 0;
  eventsPublished = 0;
  entityChanges = 0;
  bordersCrossed = 0;
  bordersCrossedToAnotherShard = 0;
  publishFailures = 0;
  storeFailures = 0;

  countsOf(type: string): OperationCounts {
    let counts = this.strong.get(type);
    if (counts === undefined) {
      counts = new OperationCounts();
      this.strong.set(type, counts);
    }
    return counts;
  }

  storeLatencies(method: string): Latencies {
    let latencies = this.store.get(method);
    if (latencies === undefined) {
      latencies = new Latencies();
      this.store.set(method, latencies);
    }
    return latencies;
  }

  /** Sum over all strong types. */
  total(of: "sent" | "accepted" | "merged" | "rejected" | "unknown"): number {
    let sum = 0;
    for (const counts of this.strong.values()) sum += counts[of];
    return sum;
  }

  get decided(): number {
    return this.total("accepted") + this.total("merged") + this.total("rejected");
  }

  get refused(): number {
    let sum = 0;
    for (const counts of this.strong.values()) for (const count of counts.refused.values()) sum += count;
    return sum;
  }
}

/** Adds one to a count by name. */
export function tally(counts: Map<string, number>, name: string, by = 1): void {
  counts.set(name, (counts.get(name) ?? 0) + by);
}
