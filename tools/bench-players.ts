// How many walking players a mesh bears at 20 Hz: more and more of them, until their positions come too late or can't be published in time.
import { join } from "node:path";
import { runBots } from "./bots/bot-run.ts";
import { type ProcessUse, ProcessMeter } from "./bots/process-use.ts";
import { startMesh } from "./mesh-processes.ts";

const HZ = 20;
const ACTS = 0.2;
const AREA_M = 400;
const FIRST_PLAYERS = 100;
const PLAYERS_MAX = 10_000;
/** Positions have to come within that, 99 of 100. */
const LATE_MS = 100;
/** Of what players at 20 Hz say, so much has to be published. */
const PUBLISHED_SHARE = 0.95;
const PLAYERS_A_SHARD = 200;
/** It is looked between the last number that held and the first that did not until they are so near, of the last. */
const NEAR = 0.05;

/** One number of players. */
export interface PlayersRow {
  readonly players: number;
  readonly shards: number;
  readonly seed: number;
  /** Of the positions that players at 20 Hz say, 0..1. */
  readonly publishedShare: number;
  readonly receivedPerSecond: number;
  /** From publish to receive. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly operationP99Ms: number;
  readonly handoffs: number;
  readonly handoffP99Ms: number;
  readonly processes: readonly ProcessUse[];
  /** Processor time of a thousand positions, from publish to receive and with all else that players do, milliseconds. */
  readonly nodesMsAThousand: number;
  readonly shardsMsAThousand: number;
  readonly sustained: boolean;
  /** What it does not hold; empty where it does. */
  readonly over: string;
  /** Checks that failed, in words. */
  readonly failed: readonly string[];
}

export interface PlayersResult {
  readonly rows: readonly PlayersRow[];
  /** The most players that held. 0: not even the fewest. */
  readonly sustained: number;
}

/** Three nodes and an arbiter, `seconds` for each number of players. */
export async function measurePlayers(dataDir: string, options: { readonly seconds: number; readonly seed: number; readonly say: (text: string) => void }): Promise<PlayersResult> {
  const { seconds, seed, say } = options;
  const quiet = ["--log-level", "warn"];
  const mesh = await startMesh({ nodes: 3, groups: 4, dataDir: join(dataDir, "players"), extraFlags: { "consensus-node": quiet, "conflict-arbiter": quiet } });
  const rows: PlayersRow[] = [];
  const measure = async (players: number): Promise<boolean> => {
    const shards = Math.max(2, Math.ceil(players / PLAYERS_A_SHARD));
    const meter = new ProcessMeter(mesh.processes.map(({ spec: { name }, pid }) => ({ name, pid })));
    let processes: ProcessUse[] = [];
    const { books, measuredSeconds, checks, shards: used } = await runBots({
      endpoints: mesh.endpoints, world: { seed, players, shards, areaM: AREA_M, walk: true }, hz: HZ, acts: ACTS, seconds, signal: new AbortController().signal, tidy: true,
      onProgress: () => undefined, onMeasure: () => meter.begin(), onBeat: () => (processes = meter.read()),
    });
    const publishedPerSecond = books.counts.published / measuredSeconds;
    const publishedShare = publishedPerSecond / (players * HZ);
    const p99Ms = books.at("arrival", 99);
    const nodes = processes.filter(({ name }) => name.startsWith("node-"));
    const msAThousand = (cpuPercent: number): number => (cpuPercent * 10 * 1_000) / Math.max(1, publishedPerSecond);
    const over = [...(p99Ms > LATE_MS ? [`1 of 100 later than ${LATE_MS} ms`] : []), ...(publishedShare < PUBLISHED_SHARE ? [`less than ${PUBLISHED_SHARE * 100}% published`] : [])].join(", ");
    const row: PlayersRow = {
      players, shards, seed, publishedShare, receivedPerSecond: books.counts.received / measuredSeconds, p50Ms: books.at("arrival", 50), p99Ms,
      operationP99Ms: books.at("strong", 99), handoffs: books.counts.handoffs, handoffP99Ms: books.at("handoff", 99), processes: [...processes, { name: "shards", cpuPercent: total(used, "cpuPercent"), residentMiB: total(used, "residentMiB") }],
      nodesMsAThousand: msAThousand(total(nodes, "cpuPercent")), shardsMsAThousand: msAThousand(total(used, "cpuPercent")), sustained: over === "", over,
      failed: checks.filter(({ ok }) => !ok).map(({ name, detail }) => `${name}: ${detail}`),
    };
    rows.push(row);
    say(lineOf(row));
    return row.sustained;
  };
  try {
    say(`players at ${HZ} Hz, seed ${seed}, ${seconds} s each; every position is heard by one other shard\n${HEADING}`);
    return { rows, sustained: await mostThatHold(measure, FIRST_PLAYERS, PLAYERS_MAX) };
  } finally {
    await mesh.stop();
  }
}

/** The largest number found for which `holds`, where it does so up to some number: doubled from `first`, then looked for in between. 0: not even `first`. */
export async function mostThatHold(holds: (players: number) => Promise<boolean>, first: number, max: number): Promise<number> {
  let most = 0;
  let over = first;
  while (over <= max && (await holds(over))) {
    most = over;
    over *= 2;
  }
  if (most === 0 || over > max) return most;
  while (over - most > most * NEAR) {
    const between = Math.round((most + over) / 2);
    if (await holds(between)) most = between;
    else over = between;
  }
  return most;
}

const COLUMNS = [["players", 7], ["shards", 6], ["published", 9], ["received/s", 10], ["p50 ms", 7], ["p99 ms", 7], ["operation p99", 13], ["handoffs", 8], ["handoff p99", 11], ["nodes", 5], ["shards", 6]] as const;
const HEADING = `${COLUMNS.map(([name]) => name).join("  ")}  ms of a processor for 1,000 positions (the two before), and of a core`;

function total(use: readonly ProcessUse[], of: "cpuPercent" | "residentMiB"): number {
  return use.reduce((sum, each) => sum + each[of], 0);
}

function lineOf(row: PlayersRow): string {
  const cells = [
    row.players, row.shards, `${(row.publishedShare * 100).toFixed(0)}%`, Math.round(row.receivedPerSecond).toLocaleString("en"), row.p50Ms.toFixed(0), row.p99Ms.toFixed(0),
    row.operationP99Ms.toFixed(0), row.handoffs, row.handoffP99Ms.toFixed(0), row.nodesMsAThousand.toFixed(0), row.shardsMsAThousand.toFixed(0),
  ];
  const line = cells.map((cell, at) => String(cell).padStart(COLUMNS[at]?.[1] ?? 0)).join("  ");
  return `${line}  ${row.processes.map(({ name, cpuPercent }) => `${name} ${Math.round(cpuPercent)}%`).join(", ")}${row.sustained ? "" : `\n  does not hold: ${row.over}`}${row.failed.map((text) => `\n  FAILED ${text}`).join("")}`;
}
