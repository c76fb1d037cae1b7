// The host of a node: what the protocols ask for, done with the node's ports.
import type { ArbitrateRequest, ArbitrateResponse, CausalGroupEvents, EventualValue, InstallSnapshotRequest, LoadEventualValuesResponse, MaterializeRequest, MaterializeResponse, MeshError, PeerHello, RaftMessage, SnapshotMeta, StoreCausalEventsResponse, StreamRequest, TentativeOperation } from "@statemesh/contract";
import type { EscrowLogRecord } from "@statemesh/contract/log";
import type { GroupWrite, Host, Log, SnapshotHeading } from "@statemesh/mesh";
import { type Clock, DiskError, type Random } from "@statemesh/ports";
import type { ArbiterPool } from "./arbiter-pool.ts";
import type { EscrowLog } from "./escrow-log.ts";
import type { NodePorts } from "./node-ports.ts";
import type { PeerLink } from "./peer-link.ts";
import type { SnapshotSender } from "./snapshot-sender.ts";
import type { Storage } from "./storage.ts";
import type { TentativeLog } from "./tentative-log.ts";

/** Chunks of a snapshot written between two turns of the event loop: a large state must not hold up heartbeats. */
const CHUNKS_PER_TURN = 1;

export interface HostParts {
  readonly storage: Storage;
  readonly tentative: TentativeLog;
  readonly escrows: EscrowLog;
  readonly sender: SnapshotSender;
  /** What this node says of itself with a snapshot for a peer; undefined where it does not say it. */
  hello(peer: number): PeerHello | undefined;
  readonly links: ReadonlyMap<number, PeerLink>;
  readonly arbiters: ArbiterPool;
  readonly ports: NodePorts;
}

export class NodeHost implements Host {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly #parts: HostParts;
  /** How much of a snapshot has left, in percent, by group and peer. */
  readonly snapshotPercent = new Map<number, Map<number, number>>();
  /** One snapshot at a time: their encoding competes with decisions for the processor. */
  #saving: Promise<unknown> = Promise.resolve();
  /** Who waits for the store to say where it stands. */
  #askingWatermarks: ((watermarks: ReadonlyMap<number, number> | undefined) => void)[] = [];

  constructor(parts: HostParts) {
    this.#parts = parts;
    this.clock = parts.ports.clock;
    this.random = parts.ports.random;
    this.log = parts.ports.log;
  }

  defer(task: () => void): void {
    this.#parts.ports.defer(task);
  }

