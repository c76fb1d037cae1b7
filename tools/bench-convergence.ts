// What no log decides, over eight nodes that all write: how soon all have an eventual value and a causal event, what causality costs on the wire, how soon
// a node that was killed has everything again and what the others send it for that, and how soon an event is in the history.
import { join } from "node:path";
import { connect, type MeshClient } from "@statemesh/client";
import { HybridClock } from "@statemesh/clocks";
import { DeliveredEvent, EventualDelta, type EventualUpdate, EventualValue, type Region, type VectorClock } from "@statemesh/contract";
import { EventualStore } from "@statemesh/mesh";
import { startPostgres } from "./local-postgres.ts";
import { type Mesh, startMesh } from "./mesh-processes.ts";

const WRITERS = 8;
/** Game servers' sessions: each reads at one node, and writes what follows what it has read. */
const SESSIONS = 1_000;
const REGIONS: readonly Region[] = Array.from({ length: 4 }, (_, at) => ({ x: at * 8, y: 0, z: 0 }));
/** Events, and then updates, a second. */
const RATE = 200;
/** Keys that all nodes hold while one is away, and how many of them change. */
const KEYS = 20_000;
const CHANGED = 10;
/** The same of a region that is compared in process. */
const REPAIR_KEYS = 100_000;
const TICK_MS = 50;
const WARM_UP_SECONDS = 2;
const LIMIT_MS = 120_000;

export interface Spread {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

export interface ConvergenceResult {
  readonly writers: number;
  readonly sessions: number;
  /** Bytes of an event beside what it says: its place, its server, what it depends on. */
  readonly metadataBytes: Spread;
  /** From a publish until a subscriber on another node has it, milliseconds. */
  readonly eventMs: Spread;
  readonly updateMs: Spread;
  /** From an event's publish until it is in its region's history, milliseconds. */
  readonly historyMs: Spread;
  /**
   * A node is killed while it and the others hold `keys`, `changed` of them change, and it starts: from then until it has all, and what the others sent it,
   * in percent of the state on the wire.
   */
  readonly rejoin: { readonly keys: number; readonly changed: number; readonly ms: number; readonly percent: number };
  /** Two nodes hold `keys` of a region, `changed` of them different: what it costs until they are the same, in percent of the region on the wire. In process. */
  readonly repair: { readonly keys: number; readonly changed: number; readonly ms: number; readonly percent: number };
}

export async function measureConvergence(dataDir: string, seconds: number, say: (text: string) => void): Promise<ConvergenceResult> {
  const postgres = await startPostgres({ databases: ["convergence"] });
  const flags = { "consensus-node": ["--log-level", "warn"], "region-store": ["--log-level", "warn"] };
  const mesh = await startMesh({ nodes: WRITERS, groups: 4, dataDir: join(dataDir, "convergence"), postgres: postgres.urlOf("convergence"), arbiter: false, extraFlags: flags });
  const clients = mesh.endpoints.map((endpoint) => connect({ endpoints: [endpoint], storeEndpoints: [mesh.regionStore?.address ?? ""], serverId: 4_000_000_001, name: "bench", deadlineMs: 60_000, attemptTimeoutMs: 20_000, routing: "any" }));
  const ears = clients.map((client) => new Ear(client));
  try {
    await clients[0]?.authority.register();
    await until("all subscriptions have begun", () => ears.every(({ hasBegun }) => hasBegun));
    await tellEvents(clients, ears, WARM_UP_SECONDS);
    const causal = await tellEvents(clients, ears, seconds);
    say(`causal events, ${WRITERS} nodes that write, ${SESSIONS} sessions: metadata ${spreadOf(causal.metadataBytes)} bytes an event; on another node after ${spreadOf(causal.eventMs)} ms`);
    const historyMs = await watchHistory(clients[0] as MeshClient, seconds);
    say(`an event is in the history after ${spreadOf(historyMs)} ms`);
    const updateMs = await tellUpdates(clients, ears, seconds);
    say(`an eventual value is on another node after ${spreadOf(updateMs)} ms`);
    for (const ear of ears) ear.close();
    const rejoin = await rejoining(mesh, clients);
    say(`a node that was killed had all of ${KEYS} keys, ${CHANGED} of them changed meanwhile, ${rejoin.ms.toFixed(0)} ms after its start; the others sent ${rejoin.percent.toFixed(0)}% of the state for that`);
    const repair = measureRepair();
    say(`two nodes that differ in ${repair.changed} of ${repair.keys} keys are the same after ${repair.ms} ms by their clocks, for ${repair.percent.toFixed(2)}% of the bytes of all`);
    return { writers: WRITERS, sessions: SESSIONS, ...causal, updateMs, historyMs, rejoin, repair };
  } finally {
    for (const ear of ears) ear.close();
    for (const client of clients) client.close();
    await mesh.stop();
    await postgres.stop();
  }
}

/** What a node tells a subscriber. */
class Ear {
  readonly events: DeliveredEvent[] = [];
  readonly #subscription: ReturnType<MeshClient["subscribe"]>;
  hasBegun = false;
  /** Hears of each event and value as it comes. */
  onEvent: (event: DeliveredEvent) => void = () => undefined;
  onValue: (key: string) => void = () => undefined;

