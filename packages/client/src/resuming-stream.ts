/** Streams of the server's that outlive their connections. */
import type { ServiceError } from "@grpc/grpc-js";
import { MeshError, meshErrorFromServiceError } from "@statemesh/contract";
import type { CompiledClientOptions } from "./client-options.ts";
import type { NodeConnection, NodePool } from "./node-pool.ts";
import { backoffMs, isNodeAtFault, isRetryable, Outage } from "./retry.ts";
import { sleep } from "./unary-caller.ts";

/** What a stream goes on after. */
export interface Resumable {
  readonly resumeToken: string;
}

/** A stream that is open: a readable stream of grpc-js is one. */
export interface OpenedStream<Message> {
  cancel(): void;
  [Symbol.asyncIterator](): AsyncIterator<Message>;
}

/** Opens the stream at a node, behind a token; empty: from the beginning. */
export type OpenStream<Message> = (node: NodeConnection, resumeToken: string) => OpenedStream<Message>;

/**
 * The messages of a stream, in order. A broken connection is made again at another node and continues after the last
 * message that was taken. A slow reader slows the server down. Ends on `close`, on `break`, or with a MeshError that
 * asking again can't mend.
 */
export class ResumingStream<Message extends Resumable> implements AsyncIterable<Message> {
  readonly #pool: NodePool;
  readonly #options: CompiledClientOptions;
  readonly #open: OpenStream<Message>;
  readonly #giveUpAfterMs: number;
  readonly #stop = new AbortController();
  #call: OpenedStream<Message> | undefined;
  #node: NodeConnection | undefined;
  #token: string;
  #started = false;
  #moving = false;

  /** @param giveUpAfterMs longest time without a connection before the iterator throws, ms */
  constructor(pool: NodePool, options: CompiledClientOptions, open: OpenStream<Message>, resumeToken: string, giveUpAfterMs: number) {
    this.#pool = pool;
    this.#options = options;
    this.#open = open;
    this.#token = resumeToken;
    this.#giveUpAfterMs = giveUpAfterMs;
  }

  /** Continues after the last message that was taken. */
  get resumeToken(): string {
    return this.#token;
  }

  /** Ends the iteration. */
  close(): void {
    this.#stop.abort();
    this.#call?.cancel();
  }

  /** The node is behind: continues at another one. */
  elsewhere(): void {
    if (this.#node === undefined || this.#moving) return;
    this.#moving = true;
    this.#pool.failed(this.#node);
    this.#call?.cancel();
  }

  /** One iteration a stream. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Message, void, undefined> {
    if (this.#started) throw new Error("a stream can be read once");
    this.#started = true;
    let failures = 0;
    const outage = new Outage(performance.now());
    while (!this.#stop.signal.aborted) {
      const node = this.#pool.current();
      const call = this.#open(node, this.#token);
      this.#call = call;
      this.#node = node;
      const openedMs = performance.now();
      let isConnected = false;
      let error = new MeshError("SHUTTING_DOWN", "the server ended the stream");
      try {
        for await (const message of call) {
          failures = 0;
          isConnected = true;
          this.#token = message.resumeToken;
          yield message;
          if (this.#stop.signal.aborted) return;
        }
      } catch (thrown) {
        if (!isServiceError(thrown)) throw thrown;
        error = meshErrorFromServiceError(thrown, { writes: false });
      } finally {
        call.cancel();
      }
      if (this.#stop.signal.aborted) return;
      const outageMs = outage.broken(openedMs, isConnected, performance.now());
      if (this.#moving) {
        this.#moving = false;
        continue;
      }
      if (error.reason === "INVALID_RESUME_TOKEN" && this.#token !== "") this.#token = "";
      else if (!isRetryable(error, true) || outageMs > this.#giveUpAfterMs) throw error;
      // The node has waited for what the reader has seen already: another may be further.
      if (isNodeAtFault(error) || error.reason === "TOKEN_AHEAD") this.#pool.failed(node);
      failures += 1;
      await sleep(backoffMs(error, failures, this.#options.backoffMinMs, this.#options.backoffMaxMs, Math.random()), this.#stop.signal);
    }
  }
}

export function isServiceError(thrown: unknown): thrown is ServiceError {
  return thrown instanceof Error && "code" in thrown && typeof thrown.code === "number" && "details" in thrown;
}
