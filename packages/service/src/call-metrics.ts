// Counts and latencies of calls, kept in plain arrays: a counter of prom-client hashes its labels on every increment.
import { Code } from "@statemesh/contract";
import { Counter, type Histogram, type Registry } from "prom-client";

/** Upper bounds of the latency buckets in seconds. */
export const LATENCY_BUCKETS_S: readonly number[] = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
];

const CODE_NAMES: readonly string[] = Object.keys(Code);

/** A histogram whose `observe` costs a short scan of an array. One label, with a closed set of values. */
export class LatencyHistogram {
  readonly #boundsS: readonly number[];
  /** Durations in each bucket, those of other buckets not included; the last has no upper bound. */
  readonly counts: Float64Array;
  #sumS = 0;

  /** @param boundsS upper bounds of the buckets in seconds, ascending */
  constructor(boundsS: readonly number[] = LATENCY_BUCKETS_S) {
    this.#boundsS = boundsS;
    this.counts = new Float64Array(boundsS.length + 1);
  }

  /** Seconds of all durations together. */
  get sumS(): number {
    return this.#sumS;
  }

  /** Duration in milliseconds. */
  observe(durationMs: number): void {
    const seconds = durationMs / 1000;
    let bucket = 0;
    while (bucket < this.#boundsS.length && seconds > (this.#boundsS[bucket] ?? Number.POSITIVE_INFINITY)) bucket++;
    this.counts[bucket] = (this.counts[bucket] ?? 0) + 1;
    this.#sumS += seconds;
  }

  /** The values of the text format, cumulative. */
  values(name: string, labels: Labels): SeriesValue[] {
    return latencySeries(this.#boundsS, this.counts, this.#sumS, name, labels);
  }
}

type Labels = Readonly<Record<string, string>>;

interface SeriesValue {
  readonly metricName: string;
  readonly labels: Record<string, string | number>;
  readonly value: number;
}

/** The values of the text format, cumulative, of durations counted by bucket; the last bucket has no upper bound. */
export function latencySeries(boundsS: readonly number[], counts: Float64Array, sumS: number, name: string, labels: Labels): SeriesValue[] {
  let total = 0;
  const values = boundsS.map((le, index): SeriesValue => {
    total += counts[index] ?? 0;
    return { metricName: `${name}_bucket`, labels: { le, ...labels }, value: total };
  });
  total += counts[boundsS.length] ?? 0;
  values.push({ metricName: `${name}_bucket`, labels: { le: "+Inf", ...labels }, value: total });
  values.push({ metricName: `${name}_sum`, labels: { ...labels }, value: sumS });
  values.push({ metricName: `${name}_count`, labels: { ...labels }, value: total });
  return values;
}

/** Registers a family of latency histograms, one a label set; `list` is asked on every scrape. */
export function registerLatencies(
  registry: Registry,
  name: string,
  help: string,
  list: () => Iterable<readonly [Labels, Pick<LatencyHistogram, "values">]>,
): void {
  const type = "histogram";
  const metric = {
    name,
    help,
    type,
    aggregator: "sum",
    get: () => Promise.resolve({ name, help, type, aggregator: "sum", values: [...list()].flatMap(([labels, histogram]) => histogram.values(name, labels)) }),
  };
  // prom-client's type asks for one of its own classes; its registry only calls `get` and reads `name`.
  registry.registerMetric(metric as unknown as Histogram);
}

/** What one method did since the start. */
export class MethodMetrics {
  readonly method: string;
  readonly latency: LatencyHistogram = new LatencyHistogram();
  readonly codes: Float64Array = new Float64Array(CODE_NAMES.length);

  constructor(method: string) {
    this.method = method;
  }

  ended(code: Code, durationMs: number): void {
    this.codes[code] = (this.codes[code] ?? 0) + 1;
    this.latency.observe(durationMs);
  }
}

/** Every method of a server. */
export class CallMetrics {
  readonly #methods: MethodMetrics[] = [];

  constructor(registry: Registry) {
    const methods = this.#methods;
    new Counter({
      name: "statemesh_grpc_calls_total",
      help: "Calls that ended, by method and gRPC code.",
      labelNames: ["method", "code"],
      registers: [registry],
      collect(): void {
        this.reset();
        for (const each of methods) {
          each.codes.forEach((count, code) => {
            if (count > 0) this.inc({ method: each.method, code: CODE_NAMES[code] ?? "UNKNOWN" }, count);
          });
        }
      },
    });
    registerLatencies(registry, "statemesh_grpc_call_seconds", "From the whole request to the answer, by method; a stream's whole life.", () =>
      methods.map((each) => [{ method: each.method }, each.latency] as const),
    );
  }

  forMethod(method: string): MethodMetrics {
    const metrics = new MethodMetrics(method);
    this.#methods.push(metrics);
    return metrics;
  }
}
