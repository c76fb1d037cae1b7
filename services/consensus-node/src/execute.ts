// The strong calls: Execute, ExecuteStream, Transact.
import {
  type Decision,
  type ExecuteRequest,
  type ExecuteResponse,
  type ExecuteStreamRequest,
  type ExecuteStreamResponse,
  MeshError,
  type OperationError,
  type OperationResult,
  Outcome,
  TransactRequest,
  type TransactResponse,
} from "@statemesh/contract";
import { type MeshNode, type Waiter, meshErrorOf } from "@statemesh/mesh";
import type { CallContext, RequestStream, Respond, ResponseStream } from "@statemesh/service";
import { ID_BYTES_MAX, checkName } from "@statemesh/world";
import { deadlineOf } from "./deadlines.ts";

/** Operations in one message of a stream. */
const MESSAGE_OPERATIONS = 1_024;
/** Undecided operations on a stream above which the server stops reading. */
const STREAM_UNDECIDED = 4_096;
const TRANSACTION_OPERATIONS = 64;
/** Bytes of a transaction: it travels and is logged whole. */
const TRANSACTION_BYTES = 1_048_576;

export function execute(
  node: MeshNode,
  defaultDeadlineMs: number,
  request: ExecuteRequest,
  context: CallContext,
  respond: Respond<ExecuteResponse>,
): void {
  if (request.operation === undefined) throw MeshError.field("operation", "is required");
  const deadlineMs = deadlineOf(context, node.host.clock.monotonicMs(), defaultDeadlineMs);
  node.edge.execute([request.operation], deadlineMs, {
    decided: (decision) => respond({ decision }),
    failed: (_, error) => respond.fail(meshErrorOf(error)),
  });
  node.dirty();
}

/** One stream of operations. Results that come together leave together. */
class ExecuteCall implements Waiter {
  readonly #node: MeshNode;
  readonly #defaultDeadlineMs: number;
  readonly #requests: RequestStream<ExecuteStreamRequest>;
  readonly #responses: ResponseStream<ExecuteStreamResponse>;
  readonly #context: CallContext;
  #results: OperationResult[] = [];
  #undecided = 0;
  #paused = false;
  #ended = false;
  #flushDue = false;

  constructor(
    node: MeshNode,
    defaultDeadlineMs: number,
    requests: RequestStream<ExecuteStreamRequest>,
    responses: ResponseStream<ExecuteStreamResponse>,
    context: CallContext,
  ) {
    this.#node = node;
    this.#defaultDeadlineMs = defaultDeadlineMs;
    this.#requests = requests;
    this.#responses = responses;
    this.#context = context;
  }

  start(): void {
    this.#requests.onMessage(
      (message) => this.#take(message),
      () => {
        this.#ended = true;
        this.#maybeEnd();
      },
    );
    this.#context.onShutdown(() => {
      this.#ended = true;
      this.#requests.pause();
      this.#maybeEnd();
    });
  }

  #take(message: ExecuteStreamRequest): void {
    const { operations } = message;
    if (operations.length === 0 || operations.length > MESSAGE_OPERATIONS) {
      throw MeshError.field("operations", `1..${MESSAGE_OPERATIONS} operations`);
    }
    this.#undecided += operations.length;
    if (!this.#paused && this.#undecided >= STREAM_UNDECIDED) {
      this.#paused = true;
      this.#requests.pause();
    }
    this.#node.edge.execute(operations, deadlineOf(this.#context, this.#node.host.clock.monotonicMs(), this.#defaultDeadlineMs), this);
    this.#node.dirty();
  }

  decided(decision: Decision): void {
    this.#add({ operationId: decision.operationId, result: { $case: "decision", value: decision } });
  }

  failed(operationId: string, error: OperationError): void {
    this.#add({ operationId, result: { $case: "error", value: error } });
  }

  #add(result: OperationResult): void {
    this.#undecided--;
    this.#results.push(result);
    if (this.#flushDue) return;
    this.#flushDue = true;
    setImmediate(() => this.#flush());
  }

  #flush(): void {
    this.#flushDue = false;
    const results = this.#results;
    this.#results = [];
    if (this.#responses.over) return;
    for (let at = 0; at < results.length; at += MESSAGE_OPERATIONS) {
      this.#responses.write({ results: at === 0 && results.length <= MESSAGE_OPERATIONS ? results : results.slice(at, at + MESSAGE_OPERATIONS) });
    }
    if (!this.#paused && !this.#ended && !this.#responses.writable) {
      this.#paused = true;
      this.#requests.pause();
    }
    if (this.#paused && !this.#ended && this.#undecided < STREAM_UNDECIDED / 2) this.#resumeWhenRead();
    this.#maybeEnd();
  }

  /** A caller that does not read its results is not read either. */
  #resumeWhenRead(): void {
    if (!this.#responses.writable) {
      this.#responses.onWritable(() => this.#resumeWhenRead());
      return;
    }
    if (!this.#paused || this.#ended) return;
    this.#paused = false;
    this.#requests.resume();
  }

  #maybeEnd(): void {
    if (this.#ended && this.#undecided === 0 && !this.#flushDue) this.#responses.end();
  }
}

export function executeStream(
  node: MeshNode,
  defaultDeadlineMs: number,
  requests: RequestStream<ExecuteStreamRequest>,
  responses: ResponseStream<ExecuteStreamResponse>,
  context: CallContext,
): void {
  new ExecuteCall(node, defaultDeadlineMs, requests, responses, context).start();
}

export function transact(
  node: MeshNode,
  defaultDeadlineMs: number,
  request: TransactRequest,
  context: CallContext,
  respond: Respond<TransactResponse>,
): void {
  checkName(request.transactionId, 1, ID_BYTES_MAX, "", "transaction_id");
  const { operations } = request;
  if (operations.length === 0 || operations.length > TRANSACTION_OPERATIONS) throw MeshError.field("operations", `1..${TRANSACTION_OPERATIONS} operations`);
  const place = new Map<string, number>();
  for (const [i, { operationId }] of operations.entries()) {
    if (place.has(operationId)) throw MeshError.field(`operations[${i}].operation_id`, "must be unique in the transaction");
    place.set(operationId, i);
  }
  if (TransactRequest.encode(request).finish().length > TRANSACTION_BYTES) {
    throw new MeshError("MESSAGE_TOO_LARGE", `a transaction is at most ${TRANSACTION_BYTES} bytes`);
  }
  const deadlineMs = deadlineOf(context, node.host.clock.monotonicMs(), defaultDeadlineMs);
  const decisions: Decision[] = [];
  let heard = 0;
  const begin = (): void => {
    node.edge.transact(request.transactionId, operations, deadlineMs, {
      decided: (decision) => {
        decisions[place.get(decision.operationId) ?? 0] = decision;
        if (++heard < operations.length) return;
        respond({ committed: decisions.every(({ outcome }) => outcome !== Outcome.REJECTED), decisions });
      },
      failed: (_, error) => respond.fail(meshErrorOf(error)),
    });
    node.dirty();
  };
  if (operations.every(({ serverId }) => node.directory.directory.server(serverId) !== undefined)) return begin();
  node.barrier(0, deadlineMs, (error) => {
    if (error !== undefined) return respond.fail(error);
    try {
      begin();
    } catch (refused) {
      respond.fail(refused);
    }
  });
}
