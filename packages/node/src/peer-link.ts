// The way to one peer: a stream that this node opens, keeps open, and opens again when it breaks. Frames are sent
// in order or not at all; whoever needs certainty asks again.
import type { PeerHello, StreamRequest } from "@statemesh/contract";
import type { Log } from "@statemesh/mesh";
import type { Cancel, Timers } from "@statemesh/ports";
import type { PeerStream, PeerTransport } from "./node-ports.ts";

/** Frames that may wait in the stream. A peer that is further behind is better served by a new connection. */
const WAITING_FRAMES = 2_048;
const FIRST_RETRY_MS = 50;
const LAST_RETRY_MS = 1_000;
/** How long a peer may take to accept the hello. */
const HELLO_TIMEOUT_MS = 2_000;

export interface PeerLinkEvents {
  connected(peer: number): void;
  disconnected(peer: number): void;
  /** The peer says that this node is not a member any more. */
  removed(reason: string): void;
}

export class PeerLink {
  readonly peer: number;
  readonly transport: PeerTransport;
  readonly #hello: () => PeerHello;
  readonly #events: PeerLinkEvents;
  readonly #timers: Timers;
  readonly #log: Log;
  #stream: PeerStream | undefined;
  /** Which stream speaks: what an earlier one still says does not count. */
  #serial = 0;
  #accepted = false;
  #closed = false;
  #retryMs = FIRST_RETRY_MS;
  #cancelTimer: Cancel | undefined;
  /** Why the peer refused this node last; empty once it was let in. */
  #refusal = "";
  /** Frames given up because the stream was not open or had too many waiting. */
  dropped = 0;

  constructor(peer: number, transport: PeerTransport, hello: () => PeerHello, events: PeerLinkEvents, timers: Timers, log: Log) {
    this.peer = peer;
    this.transport = transport;
    this.#hello = hello;
    this.#events = events;
    this.#timers = timers;
    this.#log = log;
  }

  open(): void {
    if (this.#closed) return;
    const serial = ++this.#serial;
    const stream = this.transport.open({
      message: () => {
        if (serial === this.#serial) this.#letIn();
      },
      closed: (reason, refused, removed = false) => {
        if (serial !== this.#serial) return;
        this.#broken(reason, refused);
        if (removed) this.#events.removed(reason);
      },
    });
    this.#stream = stream;
    stream.write({ hello: this.#hello(), raft: [], calls: [], answers: [], deltas: [], causal: [], heartbeats: [], tentative: [] });
    this.#cancelTimer = this.#timers.after(HELLO_TIMEOUT_MS, () => stream.cancel());
  }

  #letIn(): void {
    this.#cancelTimer?.();
    this.#retryMs = FIRST_RETRY_MS;
    if (this.#accepted) return;
    this.#accepted = true;
    this.#refusal = "";
    this.#log.info("connected to peer", { peer: this.peer, address: this.transport.address });
    this.#events.connected(this.peer);
  }

  #broken(reason: string, refused: boolean): void {
    this.#serial++;
    this.#stream = undefined;
    this.#cancelTimer?.();
    const was = this.#accepted;
    this.#accepted = false;
    if (this.#closed) return;
    if (was) this.#log.warn("lost the connection to a peer", { peer: this.peer, reason });
    else if (refused) this.#refused(reason);
    else this.#log.debug("cannot reach peer", { peer: this.peer, reason });
    this.#cancelTimer = this.#timers.after(this.#retryMs, () => this.open());
    this.#retryMs = Math.min(this.#retryMs * 2, LAST_RETRY_MS);
    if (was) this.#events.disconnected(this.peer);
  }

  /** Somebody has to change a configuration: said once, however often it is tried again. */
  #refused(reason: string): void {
    if (this.#refusal === reason) return;
    this.#refusal = reason;
    this.#log.error("a peer refuses this node", { peer: this.peer, address: this.transport.address, reason });
  }

  /** Sends a frame, or drops it where the way is not open. */
  send(frame: StreamRequest): void {
    const stream = this.#stream;
    if (stream === undefined || !this.#accepted) {
      this.dropped++;
      return;
    }
    if (stream.waiting > WAITING_FRAMES) {
      this.dropped++;
      stream.cancel();
      return;
    }
    stream.write(frame);
  }

  /** Frames that wait for the connection. */
  get waiting(): number {
    return this.#stream?.waiting ?? 0;
  }

  /** False while frames wait for the connection. */
  get isWritable(): boolean {
    return this.#accepted && this.#stream !== undefined && this.#stream.waiting < WAITING_FRAMES / 16;
  }

  close(): void {
    this.#closed = true;
    this.#cancelTimer?.();
    this.#stream?.end();
    this.transport.close();
  }
}
