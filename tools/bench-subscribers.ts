// Ten thousand subscribers on three nodes: what each costs, and how soon all have a change.
import { join } from "node:path";
import { Client, type ClientReadableStream, credentials, Metadata } from "@grpc/grpc-js";
import { connect, type MeshClient } from "@statemesh/client";
import { ConsistencyServiceService, type Region, SubscribeRequest, SubscribeResponse } from "@statemesh/contract";
import { processorMs, residentMiB } from "./bench-groups.ts";
import { type Mesh, startMesh } from "./mesh-processes.ts";

/** Streams of one connection: below what a node takes. */
const STREAMS_A_CONNECTION = 2_000;
/** Subscriptions that are opened at a time. */
const OPENING = 500;
const ROUND_LIMIT_MS = 60_000;
/** Between two changes, so that each stands alone. */
const PAUSE_MS = 200;
/** Regions of the spread crowd, and how often each changes in a second. */
const REGIONS = 500;

/** Of times from a call until a subscriber has what it changed, milliseconds. */
export interface SubscriberTimes {
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** The last of all subscribers: the median round, and the worst. */
  readonly allMs: number;
  readonly worstMs: number;
}

export interface SubscribersResult {
  readonly subscribers: number;
  readonly openSeconds: number;
  readonly kibibytesEach: number;
  readonly strong: SubscriberTimes;
  readonly eventual: SubscriberTimes;
  /** Each region changes once a second, each change goes to its share of the subscribers. */
  readonly spread: SubscriberTimes & { readonly messagesPerSecond: number; readonly corePercent: Readonly<Record<string, number>> };
}

interface Crowd {
  /** Hears of each message: the subscriber, and its bytes. */
  onMessage: (subscriber: number, bytes: Buffer) => void;
  readonly close: () => void;
}

const asIs = (bytes: Buffer): Buffer => bytes;

/** Opens subscriptions, spread over the nodes, and returns once all have their snapshots. */
async function open(mesh: Mesh, count: number, regionOf: (subscriber: number) => Region): Promise<Crowd> {
  const clients: Client[] = [];
  const streams: ClientReadableStream<Buffer>[] = [];
  let ready = 0;
  const crowd: Crowd = {
    onMessage: () => (ready += 1),
    close: () => {
      for (const stream of streams) stream.cancel();
      for (const client of clients) client.close();
    },
  };
  const options = { "grpc.use_local_subchannel_pool": 1, "grpc.max_receive_message_length": -1 };
  const { nodes } = mesh;
  const byNode = nodes.map(({ clientAddress }) => {
    const own = Array.from({ length: Math.ceil(count / nodes.length / STREAMS_A_CONNECTION) }, () => new Client(clientAddress, credentials.createInsecure(), options));
    clients.push(...own);
    return own;
  });
  for (let at = 0; at < count; at += 1) {
    const own = byNode[at % nodes.length] ?? [];
    const client = own[Math.floor(at / nodes.length) % own.length];
    const { path, requestSerialize } = ConsistencyServiceService.subscribe;
    if (client === undefined) throw new Error("bench: no connection");
    const stream = client.makeServerStreamRequest(path, requestSerialize, asIs, SubscribeRequest.fromPartial({ regions: [regionOf(at)], strong: true, eventual: true }), new Metadata(), {});
    stream.on("data", (bytes: Buffer) => crowd.onMessage(at, bytes));
    stream.on("error", (error) => {
      if (!error.message.startsWith("1 CANCELLED")) process.stderr.write(`bench: subscriber ${at}: ${error.message}\n`);
    });
    streams.push(stream);
    if (at % OPENING === OPENING - 1) await until(() => ready > at);
  }
  await until(() => ready >= count);
  return crowd;
}

