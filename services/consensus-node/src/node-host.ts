// The host of a real node: what the protocols ask for, done with sockets, disks and clients.
import type { ArbitrateRequest, ArbitrateResponse, MaterializeRequest, MaterializeResponse, RaftMessage, SnapshotMeta, StreamRequest } from "@statemesh/contract";
import type { GroupWrite, Host, Log, SnapshotHeading } from "@statemesh/mesh";
import { SystemClock, SystemRandom } from "@statemesh/ports";
import type { Logger } from "@statemesh/service";
import type { ArbiterPool } from "./arbiter-pool.ts";
import type { PeerLink } from "./peer-link.ts";
import { sendSnapshot } from "./snapshot-transfer.ts";
import type { Storage } from "./storage.ts";
import type { StoreLink } from "./store-link.ts";

/** Chunks of a snapshot written between two turns of the event loop: a large state must not hold up heartbeats. */
const CHUNKS_PER_TURN = 1;

export interface HostParts {
  readonly storage: Storage;
  readonly links: ReadonlyMap<number, PeerLink>;
  readonly arbiters: ArbiterPool;
  readonly store: StoreLink | undefined;
  readonly log: Logger;
  readonly fail: (error: unknown) => void;
}

export class NodeHost implements Host {
  readonly clock = new SystemClock();
  readonly random = new SystemRandom();
  readonly log: Log;
  readonly #parts: HostParts;
  /** One snapshot at a time: their encoding competes with decisions for the processor. */
  #saving: Promise<unknown> = Promise.resolve();

  constructor(parts: HostParts) {
    this.#parts = parts;
    const { log } = parts;
    this.log = {
      info: (message, fields = {}) => log.info(fields, message),
      warn: (message, fields = {}) => log.warn(fields, message),
      error: (message, fields = {}) => log.error(fields, message),
    };
  }

  defer(task: () => void): void {
    setImmediate(task);
  }

  send(peer: number, frame: StreamRequest): void {
    this.#parts.links.get(peer)?.send(frame);
  }

  isWritable(peer: number): boolean {
    return this.#parts.links.get(peer)?.isWritable === true;
  }

  persist(writes: readonly GroupWrite[], done: (error: unknown) => void): void {
    this.#parts.storage.persist(writes, done);
  }

  arbitrate(request: ArbitrateRequest, done: (response: ArbitrateResponse | undefined) => void): void {
    this.#parts.arbiters.arbitrate(request, done);
  }

  saveSnapshot(heading: SnapshotHeading, chunks: Iterator<Uint8Array>, done: (error: unknown, meta: SnapshotMeta | undefined) => void): void {
    this.#saving = this.#saving
      .then(async () => this.#save(heading, chunks))
      .then(
        (meta) => done(undefined, meta),
        (error: unknown) => done(error, undefined),
      );
  }

  async #save(heading: SnapshotHeading, chunks: Iterator<Uint8Array>): Promise<SnapshotMeta> {
    const writer = await this.#parts.storage.snapshots.create(heading);
    try {
      let written = 0;
      for (let next = chunks.next(); next.done !== true; next = chunks.next()) {
        await writer.write(next.value);
        if (++written % CHUNKS_PER_TURN === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      return await writer.finish();
    } catch (error) {
      await writer.abort();
      throw error;
    }
  }

  sendSnapshot(peer: number, message: RaftMessage, done: (installed: boolean) => void): void {
    this.#send(peer, message).then(done, (error: unknown) => {
      this.#parts.log.warn({ peer, group: message.groupId, err: error }, "a snapshot did not arrive");
      done(false);
    });
  }

  async #send(peer: number, message: RaftMessage): Promise<boolean> {
    const link = this.#parts.links.get(peer);
    const { snapshot } = await this.#parts.storage.snapshots.newest(message.groupId);
    if (link === undefined || snapshot === undefined) return false;
    this.#parts.log.info({ peer, group: message.groupId, index: snapshot.meta.index, bytes: snapshot.meta.size }, "sending a snapshot");
    return sendSnapshot(link.client, message, snapshot);
  }

  releaseLog(meta: SnapshotMeta, throughIndex: number): void {
    this.#parts.storage.release(meta, throughIndex).catch((error: unknown) => {
      // The log only stays longer than it need; a failed sync shows at the next append, which stops the node.
      this.#parts.log.warn({ group: meta.groupId, err: error }, "could not release log segments");
    });
  }

  materialize(request: MaterializeRequest, done: (response: MaterializeResponse | undefined) => void): void {
    if (this.#parts.store === undefined) queueMicrotask(() => done(undefined));
    else this.#parts.store.materialize(request, done);
  }

  watermarks(done: (watermarks: ReadonlyMap<number, number> | undefined) => void): void {
    if (this.#parts.store === undefined) queueMicrotask(() => done(undefined));
    else this.#parts.store.watermarks(done);
  }

  fail(error: unknown): void {
    this.#parts.fail(error);
  }
}
