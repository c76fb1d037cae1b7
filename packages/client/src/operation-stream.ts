/**
 * Strong operations, pipelined on one stream. Operations submitted in one turn of the event loop travel together.
 * The stream outlives its connections: what is undecided goes again to another node, with the same ids.
 */
import type { ClientDuplexStream } from "@grpc/grpc-js";
import {
  type Decision, type ExecuteStreamRequest, type ExecuteStreamResponse, MeshError, type Operation, type OperationError,
  type Reason, Reasons, type Region,
} from "@statemesh/contract";
import { sameRegion } from "@statemesh/world";
import { callGame, type OnError } from "./game-code.ts";
import type { LeaderTable } from "./leader-table.ts";
import type { NodeConnection, NodePool } from "./node-pool.ts";
import { backoffMs, isNodeAtFault, isRetryable, type RetryBudget, unknownAfter } from "./retry.ts";
import { transportError } from "./transport-error.ts";

/** Most operations that a server lets a stream have undecided. */
export const WINDOW_MAX = 4_096;
const BATCH_OPERATIONS_MAX = 1_024;
/** Servers refuse messages of more than 4 MiB; operations of average size are far below it. */
const BATCH_BYTES_MAX = 1_048_576;
/** What an operation takes besides its opaque bytes, at least about. */
const OPERATION_BYTES = 256;
const SWEEP_MS = 25;

/** How a stream behaves. */
export interface StreamOptions {
  /** Most undecided operations, 1..4,096. Default 1,024. */
  readonly window?: number;
  /** Longest time for an operation with all its retries, ms. Default 30,000. */
  readonly deadlineMs?: number;
  /** With operations undecided and nothing heard for this long the connection is given up, ms. Default 5,000. */
  readonly silenceMs?: number;
  /** First wait before a connection is made again, ms. Default 20. */
  readonly backoffMinMs?: number;
  /** Longest wait before a connection is made again, ms. Default 500. */
  readonly backoffMaxMs?: number;
}

/** Told once an operation: the decision, or why there is none. OUTCOME_UNKNOWN: it may have been committed. */
export type Decided = (error: MeshError | undefined, decision: Decision | undefined) => void;

/** Counts since the stream was made. */
export interface StreamCounts {
  /** Operations taken. */
  readonly submitted: number;
  /** Operations with a decision. */
  readonly decided: number;
  /** Operations that ended with an error. */
  readonly failed: number;
  /** Times that an operation was sent once more. */
  readonly resent: number;
  /** Connections made. */
  readonly connections: number;
}

/** What a stream needs of its client. */
export interface StreamParts {
  readonly pool: NodePool;
  /** Retries that it shares with all other calls. */
  readonly budget: RetryBudget;
  readonly leaders: LeaderTable;
  /** Told of what `done` throws. */
  readonly onError: OnError;
  /** Told once of its end. */
  ended(): void;
  /** Told of every refusal. */
  refused(operation: Operation, error: MeshError): void;
}

interface Pending {
  readonly operation: Operation;
  readonly done: Decided;
  readonly endMs: number;
  /** Sent at least once, so that it may have been done. */
  sent: boolean;
  /** An attempt ended without an answer. */
  open: boolean;
  failures: number;
  /** Earliest time to send it again; 0 where it is queued or on its way. */
  retryAtMs: number;
}

type Call = ClientDuplexStream<ExecuteStreamRequest, ExecuteStreamResponse>;

function bytesOf(operation: Operation): number {
  const { body } = operation;
  if (body?.$case === "terrainModification") return OPERATION_BYTES + body.value.brush.length;
  if (body?.$case === "custom") return OPERATION_BYTES + body.value.state.length;
  if (body?.$case !== "structurePlacement") return OPERATION_BYTES;
  let bytes = OPERATION_BYTES;
  for (const value of body.value.attributes.values()) bytes += 64 + value.length * 3;
  return bytes;
}

