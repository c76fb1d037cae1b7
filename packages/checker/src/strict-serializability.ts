// Can the transactions have happened one at a time, each between its beginning and its end? Versions say in which order each key was written, so
// the dependencies are known (Adya, 2000), and there is such an order exactly where they have no cycle.
import { components, membersOf, shortestPath } from "./cycles.ts";
import { type Dependency, DependencyGraph, maskOf, type Step } from "./dependency-graph.ts";
import { describeCall } from "./counterexample.ts";
import type { Call, History } from "./history.ts";
import type { Transaction } from "./operations.ts";
import { type BadRead, type Committed, type KeyVersions, transactionLogOf, type TransactionLog } from "./transaction-log.ts";

/** Anomalies that are reported, one of each tangle of transactions. */
const ANOMALIES_MAX = 100;
/** Edges from which a cycle is looked for, in one tangle and kind. */
const ATTEMPTS_MAX = 1_000;

export type AnomalyKind =
  /** Writes in a circle. */
  | "G0"
  /** A read of what was never committed. */
  | "G1a aborted read"
  /** A read of what its writer overwrote itself. */
  | "G1b intermediate read"
  /** Writes and reads in a circle. */
  | "G1c"
  /** A circle with one read of something overwritten: a lost update, a torn read. */
  | "G-single"
  /** A circle with several of them: write skew. */
  | "G2"
  /** No circle but for real time. `detail` says with what: G0, G1c, G-single or G2. */
  | "realtime violation"
  /** A version that nobody in the history wrote. */
  | "unknown write"
  /** Two transactions that did not overlap wrote one version. */
  | "doubled version";

export interface Anomaly {
  readonly kind: AnomalyKind;
  readonly detail: string;
  /** The transactions of the circle, or those concerned. */
  readonly transactions: readonly Call<Transaction>[];
  /** For people to read. */
  readonly text: string;
}

export interface SerializabilityReport {
  readonly holds: boolean;
  /** Transactions that took effect. */
  readonly transactions: number;
  readonly edges: number;
  /** At most 100. */
  readonly anomalies: readonly Anomaly[];
  readonly text: string;
}

/** Strongest first: what is found under one name has no circle under the names before it. */
const CIRCLES: readonly { readonly kind: "G0" | "G1c" | "G-single" | "G2"; readonly along: readonly Dependency[]; readonly once?: Dependency }[] = [
  { kind: "G0", along: ["ww"] },
  { kind: "G1c", along: ["ww", "wr"] },
  { kind: "G-single", along: ["ww", "wr"], once: "rw" },
  { kind: "G2", along: ["ww", "wr", "rw"] },
];

/** Holds the transactions of a history against each other. Open ones count where somebody read from them. */
export function checkStrictSerializability(history: History): SerializabilityReport {
  const log = transactionLogOf(history);
  const graph = graphOf(log);
  const anomalies = [...log.badReads.map(badRead), ...doubledVersions(log), ...circles(graph, log.committed)].slice(0, ANOMALIES_MAX);
  const counts = `${log.committed.length} transactions, ${graph.edges} dependencies`;
  const text = anomalies.length === 0 ? `strictly serializable: ${counts}` : [`not strictly serializable: ${anomalies.length} anomalies; ${counts}`, ...anomalies.map((each) => each.text)].join("\n\n");
  return { holds: anomalies.length === 0, transactions: log.committed.length, edges: graph.edges, anomalies, text };
}

function graphOf({ committed, keys }: TransactionLog): DependencyGraph {
  const graph = new DependencyGraph(committed.length);
  for (const { key, versions } of keys.values()) {
    versions.forEach(({ writers }, at) => graph.addAll(writers, versions[at + 1]?.writers ?? [], "ww", key));
  }
  const readers = new Map<KeyVersions, Map<number, number[]>>();
  committed.forEach(({ reads }, reader) => {
    for (const { key, version } of reads) {
      const known = keys.get(key);
      if (known === undefined) continue;
      const at = version === 0 ? -1 : (known.places.get(version) ?? undefined);
      if (at === undefined) continue;
      const byPlace = readers.get(known) ?? new Map<number, number[]>();
      readers.set(known, byPlace);
      const ofVersion = byPlace.get(at);
      if (ofVersion === undefined) byPlace.set(at, [reader]);
      else ofVersion.push(reader);
    }
  });
  for (const [{ key, versions }, byPlace] of readers) {
    for (const [at, all] of byPlace) {
      graph.addAll(versions[at]?.writers ?? [], all, "wr", key);
      graph.addAll(all, versions[at + 1]?.writers ?? [], "rw", key);
    }
  }
  addRealTime(graph, committed);
  return graph;
}

/** Every end comes before every later beginning: by way of a chain of moments, so that the edges are few. */
function addRealTime(graph: DependencyGraph, committed: readonly Committed[]): void {
  const events: { at: number; place: number; ends: boolean }[] = [];
  committed.forEach(({ call }, place) => {
    if (call === undefined) return;
    events.push({ at: call.invokedAt, place, ends: false });
    if (call.outcome === "ok" && call.endedAt !== undefined) events.push({ at: call.endedAt, place, ends: true });
  });
  events.sort((a, b) => a.at - b.at);
  let moment: number | undefined;
  let isNew = false;
  for (const { place, ends } of events) {
    if (!ends) {
      if (moment !== undefined) graph.add(moment, place, "realtime", "");
      isNew = false;
      continue;
    }
    // Ends without a beginning in between share a moment.
    if (moment === undefined || !isNew) {
      const next = graph.between();
      if (moment !== undefined) graph.add(moment, next, "realtime", "");
      moment = next;
      isNew = true;
    }
    graph.add(place, moment, "realtime", "");
  }
}

