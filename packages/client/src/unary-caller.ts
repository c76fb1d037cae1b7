/** Unary calls with a deadline, failover and bounded retries. */
import { type CallOptions, type ClientUnaryCall, Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { MeshError, type Region } from "@statemesh/contract";
import type { CompiledClientOptions } from "./client-options.ts";
import { Hedging } from "./hedging.ts";
import type { LeaderTable } from "./leader-table.ts";
import type { NodeConnection, NodePool } from "./node-pool.ts";
import { backoffMs, gaveUp, isNodeAtFault, isRetryable, type RetryBudget, unknownAfter } from "./retry.ts";
import { transportError } from "./transport-error.ts";

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
  /** A read of which a second node may be asked too; the name stands for reads that take about the same time. */
  readonly hedge?: string;
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
  /** Longest time for one attempt before another node is asked, ms. */
  readonly attemptTimeoutMs?: number;
  /** Gives up: the call fails with CANCELLED, or with OUTCOME_UNKNOWN where it may have been done. */
  readonly signal?: AbortSignal;
}

/** How one attempt ended, and where. */
interface Answer<Response> {
  readonly node: NodeConnection;
  /** The response, or why there is none. */
  readonly outcome: MeshError | { readonly response: Response };
}

/** An attempt under way. */
interface Attempt<Response> {
  readonly answer: Promise<Answer<Response>>;
  cancel(): void;
}

/** What a caller works with. */
export interface CallerParts {
  readonly pool: NodePool;
  readonly options: CompiledClientOptions;
  readonly budget: RetryBudget;
  readonly leaders: LeaderTable;
}

/** Makes unary calls. */
export class UnaryCaller {
  readonly hedging: Hedging;
  readonly #pool: NodePool;
  readonly #options: CompiledClientOptions;
  readonly #budget: RetryBudget;
  readonly #leaders: LeaderTable;
  /** Cancels attempts and wakes who waits for the next one. */
  readonly #underWay = new Set<() => void>();

