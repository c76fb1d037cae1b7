/** Splits of the mesh, as the asked node sees them. */
import { type ClientReadableStream, Metadata } from "@grpc/grpc-js";
import { MeshError, meshErrorFromServiceError, PartitionEvent, Side, type WatchViewResponse } from "@statemesh/contract";
import type { CompiledClientOptions } from "./client-options.ts";
import type { NodePool } from "./node-pool.ts";
import { backoffMs, isNodeAtFault, isRetryable } from "./retry.ts";
import { isServiceError } from "./resuming-stream.ts";
import { sleep } from "./unary-caller.ts";

/**
 * Tells when a partition starts, changes and ends, on which side the asked node is, and which regions are affected. The first message says
 * how things stand. A broken connection is made again at another node, which may stand on another side: what it says is told as the
 * start or end of a partition where it is one for this reader. Ends on `close`, on `break`, or with a MeshError that asking again can't mend.
 */
export class ViewWatch implements AsyncIterable<WatchViewResponse> {
  readonly #pool: NodePool;
  readonly #options: CompiledClientOptions;
  readonly #stop = new AbortController();
  #call: ClientReadableStream<WatchViewResponse> | undefined;
  #side: Side | undefined;
  #started = false;

  constructor(pool: NodePool, options: CompiledClientOptions) {
    this.#pool = pool;
    this.#options = options;
  }

  /** The side of the node that was heard last; undefined: nothing was heard yet. */
  get side(): Side | undefined {
    return this.#side;
  }

  /** Ends the iteration. */
  close(): void {
    this.#stop.abort();
    this.#call?.cancel();
  }

  /** One iteration a watch. */
  async *[Symbol.asyncIterator](): AsyncGenerator<WatchViewResponse, void, undefined> {
    if (this.#started) throw new Error("a watch can be read once");
    this.#started = true;
    let failures = 0;
    while (!this.#stop.signal.aborted) {
      const node = this.#pool.current();
      const call = node.views.watchView({ serverId: this.#options.serverId }, new Metadata(), {});
      this.#call = call;
      let error = new MeshError("SHUTTING_DOWN", "the server ended the stream");
      try {
        for await (const message of call as AsyncIterable<WatchViewResponse>) {
          failures = 0;
          yield this.#told(message);
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

  /** What another node says first is news where it is on another side than the one before. */
  #told(message: WatchViewResponse): WatchViewResponse {
    const before = this.#side;
    const now = message.state?.side ?? Side.UNSPECIFIED;
    this.#side = now;
    if (message.event !== PartitionEvent.STATE || before === undefined) return message;
    const wasWhole = before === Side.WHOLE;
    const isWhole = now === Side.WHOLE;
    if (wasWhole === isWhole) return { ...message, event: PartitionEvent.CHANGED };
    return { ...message, event: isWhole ? PartitionEvent.ENDED : PartitionEvent.STARTED };
  }
}
