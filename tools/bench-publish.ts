// How long Publish takes with the other nodes up, and with all of them standing still: it must not wait for anybody.
import { join } from "node:path";
import { connect } from "@statemesh/client";
import { startMesh } from "./mesh-processes.ts";

/** Publishes under way at a time, of one key each. */
const IN_FLIGHT = 16;
const KEYS = 1_000;

/** Milliseconds. */
export interface PublishTimes {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export interface PublishResult {
  readonly peersUp: PublishTimes;
  readonly peersStopped: PublishTimes;
}

/** Three nodes; publishes go to the first, for `seconds` each way. */
export async function measurePublish(dataDir: string, seconds: number): Promise<PublishResult> {
  const mesh = await startMesh({ nodes: 3, groups: 4, dataDir: join(dataDir, "publish"), extraFlags: { "consensus-node": ["--log-level", "warn"] } });
  const endpoint = mesh.endpoints[0];
  if (endpoint === undefined) throw new Error("no node");
  const client = connect({ endpoints: [endpoint], serverId: 1, name: "bench", deadlineMs: 60_000 });
  const measure = async (forSeconds: number): Promise<PublishTimes> => {
    const times: number[] = [];
    const beganMs = performance.now();
    const worker = async (lane: number): Promise<void> => {
      for (let serial = lane; performance.now() - beganMs < forSeconds * 1_000; serial += IN_FLIGHT) {
        const sentMs = performance.now();
        const key = `creature-${serial % KEYS}`;
        await client.publish({ updates: [{ type: "creature_position", region: { x: serial % 8, y: 0, z: 0 }, key, value: Buffer.from(key), deleted: false, timestampMs: 0 }] });
        times.push(performance.now() - sentMs);
      }
    };
    await Promise.all(Array.from({ length: IN_FLIGHT }, (_, lane) => worker(lane)));
    const perSecond = (times.length * 1_000) / (performance.now() - beganMs);
    times.sort((a, b) => a - b);
    const at = (share: number): number => times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? 0;
    return { perSecond, p50Ms: at(0.5), p99Ms: at(0.99) };
  };
  const others = mesh.nodes.slice(1);
  try {
    await client.authority.register();
    await measure(1);
    const peersUp = await measure(seconds);
    for (const node of others) node.pause();
    const peersStopped = await measure(seconds);
    return { peersUp, peersStopped };
  } finally {
    for (const node of others) node.resume();
    client.close();
    await mesh.stop();
  }
}
