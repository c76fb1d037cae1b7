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
/** Looks between the last number that held and the first that did not. */
const NARROWINGS = 2;

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
  readonly sustained: boolean;
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
    const publishedShare = books.counts.published / (players * HZ * measuredSeconds);
    const p99Ms = books.at("arrival", 99);
    const row: PlayersRow = {
      players, shards, seed, publishedShare, receivedPerSecond: books.counts.received / measuredSeconds, p50Ms: books.at("arrival", 50), p99Ms,
      operationP99Ms: books.at("strong", 99), handoffs: books.counts.handoffs, handoffP99Ms: books.at("handoff", 99), processes: [...processes, { name: "shards", cpuPercent: total(used, "cpuPercent"), residentMiB: total(used, "residentMiB") }],
      sustained: p99Ms <= LATE_MS && publishedShare >= PUBLISHED_SHARE,
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
  for (let narrowed = 0; narrowed < NARROWINGS; narrowed++) {
    const between = Math.round((most + over) / 2);
    if (await holds(between)) most = between;
    else over = between;
  }
  return most;
}

const COLUMNS = [["players", 7], ["shards", 6], ["published", 9], ["received/s", 10], ["p50 ms", 7], ["p99 ms", 7], ["operation p99", 13], ["handoffs", 8], ["handoff p99", 11]] as const;
const HEADING = `${COLUMNS.map(([name]) => name).join("  ")}  processor of a core`;

function total(use: readonly ProcessUse[], of: "cpuPercent" | "residentMiB"): number {
  return use.reduce((sum, each) => sum + each[of], 0);
}

function lineOf(row: PlayersRow): string {
  const cells = [
    row.players, row.shards, `${(row.publishedShare * 100).toFixed(0)}%`, Math.round(row.receivedPerSecond).toLocaleString("en"), row.p50Ms.toFixed(0), row.p99Ms.toFixed(0),
    row.operationP99Ms.toFixed(0), row.handoffs, row.handoffP99Ms.toFixed(0),
  ];
  const line = cells.map((cell, at) => String(cell).padStart(COLUMNS[at]?.[1] ?? 0)).join("  ");
  return `${line}  ${row.processes.map(({ name, cpuPercent }) => `${name} ${Math.round(cpuPercent)}%`).join(", ")}${row.failed.map((text) => `\n  FAILED ${text}`).join("")}`;
}
