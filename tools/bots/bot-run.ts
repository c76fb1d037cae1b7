/** One run of bots against a mesh: from the first shard's start to what must hold at the end. */
import { connect, type MeshClient } from "@statemesh/client";
import { MeshError, type VerifyConservationResponse } from "@statemesh/contract";
import { type BooksPart, BotBooks, tallyIn } from "./bot-books.ts";
import { type BotCheck, checkBots } from "./bot-checks.ts";
import { type BotShardSpec, wallMs } from "./bot-orders.ts";
import { BotProcess } from "./bot-process.ts";
import { BotWorld, type BotWorldSpec } from "./bot-world.ts";
import { ProcessMeter, type ProcessUse } from "./process-use.ts";

/** What a run is made of. */
export interface BotRunOptions {
  readonly endpoints: readonly string[];
  readonly world: BotWorldSpec;
  readonly hz: number;
  /** Strong operations a second and player, where players walk. */
  readonly acts: number;
  readonly seconds: number;
  /** Ends the playing early; all that follows is done. */
  readonly signal: AbortSignal;
  readonly onProgress: (text: string) => void;
  /** The measuring begins. */
  readonly onMeasure: () => void;
  /** Told about once a second while it plays. */
  readonly onBeat: (state: BotState) => void;
  /** Takes away at the end what players put up: the mesh lives on. */
  readonly tidy: boolean;
}

/** How a run stands. */
export interface BotState {
  readonly seconds: number;
  /** Since the measuring began. */
  readonly measuredSeconds: number;
  readonly players: number;
  readonly books: BotBooks;
  /** Times of the last second. */
  readonly latest: BotBooks;
  readonly conservation: VerifyConservationResponse | undefined;
  /** What the shards use. */
  readonly shards: readonly ProcessUse[];
}

export interface BotResult extends BotState {
  readonly run: string;
  readonly checks: readonly BotCheck[];
  /** Verifications of conservation that were answered, and those that said no. */
  readonly verified: number;
  readonly notConserved: number;
}

/** Appearing is no part of what is measured. */
const WARM_UP_MS = 2_000;
const VERIFY_EVERY_MS = 2_000;
const FIRST_SERVER_ID = 3_000_000_000;
const BEAT_MS = 1_000;

/** Runs bots. Throws where a shard can't start or ends by itself. */
export async function runBots(options: BotRunOptions): Promise<BotResult> {
  const { endpoints, world: worldSpec } = options;
  const beganAt = Date.now();
  const run = `b${beganAt.toString(36)}-`;
  const world = new BotWorld(worldSpec);
  const client = connect({ endpoints, serverId: 1, name: "bots", attemptTimeoutMs: 10_000, deadlineMs: 30_000 });
  const shards: BotProcess[] = [];
  const crash = new AbortController();
  const over = AbortSignal.any([options.signal, crash.signal]);
  try {
    const status = await client.status();
    const groups = status.groups.filter(({ groupId }) => groupId !== 0).length;
    const watch = new Watch(client);
    const serverIds = Array.from({ length: worldSpec.shards }, (_, number) => FIRST_SERVER_ID + (beganAt % 10_000_000) * 100 + number);
    options.onProgress(`starting ${worldSpec.shards} bot shards`);
    const specOf = (number: number): BotShardSpec => ({
      endpoints: endpoints.map((_, at) => endpoints[(at + number) % endpoints.length] ?? ""), number, serverIds, world: worldSpec, run, groups, hz: options.hz, acts: options.acts,
    });
    await Promise.all(serverIds.map(async (_, number) => {
      shards.push(await BotProcess.start(specOf(number), { onBooks: (part) => watch.add(part), onCrash: (how) => crash.abort(new Error(how)) }));
    }));
    const playMs = wallMs() + 250;
    const measureMs = playMs + WARM_UP_MS;
    await Promise.all(shards.map(async (shard) => await shard.tell({ order: "play", beganMs: playMs, measureMs })));
    const meter = new ProcessMeter(shards.map(({ number, pid }) => ({ name: `shard-${number}`, pid })));
    const stateNow = (): BotState => {
      const players = shards.reduce((sum, shard) => sum + shard.players, 0);
      return { seconds: (wallMs() - playMs) / 1_000, measuredSeconds: watch.books.spanMs / 1_000 / shards.length, players, books: watch.books, latest: watch.latest, conservation: watch.conservation, shards: meter.read() };
    };
    await pause(measureMs - wallMs(), over);
    // What was counted before comes before the answers.
    await Promise.all(shards.map(async (shard) => await shard.tell({ order: "tell books" })));
    watch.begin();
    meter.begin();
    options.onMeasure();
    for (const endMs = wallMs() + options.seconds * 1_000; !over.aborted && wallMs() < endMs; ) {
      await pause(Math.min(BEAT_MS, endMs - wallMs()), over);
      watch.tick();
      options.onBeat(stateNow());
    }
    crash.signal.throwIfAborted();
    options.onProgress("checking");
    await Promise.all(shards.map(async (shard) => await shard.tell({ order: "tell books" })));
    watch.freeze();
    const played = stateNow();
    await Promise.all(shards.map(async (shard) => await shard.tell({ order: "rest" })));
    await watch.end();
    const checks = await checkBots({ client, world, run, shards, serverIds, books: watch.books, notConserved: watch.notConserved, verified: watch.verified });
    await Promise.all(shards.map(async (shard) => await shard.tell({ order: "leave", tidy: options.tidy })));
    return { ...played, run, checks, verified: watch.verified, notConserved: watch.notConserved, conservation: watch.conservation };
  } finally {
    await Promise.all(shards.map(async (shard) => await shard.end()));
    client.close();
  }
}

/** Adds up what shards tell, and asks again and again whether items are conserved. */
class Watch {
  books = new BotBooks();
  latest = new BotBooks();
  conservation: VerifyConservationResponse | undefined;
  verified = 0;
  notConserved = 0;
  readonly #client: MeshClient;
  #next = new BotBooks();
  #frozen = false;
  /** Under way; one at a time. */
  #verifying: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(client: MeshClient) {
    this.#client = client;
  }

  add(part: BooksPart): void {
    if (this.#frozen) return this.books.addTroubles(part);
    this.books.add(part);
    this.#next.add(part);
  }

  /** The measuring ends; only what goes wrong is still added. */
  freeze(): void {
    this.#frozen = true;
  }

  begin(): void {
    this.books = new BotBooks();
    this.#next = new BotBooks();
    this.#timer = setInterval(() => {
      this.#verifying ??= this.#verify().finally(() => (this.#verifying = undefined));
    }, VERIFY_EVERY_MS);
  }

  /** The next second begins. */
  tick(): void {
    this.latest = this.#next;
    this.#next = new BotBooks();
  }

  /** Resolves with a last verification, once everything is decided. */
  async end(): Promise<void> {
    clearInterval(this.#timer);
    await this.#verifying;
    await this.#verify();
  }

  async #verify(): Promise<void> {
    try {
      this.conservation = await this.#client.verifyConservation();
      this.verified += 1;
      if (!this.conservation.conserved) this.notConserved += 1;
    } catch (thrown) {
      tallyIn(this.books.errors, `verify: ${MeshError.from(thrown).reason}`);
    }
  }
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (ms <= 0 || signal.aborted) return;
  await new Promise<void>((wake) => {
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done, { once: true });
    function done(): void {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      wake();
    }
  });
}