function* circles(graph: DependencyGraph, committed: readonly Committed[]): Generator<Anomaly> {
  const all = maskOf(["ww", "wr", "rw", "realtime"]);
  for (const tangle of membersOf(components(graph, all)).slice(0, ANOMALIES_MAX)) {
    const found = circleIn(graph, tangle, false) ?? circleIn(graph, tangle, true);
    if (found !== undefined) yield describe(found.kind, found.steps, found.realtime, committed);
  }
}

interface Circle {
  readonly kind: string;
  readonly steps: Step[];
  readonly realtime: boolean;
}

/** The strongest circle of a tangle, and a short one. */
function circleIn(graph: DependencyGraph, tangle: ReadonlySet<number>, realtime: boolean): Circle | undefined {
  for (const { kind, along, once } of CIRCLES) {
    const mask = maskOf(realtime ? [...along, "realtime"] : along);
    const steps = once === undefined ? anyCircle(graph, tangle, mask) : circleThrough(graph, tangle, mask, once);
    if (steps !== undefined) return { kind, steps, realtime };
  }
  return undefined;
}

function anyCircle(graph: DependencyGraph, tangle: ReadonlySet<number>, mask: number): Step[] | undefined {
  const [smallest] = membersOf(components(graph, mask, tangle));
  if (smallest === undefined) return undefined;
  let best: Step[] | undefined;
  for (const start of [...smallest].filter((node) => node < graph.transactions).slice(0, ATTEMPTS_MAX)) {
    const path = shortestPath(graph, start, start, mask, smallest);
    const steps = path === undefined ? undefined : graph.steps(path);
    if (steps !== undefined && steps.length > 0 && (best === undefined || steps.length < best.length)) best = steps;
    if (best?.length === 2) break;
  }
  return best;
}

function circleThrough(graph: DependencyGraph, tangle: ReadonlySet<number>, mask: number, once: Dependency): Step[] | undefined {
  let best: Step[] | undefined;
  let attempts = 0;
  for (const edge of graph.edgesOf(once)) {
    const [from, to] = graph.ends(edge);
    if (!tangle.has(from) || !tangle.has(to) || attempts++ >= ATTEMPTS_MAX) continue;
    const onward = to < graph.transactions ? [[edge]] : throughMiddle(graph, edge, to, once);
    for (const begin of onward) {
      const end = graph.ends(begin.at(-1) ?? edge)[1];
      const back = end === from ? [] : shortestPath(graph, end, from, mask, tangle);
      if (back === undefined) continue;
      const steps = graph.steps([...begin, ...back]);
      if (best === undefined || steps.length < best.length) best = steps;
    }
  }
  return best;
}

/** The ways on from a node between, which have the kind of the edge into it. */
function throughMiddle(graph: DependencyGraph, edge: number, middle: number, kind: Dependency): number[][] {
  const ways: number[][] = [];
  graph.visit(middle, maskOf([kind]), (_, onward) => {
    ways.push([edge, onward]);
    return false;
  });
  return ways;
}

function describe(kind: string, steps: readonly Step[], realtime: boolean, committed: readonly Committed[]): Anomaly {
  const calls = steps.flatMap(({ from }) => committed[from]?.call ?? []);
  const title = realtime ? `realtime violation (${kind})` : kind;
  const lines = steps.map(({ from, to, kind: by, key }) => `  ${nameOf(committed[from])} comes before ${nameOf(committed[to])}: ${reasonOf(by, key)}`);
  return { kind: realtime ? "realtime violation" : (kind as AnomalyKind), detail: kind, transactions: calls, text: [`${title}:`, ...lines, ...calls.map((call) => `  ${describeCall(call)}`)].join("\n") };
}

function reasonOf(kind: Dependency, key: string): string {
  switch (kind) {
    case "ww":
      return `it wrote ${key} first (ww)`;
    case "wr":
      return `the other read its ${key} (wr)`;
    case "rw":
      return `it read ${key} as it was before the other wrote it (rw)`;
    case "realtime":
      return "it had ended before the other began (realtime)";
  }
}

function nameOf(committed: Committed | undefined): string {
  return committed?.call === undefined ? "an open transaction" : committed.call.operation.id;
}

function badRead({ kind, reader, seen, writer }: BadRead): Anomaly {
  const calls = [reader.call, writer].flatMap((call) => call ?? []);
  const what = `${nameOf(reader)} read ${seen.key} at version ${seen.version}${seen.writer === undefined ? "" : ` of ${seen.writer}`}`;
  return { kind, detail: kind, transactions: calls, text: [`${kind}: ${what}`, ...calls.map((call) => `  ${describeCall(call)}`)].join("\n") };
}

/** Transactions of one log entry were all in flight when it was written. */
function* doubledVersions({ committed, keys }: TransactionLog): Generator<Anomaly> {
  for (const { key, versions } of keys.values()) {
    for (const { version, writers } of versions) {
      if (writers.length < 2) continue;
      const calls = writers.flatMap((place) => committed[place]?.call ?? []);
      const firstEnd = calls.reduce((least, call) => Math.min(least, call.outcome === "ok" ? (call.endedAt ?? Infinity) : Infinity), Infinity);
      const late = calls.filter((call) => call.invokedAt > firstEnd);
      if (late.length === 0) continue;
      yield { kind: "doubled version", detail: key, transactions: calls, text: [`doubled version: ${key} at ${version} was written again by ${late.map((call) => call.operation.id).join(", ")}, which began after the first had ended`, ...calls.map((call) => `  ${describeCall(call)}`)].join("\n") };
    }
  }
}
