// ./dev bots: players that walk, build, trade and cross borders, against a mesh of its own or any other.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command, InvalidArgumentError } from "commander";
import { beatLine, type BotPlan, summaryJson, summaryLines } from "./bots/bot-report.ts";
import { runBots } from "./bots/bot-run.ts";
import { PLAYERS_A_SHARD_MAX } from "./bots/bot-world.ts";
import { ProcessMeter } from "./bots/process-use.ts";
import { type Mesh, startMesh } from "./mesh-processes.ts";
import { numberIn, wholeIn } from "./number-option.ts";
import { ProgressLine } from "./progress-line.ts";

interface Options {
  readonly players: number;
  readonly walk: boolean;
  readonly minutes?: number;
  readonly seconds?: number;
  readonly seed: number;
  readonly shards?: number;
  readonly hz: number;
  readonly acts: number;
  readonly area: number;
  readonly endpoints?: readonly string[];
  readonly nodes: number;
  readonly groups: number;
  readonly json: boolean;
}

const PLAYERS_A_SHARD = 200;
const SECONDS = 30;

const command = new Command("./dev bots")
  .description("Players on shards of their own: each shard is a process that owns regions, publishes where its players are, and hears what happens around. Where they\nwalk they also cross borders, build, claim, pick up, drop and trade. Checked at the end: status 1 where anything does not hold. Ctrl-C ends the playing.")
  .option("--players <n>", "players, 1..10000", wholeIn(1, 10_000), 200)
  .option("--walk", "players walk and act; else they stand and publish", false)
  .option("--minutes <n>", "how long they play, 0.05..600", numberIn(0.05, 600))
  .option("--seconds <n>", `the same in seconds, 3..36000 (default: ${SECONDS})`, numberIn(3, 36_000))
  .option("--seed <n>", "walks and wishes; left out: by the time", wholeIn(0, 4_294_967_295), Date.now() % 1_000_000)
  .option("--shards <n>", `shards, 1..64 (default: one for ${PLAYERS_A_SHARD} players, two at least)`, wholeIn(1, 64))
  .option("--hz <n>", "positions a second and player, 1..60", numberIn(1, 60), 20)
  .option("--acts <n>", "strong operations a second and player, 0..20", numberIn(0, 20), 0.2)
  .option("--area <metres>", "edge of the square in which a player walks, 20..3000: the smaller, the more often it crosses a border", numberIn(20, 3_000), 400)
  .option("--endpoints <addresses>", "client addresses of a running mesh, host:port, separated by commas; left out: a mesh of its own", addresses)
  .option("--nodes <n>", "nodes of its own mesh, 1..9", wholeIn(1, 9), 3)
  .option("--groups <n>", "groups of its own mesh, 1..64", wholeIn(1, 64), 4)
  .option("--json", "print one JSON object", false)
  .parse();
const options = command.opts<Options>();

function addresses(text: string): string[] {
  const all = text.split(",").map((each) => each.trim());
  for (const each of all) if (!/^\S+:\d{1,5}$/.test(each)) throw new InvalidArgumentError(`must be host:port, not ${JSON.stringify(each)}`);
  return all;
}

if (options.minutes !== undefined && options.seconds !== undefined) command.error("error: either --minutes or --seconds");
const seconds = options.seconds ?? (options.minutes === undefined ? SECONDS : options.minutes * 60);
const shards = options.shards ?? Math.min(64, Math.max(2, Math.ceil(options.players / PLAYERS_A_SHARD)));
if (options.players > shards * PLAYERS_A_SHARD_MAX) command.error(`error: at most ${PLAYERS_A_SHARD_MAX} players a shard: --shards ${Math.ceil(options.players / PLAYERS_A_SHARD_MAX)} at least`);

const progress = new ProgressLine(options.json ? process.stderr : process.stdout);
const stop = new AbortController();
let signals = 0;
for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143], ["SIGHUP", 129]] as const) {
  process.on(signal, () => {
    signals += 1;
    // Services end with this process (parent-watchdog.ts), bot shards with their channel.
    if (signals > 1) process.exit(code);
    progress.line(`${signal}: stopping; once more to force`);
    stop.abort();
  });
}

const dataDir = options.endpoints === undefined ? mkdtempSync(join(tmpdir(), "statemesh-bots-")) : undefined;
// Also where it is ended at once.
process.once("exit", () => {
  if (dataDir !== undefined) rmSync(dataDir, { recursive: true, force: true });
});
let mesh: Mesh | undefined;
try {
  if (dataDir !== undefined) {
    const quiet = ["--log-level", "warn"];
    mesh = await startMesh({ nodes: options.nodes, groups: options.groups, dataDir, extraFlags: { "consensus-node": quiet, "conflict-arbiter": quiet }, onProgress: (text) => progress.update(text) });
  }
  process.exitCode = await play(options.endpoints ?? mesh?.endpoints ?? []);
} catch (error) {
  progress.line(`./dev bots: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
} finally {
  await mesh?.stop();
}

async function play(endpoints: readonly string[]): Promise<number> {
  const plan: BotPlan = { world: { seed: options.seed, players: options.players, shards, areaM: options.area, walk: options.walk }, hz: options.hz, nodes: endpoints.length };
  const whole = new ProcessMeter(mesh?.processes.map(({ spec: { name }, pid }) => ({ name, pid })) ?? []);
  const latest = new ProcessMeter(mesh?.nodes.map(({ spec: { name }, pid }) => ({ name, pid })) ?? []);
  let use = whole.read();
  const result = await runBots({
    endpoints, world: plan.world, hz: options.hz, acts: options.walk ? options.acts : 0, seconds, signal: stop.signal, tidy: mesh === undefined,
    onProgress: (text) => progress.update(text),
    onMeasure: () => whole.begin(),
    onBeat: (state) => {
      progress.update(beatLine(state, latest.read()));
      latest.begin();
      use = whole.read();
    },
  });
  progress.clear();
  if (options.json) process.stdout.write(`${JSON.stringify(summaryJson(plan, result, use), undefined, 2)}\n`);
  else for (const line of summaryLines(plan, result, use)) progress.line(line);
  return result.checks.every(({ ok }) => ok) ? 0 : 1;
}