  after(delayMs: number, task: () => void): void {
    this.#parts.ports.timers.after(delayMs, task);
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

  arbitrate(request: ArbitrateRequest, deadlineMs: number, done: (response: ArbitrateResponse | undefined) => void): void {
    this.#parts.arbiters.arbitrate(request, deadlineMs, done);
  }

  saveSnapshot(heading: SnapshotHeading, chunks: Iterator<Uint8Array>, done: (error: unknown, meta: SnapshotMeta | undefined) => void): void {
    this.#saving = this.#saving
      .then(async () => this.#save(heading, chunks))
      .then(
        (meta) => done(undefined, meta),
        (error: unknown) => {
          // A full disk is tried again later; any other failure of a write or a sync leaves nobody knowing what the disk holds.
          if (error instanceof DiskError && !error.isNoSpace) this.fail(error);
          done(error, undefined);
        },
      );
  }

  async #save(heading: SnapshotHeading, chunks: Iterator<Uint8Array>): Promise<SnapshotMeta> {
    const writer = await this.#parts.storage.snapshots.create(heading);
    try {
      let written = 0;
      for (let next = chunks.next(); next.done !== true; next = chunks.next()) {
        await writer.write(next.value);
        if (++written % CHUNKS_PER_TURN === 0) await new Promise<void>((resolve) => this.defer(resolve));
      }
      return await writer.finish();
    } catch (error) {
      await writer.abort();
      throw error;
    }
  }

  sendSnapshot(peer: number, message: RaftMessage, done: (installed: boolean, isDamaged?: boolean) => void): void {
    const link = this.#parts.links.get(peer);
    if (link === undefined) return this.defer(() => done(false));
    const { groupId } = message;
    const transport = { installSnapshot: async (parts: AsyncIterable<InstallSnapshotRequest>) => link.transport.installSnapshot(this.#counted(peer, groupId, parts)) };
    const sending = this.#parts.sender.send(peer, transport, message).finally(() => this.snapshotPercent.get(groupId)?.delete(peer));
    sending.then(
      (outcome) => done(outcome === "installed", outcome === "damaged"),
      (error: unknown) => {
        this.log.error("a snapshot could not be read", { peer, group: groupId, err: error });
        done(false, true);
      },
    );
  }

  /** Counts the parts that leave. */
  async *#counted(peer: number, groupId: number, parts: AsyncIterable<InstallSnapshotRequest>): AsyncIterable<InstallSnapshotRequest> {
    let peers = this.snapshotPercent.get(groupId);
    if (peers === undefined) this.snapshotPercent.set(groupId, (peers = new Map()));
    let size = 1;
    for await (const part of parts) {
      if (part.meta !== undefined) size = Math.max(1, part.meta.size);
      // Who sends it, on the first part only.
      yield part.meta === undefined ? part : { ...part, hello: this.#parts.hello(peer) };
      peers.set(peer, Math.min(100, Math.floor((100 * (part.offset + part.chunk.length)) / size)));
    }
  }

  releaseLog(meta: SnapshotMeta, throughIndex: number): void {
    this.#parts.storage.release(meta, throughIndex).catch((error: unknown) => {
      // The log only stays longer than it need; a failed sync shows at the next append, which stops the node.
      this.log.warn("could not release log segments", { group: meta.groupId, err: error });
    });
  }

  materialize(request: MaterializeRequest, done: (response: MaterializeResponse | undefined) => void): void {
    if (this.#parts.ports.store === undefined) this.defer(() => done(undefined));
    else this.#parts.ports.store.materialize(request, done);
  }

  /** One question for all groups that want to know at a time: an answer speaks of all, and one that is a little old is put right by the store. */
  watermarks(done: (watermarks: ReadonlyMap<number, number> | undefined) => void): void {
    this.#askingWatermarks.push(done);
    if (this.#askingWatermarks.length > 1) return;
    this.#askWatermarks((watermarks) => {
      const asking = this.#askingWatermarks;
      this.#askingWatermarks = [];
      for (const each of asking) each(watermarks);
    });
  }

  storeEventual(values: readonly EventualValue[], forgetDeletedBeforeMs: number, done: (stored: boolean) => void): void {
    if (this.#parts.ports.store === undefined) done(false);
    else this.#parts.ports.store.storeEventual(values, forgetDeletedBeforeMs, done);
  }

  loadEventual(pageToken: string, done: (page: LoadEventualValuesResponse | undefined) => void): void {
    if (this.#parts.ports.store === undefined) done(undefined);
    else this.#parts.ports.store.loadEventual(pageToken, done);
  }

  storeCausal(groups: CausalGroupEvents[], done: (response: StoreCausalEventsResponse | undefined) => void): void {
    if (this.#parts.ports.store === undefined) done(undefined);
    else this.#parts.ports.store.storeCausal(groups, done);
  }

  #askWatermarks(done: (watermarks: ReadonlyMap<number, number> | undefined) => void): void {
    if (this.#parts.ports.store === undefined) this.defer(() => done(undefined));
    else this.#parts.ports.store.watermarks(done);
  }

  keepTentative(operations: readonly TentativeOperation[], done: (error: MeshError | undefined) => void): void {
    this.#parts.tentative.keep(operations, done);
  }

  dropTentative(operationIds: readonly string[]): void {
    this.#parts.tentative.drop(operationIds);
  }

  keepEscrow(records: readonly EscrowLogRecord[], done: (error: MeshError | undefined) => void): void {
    this.#parts.escrows.keep(records, done);
  }

  fail(error: unknown): void {
    this.#parts.ports.fail(error);
  }
}