  constructor(client: MeshClient) {
    this.#subscription = client.subscribe({ regions: REGIONS, causal: true, eventual: true });
    void this.#listen();
  }

  async #listen(): Promise<void> {
    for await (const { event } of this.#subscription) {
      if (event?.$case === "snapshot") this.hasBegun ||= event.value.complete;
      if (event?.$case !== "changes") continue;
      for (const each of event.value.events) {
        this.events.push(each);
        this.onEvent(each);
      }
      for (const { key } of event.value.values) this.onValue(key);
    }
  }

  close(): void {
    this.#subscription.close();
  }
}

async function tellEvents(clients: readonly MeshClient[], ears: readonly Ear[], seconds: number): Promise<{ metadataBytes: Spread; eventMs: Spread }> {
  const sentMs = new Map<string, number>();
  const times: number[] = [];
  const bytes: number[] = [];
  for (const [node, ear] of ears.entries()) {
    ear.onEvent = (event) => {
      const key = event.event?.key ?? "";
      const startMs = sentMs.get(key);
      if (startMs === undefined) return;
      if (node === 0) bytes.push(DeliveredEvent.encode({ ...event, event: undefined }).finish().length);
      if (nodeOf(key) !== node) times.push(performance.now() - startMs);
    };
  }
  const tokens = new Map<number, VectorClock>();
  const read = Array.from({ length: SESSIONS }, () => 0);
  const random = randomOf(7);
  await paced(seconds, async (serial) => {
    const session = Math.floor(random() * SESSIONS);
    const node = session % WRITERS;
    const seen = ears[node]?.events ?? [];
    // It has followed the events on its node for a while, and writes what follows them.
    const from = Math.max(read[session] ?? 0, seen.length - 200);
    const through = from + Math.floor(random() * (seen.length - from + 1));
    read[session] = through;
    const token = after(tokens.get(session), seen.slice(from, through));
    const key = `${node} event ${serial}`;
    sentMs.set(key, performance.now());
    const { causalToken } = await (clients[node] as MeshClient).publish({ events: [{ type: "event_sequence", region: REGIONS[serial % REGIONS.length] as Region, key, payload: Buffer.from(key) }], causalToken: token });
    if (causalToken !== undefined) tokens.set(session, causalToken);
  });
  await until("all events are everywhere", () => times.length >= sentMs.size * (WRITERS - 1));
  return { metadataBytes: spread(bytes), eventMs: spread(times) };
}

/** The token of who has read events, and what it stood for before. */
function after(token: VectorClock | undefined, events: readonly DeliveredEvent[]): VectorClock {
  const sequences = new Map<number, number>();
  for (const { origin, sequence } of [...(token?.entries ?? []), ...events.flatMap(({ id }) => id ?? [])]) sequences.set(origin, Math.max(sequence, sequences.get(origin) ?? 0));
  return { entries: [...sequences].map(([origin, sequence]) => ({ origin, sequence })).sort((a, b) => a.origin - b.origin), ...(token?.collapsed === true && { collapsed: true }) };
}

