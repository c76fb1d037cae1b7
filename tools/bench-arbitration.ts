/** ./dev bench --only arbitration: the rules by themselves, and an arbiter's process that is asked over gRPC. */
import { join } from "node:path";
import { ArbitrateResponse, type Bounds, type Candidate, type CandidateSet, ConflictArbiterServiceClient, ConflictArbiterServiceService } from "@statemesh/contract";
import { detect, resolve } from "@statemesh/conflict";
import { call, connect } from "@statemesh/service";
import { DEFAULT_POLICY } from "@statemesh/world";
import { ServiceProcess } from "./service-process.ts";
import { StablePorts } from "./stable-ports.ts";

/** One measurement in process. */
export interface InProcessResult {
  readonly name: string;
  readonly candidates: number;
  readonly operationsPerSecond: number;
  readonly batchesPerSecond: number;
  /** Operations for each second of processor time: what a busy machine would do were it alone. */
  readonly operationsPerProcessorSecond: number;
  /** Pairs of operations that conflict, found by `detect` on the same sets. */
  readonly pairsPerSecond: number;
}

/** One measurement through the service. */
export interface ServiceResult {
  readonly inFlight: number;
  readonly batchesPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export interface ArbitrationResult {
  readonly inProcess: readonly InProcessResult[];
  readonly service: readonly ServiceResult[];
}

/** Sets made beforehand, so that making them is not measured. */
const SETS = 64;
const BATCH = 64;
/** Processor time of warming up before a measurement, microseconds, and how long that may last, milliseconds. */
const WARM_US = 500_000;
const WARM_MAX_MS = 10_000;

/** A small generator (mulberry32): the same sets in every run. */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

function candidate(id: number, random: () => number, changes: Partial<Candidate>): Candidate {
  return {
    operationId: `operation-${id}`, type: "structure_placement", serverId: 1 + Math.floor(random() * 64), priority: Math.floor(random() * 4), stamp: { physicalMs: 1_700_000_000_000 + Math.floor(random() * 200), logical: 0 },
    keys: [], bounds: undefined, mergeClass: "", region: { x: 0, y: 0, z: 0 }, ...changes,
  };
}

/** A wall or a house of 2 to 10 m somewhere in a square whose side grows with the number of operations, so that about one in five meets another. */
function structures(count: number, seed: number): CandidateSet {
  const random = generator(seed);
  const side = 30 * Math.sqrt(count);
  const box = (): Bounds => {
    const [x, z, size] = [random() * side, random() * side, 2 + random() * 8];
    return { minX: x, minY: 0, minZ: z, maxX: x + size, maxY: 4, maxZ: z + size };
  };
  return { incumbents: [], candidates: Array.from({ length: count }, (_, n) => candidate(n, random, { keys: [`structure:s-${n}`], bounds: box() })) };
}

/** Pickups: two servers want each item. */
function pickups(count: number, seed: number): CandidateSet {
  const random = generator(seed);
  return { incumbents: [], candidates: Array.from({ length: count }, (_, n) => candidate(n, random, { type: "item_pickup", keys: [`item:i-${Math.floor(random() * count * 0.5)}`] })) };
}

interface Rates {
  readonly perSecond: number;
  readonly perProcessorSecond: number;
  readonly roundsPerSecond: number;
}

function timed(seconds: number, run: (at: number) => number): Rates {
  // Warm: the compiler sees what it will see. By processor time, of which a busy machine gives little; not for ever.
  const warmUntilMs = performance.now() + WARM_MAX_MS;
  const cold = process.cpuUsage();
  for (let at = 0; performance.now() < warmUntilMs && process.cpuUsage(cold).user < WARM_US; at++) run(at);
  const processor = process.cpuUsage();
  const startMs = performance.now();
  let [done, rounds] = [0, 0];
  while (performance.now() - startMs < seconds * 1_000) done += run(rounds++);
  const tookS = (performance.now() - startMs) / 1_000;
  const { user, system } = process.cpuUsage(processor);
  return { perSecond: done / tookS, perProcessorSecond: (done * 1e6) / (user + system), roundsPerSecond: rounds / tookS };
}

function inProcess(name: string, candidates: number, seconds: number, make: (count: number, seed: number) => CandidateSet): InProcessResult {
  // No more of them than a leader has at a time: what is measured are the rules, not the memory.
  const count = Math.max(4, Math.min(SETS, Math.floor(16_384 / candidates)));
  const sets = Array.from({ length: count }, (_, seed) => make(candidates, seed + 1));
  const setAt = (at: number): CandidateSet => sets[at % count] ?? { incumbents: [], candidates: [] };
  const resolved = timed(seconds, (at) => resolve(setAt(at), DEFAULT_POLICY).length);
  const detected = timed(seconds / 2, (at) => detect(setAt(at), DEFAULT_POLICY).length);
  return { name, candidates, operationsPerSecond: resolved.perSecond, batchesPerSecond: resolved.roundsPerSecond, operationsPerProcessorSecond: resolved.perProcessorSecond, pairsPerSecond: detected.perSecond };
}

async function throughService(address: string, inFlight: number, seconds: number): Promise<ServiceResult> {
  const client = connect(ConflictArbiterServiceClient, address, { ownConnection: true });
  const requests = Array.from({ length: SETS }, (_, seed) => ({ sets: [structures(BATCH, seed + 1)], groupId: 1, policyDigest: "" }));
  const durations: number[] = [];
  let measuring = false;
  const ask = async (at: number): Promise<void> => {
    const startMs = performance.now();
    const response = await call(client, ConflictArbiterServiceService.arbitrate, requests[at % SETS] ?? { sets: [], groupId: 1, policyDigest: "" }, { timeoutMs: 10_000, writes: false });
    if (response.sets[0]?.verdicts.length !== BATCH) throw new Error("bench: a batch was not answered whole");
    if (measuring) durations.push(performance.now() - startMs);
  };
  const load = async (untilMs: number): Promise<void> => {
    await Promise.all(Array.from({ length: inFlight }, async (_, worker) => {
      for (let at = worker; performance.now() < untilMs; at += inFlight) await ask(at);
    }));
  };
  await load(performance.now() + 1_000);
  measuring = true;
  const startMs = performance.now();
  await load(startMs + seconds * 1_000);
  const tookMs = performance.now() - startMs;
  client.close();
  durations.sort((a, b) => a - b);
  const percentile = (share: number): number => durations[Math.min(durations.length - 1, Math.ceil(durations.length * share) - 1)] ?? 0;
  return { inFlight, batchesPerSecond: (durations.length * 1_000) / tookMs, p50Ms: percentile(0.5), p99Ms: percentile(0.99) };
}

function whole(value: number): string {
  return Math.round(value).toLocaleString("en");
}

/** What one batch is on the wire and back, without a network: the encoding alone. */
function encodedBytes(): number {
  return ArbitrateResponse.encode({ sets: [{ verdicts: resolve(structures(BATCH, 1), DEFAULT_POLICY) }] }).finish().length;
}

/** Measures and says each result as it comes. */
export async function measureArbitration(seconds: number, dataDir: string, say: (text: string) => void): Promise<ArbitrationResult> {
  const results: InProcessResult[] = [];
  for (const [name, make] of [["structures", structures], ["pickups", pickups]] as const) {
    for (const count of [64, 256, 1_024, 4_096]) {
      const result = inProcess(name, count, seconds / 2, make);
      results.push(result);
      say(`${`${name}, batches of ${count}, in process`.padEnd(44)} ${whole(result.operationsPerSecond).padStart(10)} operations/s (${whole(result.operationsPerProcessorSecond)} a second of processor)   ${whole(result.batchesPerSecond).padStart(7)} batches/s   ${whole(result.pairsPerSecond).padStart(10)} pairs/s found`);
    }
  }
  const ports = new StablePorts();
  const address = `127.0.0.1:${await ports.take(undefined)}`;
  const metricsAddress = `127.0.0.1:${await ports.take(undefined)}`;
  const flags = ["--listen-address", address, "--metrics-address", metricsAddress, "--log-level", "warn"];
  const arbiter = new ServiceProcess({ name: "arbiter", service: "conflict-arbiter", flags, address, metricsAddress, logFile: join(dataDir, "arbiter.log") });
  const service: ServiceResult[] = [];
  arbiter.launch();
  try {
    await arbiter.waitUntilServing();
    for (const inFlight of [1, 4, 16]) {
      const result = await throughService(address, inFlight, seconds);
      service.push(result);
      say(`${`batches of ${BATCH} through the service, ${inFlight} in flight`.padEnd(44)} ${whole(result.batchesPerSecond * BATCH).padStart(10)} operations/s   ${whole(result.batchesPerSecond).padStart(7)} batches/s   p50 ${result.p50Ms.toFixed(2)} ms   p99 ${result.p99Ms.toFixed(2)} ms`);
    }
  } finally {
    await arbiter.stop();
  }
  say(`an answer to a batch of ${BATCH} has ${encodedBytes()} bytes`);
  return { inProcess: results, service };
}
