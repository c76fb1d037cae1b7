/** One demo from the first registration to the last answer. */
import { MeshError, Outcome, type Region } from "@statemesh/contract";
import { regionOf } from "@statemesh/world";
import { DemoContests } from "./demo-contest.ts";
import { DemoPublisher } from "./demo-eventual.ts";
import { DemoFollower } from "./demo-follow.ts";
import type { Measure } from "./demo-measure.ts";
import { DemoPlay } from "./demo-play.ts";
import { DemoQuest } from "./demo-quest.ts";
import { DemoSetting } from "./demo-setting.ts";
import { DemoShard } from "./demo-shard.ts";
import type { DemoStore } from "./demo-store.ts";
import type { World } from "./world-file.ts";
import { pathLength, pointAt } from "./world-path.ts";

/** A fifth of the bots moves and thinks in each beat, so each one does at 10 Hz; shards publish at 10 Hz in turn. */
const BEAT_MS = 20;
const TURNS = 5;
const BEATS_A_CONTEST = 10;
const BEATS_A_HANDOFF = 200;

/** What the demo needs. */
export interface DemoOptions {
  readonly world: World;
  /** Client addresses of all nodes. */
  readonly endpoints: readonly string[];
  readonly groups: number;
  readonly seconds: number;
  /** In front of all ids of this run. */
  readonly prefix: string;
  /** By shard id: the same number for every run that can't overlap. */
  readonly incarnationOf: (shardId: number) => number;
  readonly store: DemoStore | undefined;
  readonly measure: Measure;
  /** Stops the demo early. */
  readonly signal: AbortSignal;
  readonly onBeat: (secondsPlayed: number) => void;
  readonly onProgress: (text: string) => void;
}

/** What a demo leaves for its checks and its report. */
export interface DemoResult {
  readonly demo: DemoSetting;
  readonly followers: readonly DemoFollower[];
  readonly publishers: readonly DemoPublisher[];
  readonly quests: readonly DemoQuest[];
  readonly contests: DemoContests;
  /** Structures of the world file that were there already. */
  readonly structuresFound: number;
  readonly structuresPlaced: number;
  /** Time from the first bot's first step to the last, seconds. */
  readonly secondsPlayed: number;
  readonly stopped: boolean;
}

async function pause(ms: number): Promise<void> {
  if (ms > 0) await new Promise((wake) => setTimeout(wake, ms));
  else await new Promise((wake) => setImmediate(wake));
}

/** Connects, registers and takes leases. */
async function startShards(options: DemoOptions): Promise<DemoShard[]> {
  const { world, endpoints } = options;
  const shards = world.shards.map((shard, at) => {
    const turned = endpoints.map((_, index) => endpoints[(index + at) % endpoints.length]).filter((each) => each !== undefined);
    return new DemoShard(shard, turned, options.incarnationOf(shard.id), options.measure);
  });
  try {
    await Promise.all(shards.map(async (shard) => await shard.start(world.regions.filter((it) => it.shard === shard.name).map((it) => it.region))));
    for (const shard of shards) shard.follow();
  } catch (error) {
    for (const shard of shards) shard.close();
    throw error;
  }
  return shards;
}

/** Puts up what the world file says: structures stay from run to run, items are laid anew. */
async function furnish(demo: DemoSetting, options: DemoOptions): Promise<{ found: number; placed: number }> {
  const { world } = demo;
  let found = 0;
  let placed = 0;
  await Promise.all(world.structures.map(async ({ id, kind, region, bounds }) => {
    const writer = demo.writerOf(region, demo.anyShard());
    if (writer === undefined) return;
    const there = await writer.shard.client.read({ region, entities: [{ kind: "structure", entityId: id }] });
    if (there.entities.length > 0) {
      found += 1;
      return;
    }
    const decision = await writer.shard.decide(writer.shard.make.structurePlacement(writer.place, { structureId: id, kind, bounds }));
    if (decision?.outcome === Outcome.ACCEPTED) placed += 1;
  }));

  let pile = 0;
  const laying: Promise<void>[] = [];
  for (const items of world.items) {
    const path = world.paths.find((it) => it.name === items.along);
    if (path === undefined) continue;
    const length = pathLength(path.points);
    for (let at = 0; at < items.piles; at++) {
      const { position } = pointAt(path.points, (length * (at + demo.random.next())) / items.piles);
      const region = regionOf(position);
      const writer = demo.writerOf(region, demo.anyShard());
      if (writer === undefined) continue;
      const itemId = `${demo.prefix}pile-${++pile}`;
      const operation = writer.shard.make.spawn(writer.place, { itemKind: items.kind, quantity: items.quantity, itemId, position });
      laying.push(writer.shard.decide(operation).then((decision) => {
        if (decision?.outcome !== Outcome.ACCEPTED) return;
        demo.ledger.lay(itemId, items.kind, items.quantity, region);
        demo.addItem(region, itemId);
      }));
      // The stream's window is far larger; this keeps the start from being one burst.
      if (laying.length % 256 === 0) await Promise.all(laying);
    }
  }
  await Promise.all(laying);

  const { store } = options;
  if (store !== undefined) {
    await Promise.all(world.regions.map(async (region) => {
      const epoch = demo.isCommon(region.region) ? 0 : (demo.writerOf(region.region, demo.anyShard())?.place.epoch ?? 0);
      await store.store(region, epoch, `${demo.prefix}${region.name}`.slice(0, 64));
    }));
  }
  return { found, placed };
}

