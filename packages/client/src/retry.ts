/** When to ask again, how often and how soon. */
import { MeshError, type Reason } from "@statemesh/contract";

/** Refused before anything was done: any call may ask again. */
export const REFUSED_FOR_NOW: ReadonlySet<Reason> = new Set([
  "NO_QUORUM", "MINORITY_PARTITION", "NOT_LEADER", "SHUTTING_DOWN", "OVERLOADED", "QUOTA_EXCEEDED", "LOG_FULL", "STORE_UNAVAILABLE", "TOKEN_AHEAD", "TRANSACTION_PENDING", "ESCROW_NOT_READY",
]);
/** Nobody knows what was done: only a call that may be repeated can ask again. */
export const OPEN: ReadonlySet<Reason> = new Set(["OUTCOME_UNKNOWN", "UNREACHABLE", "DEADLINE_EXCEEDED"]);
/** Another node may do better. */
const NODE_AT_FAULT: ReadonlySet<Reason> = new Set(["NO_QUORUM", "MINORITY_PARTITION", "SHUTTING_DOWN", "OUTCOME_UNKNOWN", "UNREACHABLE", "DEADLINE_EXCEEDED"]);

/**
 * Whether asking again can help.
 *
 * @param repeatable the call has the same effect however often it is made: a read, or a write with an id of its own
 */
export function isRetryable(error: MeshError, repeatable: boolean): boolean {
  return REFUSED_FOR_NOW.has(error.reason) || (repeatable && OPEN.has(error.reason));
}

/**
 * The refusal of an operation of which an earlier attempt may have been accepted: the lease, the registration or the
 * receiver's clock may have changed in between, so that it proves nothing of that attempt.
 */
export function unknownAfter(error: MeshError): MeshError {
  // The id stands for other content, so this content was never decided.
  if (error.reason === "OPERATION_ID_REUSED") return error;
  return new MeshError("OUTCOME_UNKNOWN", `an earlier attempt may have been accepted; the last was answered: ${error.message}`, {
    metadata: { last_reason: error.reason },
    cause: error,
  });
}

/** Whether the next attempt should go to another node. */
export function isNodeAtFault(error: MeshError): boolean {
  return NODE_AT_FAULT.has(error.reason);
}

/**
 * Wait before an attempt, ms: the server's own word where it gave one, else exponential; always with jitter, so that
 * callers that failed together don't come back together.
 *
 * @param failures attempts that failed so far, from 1
 * @param random uniform in [0, 1)
 */
export function backoffMs(error: MeshError | undefined, failures: number, minMs: number, maxMs: number, random: number): number {
  if (error?.retryDelayMs !== undefined) return error.retryDelayMs * (1 + random / 2);
  const ceiling = Math.min(maxMs, minMs * 2 ** Math.min(failures - 1, 20));
  return ceiling * (0.5 + random / 2);
}

/** The last error of a call that is not tried again, with how it came to that. @param isLate its deadline is over; else no retry was left */
export function gaveUp(error: MeshError, attempts: number, isLate: boolean): MeshError {
  const { reason, message, metadata, field, retryDelayMs } = error;
  const why = isLate ? "the deadline of the call" : "the client's budget of retries was used up";
  const details = { metadata, cause: error, ...(field === undefined ? {} : { field }), ...(retryDelayMs === undefined ? {} : { retryDelayMs }) };
  return new MeshError(reason, `${message} (given up after ${attempts} ${attempts === 1 ? "attempt" : "attempts"}: ${why})`, details);
}

/** Retries that all calls of a client share, so that a mesh in trouble does not get a multiple of its load. */
export class RetryBudget {
  readonly #max: number;
  #tokens: number;
  #filledAtMs: number;

  /** @param max retries that can be saved up; a quarter of it comes back a second */
  constructor(max: number, nowMs: number) {
    this.#max = max;
    this.#tokens = max;
    this.#filledAtMs = nowMs;
  }

  /** Takes one retry; false where none is left. */
  take(nowMs: number): boolean {
    this.#tokens = Math.min(this.#max, this.#tokens + ((nowMs - this.#filledAtMs) * this.#max) / 4_000);
    this.#filledAtMs = nowMs;
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }
}

/** A node that is not there is noticed sooner: a call that lasted longer was a connection, if one without news. Milliseconds. */
const CONNECTED_MS = 30_000;

/** How long a stream that is opened again and again has been without a connection: quiet is no outage. */
export class Outage {
  #sinceMs: number;

  constructor(nowMs: number) {
    this.#sinceMs = nowMs;
  }

  /** A call has ended, which was opened at `openedMs` and brought something or not. Returns how long there has been no connection, ms. */
  broken(openedMs: number, hasBrought: boolean, nowMs: number): number {
    if (hasBrought || nowMs - openedMs > CONNECTED_MS) this.#sinceMs = nowMs;
    return nowMs - this.#sinceMs;
  }
}
