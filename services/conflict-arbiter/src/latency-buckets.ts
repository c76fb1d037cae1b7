/** Durations in buckets with stated bounds, for the statistics call and for Prometheus. */
import type { LatencyHistogram as Message } from "@statemesh/contract";
import { LatencyHistogram } from "@statemesh/service";

/** Upper bounds of the buckets, seconds: a batch of few operations takes some tens of microseconds, a full one some milliseconds. */
export const BATCH_BUCKETS_S: readonly number[] = [0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1];

export function batchHistogram(): LatencyHistogram {
  return new LatencyHistogram(BATCH_BUCKETS_S);
}

export function messageOf(histogram: LatencyHistogram): Message {
  return { boundsUs: BATCH_BUCKETS_S.map((bound) => Math.round(bound * 1e6)), counts: [...histogram.counts], sumUs: histogram.sumS * 1e6 };
}

/** A histogram a name, made when the name first comes. Names must be few: types and rules, or regions that are counted already. */
export class NamedHistograms {
  readonly #byName = new Map<string, LatencyHistogram>();

  observe(name: string, durationMs: number): void {
    let histogram = this.#byName.get(name);
    if (histogram === undefined) {
      histogram = batchHistogram();
      this.#byName.set(name, histogram);
    }
    histogram.observe(durationMs);
  }

  entries(): IterableIterator<[string, LatencyHistogram]> {
    return this.#byName.entries();
  }

  messages(): Map<string, Message> {
    return new Map([...this.#byName].map(([name, histogram]) => [name, messageOf(histogram)]));
  }
}