/** Hands a region from its shard to the next one, through the directory: the old owner's writes are decided before, the new one's after. */
async function handOffLease(demo: DemoSetting, region: Region): Promise<void> {
  const from = demo.ownerOf(region);
  if (from === undefined) return;
  const to = demo.shards[(demo.shards.indexOf(from) + 1) % demo.shards.length];
  if (to === undefined || to === from) return;
  demo.setOwner(region, undefined);
  const startedMs = performance.now();
  const done = await from.handOver(region, to);
  if (done) demo.measure.handoffs.add(performance.now() - startedMs);
  demo.setOwner(region, done ? to : from);
  for (const bot of demo.bots) demo.handOver(bot);
}

/** Plays the demo. Shards stay connected; `stopDemo` ends them. */
export async function playDemo(options: DemoOptions): Promise<DemoResult> {
  const { world, measure, store } = options;
  options.onProgress(`registering ${world.shards.length} shards and taking leases`);
  const shards = await startShards(options);
  const demo = new DemoSetting(world, shards, measure, options.prefix, options.groups);
  options.onProgress("furnishing the world");
  const { found, placed } = await furnish(demo, options);

  const quests = world.paths.map((path) => {
    const start = path.points[0];
    const region = regionOf(start ?? { x: 0, y: 0, z: 0 });
    return new DemoQuest(demo, path.name.replaceAll(" ", "-"), region, shards);
  });
  const followers = shards.map((shard) => new DemoFollower(demo, shard, (step) => {
    for (const quest of quests) quest.onStep(shard, step);
  }));
  for (const follower of followers) follower.start();
  await untilFollowing(followers, options.signal);

  const publishers = shards.map((shard) => new DemoPublisher(demo, shard));
  const play = new DemoPlay(demo);
  const contests = new DemoContests(demo);
  for (const quest of quests) quest.start();
  const leased = world.regions.filter((it) => it.shard !== undefined).map((it) => it.region);
  let handoff: Promise<void> | undefined;

  const startedMs = performance.now();
  let seconds = 0;
  for (let beat = 1; seconds < options.seconds && !options.signal.aborted; beat++) {
    for (const [at, bot] of demo.bots.entries()) {
      if (at % TURNS !== beat % TURNS) continue;
      const left = bot.walkTo(seconds);
      if (left !== undefined) {
        measure.bordersCrossed += 1;
        const publisher = publishers[shards.indexOf(demo.shardOf(bot))];
        publisher?.leave(bot, left);
        if (demo.handOver(bot)) measure.bordersCrossedToAnotherShard += 1;
        if (store !== undefined) visit(store, demo, bot.region, beat);
      }
      play.act(bot);
    }
    if (beat % BEATS_A_CONTEST === 0) contests.next();
    if (beat % BEATS_A_HANDOFF === 0 && handoff === undefined) {
      const region = leased[(beat / BEATS_A_HANDOFF) % leased.length];
      if (region !== undefined) {
        handoff = handOffLease(demo, region)
          .catch((error: unknown) => void demo.anyShard().lost.push(`handing over a lease: ${MeshError.from(error).message}`))
          .finally(() => (handoff = undefined));
      }
    }
    for (const [at, publisher] of publishers.entries()) if (at % TURNS === beat % TURNS) publisher.beat(Math.floor(beat / TURNS), seconds);
    options.onBeat(seconds);
    await pause(startedMs + beat * BEAT_MS - performance.now());
    seconds = (performance.now() - startedMs) / 1_000;
  }
  const secondsPlayed = (performance.now() - startedMs) / 1_000;

  options.onProgress("waiting for the last answers");
  await untilUnderWay(quests, options.signal);
  for (const quest of quests) quest.stop();
  await handoff;
  await Promise.all(shards.map((shard) => shard.stream.drain()));
  await play.tidyUp();
  await Promise.all(shards.map((shard) => shard.stream.drain()));
  return { demo, followers, publishers, quests, contests, structuresFound: found, structuresPlaced: placed, secondsPlayed, stopped: options.signal.aborted };
}

/** A shard loads a region into which a player walks, and now and then writes down that somebody came. */
function visit(store: DemoStore, demo: DemoSetting, region: Region, beat: number): void {
  store.inBackground(store.load(region));
  const lease = demo.ownerOf(region)?.leaseOf(region);
  if (lease !== undefined && demo.random.next() < 0.1) {
    store.inBackground(store.patch(region, new Map([["last_visit", String(beat)]]), lease.epoch, `${demo.prefix}visit-${beat}-${demo.random.below(1e9)}`));
  }
}

/** Waits until every follower has had its snapshot, so that the first events are not missed. */
async function untilFollowing(followers: readonly DemoFollower[], signal: AbortSignal): Promise<void> {
  const endMs = performance.now() + 10_000;
  while (!signal.aborted && followers.some((follower) => follower.snapshots === 0 && follower.troubles.length === 0)) {
    if (performance.now() > endMs) throw new MeshError("INTERNAL", "a subscription gave no snapshot within 10 s");
    await pause(20);
  }
}

/** A quest is a chain from its second step on; a short demo on a slow machine waits for it. */
async function untilUnderWay(quests: readonly DemoQuest[], signal: AbortSignal): Promise<void> {
  const endMs = performance.now() + 10_000;
  while (!signal.aborted && performance.now() < endMs && quests.some((quest) => quest.steps < 2 && quest.failure === undefined)) await pause(20);
}

/** Ends followers and shards; leases are given up. */
export async function stopDemo(result: DemoResult): Promise<void> {
  await Promise.all(result.followers.map((follower) => follower.stop()));
  await Promise.all(result.demo.shards.map((shard) => shard.stop()));
}