  constructor({ pool, options, budget, leaders }: CallerParts) {
    this.#pool = pool;
    this.#options = options;
    this.#budget = budget;
    this.#leaders = leaders;
    this.hedging = new Hedging(options.hedgePercent);
    pool.whenClosed(() => {
      for (const stop of [...this.#underWay]) stop();
    });
  }

  /**
   * Calls, and asks again (the same bytes, so the same ids) as long as that can help.
   *
   * @param near the region that the call is about: its group's leader is asked first, where it is known
   * @throws MeshError the answer; OUTCOME_UNKNOWN where an attempt of a write may have been done and no later one
   * brought its answer; CANCELLED after the client was closed, or where it was closed before anything was sent
   */
  async call<Response>(start: StartCall<Response>, kind: CallKind, limits: CallLimits = {}, near?: Region): Promise<Response> {
    const endMs = performance.now() + (limits.deadlineMs ?? this.#options.deadlineMs);
    let open: MeshError | undefined;
    let before: MeshError | undefined;
    for (let failures = 1; ; failures++) {
      // A leader that did not answer well is no better the second time.
      const leader = failures === 1 && near !== undefined ? this.#leaders.nodeOf(near) : undefined;
      const { node, outcome: error } = await this.#ask(leader ?? this.#current(open), start, kind, endMs, limits);
      if (!(error instanceof MeshError)) return error.response;

      if (error.reason === "OUTCOME_UNKNOWN") open = error;
      if (isNodeAtFault(error)) {
        this.#pool.failed(node);
        this.#leaders.forget(node.address);
      }
      const elsewhere = error.reason === "NOT_LEADER" ? error.metadata["leader_address"] : undefined;
      if (elsewhere !== undefined) this.#pool.prefer(elsewhere);
      if (this.#pool.closed) throw open ?? new MeshError("CANCELLED", "the client was closed", { cause: error });
      if (limits.signal?.aborted === true) throw open ?? new MeshError("CANCELLED", "the caller gave up", { cause: error });
      // Of a write that was not sent nothing can happen twice.
      if (!isRetryable(error, kind.repeatable || (kind.writes && error.reason === "UNREACHABLE"))) throw kind.decidedOnce === true && open !== undefined ? unknownAfter(error) : error;

      const now = performance.now();
      const waitMs = backoffMs(error, failures, this.#options.backoffMinMs, this.#options.backoffMaxMs, Math.random());
      // Of an attempt for which hardly any time was left the one before says more.
      if (now >= endMs && before !== undefined && isTimeout(error)) throw gaveUp(open ?? before, failures, true);
      if (now + waitMs >= endMs || !this.#budget.take(now)) throw gaveUp(open ?? error, failures, now + waitMs >= endMs);
      before = error;
      await this.#wait(waitMs, limits.signal);
    }
  }

  /** The node to ask. Throws CANCELLED where the client was closed; what an earlier attempt may have done stays open. */
  #current(open: MeshError | undefined): NodeConnection {
    try {
      return this.#pool.current();
    } catch (closed) {
      throw open ?? closed;
    }
  }

  /** Until the next attempt, or until nobody waits for it any more. */
  async #wait(ms: number, signal: AbortSignal | undefined): Promise<void> {
    const wake = new AbortController();
    const stop = (): void => wake.abort();
    this.#underWay.add(stop);
    signal?.addEventListener("abort", stop, { once: true });
    if (signal?.aborted === true) stop();
    try {
      await sleep(ms, wake.signal);
    } finally {
      this.#underWay.delete(stop);
      signal?.removeEventListener("abort", stop);
    }
  }

  /** One attempt, of a read perhaps at two nodes. */
  async #ask<Response>(node: NodeConnection, start: StartCall<Response>, kind: CallKind, endMs: number, limits: CallLimits): Promise<Answer<Response>> {
    const { signal } = limits;
    const first = this.#attempt(node, start, kind, endMs, limits);
    if (kind.hedge === undefined || this.#pool.besides(node) === undefined) return await first.answer;
    const startedMs = performance.now();
    const delayMs = this.hedging.begin(kind.hedge);
    const early = await within(first.answer, delayMs);
    // None any more where the client was closed meanwhile.
    const second = this.#pool.besides(node);
    if (early !== undefined || second === undefined || signal?.aborted === true || !this.hedging.take()) {
      const answer = early ?? (await first.answer);
      if (!(answer.outcome instanceof MeshError)) this.hedging.answered(kind.hedge, performance.now() - startedMs, false);
      return answer;
    }
    const other = this.#attempt(second, start, kind, endMs, limits);
    const sooner = await Promise.race([first.answer, other.answer]);
    // A refusal that any node would give counts; what is this node's own trouble waits for the other.
    const isTrouble = ({ outcome }: Answer<Response>): boolean => outcome instanceof MeshError && isRetryable(outcome, true);
    let answer = isTrouble(sooner) ? await (sooner.node === node ? other : first).answer : sooner;
    if (isTrouble(answer)) answer = await first.answer;
    (answer.node === node ? other : first).cancel();
    if (answer.outcome instanceof MeshError) return answer;
    this.hedging.answered(kind.hedge, performance.now() - startedMs, answer.node !== node);
    return answer;
  }

  #attempt<Response>(node: NodeConnection, start: StartCall<Response>, kind: CallKind, endMs: number, { signal, attemptTimeoutMs = this.#options.attemptTimeoutMs }: CallLimits): Attempt<Response> {
    if (signal?.aborted === true) {
      const outcome = new MeshError("CANCELLED", "the caller gave up before the call was sent");
      return { answer: Promise.resolve({ node, outcome }), cancel: () => undefined };
    }
    const timeoutMs = Math.max(1, Math.min(endMs - performance.now(), attemptTimeoutMs));
    let call: ClientUnaryCall | undefined;
    const cancel = (): void => call?.cancel();
    const answer = new Promise<Answer<Response>>((resolve) => {
      call = start(node, new Metadata(), { deadline: Date.now() + timeoutMs }, (error, response) => {
        signal?.removeEventListener("abort", cancel);
        this.#underWay.delete(cancel);
        resolve({ node, outcome: error === null ? { response } : transportError(error, kind, node.address) });
      });
      this.#underWay.add(cancel);
      signal?.addEventListener("abort", cancel, { once: true });
    });
    return { answer, cancel };
  }
}

/** Nothing came in the time of an attempt. */
function isTimeout({ cause }: MeshError): boolean {
  return cause instanceof Error && "code" in cause && cause.code === status.DEADLINE_EXCEEDED;
}

/** What a promise brings within a time; undefined: nothing yet. */
async function within<T>(promise: Promise<T>, ms: number): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
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
