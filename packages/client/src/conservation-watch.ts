/** Items as a node counts them, all the time. */
import { type ClientReadableStream, Metadata } from "@grpc/grpc-js";
import { MeshError, meshErrorFromServiceError, type WatchConservationRequest, type WatchConservationResponse } from "@statemesh/contract";
import type { CompiledClientOptions } from "./client-options.ts";
import type { NodePool } from "./node-pool.ts";
import { isServiceError } from "./resuming-stream.ts";
import { backoffMs, isNodeAtFault, isRetryable } from "./retry.ts";
import { sleep } from "./unary-caller.ts";

/**
 * What was minted, burned and is held of each kind, again and again. A broken connection is made again at another node, which may
 * stand a little earlier or later. Ends on `close`, on `break`, or with a MeshError that asking again can't mend.
 */
export class ConservationWatch implements AsyncIterable<WatchConservationResponse> {
  readonly #pool: NodePool;
  readonly #options: CompiledClientOptions;
  readonly #request: WatchConservationRequest;
  readonly #stop = new AbortController();
  #call: ClientReadableStream<WatchConservationResponse> | undefined;
  #started = false;

  constructor(pool: NodePool, options: CompiledClientOptions, { intervalMs = 0, itemKinds = [] }: Partial<WatchConservationRequest>) {
    this.#pool = pool;
    this.#options = options;
    this.#request = { intervalMs, itemKinds };
  }

  /** Ends the iteration. */
  close(): void {
    this.#stop.abort();
    this.#call?.cancel();
  }

  /** One iteration a watch. */
  async *[Symbol.asyncIterator](): AsyncGenerator<WatchConservationResponse, void, undefined> {
    if (this.#started) throw new Error("a watch can be read once");
    this.#started = true;
    let failures = 0;
    while (!this.#stop.signal.aborted) {
      const node = this.#pool.current();
      const call = node.admin.watchConservation(this.#request, new Metadata(), {});
      this.#call = call;
      let error = new MeshError("SHUTTING_DOWN", "the server ended the stream");
      try {
        for await (const message of call as AsyncIterable<WatchConservationResponse>) {
          failures = 0;
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
      if (!isRetryable(error, true)) throw error;
      if (isNodeAtFault(error)) this.#pool.failed(node);
      failures += 1;
      await sleep(backoffMs(error, failures, this.#options.backoffMinMs, this.#options.backoffMaxMs, Math.random()), this.#stop.signal);
    }
  }
}
