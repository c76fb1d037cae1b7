// The way to one peer: a stream that this node opens, keeps open, and opens again when it breaks. Frames are sent
// in order or not at all; whoever needs certainty asks again.
import type { ServiceError } from "@grpc/grpc-js";
import { type PeerHello, RaftPeerServiceClient, type StreamRequest, meshErrorFromServiceError } from "@statemesh/contract";
import { type Logger, connect } from "@statemesh/service";

/** Frames that may wait in the stream. A peer that is further behind is better served by a new connection. */
const WAITING_FRAMES = 2_048;
const FIRST_RETRY_MS = 50;
const LAST_RETRY_MS = 1_000;
/** How long a peer may take to accept the hello. */
const HELLO_TIMEOUT_MS = 2_000;

export interface PeerLinkEvents {
  connected(peer: number): void;
  disconnected(peer: number): void;
}

export class PeerLink {
  readonly peer: number;
  readonly address: string;
  readonly client: RaftPeerServiceClient;
  readonly #hello: () => PeerHello;
  readonly #events: PeerLinkEvents;
  readonly #log: Logger;
  #stream: ReturnType<RaftPeerServiceClient["stream"]> | undefined;
  #accepted = false;
  #closed = false;
  #retryMs = FIRST_RETRY_MS;
  #timer: NodeJS.Timeout | undefined;
  /** Why the peer refused this node last; empty once it was let in. */
  #refusal = "";
  /** Frames given up because the stream was not open or had too many waiting. */
  dropped = 0;

  constructor(peer: number, address: string, hello: () => PeerHello, events: PeerLinkEvents, log: Logger) {
    this.peer = peer;
    this.address = address;
    this.client = connect(RaftPeerServiceClient, address, { ownConnection: true, keepaliveMs: 2_000, reconnectMaxMs: LAST_RETRY_MS });
    this.#hello = hello;
    this.#events = events;
    this.#log = log;
  }

  open(): void {
    if (this.#closed) return;
    const stream = this.client.stream();
    this.#stream = stream;
    stream.on("data", () => {
      clearTimeout(this.#timer);
      this.#retryMs = FIRST_RETRY_MS;
      if (this.#accepted) return;
      this.#accepted = true;
      this.#refusal = "";
      this.#log.info({ peer: this.peer, address: this.address }, "connected to peer");
      this.#events.connected(this.peer);
    });
    stream.on("error", (error: ServiceError) => this.#broken(stream, error));
    stream.on("end", () => this.#broken(stream, undefined));
    stream.write(this.#helloFrame());
    this.#timer = setTimeout(() => stream.cancel(), HELLO_TIMEOUT_MS);
  }

  #helloFrame(): StreamRequest {
    return { hello: this.#hello(), raft: [], calls: [], answers: [], deltas: [], causal: [] };
  }

  #broken(stream: ReturnType<RaftPeerServiceClient["stream"]>, error: ServiceError | undefined): void {
    if (this.#stream !== stream) return;
    this.#stream = undefined;
    clearTimeout(this.#timer);
    const was = this.#accepted;
    this.#accepted = false;
    if (this.#closed) return;
    if (was) this.#log.warn({ peer: this.peer, reason: error?.message ?? "closed by the peer" }, "lost the connection to a peer");
    else if (error !== undefined && meshErrorFromServiceError(error, { writes: false }).reason === "PEER_REFUSED") this.#refused(error.details);
    else this.#log.debug({ peer: this.peer, reason: error?.message }, "cannot reach peer");
    this.#timer = setTimeout(() => this.open(), this.#retryMs);
    this.#retryMs = Math.min(this.#retryMs * 2, LAST_RETRY_MS);
    if (was) this.#events.disconnected(this.peer);
  }

  /** Somebody has to change a configuration: said once, however often it is tried again. */
  #refused(reason: string): void {
    if (this.#refusal === reason) return;
    this.#refusal = reason;
    this.#log.error({ peer: this.peer, address: this.address, reason }, "a peer refuses this node");
  }

  /** Sends a frame, or drops it where the way is not open. */
  send(frame: StreamRequest): void {
    const stream = this.#stream;
    if (stream === undefined || !this.#accepted) {
      this.dropped++;
      return;
    }
    if (stream.writableLength > WAITING_FRAMES) {
      this.dropped++;
      stream.cancel();
      return;
    }
    stream.write(frame);
  }

  /** False while frames wait for the connection. */
  get isWritable(): boolean {
    return this.#accepted && this.#stream !== undefined && this.#stream.writableLength < WAITING_FRAMES / 16;
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#stream?.end();
    this.client.close();
  }
}
