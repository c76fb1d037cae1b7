/** The same work beside etcd, in turns on the same machine: what counts is the ratio of the medians. */
import { callLoad, type LoadResult, type LoadTarget, type OperationMix, readLoad, streamLoad, unaryLoad } from "./bench-load.ts";
import { EtcdClient } from "./etcd-client.ts";
import { startEtcd } from "./local-etcd.ts";

/** About what an operation of ours takes. */
const VALUE = Buffer.alloc(128, 0x5a);
const PUTS_A_TRANSACTION = 64;
const TRANSACTIONS_IN_FLIGHT = 16;
const WARM_SECONDS = 1;

/** One kind of work, done by both. Medians over the rounds. */
export interface Comparison {
  readonly name: string;
  readonly perSecond: number;
  readonly etcdPerSecond: number;
  /** Ours by etcd's: above 1 we do more. */
  readonly ratio: number;
  readonly p50Ms: number;
  readonly etcdP50Ms: number;
  readonly p99Ms: number;
  readonly etcdP99Ms: number;
}

/** What both are measured with. */
export interface BesideEtcd {
  readonly rounds: number;
  readonly seconds: number;
  readonly mix: OperationMix;
  readonly targets: () => Promise<LoadTarget[]>;
  readonly say: (text: string) => void;
}

interface Pair {
  readonly name: string;
  readonly ours: (targets: readonly LoadTarget[], seconds: number) => Promise<LoadResult>;
  readonly theirs: (etcd: EtcdClient, seconds: number) => Promise<LoadResult>;
}

/** Measures both in turns, `rounds` times, etcd at its leader. */
export async function measureBesideEtcd(bench: BesideEtcd): Promise<Comparison[]> {
  const etcd = await startEtcd();
  const clients = etcd.endpoints.map((endpoint) => new EtcdClient(endpoint));
  try {
    bench.say(`beside etcd ${etcd.version}, ${etcd.endpoints.length} members, ${bench.rounds} rounds of ${bench.seconds} s`);
    const leader = await leaderOf(clients);
    const pairs = pairsOf(bench.mix);
    const results = pairs.map((): { ours: LoadResult[]; theirs: LoadResult[] } => ({ ours: [], theirs: [] }));
    for (const pair of pairs) {
      await pair.theirs(leader, WARM_SECONDS);
      await pair.ours(await bench.targets(), WARM_SECONDS);
    }
    for (let round = 0; round < bench.rounds; round++) {
      for (const [at, pair] of pairs.entries()) {
        const ours = async (): Promise<void> => void results[at]?.ours.push(await pair.ours(await bench.targets(), bench.seconds));
        const theirs = async (): Promise<void> => void results[at]?.theirs.push(await pair.theirs(leader, bench.seconds));
        // Who goes first takes turns too.
        for (const each of round % 2 === 0 ? [theirs, ours] : [ours, theirs]) await each();
      }
    }
    return pairs.map(({ name }, at) => compare(name, results[at]?.ours ?? [], results[at]?.theirs ?? []));
  } finally {
    for (const client of clients) client.close();
    await etcd.stop();
  }
}

function pairsOf(mix: OperationMix): Pair[] {
  let next = 0;
  const key = (): string => `bench/${(next++).toString(36).padStart(10, "0")}`;
  const puts = (inFlight: number) => async (etcd: EtcdClient, seconds: number): Promise<LoadResult> =>
    await callLoad(`etcd puts, ${inFlight} in flight`, inFlight, seconds, 1, (done) => etcd.put(key(), VALUE, done));
  const transactions = async (etcd: EtcdClient, seconds: number): Promise<LoadResult> =>
    await callLoad("etcd transactions", TRANSACTIONS_IN_FLIGHT, seconds, PUTS_A_TRANSACTION, (done) => etcd.putAll(Array.from({ length: PUTS_A_TRANSACTION }, key), VALUE, done));
  const reads = async (etcd: EtcdClient, seconds: number): Promise<LoadResult> =>
    await callLoad("etcd reads", 256, seconds, 1, (done) => etcd.read(`bench/${Math.floor(Math.random() * next).toString(36).padStart(10, "0")}`, done));
  const streamed = async (targets: readonly LoadTarget[], seconds: number): Promise<LoadResult> => await streamLoad(targets, mix, 4_096, 256, seconds);
  return [
    { name: "one at a time: commits, puts", ours: async (targets, seconds) => await unaryLoad(targets, mix, 1, seconds), theirs: puts(1) },
    { name: "unary, 256 in flight: commits, puts", ours: async (targets, seconds) => await unaryLoad(targets, mix, 256, seconds), theirs: puts(256) },
    { name: "streamed commits, unary puts at 256", ours: streamed, theirs: puts(256) },
    { name: `streamed commits, puts in transactions of ${PUTS_A_TRANSACTION}`, ours: streamed, theirs: transactions },
    { name: "linearizable reads, 256 in flight", ours: async (targets, seconds) => await readLoad(targets, 256, seconds), theirs: reads },
  ];
}

async function leaderOf(clients: readonly EtcdClient[]): Promise<EtcdClient> {
  const endMs = performance.now() + 30_000;
  for (;;) {
    for (const client of clients) if (await client.leads()) return client;
    if (performance.now() > endMs) throw new Error("etcd has no leader after 30 s");
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

function compare(name: string, ours: readonly LoadResult[], theirs: readonly LoadResult[]): Comparison {
  const median = (results: readonly LoadResult[], value: (result: LoadResult) => number): number => {
    const sorted = results.map(value).sort((a, b) => a - b);
    return sorted[Math.floor(sorted.length / 2)] ?? 0;
  };
  const perSecond = median(ours, (result) => result.perSecond);
  const etcdPerSecond = median(theirs, (result) => result.perSecond);
  return {
    name, perSecond, etcdPerSecond, ratio: perSecond / etcdPerSecond,
    p50Ms: median(ours, (result) => result.p50Ms), etcdP50Ms: median(theirs, (result) => result.p50Ms),
    p99Ms: median(ours, (result) => result.p99Ms), etcdP99Ms: median(theirs, (result) => result.p99Ms),
  };
}

export function comparisonLine(it: Comparison): string {
  const rate = (value: number): string => `${Math.round(value).toLocaleString("en").padStart(9)}/s`;
  const ms = (value: number): string => value.toFixed(2);
  return `${it.name.padEnd(50)} ${rate(it.perSecond)}  etcd ${rate(it.etcdPerSecond)}  ${it.ratio.toFixed(2)} times   p50 ${ms(it.p50Ms)} and ${ms(it.etcdP50Ms)} ms   p99 ${ms(it.p99Ms)} and ${ms(it.etcdP99Ms)} ms`;
}