async function until(holds: () => boolean): Promise<void> {
  const endMs = performance.now() + ROUND_LIMIT_MS;
  while (!holds()) {
    if (performance.now() > endMs) throw new Error("bench: not all subscribers heard in time");
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

function timesOf(each: number[], alls: number[]): SubscriberTimes {
  const at = (sorted: readonly number[], share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
  each.sort((a, b) => a - b);
  alls.sort((a, b) => a - b);
  return { p50Ms: at(each, 0.5), p99Ms: at(each, 0.99), allMs: at(alls, 0.5), worstMs: alls.at(-1) ?? 0 };
}

/** Rounds of one change each, which all subscribers get. */
async function rounds(crowd: Crowd, count: number, seconds: number, change: (round: number) => Promise<unknown>): Promise<SubscriberTimes> {
  const each: number[] = [];
  const alls: number[] = [];
  const endMs = performance.now() + seconds * 1_000;
  for (let round = 0; round < 3 || performance.now() < endMs; round += 1) {
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    const heard = new Set<number>();
    const times: number[] = [];
    const beganMs = performance.now();
    crowd.onMessage = (subscriber) => {
      if (heard.has(subscriber)) return;
      heard.add(subscriber);
      times.push(performance.now() - beganMs);
    };
    await change(round);
    await until(() => heard.size === count);
    // The first finds code that was never run.
    if (round === 0) continue;
    each.push(...times);
    alls.push(times.at(-1) ?? 0);
  }
  return timesOf(each, alls);
}

/** Every region changes once a second, one after the other; each message is timed by what it says of when it was published. */
async function spreadOut(mesh: Mesh, client: MeshClient, crowd: Crowd, seconds: number): Promise<SubscribersResult["spread"]> {
  const times: number[] = [];
  let late = 0;
  let messages = 0;
  crowd.onMessage = (_, bytes) => {
    const { event } = SubscribeResponse.decode(bytes);
    const nowMs = performance.now();
    if (event?.$case !== "changes") return;
    messages += 1;
    for (const { value } of event.value.values) {
      const tookMs = nowMs - Buffer.from(value).readDoubleLE();
      times.push(tookMs);
      late = Math.max(late, tookMs);
    }
  };
  const processors = (): [string, number][] => [...mesh.nodes.map((node): [string, number] => [node.spec.name, processorMs(node)]), ["client", process.cpuUsage().user / 1_000 + process.cpuUsage().system / 1_000]];
  const before = new Map(processors());
  const beganMs = performance.now();
  for (let sent = 0; performance.now() - beganMs < seconds * 1_000; ) {
    const due = Math.floor(((performance.now() - beganMs) * REGIONS) / 1_000);
    const updates = [];
    for (; sent < due && updates.length < 64; sent += 1) {
      const value = Buffer.alloc(48);
      value.writeDoubleLE(performance.now());
      updates.push({ type: "creature_position", region: { x: sent % REGIONS, y: 1, z: 0 }, key: "wolf", value, deleted: false, timestampMs: 0 });
    }
    if (updates.length > 0) await client.publish({ updates });
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const tookMs = performance.now() - beganMs;
  const corePercent = Object.fromEntries(processors().map(([name, ms]) => [name, ((ms - (before.get(name) ?? 0)) * 100) / tookMs]));
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  return { ...timesOf(times, [late]), messagesPerSecond: (messages * 1_000) / tookMs, corePercent };
}

/** All subscribers in one region first, then spread over many. */
export async function measureSubscribers(dataDir: string, subscribers: number, seconds: number, say: (text: string) => void): Promise<SubscribersResult> {
  const mesh = await startMesh({ nodes: 3, groups: 4, dataDir: join(dataDir, "subscribers"), extraFlags: { "consensus-node": ["--log-level", "warn"], "conflict-arbiter": ["--log-level", "warn"] } });
  const [endpoint] = mesh.endpoints;
  if (endpoint === undefined) throw new Error("bench: no node");
  const client = connect({ endpoints: [endpoint], serverId: 1, name: "bench", deadlineMs: 60_000 });
  try {
    await client.authority.register();
    const region = { x: 0, y: 0, z: 0 };
    const memoryBefore = mesh.nodes.reduce((sum, node) => sum + residentMiB(node), 0);
    const beganMs = performance.now();
    const crowd = await open(mesh, subscribers, () => region);
    const openSeconds = (performance.now() - beganMs) / 1_000;
    const kibibytesEach = ((mesh.nodes.reduce((sum, node) => sum + residentMiB(node), 0) - memoryBefore) * 1_024) / subscribers;
    say(`${subscribers} subscribers on 3 nodes: all have their snapshots after ${openSeconds.toFixed(1)} s; ${kibibytesEach.toFixed(1)} KiB of a node each`);
    const bounds = { minX: 10, minY: 10, minZ: 10, maxX: 14, maxY: 14, maxZ: 14 };
    const strong = await rounds(crowd, subscribers, seconds, async (round) => {
      const at = 10 + (round % 400) * 4;
      await client.execute(client.operations.structurePlacement({ region, epoch: 0 }, { structureId: `bench-${round}`, kind: "wall", bounds: { ...bounds, minX: at, maxX: at + 3, minY: 10 + Math.floor(round / 400) * 5, maxY: 14 + Math.floor(round / 400) * 5 } }));
    });
    say(line("a strong change to all of them", strong));
    const eventual = await rounds(crowd, subscribers, seconds, async (round) => client.publish({ updates: [{ type: "creature_position", region, key: "wolf", value: Buffer.from(String(round)), deleted: false, timestampMs: 0 }] }));
    say(line("an eventual value to all of them", eventual));
    crowd.close();
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    const crowds = await open(mesh, subscribers, (at) => ({ x: Math.floor(at / 3) % REGIONS, y: 1, z: 0 }));
    const spread = await spreadOut(mesh, client, crowds, seconds);
    const cores = Object.entries(spread.corePercent).map(([name, percent]) => `${name} ${percent.toFixed(0)}%`).join(", ");
    say(`${line(`${REGIONS} values a second, each to ${Math.round(subscribers / REGIONS)} of them`, spread)}; ${Math.round(spread.messagesPerSecond).toLocaleString("en")} messages/s; of a core: ${cores}`);
    crowds.close();
    return { subscribers, openSeconds, kibibytesEach, strong, eventual, spread };
  } finally {
    client.close();
    await mesh.stop();
  }
}

function line(what: string, { p50Ms, p99Ms, allMs, worstMs }: SubscriberTimes): string {
  return `${what}: p50 ${p50Ms.toFixed(0)} ms, p99 ${p99Ms.toFixed(0)} ms, the last after ${allMs.toFixed(0)} ms, at worst ${worstMs.toFixed(0)} ms`;
}
