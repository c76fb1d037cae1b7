/** Subscriptions that outlive their connections. */
import { type CallOptions, type ClientReadableStream, Metadata, type ServiceError } from "@grpc/grpc-js";
import { type Bounds, MeshError, meshErrorFromServiceError, type Region, type SubscribeRequest, type SubscribeResponse } from "@statemesh/contract";
import type { CompiledClientOptions } from "./client-options.ts";
import type { NodePool } from "./node-pool.ts";
import { backoffMs, isNodeAtFault, isRetryable } from "./retry.ts";
import { sleep } from "./unary-caller.ts";

/** What to follow. */
export interface SubscriptionTarget {
  /** 1..343 regions; or `bounds`. */
  readonly regions?: readonly Region[];
  /** A box of at most 343 regions. */
  readonly bounds?: Bounds;
  /** Entities. All three left out or false: everything. */
  readonly strong?: boolean;
  /** Eventual values. */
  readonly eventual?: boolean;
  /** Causal events. */
  readonly causal?: boolean;
  /** Continue after this token of an earlier subscription. */
  readonly resumeToken?: string;
  /** Longest time without a connection before the iterator throws, ms. Default 60,000. */
  readonly giveUpAfterMs?: number;
}

function requestOf(target: SubscriptionTarget, resumeToken: string): SubscribeRequest {
  const { regions = [], bounds, strong = false, eventual = false, causal = false } = target;
  return { regions: [...regions], bounds, strong, eventual, causal, resumeToken };
}

/**
 * The events of a subscription, in order. A broken connection is made again at another node and continues after the
 * last event that was taken; where that is too far back a new snapshot comes. A slow reader slows the server down.
 * Ends on `close`, on `break`, or with a MeshError that asking again can't mend.
 */
export class Subscription implements AsyncIterable<SubscribeResponse> {
  readonly #pool: NodePool;
  readonly #options: CompiledClientOptions;
  readonly #target: SubscriptionTarget;
  readonly #stop = new AbortController();
  #call: ClientReadableStream<SubscribeResponse> | undefined;
  #token: string;
  #started = false;

  constructor(pool: NodePool, options: CompiledClientOptions, target: SubscriptionTarget) {
    this.#pool = pool;
    this.#options = options;
    this.#target = target;
    this.#token = target.resumeToken ?? "";
  }

  /** Continues after the last event that was taken. */
  get resumeToken(): string {
    return this.#token;
  }

  /** Ends the iteration. */
  close(): void {
    this.#stop.abort();
    this.#call?.cancel();
  }

  /** One iteration a subscription. */
  async *[Symbol.asyncIterator](): AsyncGenerator<SubscribeResponse, void, undefined> {
    if (this.#started) throw new Error("a subscription can be read once");
    this.#started = true;
    let failures = 0;
    let heardMs = performance.now();
    while (!this.#stop.signal.aborted) {
      const node = this.#pool.current();
      const options: Partial<CallOptions> = {};
      const call = node.consistency.subscribe(requestOf(this.#target, this.#token), new Metadata(), options);
      this.#call = call;
      let error = new MeshError("SHUTTING_DOWN", "the server ended the subscription");
      try {
        for await (const message of call as AsyncIterable<SubscribeResponse>) {
          failures = 0;
          heardMs = performance.now();
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
      if (error.reason === "INVALID_RESUME_TOKEN" && this.#token !== "") this.#token = "";
      else if (!isRetryable(error, true) || performance.now() - heardMs > (this.#target.giveUpAfterMs ?? 60_000)) throw error;
      if (isNodeAtFault(error)) this.#pool.failed(node);
      failures += 1;
      await sleep(backoffMs(error, failures, this.#options.backoffMinMs, this.#options.backoffMaxMs, Math.random()), this.#stop.signal);
    }
  }
}

export function isServiceError(thrown: unknown): thrown is ServiceError {
  return thrown instanceof Error && "code" in thrown && typeof thrown.code === "number" && "details" in thrown;
}