async function tellUpdates(clients: readonly MeshClient[], ears: readonly Ear[], seconds: number): Promise<Spread> {
  const sentMs = new Map<string, number>();
  const times: number[] = [];
  for (const [node, ear] of ears.entries()) {
    ear.onValue = (key) => {
      const startMs = sentMs.get(key);
      if (startMs !== undefined && nodeOf(key) !== node) times.push(performance.now() - startMs);
    };
  }
  await paced(seconds, async (serial) => {
    const node = serial % WRITERS;
    const key = `${node} update ${serial}`;
    sentMs.set(key, performance.now());
    await (clients[node] as MeshClient).publish({ updates: [update(REGIONS[serial % REGIONS.length] as Region, key, "x")] });
  });
  await until("all values are everywhere", () => times.length >= sentMs.size * (WRITERS - 1));
  return spread(times);
}

/** One event after the other, each watched until it is in the history. */
async function watchHistory(client: MeshClient, seconds: number): Promise<Spread> {
  const region = REGIONS[0] as Region;
  const times: number[] = [];
  let token = "";
  const endMs = performance.now() + seconds * 1_000;
  for (let serial = 0; performance.now() < endMs || times.length === 0; serial += 1) {
    const key = `history ${serial}`;
    const startMs = performance.now();
    await client.publish({ events: [{ type: "event_sequence", region, key, payload: Buffer.alloc(0) }] });
    await until("the event is in the history", async () => {
      for (;;) {
        const page = await client.store.historyPage(region, { pageToken: token, pageSize: 1_000 });
        token = page.resumeToken;
        if (page.events.some(({ event }) => event?.event?.key === key)) return true;
        if (page.nextPageToken === "") return false;
      }
    });
    times.push(performance.now() - startMs);
  }
  return spread(times);
}

async function rejoining(mesh: Mesh, clients: readonly MeshClient[]): Promise<ConvergenceResult["rejoin"]> {
  const [writer, killed] = [clients[0] as MeshClient, mesh.nodes.at(-1)];
  const reader = clients.at(-1);
  if (killed === undefined || reader === undefined) throw new Error("bench: no node to kill");
  const keyOf = (at: number): string => `held ${String(at).padStart(6, "0")}`;
  const regionOf = (at: number): Region => REGIONS[at % REGIONS.length] as Region;
  const sent = async (): Promise<number> => await metric(mesh, "statemesh_eventual_delta_bytes_total");
  const beforeAll = await sent();
  for (let from = 0; from < KEYS; from += 500) {
    await writer.publish({ updates: Array.from({ length: 500 }, (_, at) => update(regionOf(from + at), keyOf(from + at), "before".repeat(8))) });
  }
  // What every node holds, and the region store too, is not to be fetched from peers.
  await until("all nodes hold all keys", async () => (await Promise.all(clients.map(async (client) => held(client)))).every((values) => values.size >= KEYS));
  await until("the region store has them", async () => (await metric(mesh, "statemesh_eventual_waiting_for_store")) === 0, 2_000);
  const stateBytes = ((await sent()) - beforeAll) / (WRITERS - 1);
  await killed.kill();
  const changed = Array.from({ length: CHANGED }, (_, at) => at * Math.floor(KEYS / CHANGED));
  await writer.publish({ updates: changed.map((at) => update(regionOf(at), keyOf(at), "after")) });
  await pause(3_000);
  const before = await sent();
  const startMs = performance.now();
  await killed.start();
  await until("the node has all again", async () => {
    const values = await held(reader);
    return values.size >= KEYS && changed.every((at) => values.get(keyOf(at)) === sizeOf(keyOf(at), "after"));
  });
  const ms = performance.now() - startMs;
  return { keys: KEYS, changed: CHANGED, ms, percent: (100 * ((await sent()) - before)) / stateBytes };
}