function isReason(text: string): text is Reason {
  return Object.hasOwn(Reasons, text);
}

/** An operation's error as the unary call would have thrown it. */
export function meshErrorFromOperationError(error: OperationError): MeshError {
  const delay = Number(error.metadata.get("retry_delay_ms"));
  const field = error.metadata.get("field");
  return new MeshError(isReason(error.reason) ? error.reason : "INTERNAL", error.message, {
    metadata: Object.fromEntries(error.metadata),
    ...(delay > 0 ? { retryDelayMs: delay } : {}),
    ...(field === undefined ? {} : { field }),
  });
}

/** Waits to be woken, or for the signal. */
async function woken(wakers: Set<() => void>, signal: AbortSignal | undefined): Promise<void> {
  if (signal?.aborted === true) return;
  await new Promise<void>((resolve) => {
    const waker = (): void => {
      wakers.delete(waker);
      signal?.removeEventListener("abort", waker);
      resolve();
    };
    wakers.add(waker);
    signal?.addEventListener("abort", waker, { once: true });
  });
}

function wake(wakers: Set<() => void>): void {
  for (const waker of [...wakers]) waker();
}

/** A pipelined stream of strong operations. */
export class OperationStream {
  /** Most undecided operations. */
  readonly window: number;
  readonly #parts: StreamParts;
  readonly #pool: NodePool;
  readonly #deadlineMs: number;
  readonly #silenceMs: number;
  readonly #backoffMinMs: number;
  readonly #backoffMaxMs: number;
  /** Undecided, in the order of submission, which is the order of their deadlines too. */
  readonly #pending = new Map<string, Pending>();
  /** To be sent as soon as the connection takes it. */
  #queue: Pending[] = [];
  /** Callers of `execute` that wait for room, in order; as many as the window at most. */
  readonly #waiting = new Set<() => void>();
  /** How many entries have a time to be sent again. */
  #retrying = 0;
  #call: Call | undefined;
  #node: NodeConnection | undefined;
  #blocked = false;
  #flushing = false;
  #closed = false;
  #failures = 0;
  /** How the last connection ended, until the next one brings something. */
  #broken: MeshError | undefined;
  #heardMs = 0;
  #sweptMs = 0;
  #reconnect: NodeJS.Timeout | undefined;
  #sweep: NodeJS.Timeout | undefined;
  readonly #drained = new Set<() => void>();
  readonly #partlyDrained = new Set<{ readonly left: Set<Pending>; readonly resolve: () => void }>();
  #counts = { submitted: 0, decided: 0, failed: 0, resent: 0, connections: 0 };

  constructor(parts: StreamParts, options: StreamOptions = {}) {
    this.window = options.window ?? 1_024;
    if (!Number.isInteger(this.window) || this.window < 1 || this.window > WINDOW_MAX) {
      throw MeshError.field("window", `must be a whole number in 1..${WINDOW_MAX}`);
    }
    this.#parts = parts;
    this.#pool = parts.pool;
    this.#deadlineMs = options.deadlineMs ?? 30_000;
    this.#silenceMs = options.silenceMs ?? 5_000;
    this.#backoffMinMs = options.backoffMinMs ?? 20;
    this.#backoffMaxMs = options.backoffMaxMs ?? 500;
  }

  /** Undecided operations. */
  get undecided(): number {
    return this.#pending.size;
  }

