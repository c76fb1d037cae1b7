// What a node needs from the outside. A real process gives it sockets, a folder and timers, the simulator virtual ones.
import type { ArbitrateRequest, ArbitrateResponse, CausalGroupEvents, EventualValue, InstallSnapshotRequest, LoadEventualValuesResponse, MaterializeRequest, MaterializeResponse, ReportHeartbeatsRequest, ReportHeartbeatsResponse, StoreCausalEventsResponse, StreamRequest } from "@statemesh/contract";
import type { Log } from "@statemesh/mesh";
import type { Clock, Disk, Random, Timers } from "@statemesh/ports";

/** The data folder: the node's identity in it, and its two sub-folders. */
export interface NodeDisks {
  readonly folder: Disk;
  readonly wal: Disk;
  readonly snapshots: Disk;
}

/** What happens on a stream that this node opened to a peer. */
export interface PeerStreamEvents {
  /** The peer sent a message: it let this node in, and is alive. */
  message(): void;
  /**
   * The stream is at its end. `refused`: the peer said why it does not let this node in; `removed`: because this node is not a
   * member any more (MEMBER_REMOVED). Called at most once.
   */
  closed(reason: string, refused: boolean, removed?: boolean): void;
}

/** A stream of frames to a peer, in order. */
export interface PeerStream {
  write(frame: StreamRequest): void;
  /** Frames that wait for the connection. */
  readonly waiting: number;
  /** Breaks the stream; `closed` follows. */
  cancel(): void;
  /** Ends the stream once what waits is sent. */
  end(): void;
}

/** Ways to one peer. */
export interface PeerTransport {
  readonly address: string;
  open(events: PeerStreamEvents): PeerStream;
  /** Sends the parts of a snapshot; whether the peer installed it. Rejects where that is not known. */
  installSnapshot(parts: AsyncIterable<InstallSnapshotRequest>): Promise<boolean>;
  close(): void;
}

/** One arbiter. */
export interface ArbiterPort {
  readonly address: string;
  /**
   * `failed` instead of `answered` where it refuses or does not answer within `timeoutMs`. One of both, once. `otherPolicy`: it refuses because it
   * goes by another policy.
   */
  ask(request: ArbitrateRequest, timeoutMs: number, answered: (response: ArbitrateResponse) => void, failed: (reason: string, otherPolicy?: boolean) => void): void;
  /** Tells it whom this node hears. `done` gets undefined where it does not answer in time. Absent: it does not watch for partitions. */
  report?(request: ReportHeartbeatsRequest, timeoutMs: number, done: (response: ReportHeartbeatsResponse | undefined) => void): void;
  close(): void;
}

/** The region store. */
export interface StorePort {
  /** It holds another cluster's state, as far as is known. */
  readonly isRefused: boolean;
  materialize(request: MaterializeRequest, done: (response: MaterializeResponse | undefined) => void): void;
  watermarks(done: (watermarks: ReadonlyMap<number, number> | undefined) => void): void;
  /** See Host.storeEventual and Host.loadEventual. */
  storeEventual(values: readonly EventualValue[], forgetDeletedBeforeMs: number, done: (stored: boolean) => void): void;
  loadEventual(pageToken: string, done: (page: LoadEventualValuesResponse | undefined) => void): void;
  /** See Host.storeCausal. */
  storeCausal(groups: CausalGroupEvents[], done: (response: StoreCausalEventsResponse | undefined) => void): void;
  close(): void;
}

export interface NodePorts {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly log: Log;
  readonly disks: NodeDisks;
  /** Runs `task` once, after the events that are at hand have been taken in. */
  defer(task: () => void): void;
  /** The other nodes that the operator names: the founders, or those whose address is another than on record. */
  readonly peers: ReadonlyMap<number, PeerTransport>;
  /** A way to a node that came later, at the address on record. */
  connect(address: string): PeerTransport;
  readonly arbiters: readonly ArbiterPort[];
  readonly store: StorePort | undefined;
  /** The cluster gave this folder another node id, which stands in it: the node has to be started anew. */
  placed?(nodeId: number): void;
  /** The node cannot go on: its disk failed, or its replicas have diverged. */
  fail(error: unknown): void;
}
