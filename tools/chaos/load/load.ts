/** Game servers at work, each loop at a pace that leaves the machine room for the mesh. */
import { connect, type MeshClient } from "@statemesh/client";
import { MeshError } from "@statemesh/contract";
import { SimRandom } from "@statemesh/simulator";
import { Follower } from "./follower.ts";
import { GameServer } from "./game-server.ts";
import { type Setting, settingFor } from "./setting.ts";
import { LoadRecord } from "./told.ts";
import { build, claim, edit, lease, ledger, pickup, publish, read, type Work, write, writeSeveral } from "./work.ts";

const SERVERS = 4;
/** Loops a server, and the longest rest between two things, ms. */
const LOOPS: readonly { readonly work: Work; readonly loops: number; readonly restMs: number }[] = [
  { work: write, loops: 2, restMs: 40 },
  { work: writeSeveral, loops: 1, restMs: 60 },
  { work: read, loops: 3, restMs: 40 },
  { work: ledger, loops: 2, restMs: 40 },
  { work: pickup, loops: 1, restMs: 150 },
  { work: claim, loops: 1, restMs: 80 },
  { work: build, loops: 1, restMs: 80 },
  { work: edit, loops: 1, restMs: 100 },
  { work: publish, loops: 1, restMs: 100 },
];
/** Servers that want the leased region. */
const LEASE_SERVERS = 2;
const LEASE_REST_MS = 300;
const QUEST_REST_MS = 2_000;

/** A running load and its record. */
export class Load {
  readonly record: LoadRecord = new LoadRecord();
  readonly servers: readonly GameServer[];
  readonly setting: Setting;
  /** Asks for what is nobody's: of all nodes. */
  readonly observer: MeshClient;
  /** One a server. */
  readonly followers: readonly Follower[];
  readonly #random: SimRandom;
  #running = false;
  #loops: Promise<void>[] = [];
  /** What work threw that is no answer of the mesh: a defect. */
  readonly defects: string[] = [];

  constructor(endpoints: readonly string[], seed: number) {
    this.#random = new SimRandom(seed);
    this.servers = Array.from({ length: SERVERS }, (_, at) => new GameServer(at + 1, endpoints, this.#random.fork(), this.record));
    this.observer = connect({ endpoints, serverId: 1, name: "observer", attemptTimeoutMs: 1_500, backoffMaxMs: 200 });
    this.setting = settingFor(this.servers);
    this.followers = this.servers.map((server) => new Follower(server, this.setting));
  }

  async start(): Promise<void> {
    await Promise.all(this.servers.map(async (server) => await server.register()));
    this.#running = true;
    for (const follower of this.followers) {
      follower.start();
      this.#loops.push(this.#repeat(async () => await follower.begin(), QUEST_REST_MS));
    }
    for (const [at, server] of this.servers.entries()) {
      for (const { work, loops, restMs } of LOOPS) {
        for (let loop = 0; loop < loops; loop++) this.#loops.push(this.#repeat(async () => await work(server, this.setting), restMs));
      }
      if (at < LEASE_SERVERS) this.#loops.push(this.#repeat(async () => await lease(server, this.setting), LEASE_REST_MS));
    }
  }

  /** Ends the load and waits for what is under way. */
  async stop(): Promise<void> {
    this.#running = false;
    await Promise.all(this.#loops);
    this.#loops = [];
    for (const follower of this.followers) follower.rest();
  }

  close(): void {
    for (const server of this.servers) server.close();
    this.observer.close();
  }

  async #repeat(work: () => Promise<void>, restMs: number): Promise<void> {
    const random = this.#random.fork();
    while (this.#running) {
      try {
        await work();
      } catch (thrown) {
        const { cause } = MeshError.from(thrown);
        this.defects.push(cause instanceof Error ? (cause.stack ?? cause.message) : String(thrown));
        if (this.defects.length > DEFECTS_MAX) return;
      }
      await new Promise((wake) => setTimeout(wake, random.between(1, restMs)));
    }
  }
}

/** A load that finds more than this many ends: they are all of one kind. */
const DEFECTS_MAX = 20;
