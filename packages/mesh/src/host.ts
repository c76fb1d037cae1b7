// The port through which a node acts. Nothing here returns a promise: a call starts something, and its
// completion comes back later as an event of its own, through the callback. The services give it sockets, disks
// and clients; the simulator gives it virtual ones.
import type {
  ArbitrateRequest,
  ArbitrateResponse,
  CausalGroupEvents,
  EventualValue,
  LoadEventualValuesResponse,
  LogEntry,
  MaterializeRequest,
  MaterializeResponse,
  RaftMessage,
  SnapshotMeta,
  StoreCausalEventsResponse,
  StreamRequest,
  TentativeOperation,
} from "@statemesh/contract";
import type { MeshError } from "@statemesh/contract";
import type { EscrowLogRecord } from "@statemesh/contract/log";
import type { Clock, Random } from "@statemesh/ports";
import type { HardState, Loss } from "@statemesh/raft";

/** What one group wants in the log. All groups' writes of one pump go out together. */
export interface GroupWrite {
  readonly groupId: number;
  readonly hardState?: HardState;
  readonly entries?: readonly LogEntry[];
  /** The group now starts at this snapshot, which is durable already. */
  readonly snapshot?: SnapshotMeta;
  /** What the group's log lacks of what it once held. */
  readonly loss?: Loss | "repaired";
}

/** What a snapshot is: its place in the log, and the configuration there. */
export type SnapshotHeading = Pick<SnapshotMeta, "groupId" | "index" | "term" | "voters" | "learners">;

/** What a node may say in its log. */
export interface Log {
  debug(message: string, fields?: Readonly<Record<string, unknown>>): void;
  info(message: string, fields?: Readonly<Record<string, unknown>>): void;
  warn(message: string, fields?: Readonly<Record<string, unknown>>): void;
  /** An operator has to do something. */
  error(message: string, fields?: Readonly<Record<string, unknown>>): void;
}

export interface Host {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Runs `task` once, after the events that are at hand have been taken in. */
  defer(task: () => void): void;
  /** Runs `task` once, `delayMs` from now at the earliest; never, where the node has ended by then. */
  after(delayMs: number, task: () => void): void;
  /** Sends a frame to a peer. May lose it: without a connection, or with a full queue. Order is kept. */
  send(peer: number, frame: StreamRequest): void;
  /** False while much waits for a peer: what can wait should. */
  isWritable(peer: number): boolean;
  /** Makes writes durable, in order of the calls. `done` gets an error where they are not; the node then stops. */
  persist(writes: readonly GroupWrite[], done: (error: unknown) => void): void;
  /** Asks an arbiter. `done` gets undefined where none answered in time: within the node's own, or by `deadlineMs`, monotonic, if that is sooner. */
  arbitrate(request: ArbitrateRequest, deadlineMs: number, done: (response: ArbitrateResponse | undefined) => void): void;
  /** Writes a snapshot's chunks to a file of their own, durably, pulling them a slice at a time. */
  saveSnapshot(heading: SnapshotHeading, chunks: Iterator<Uint8Array>, done: (error: unknown, meta: SnapshotMeta | undefined) => void): void;
  /**
   * Sends the group's newest snapshot to a peer; `message` is the Raft message that it stands for. `isDamaged`: there is none that could be
   * sent, so that the group must take a new one.
   */
  sendSnapshot(peer: number, message: RaftMessage, done: (installed: boolean, isDamaged?: boolean) => void): void;
  /** A snapshot of the group is durable: notes it in the log, and lets entries through `throughIndex` go. */
  releaseLog(meta: SnapshotMeta, throughIndex: number): void;
  /** Hands strong state to the region store. `done` gets undefined where it did not take it: away, or another cluster's. */
  materialize(request: MaterializeRequest, done: (response: MaterializeResponse | undefined) => void): void;
  /** Where the region store stands, by group. `done` gets undefined where it did not say. */
  watermarks(done: (watermarks: ReadonlyMap<number, number> | undefined) => void): void;
  /**
   * Hands eventual values to the region store, at most 4,096, each key once; deletions stamped before `forgetDeletedBeforeMs`, wall clock,
   * may be forgotten there. `stored` is false where that is not known.
   */
  storeEventual(values: readonly EventualValue[], forgetDeletedBeforeMs: number, done: (stored: boolean) => void): void;
  /** A page of the eventual values that the region store has; the first for an empty token. `done` gets undefined where it did not say. */
  loadEventual(pageToken: string, done: (page: LoadEventualValuesResponse | undefined) => void): void;
  /** Hands causal events to the region store: see StoreCausalEvents. `done` gets undefined where it is not known whether it took them. */
  storeCausal(groups: CausalGroupEvents[], done: (response: StoreCausalEventsResponse | undefined) => void): void;
  /**
   * Writes operations that are kept during a partition into a file of their own, durably. `done` gets an error where nothing of
   * them is on the disk; a disk that leaves that open stops the node.
   */
  keepTentative(operations: readonly TentativeOperation[], done: (error: MeshError | undefined) => void): void;
  /** They need not be kept any longer. */
  dropTentative(operationIds: readonly string[]): void;
  /**
   * Writes what this node knows of the escrows that it keeps into a file of their own, durably and in the order of the calls. `done` gets an
   * error where nothing of it is on the disk; a disk that leaves that open stops the node.
   */
  keepEscrow(records: readonly EscrowLogRecord[], done: (error: MeshError | undefined) => void): void;
  /** The node cannot go on: its disk failed, or its replicas have diverged. */
  fail(error: unknown): void;
}
