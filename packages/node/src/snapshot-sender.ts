// Snapshots on their way out: so many at a time, and no faster than a node may send them, so that neither the disk nor the network
// is taken from heartbeats and appends. A transfer that breaks is begun anew when the peer is heard of again.
import type { RaftMessage } from "@statemesh/contract";
import type { Log } from "@statemesh/mesh";
import type { Clock, Timers } from "@statemesh/ports";
import { CorruptionError, type SnapshotReader, type SnapshotStore } from "@statemesh/wal";
import type { PeerTransport } from "./node-ports.ts";
import { snapshotParts } from "./snapshot-transfer.ts";

/** Transfers of a node at a time; others wait for their turn. What waits is one a group and peer at most. */
const TRANSFERS_MAX = 2;

/** `damaged`: there is no snapshot of the group that can be sent; a new one is needed. */
export type SendOutcome = "installed" | "failed" | "damaged";

export interface SenderParts {
  readonly snapshots: SnapshotStore;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly log: Log;
}

export class SnapshotSender {
  readonly #parts: SenderParts;
  readonly #bytesPerSecond: number;
  /** When the next bytes may go, monotonic. */
  #nextMs = 0;
  #running = 0;
  readonly #waiting: (() => void)[] = [];
  /** For metrics. */
  sentBytes = 0;
  installed = 0;
  failed = 0;

  /** @param bytesPerSecond What all transfers of this node together may send. */
  constructor(parts: SenderParts, bytesPerSecond: number) {
    this.#parts = parts;
    this.#bytesPerSecond = bytesPerSecond;
  }

  /** Transfers under way, and those that wait. */
  get active(): number {
    return this.#running + this.#waiting.length;
  }

  /** Sends the group's newest snapshot; `message` is the Raft message that it stands for. */
  async send(peer: number, transport: Pick<PeerTransport, "installSnapshot">, message: RaftMessage): Promise<SendOutcome> {
    await this.#turn();
    try {
      const outcome = await this.#send(peer, transport, message);
      if (outcome === "installed") this.installed++;
      else this.failed++;
      return outcome;
    } finally {
      this.#running--;
      this.#waiting.shift()?.();
    }
  }

  async #turn(): Promise<void> {
    if (this.#running >= TRANSFERS_MAX) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#running++;
  }

  async #send(peer: number, transport: Pick<PeerTransport, "installSnapshot">, message: RaftMessage): Promise<SendOutcome> {
    const { log, snapshots } = this.#parts;
    const fields = { peer, group: message.groupId };
    const { snapshot, damaged } = await snapshots.newest(message.groupId);
    if (snapshot === undefined || damaged.length > 0) {
      log.error("the snapshot that a peer needs is damaged or gone: a new one is taken", { ...fields, damaged: damaged.map(({ message: text }) => text) });
      return "damaged";
    }
    log.info("sending a snapshot", { ...fields, index: snapshot.meta.index, bytes: snapshot.meta.size });
    try {
      return (await transport.installSnapshot(this.#paced(message, snapshot))) ? "installed" : "failed";
    } catch (error) {
      log.warn("a snapshot did not arrive", { ...fields, err: error });
      return error instanceof CorruptionError ? "damaged" : "failed";
    }
  }

  async *#paced(message: RaftMessage, snapshot: SnapshotReader): ReturnType<typeof snapshotParts> {
    const { clock, timers } = this.#parts;
    for await (const part of snapshotParts(message, snapshot)) {
      const nowMs = clock.monotonicMs();
      const startMs = Math.max(nowMs, this.#nextMs);
      this.#nextMs = startMs + (part.chunk.length / this.#bytesPerSecond) * 1_000;
      if (startMs > nowMs) await new Promise<void>((resolve) => timers.after(startMs - nowMs, resolve));
      this.sentBytes += part.chunk.length;
      yield part;
    }
  }
}
