/** Says to the mesh that this game server is there, and which nodes it hears. */
import { Metadata } from "@grpc/grpc-js";
import type { ReportHeartbeatResponse, Side } from "@statemesh/contract";
import type { CompiledClientOptions } from "./client-options.ts";
import type { NodeConnection, NodePool } from "./node-pool.ts";

/** How often, until a node says it. */
const FIRST_PERIOD_MS = 300;
/** A node that has not answered for this many heartbeats is not heard. */
const HEARD_PERIODS = 5;
/** Nodes that one heartbeat names at most. */
const NODES_MAX = 16;
/** Heartbeats that may wait for an answer at one node. */
const WAITING_MAX = 2;

/** Heartbeats to the node in use and to the others in turn. */
export class Heartbeats {
  readonly #pool: NodePool;
  readonly #options: CompiledClientOptions;
  /** By node: when it answered last. */
  readonly #heard = new Map<number, number>();
  readonly #waiting = new Map<string, number>();
  #side: Side | undefined;
  #timer: NodeJS.Timeout | undefined;
  #periodMs = FIRST_PERIOD_MS;
  #sequence = 0;
  #turn = 0;
  #closed = false;

  constructor(pool: NodePool, options: CompiledClientOptions) {
    this.#pool = pool;
    this.#options = options;
  }

  /** Begins, where it has not yet. */
  start(): void {
    if (this.#timer !== undefined || this.#closed) return;
    this.#beat();
    this.#schedule();
  }

  /** Nodes that answered lately, ascending. */
  get hearsNodes(): number[] {
    const sinceMs = performance.now() - HEARD_PERIODS * this.#periodMs;
    return [...this.#heard].filter(([, atMs]) => atMs >= sinceMs).map(([nodeId]) => nodeId).sort((a, b) => a - b).slice(0, NODES_MAX);
  }

  /** The side of the node that answered last; undefined: none did. */
  get side(): Side | undefined {
    return this.#side;
  }

  /** Sends no more until it is started again. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** Sends no more. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  #schedule(): void {
    this.#timer = setTimeout(() => {
      this.#beat();
      this.#schedule();
    }, this.#periodMs);
    // Saying that a process is there is no reason to keep it.
    this.#timer.unref();
  }

  /** To the node in use, and to one of the others in turn: so more than one node knows of this server. */
  #beat(): void {
    const current = this.#pool.current();
    const other = this.#pool.nth(this.#turn++);
    this.#send(current);
    if (other !== current) this.#send(other);
  }

  #send(node: NodeConnection): void {
    const waiting = this.#waiting.get(node.address) ?? 0;
    if (waiting >= WAITING_MAX) return;
    this.#waiting.set(node.address, waiting + 1);
    const { serverId, incarnation } = this.#options;
    const heartbeat = { nodeId: 0, serverId, incarnation, sequence: ++this.#sequence, hearsNodes: this.hearsNodes, steadyNodes: [], hearsServers: [], viewEpoch: 0, vote: [] };
    node.views.reportHeartbeat({ heartbeat }, new Metadata(), { deadline: Date.now() + HEARD_PERIODS * this.#periodMs }, (thrown, response) => {
      this.#waiting.set(node.address, (this.#waiting.get(node.address) ?? 1) - 1);
      // Who does not answer is not heard; that is all there is to it. The calls that matter have their own retries.
      if (thrown === null) this.#take(response);
    });
  }

  #take(response: ReportHeartbeatResponse): void {
    this.#heard.set(response.nodeId, performance.now());
    this.#side = response.side;
    if (response.heartbeatMs > 0) this.#periodMs = response.heartbeatMs;
  }
}
