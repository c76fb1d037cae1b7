/** Streams of the server's that outlive their connections. */
import type { ServiceError } from "@grpc/grpc-js";
import { MeshError } from "@statemesh/contract";
import type { CompiledClientOptions } from "./client-options.ts";
import type { NodeConnection, NodePool } from "./node-pool.ts";
import { backoffMs, isNodeAtFault, isRetryable, Outage } from "./retry.ts";
import { transportError } from "./transport-error.ts";
import { sleep } from "./unary-caller.ts";

/** A stream that is open: a readable stream of grpc-js is one. */
export interface OpenedStream<Message> {
  cancel(): void;
  [Symbol.asyncIterator](): AsyncIterator<Message>;
}

/** When an iteration ends, besides `close` and `break`. */
export interface StreamLimits {
  /** Longest time without a connection before the iterator throws, ms. Default 60,000. */
  readonly giveUpAfterMs?: number;
  /** Ends the iteration as `close` does. */
  readonly signal?: AbortSignal;
}

/**
 * The messages of a stream, in order. A broken connection is made again at another node. A slow reader slows the server down. The
 * iteration ends on `close`, on `break`, when its signal fires, when the client is closed, or with a MeshError that asking again can't mend;
 * in each case the server is told that nobody reads any more.
 */
export class ReopeningStream<Message> implements AsyncIterable<Message> {
  readonly #pool: NodePool;
  readonly #options: CompiledClientOptions;
  readonly #open: (node: NodeConnection) => OpenedStream<Message>;
  readonly #giveUpAfterMs: number;
  readonly #signal: AbortSignal | undefined;
  readonly #stop = new AbortController();
  #call: OpenedStream<Message> | undefined;
  #node: NodeConnection | undefined;
  #started = false;
  #moving = false;

  constructor(pool: NodePool, options: CompiledClientOptions, open: (node: NodeConnection) => OpenedStream<Message>, limits: StreamLimits = {}) {
    this.#pool = pool;
    this.#options = options;
    this.#open = open;
    this.#giveUpAfterMs = limits.giveUpAfterMs ?? 60_000;
    this.#signal = limits.signal;
  }

  /** Ends the iteration. */
  close(): void {
    this.#stop.abort();
    this.#call?.cancel();
  }

  /** As `close`: for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }

  /** The node is behind: continues at another one. */
  protected moveOn(): void {
    if (this.#node === undefined || this.#moving) return;
    this.#moving = true;
    this.#pool.failed(this.#node);
    this.#call?.cancel();
  }

  /** A message came: what its reader gets. */
  protected taken(message: Message): Message {
    return message;
  }

  /** Whether the stream may begin anew after an error that ends it otherwise. */
  protected beginsAnew(_error: MeshError): boolean {
    return false;
  }

  /** One iteration a stream. @throws MeshError CANCELLED after the client was closed */
  async *[Symbol.asyncIterator](): AsyncGenerator<Message, void, undefined> {
    if (this.#started) throw new MeshError("CANCELLED", "a stream can be read once: open another one");
    this.#started = true;
    const stop = (): void => this.close();
    if (this.#signal?.aborted === true) stop();
    this.#signal?.addEventListener("abort", stop, { once: true });
    const forget = this.#pool.whenClosed(stop);
    try {
      yield* this.#messages();
    } finally {
      forget();
      this.#signal?.removeEventListener("abort", stop);
    }
  }

  async *#messages(): AsyncGenerator<Message, void, undefined> {
    let failures = 0;
    const outage = new Outage(performance.now());
    while (!this.#stop.signal.aborted) {
      const node = this.#pool.current();
      const call = this.#open(node);
      this.#call = call;
      this.#node = node;
      const openedMs = performance.now();
      let isConnected = false;
      let error = new MeshError("SHUTTING_DOWN", "the server ended the stream");
      try {
        for await (const message of call) {
          failures = 0;
          isConnected = true;
          yield this.taken(message);
          if (this.#stop.signal.aborted) return;
        }
      } catch (thrown) {
        if (!isServiceError(thrown)) throw thrown;
        error = transportError(thrown, { writes: false }, node.address);
      } finally {
        call.cancel();
      }
      if (this.#stop.signal.aborted) return;
      const outageMs = outage.broken(openedMs, isConnected, performance.now());
      if (this.#moving) {
        this.#moving = false;
        continue;
      }
      if (!this.beginsAnew(error) && (!isRetryable(error, true) || outageMs > this.#giveUpAfterMs)) throw error;
      // The node has waited for what the reader has seen already: another may be further.
      if (isNodeAtFault(error) || error.reason === "TOKEN_AHEAD") this.#pool.failed(node);
      failures += 1;
      await sleep(backoffMs(error, failures, this.#options.backoffMinMs, this.#options.backoffMaxMs, Math.random()), this.#stop.signal);
    }
  }
}

function isServiceError(thrown: unknown): thrown is ServiceError {
  return thrown instanceof Error && "code" in thrown && typeof thrown.code === "number" && "details" in thrown;
}
