/** Unary calls with a deadline, failover and bounded retries. */
import { type CallOptions, type ClientUnaryCall, Metadata, type ServiceError } from "@grpc/grpc-js";
import { MeshError, meshErrorFromServiceError } from "@statemesh/contract";
import type { CompiledClientOptions } from "./client-options.ts";
import type { NodeConnection, NodePool } from "./node-pool.ts";
import { backoffMs, isNodeAtFault, isRetryable, RetryBudget, unknownAfter } from "./retry.ts";

type Done<Response> = (error: ServiceError | null, response: Response) => void;

/** Starts one attempt on a node. */
export type StartCall<Response> = (node: NodeConnection, metadata: Metadata, options: Partial<CallOptions>, done: Done<Response>) => ClientUnaryCall;

/** What the caller knows about a call. */
export interface CallKind {
  /** It may change something. */
  readonly writes: boolean;
  /** Its effect is the same however often it is made. */
  readonly repeatable: boolean;
  /** It has an id that is decided once: a later refusal does not prove that no earlier attempt was accepted. */
  readonly decidedOnce?: boolean;
}

/** A read: changes nothing. */
export const READ_CALL: CallKind = { writes: false, repeatable: true };
/** An operation or a transaction. */
export const OPERATION: CallKind = { writes: true, repeatable: true, decidedOnce: true };
/** A write that sets what it says. */
export const REPEATABLE_WRITE: CallKind = { writes: true, repeatable: true };
/** A write that happens once more when it is sent once more. */
export const SINGLE_WRITE: CallKind = { writes: true, repeatable: false };

/** Of one call, what differs from the client's options. */
export interface CallLimits {
  /** Longest time with all retries, ms. */
  readonly deadlineMs?: number;
  /** Gives up: the call fails with CANCELLED, or with OUTCOME_UNKNOWN where it may have been done. */
  readonly signal?: AbortSignal;
}

/** Makes unary calls. */
export class UnaryCaller {
  readonly #pool: NodePool;
  readonly #options: CompiledClientOptions;
  readonly #budget: RetryBudget;

  constructor(pool: NodePool, options: CompiledClientOptions) {
    this.#pool = pool;
    this.#options = options;
    this.#budget = new RetryBudget(options.retryBudget, performance.now());
  }

  /**
   * Calls, and asks again (the same bytes, so the same ids) as long as that can help.
   *
   * @throws MeshError the answer; OUTCOME_UNKNOWN where an attempt of a write may have been done and no later one
   * brought its answer
   */
  async call<Response>(start: StartCall<Response>, kind: CallKind, limits: CallLimits = {}): Promise<Response> {
    const endMs = performance.now() + (limits.deadlineMs ?? this.#options.deadlineMs);
    let open: MeshError | undefined;
    for (let failures = 1; ; failures++) {
      const node = this.#pool.current();
      const error = await this.#attempt(node, start, kind, endMs, limits.signal);
      if (!(error instanceof MeshError)) return error.response;

      if (error.reason === "OUTCOME_UNKNOWN") open = error;
      if (isNodeAtFault(error)) this.#pool.failed(node);
      const leader = error.reason === "NOT_LEADER" ? error.metadata["leader_address"] : undefined;
      if (leader !== undefined) this.#pool.prefer(leader);
      if (limits.signal?.aborted === true) throw open ?? new MeshError("CANCELLED", "the caller gave up", { cause: error });
      if (!isRetryable(error, kind.repeatable)) throw kind.decidedOnce === true && open !== undefined ? unknownAfter(error) : error;

      const now = performance.now();
      const waitMs = backoffMs(error, failures, this.#options.backoffMinMs, this.#options.backoffMaxMs, Math.random());
      if (now + waitMs >= endMs || !this.#budget.take(now)) throw open ?? error;
      await sleep(waitMs, limits.signal);
    }
  }

  async #attempt<Response>(
    node: NodeConnection, start: StartCall<Response>, kind: CallKind, endMs: number, signal: AbortSignal | undefined,
  ): Promise<MeshError | { response: Response }> {
    if (signal?.aborted === true) return new MeshError("CANCELLED", "the caller gave up before the call was sent");
    const timeoutMs = Math.max(1, Math.min(endMs - performance.now(), this.#options.attemptTimeoutMs));
    return await new Promise((resolve) => {
      const giveUp = (): void => call.cancel();
      const call = start(node, new Metadata(), { deadline: Date.now() + timeoutMs }, (error, response) => {
        signal?.removeEventListener("abort", giveUp);
        resolve(error === null ? { response } : meshErrorFromServiceError(error, kind));
      });
      signal?.addEventListener("abort", giveUp, { once: true });
    });
  }
}

/** Waits; wakes early where the signal fires. */
export async function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted === true) return;
  await new Promise<void>((resolve) => {
    const wake = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", wake);
      resolve();
    };
    const timer = setTimeout(wake, ms);
    signal?.addEventListener("abort", wake, { once: true });
  });
}
