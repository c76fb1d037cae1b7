import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type InstallSnapshotRequest, type RaftMessage, RaftMessageType } from "@statemesh/contract";
import { FolderDisk } from "@statemesh/ports";
import { SnapshotStore } from "@statemesh/wal";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { PeerTransport } from "../src/node-ports.ts";
import { SnapshotSender } from "../src/snapshot-sender.ts";

const MIB = 1_048_576;

let folder = "";
let snapshots: SnapshotStore;
let nowMs = 0;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "statemesh-sender-"));
  snapshots = await SnapshotStore.open(await FolderDisk.open(folder));
  nowMs = 0;
  for (const groupId of [1, 2, 3, 4, 5]) {
    const writer = await snapshots.create({ groupId, index: 7, term: 2, voters: [1, 2, 3], learners: [] });
    for (let chunk = 0; chunk < 4; chunk++) await writer.write(new Uint8Array(MIB / 4).fill(groupId));
    await writer.finish();
  }
});

afterEach(async () => {
  await rm(folder, { recursive: true });
});

function sender(bytesPerSecond: number): SnapshotSender {
  const clock = { wallMs: () => nowMs, monotonicMs: () => nowMs };
  // Time passes where somebody waits for it.
  const after = (delayMs: number, run: () => void) => {
    const atMs = nowMs + delayMs;
    setImmediate(() => {
      nowMs = Math.max(nowMs, atMs);
      run();
    });
    return () => undefined;
  };
  const log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
  return new SnapshotSender({ snapshots, clock, timers: { after, every: after }, log }, bytesPerSecond);
}

function message(groupId: number): RaftMessage {
  return { groupId, type: RaftMessageType.SNAPSHOT, from: 1, to: 2, term: 2, logIndex: 7, logTerm: 2, entries: [], commit: 7, reject: false, rejectHint: 0, context: 0, forced: false, quiesce: false };
}

class Peer implements PeerTransport {
  readonly address = "peer:1";
  active = 0;
  most = 0;
  bytes = 0;
  breaksAfter = Infinity;

  open(): never {
    throw new Error("no stream is wanted");
  }

  close(): void {
    this.active = 0;
  }

  async installSnapshot(parts: AsyncIterable<InstallSnapshotRequest>): Promise<boolean> {
    this.most = Math.max(this.most, ++this.active);
    try {
      let got = 0;
      for await (const { chunk } of parts) {
        got += chunk.length;
        this.bytes += chunk.length;
        if (got > this.breaksAfter) throw new Error("the connection broke");
      }
      return true;
    } finally {
      this.active--;
    }
  }
}

test("all transfers together send no more than the node may", async () => {
  const peer = new Peer();
  const out = sender(MIB);
  expect(await Promise.all([1, 2, 3, 4, 5].map((groupId) => out.send(2, peer, message(groupId))))).toEqual(Array.from({ length: 5 }, () => "installed"));
  expect(peer.bytes).toBe(5 * MIB);
  // The first part leaves at once; each later one when the ones before it are paid for.
  expect(nowMs).toBeGreaterThanOrEqual(4_500);
  expect(nowMs).toBeLessThanOrEqual(5_000);
  expect(out).toMatchObject({ sentBytes: 5 * MIB, installed: 5, failed: 0, active: 0 });
});

test("so many transfers run at a time, and the others wait for their turn", async () => {
  const peer = new Peer();
  const out = sender(1_000 * MIB);
  const all = [1, 2, 3, 4, 5].map((groupId) => out.send(2, peer, message(groupId)));
  expect(out.active).toBe(5);
  await Promise.all(all);
  expect(peer.most).toBe(2);
});

test("a transfer that breaks is counted, and the next one is whole", async () => {
  const peer = new Peer();
  const out = sender(1_000 * MIB);
  peer.breaksAfter = MIB / 2;
  expect(await out.send(2, peer, message(1))).toBe("failed");
  peer.breaksAfter = Infinity;
  peer.bytes = 0;
  expect(await out.send(2, peer, message(1))).toBe("installed");
  expect(peer.bytes).toBe(MIB);
  expect(out).toMatchObject({ installed: 1, failed: 1, active: 0 });
});

test("a snapshot that is damaged or gone is not sent, and said to be", async () => {
  const peer = new Peer();
  const out = sender(1_000 * MIB);
  const path = join(folder, "snapshot-1-7");
  const content = await readFile(path);
  content[1_000] = 99;
  await writeFile(path, content);
  expect(await out.send(2, peer, message(1))).toBe("damaged");
  await rm(join(folder, "snapshot-2-7"));
  expect(await out.send(2, peer, message(2))).toBe("damaged");
  expect(peer.bytes).toBe(0);
});