  /** What became of what was submitted. */
  get counts(): StreamCounts {
    return { ...this.#counts };
  }

  /**
   * Takes an operation; `done` is called once, later. False where the window is full: nothing was taken.
   *
   * @throws MeshError CANCELLED after `close`; INVALID_FIELD where the id is undecided on this stream already
   */
  submit(operation: Operation, done: Decided): boolean {
    if (this.#closed) throw new MeshError("CANCELLED", "the stream is closed");
    if (this.#pending.size >= this.window) return false;
    if (this.#pending.has(operation.operationId)) throw MeshError.field("operation_id", "is undecided on this stream already");
    const now = performance.now();
    if (this.#pending.size === 0) this.#heardMs = this.#sweptMs = now;
    const entry: Pending = { operation, done, endMs: now + this.#deadlineMs, sent: false, open: false, failures: 0, retryAtMs: 0 };
    this.#pending.set(operation.operationId, entry);
    this.#queue.push(entry);
    this.#counts.submitted += 1;
    this.#sweep ??= setInterval(() => this.#onSweep(), SWEEP_MS);
    this.#flushSoon();
    return true;
  }

  /**
   * Takes an operation and waits for its decision, first for room where the window is full.
   *
   * @param limits where `signal` fires first, the caller waits no longer: CANCELLED where the operation was not sent, else OUTCOME_UNKNOWN
   * @throws MeshError the operation's error; OVERLOADED where as many callers as the window wait for room already
   */
  async execute(operation: Operation, { signal }: { readonly signal?: AbortSignal } = {}): Promise<Decision> {
    while (this.#pending.size >= this.window && !this.#closed && signal?.aborted !== true) {
      if (this.#waiting.size >= this.window) throw new MeshError("OVERLOADED", `${this.window} callers wait for room on the stream already`);
      await woken(this.#waiting, signal);
    }
    if (signal?.aborted === true) {
      // Its turn is another's.
      this.#wakeWaiting();
      throw new MeshError("CANCELLED", "the caller gave up before the operation was sent");
    }
    return await new Promise((resolve, reject) => {
      const giveUp = (): void => this.#giveUp(operation.operationId);
      const taken = this.submit(operation, (error, decision) => {
        signal?.removeEventListener("abort", giveUp);
        if (decision !== undefined) resolve(decision);
        else reject(error ?? new MeshError("INTERNAL", "neither decision nor error"));
      });
      if (taken) signal?.addEventListener("abort", giveUp, { once: true });
      else reject(new MeshError("OVERLOADED", "the window is full"));
    });
  }

  /**
   * Waits until everything submitted is decided or has failed. With a region: until that is so of what was submitted there
   * before the call, whatever goes on elsewhere.
   *
   * @throws MeshError CANCELLED where `signal` fires first; what is undecided goes on
   */
  async drain(region?: Region, { signal }: { readonly signal?: AbortSignal } = {}): Promise<void> {
    if (this.#pending.size === 0) return;
    if (region === undefined) await woken(this.#drained, signal);
    else await this.#drainedIn(region, signal);
    if (signal?.aborted === true) throw new MeshError("CANCELLED", "the caller gave up before everything was decided");
  }

  async #drainedIn(region: Region, signal: AbortSignal | undefined): Promise<void> {
    const left = new Set([...this.#pending.values()].filter(({ operation: { homeRegion } }) => homeRegion !== undefined && sameRegion(homeRegion, region)));
    if (left.size === 0) return;
    const wakers = new Set<() => void>();
    const drain = { left, resolve: () => wake(wakers) };
    this.#partlyDrained.add(drain);
    await woken(wakers, signal);
    this.#partlyDrained.delete(drain);
  }

  /** As `close`: for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }

  #giveUp(operationId: string): void {
    const entry = this.#pending.get(operationId);
    if (entry === undefined) return;
    this.#fail(entry, new MeshError("CANCELLED", "the caller gave up"));
    this.#settleIfEmpty();
    this.#wakeWaiting();
  }

  #wakeWaiting(): void {
    let room = this.window - this.#pending.size;
    for (const waker of this.#waiting) {
      if (room-- <= 0) return;
      this.#waiting.delete(waker);
      waker();
    }
  }

  /** Ends the stream. What is undecided fails: OUTCOME_UNKNOWN where it was sent, else CANCELLED. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#parts.ended();
    clearTimeout(this.#reconnect);
    const call = this.#call;
    this.#call = undefined;
    if (this.#pending.size === 0) call?.end();
    else call?.cancel();
    for (const entry of [...this.#pending.values()]) this.#fail(entry, new MeshError("CANCELLED", "the stream was closed"));
    this.#settleIfEmpty();
    wake(this.#waiting);
  }

  #flushSoon(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    setImmediate(() => {
      this.#flushing = false;
      this.#flush();
    });
  }

  #flush(): void {
    if (this.#closed || this.#blocked || this.#queue.length === 0 || this.#reconnect !== undefined) return;
    const call = this.#call ?? this.#connect();
    let at = 0;
    while (at < this.#queue.length && !this.#blocked) {
      const operations: Operation[] = [];
      let bytes = 0;
      while (at < this.#queue.length && operations.length < BATCH_OPERATIONS_MAX && bytes < BATCH_BYTES_MAX) {
        const entry = this.#queue[at++];
        // Decided or timed out while it was queued.
        if (entry === undefined || this.#pending.get(entry.operation.operationId) !== entry) continue;
        if (entry.sent) {
          // No retry is left: it waits for one. Its deadline still counts.
          if (!this.#parts.budget.take(performance.now())) {
            this.#sendAt(entry, performance.now() + this.#backoffMaxMs * (0.5 + Math.random() / 2));
            continue;
          }
          this.#counts.resent += 1;
        }
        entry.sent = true;
        operations.push(entry.operation);
        bytes += bytesOf(entry.operation);
      }
      if (operations.length > 0) this.#blocked = !call.write({ operations });
    }
    this.#queue = at < this.#queue.length ? this.#queue.slice(at) : [];
  }

  #connect(): Call {
    // Where the operations are decided; what is for other groups is passed on by that node.
    const near = this.#failures === 0 ? this.#queue[0]?.operation.homeRegion : undefined;
    const node = (near === undefined ? undefined : this.#parts.leaders.nodeOf(near)) ?? this.#pool.current();
    const call = node.consistency.executeStream();
    this.#node = node;
    this.#call = call;
    this.#blocked = false;
    this.#heardMs = performance.now();
    this.#counts.connections += 1;
    call.on("data", (response: ExecuteStreamResponse) => {
      if (this.#call === call) this.#onResults(response);
    });
    call.on("drain", () => {
      if (this.#call !== call) return;
      this.#blocked = false;
      this.#flush();
    });
    call.on("error", (error) => {
      if (this.#call === call) this.#onBroken(transportError(error, { writes: true }, node.address));
    });
    call.on("end", () => {
      // A server that ends the stream by itself is going down; errors come as `error`.
      if (this.#call === call) this.#onBroken(new MeshError("SHUTTING_DOWN", "the server ended the stream"));
    });
    return call;
  }

  #onResults(response: ExecuteStreamResponse): void {
    this.#heardMs = performance.now();
    this.#failures = 0;
    this.#broken = undefined;
    for (const { operationId, result } of response.results) {
      const entry = this.#pending.get(operationId);
      if (entry === undefined || result === undefined) continue;
      if (result.$case === "decision") {
        this.#forget(entry);
        this.#counts.decided += 1;
        callGame(this.#parts.onError, "stream.submit's done", () => entry.done(undefined, result.value));
        continue;
      }
      const error = meshErrorFromOperationError(result.value);
      if (error.reason === "OUTCOME_UNKNOWN") entry.open = true;
      if (isRetryable(error, true)) this.#retryLater(entry, error);
      else {
        this.#parts.refused(entry.operation, error);
        this.#fail(entry, entry.open ? unknownAfter(error) : error, true);
      }
    }
    this.#settleIfEmpty();
    this.#wakeWaiting();
  }

  #retryLater(entry: Pending, error: MeshError): void {
    entry.failures += 1;
    this.#sendAt(entry, performance.now() + backoffMs(error, entry.failures, this.#backoffMinMs, this.#backoffMaxMs, Math.random()));
  }

  #sendAt(entry: Pending, atMs: number): void {
    if (entry.retryAtMs === 0) this.#retrying += 1;
    entry.retryAtMs = atMs;
  }

  #onBroken(error: MeshError): void {
    const node = this.#node;
    this.#call = undefined;
    this.#blocked = false;
    if (node !== undefined) {
      this.#pool.failed(node);
      if (isNodeAtFault(error)) this.#parts.leaders.forget(node.address);
    }
    for (const entry of this.#pending.values()) {
      if (!entry.sent || entry.retryAtMs !== 0) continue;
      // There was no connection: what an attempt before this one did is as open as it was.
      if (error.reason === "UNREACHABLE") entry.sent = entry.open;
      else entry.open = true;
    }
    this.#broken = error;
    if (!isRetryable(error, true)) {
      // The server refuses what we send, and would again.
      for (const entry of [...this.#pending.values()]) this.#fail(entry, error);
      this.#settleIfEmpty();
      return;
    }
    this.#failures += 1;
    this.#queue = [...this.#pending.values()].filter((entry) => entry.retryAtMs === 0);
    if (this.#pending.size === 0) return;
    const waitMs = backoffMs(error, this.#failures, this.#backoffMinMs, this.#backoffMaxMs, Math.random());
    this.#reconnect = setTimeout(() => {
      this.#reconnect = undefined;
      this.#flush();
    }, waitMs);
  }

  #onSweep(): void {
    const now = performance.now();
    // Time in which this process was held up says nothing of the server: what it sent is not read yet.
    this.#heardMs += Math.max(0, now - this.#sweptMs - 2 * SWEEP_MS);
    this.#sweptMs = now;
    for (const entry of this.#pending.values()) {
      if (entry.endMs > now) break;
      const why = this.#broken === undefined ? "" : `; the last connection: ${this.#broken.message}`;
      this.#fail(entry, new MeshError("DEADLINE_EXCEEDED", `no decision within ${this.#deadlineMs} ms${why}`));
    }
    if (this.#retrying > 0) {
      for (const entry of this.#pending.values()) {
        if (entry.retryAtMs === 0 || entry.retryAtMs > now) continue;
        entry.retryAtMs = 0;
        this.#retrying -= 1;
        this.#queue.push(entry);
      }
    }
    const call = this.#call;
    // Silence while everything waits for its own retry is the client's, not the server's.
    if (call !== undefined && now - this.#heardMs > this.#silenceMs && this.#pending.size > this.#retrying) {
      this.#onBroken(new MeshError("OUTCOME_UNKNOWN", `the server said nothing for ${this.#silenceMs} ms`));
      call.cancel();
    }
    this.#settleIfEmpty();
    this.#flush();
    this.#wakeWaiting();
  }

  /** @param answered the server said so of the last attempt, and no earlier one is open */
  #fail(entry: Pending, error: MeshError, answered = false): void {
    this.#forget(entry);
    this.#counts.failed += 1;
    const open = entry.sent && !answered && error.reason !== "OUTCOME_UNKNOWN";
    const told = open ? new MeshError("OUTCOME_UNKNOWN", `may have been committed, ask again under the same id: ${error.message}`, { cause: error }) : error;
    callGame(this.#parts.onError, "stream.submit's done", () => entry.done(told, undefined));
  }

  #forget(entry: Pending): void {
    this.#pending.delete(entry.operation.operationId);
    if (entry.retryAtMs !== 0) this.#retrying -= 1;
    for (const drain of this.#partlyDrained) {
      if (!drain.left.delete(entry) || drain.left.size > 0) continue;
      this.#partlyDrained.delete(drain);
      drain.resolve();
    }
  }

  #settleIfEmpty(): void {
    if (this.#pending.size > 0) return;
    clearInterval(this.#sweep);
    this.#sweep = undefined;
    clearTimeout(this.#reconnect);
    this.#reconnect = undefined;
    wake(this.#drained);
  }
}