function measureRepair(): ConvergenceResult["repair"] {
  const region = REGIONS[0] as Region;
  const values = Array.from({ length: REPAIR_KEYS }, (_, at): EventualValue => ({
    type: "creature_position", region, key: `held ${String(at).padStart(6, "0")}`, value: Buffer.from("before".repeat(8)), deleted: false, serverId: 1, stamp: { physicalMs: 1_000_000 + at, logical: 0 },
  }));
  const changed = values.filter((_, at) => at % (REPAIR_KEYS / CHANGED) === 0).map((value) => ({ ...value, stamp: { physicalMs: 2_000_000, logical: 0 } }));
  const [one, other] = [1, 2].map((nodeId) => new EventualStore({}, { nodeId, incarnation: 1, inParts: () => true })) as [EventualStore, EventualStore];
  const clock = new HybridClock();
  let nowMs = 3_000_000;
  for (const store of [one, other]) store.restore(values, nowMs);
  one.restore(changed.slice(0, CHANGED / 2), nowMs);
  other.restore(changed.slice(CHANGED / 2), nowMs);
  one.peerUp(2);
  other.peerUp(1);
  let bytes = 0;
  const startMs = nowMs;
  const carry = (from: EventualStore, to: EventualStore, nodeId: number): void => {
    for (const { delta } of from.tick(nowMs)) {
      const encoded = EventualDelta.encode(delta).finish();
      bytes += encoded.length;
      to.onDelta(nodeId, EventualDelta.decode(encoded), nowMs, clock);
    }
  };
  while (one.digestOf(region).digest !== other.digestOf(region).digest) {
    nowMs += TICK_MS;
    carry(one, other, 1);
    carry(other, one, 2);
    if (nowMs - startMs > LIMIT_MS) throw new Error("bench: not in time: two nodes are the same");
  }
  const whole = values.reduce((sum, value) => sum + EventualValue.encode(value).finish().length + 2, 0);
  return { keys: REPAIR_KEYS, changed: CHANGED, ms: nowMs - startMs, percent: (100 * bytes) / whole };
}

/** Sizes of the values that a node holds, by key. */
async function held(client: MeshClient): Promise<Map<string, number>> {
  const values = new Map<string, number>();
  for (const region of REGIONS) {
    for (let pageToken = "", more = true; more; more = pageToken !== "") {
      const page = await client.read({ region, level: 4, includeEventual: true, pageToken });
      for (const { key, value } of page.values) if (key.startsWith("held ")) values.set(key, sizeOf(key, Buffer.from(value).toString("utf8")));
      pageToken = page.nextPageToken;
    }
  }
  return values;
}

function sizeOf(key: string, value: string): number {
  return key.length + value.length + 48;
}

function update(region: Region, key: string, value: string): EventualUpdate {
  return { type: "creature_position", region, key, value: Buffer.from(value), deleted: false, timestampMs: 0 };
}

/** Of all nodes that run, together. */
async function metric(mesh: Mesh, name: string): Promise<number> {
  const pages = await Promise.all(mesh.nodes.filter(({ running }) => running).map(async ({ metricsAddress }) => (await fetch(`http://${metricsAddress}/metrics`)).text()));
  return pages.reduce((sum, page) => sum + Number(new RegExp(`^${name} (\\S+)$`, "m").exec(page)?.[1] ?? 0), 0);
}

function nodeOf(key: string): number {
  return Number(key.slice(0, key.indexOf(" ")));
}

/** Runs `one` at the rate of the bench for so long; waits for the last. */
async function paced(seconds: number, one: (serial: number) => Promise<void>): Promise<void> {
  const startMs = performance.now();
  const running: Promise<void>[] = [];
  for (let serial = 0; serial < seconds * RATE; serial += 1) {
    running.push(one(serial));
    await pause(startMs + ((serial + 1) * 1_000) / RATE - performance.now());
  }
  await Promise.all(running);
}

async function pause(ms: number): Promise<void> {
  if (ms > 0) await new Promise((resolve) => setTimeout(resolve, ms));
}

async function until(what: string, holds: () => boolean | Promise<boolean>, everyMs = 5): Promise<void> {
  const endMs = performance.now() + LIMIT_MS;
  while (!(await holds())) {
    if (performance.now() > endMs) throw new Error(`bench: not in time: ${what}`);
    await pause(everyMs);
  }
}

function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return state / 2 ** 32;
  };
}

function spread(values: number[]): Spread {
  const sorted = values.sort((a, b) => a - b);
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
  return { count: sorted.length, p50: at(0.5), p99: at(0.99), max: sorted.at(-1) ?? 0 };
}

function spreadOf({ p50, p99, max }: Spread): string {
  return `p50 ${p50.toFixed(0)}, p99 ${p99.toFixed(0)}, most ${max.toFixed(0)}`;
}
