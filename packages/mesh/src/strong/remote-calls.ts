// Calls that other nodes forwarded here because this node leads the group. Their results go back in batches: what
// one pump decides for one call leaves in one answer.
import { type Decision, type ForwardedAnswer, type ForwardedCall, MeshError, type OperationError, type OperationResult, type StampedOperation } from "@statemesh/contract";
import { Command, CommandResult } from "@statemesh/contract/log";
import type { PendingOperation } from "@statemesh/replica";
import type { Policy } from "@statemesh/world";
import type { Waiter } from "./decision-queue.ts";
import { operationError } from "./operation-errors.ts";
import { pendingOf } from "./pending-of.ts";

export interface RemoteNode {
  wallMs(): number;
  monotonicMs(): number;
  readonly policy: Policy;
  submit(groupId: number, operations: readonly PendingOperation[], transactionId: string, waiter: Waiter, deadlineMs: number): void;
  localCommand(groupId: number, command: Command, done: (result: CommandResult | undefined, error: MeshError | undefined) => void): void;
  localReadIndex(groupId: number, done: (index: number | undefined, error: MeshError | undefined) => void): void;
  answer(peer: number, answer: ForwardedAnswer): void;
}

/** A call of several operations; answered in parts. */
class RemoteCall implements Waiter {
  readonly peer: number;
  readonly callId: number;
  open: number;
  results: OperationResult[] = [];
  readonly #touched: (call: RemoteCall) => void;

  constructor(peer: number, callId: number, operations: number, touched: (call: RemoteCall) => void) {
    this.peer = peer;
    this.callId = callId;
    this.open = operations;
    this.#touched = touched;
  }

  decided(decision: Decision): void {
    this.#add({ operationId: decision.operationId, result: { $case: "decision", value: decision } });
  }

  failed(operationId: string, error: OperationError): void {
    this.#add({ operationId, result: { $case: "error", value: error } });
  }

  #add(result: OperationResult): void {
    this.open--;
    this.results.push(result);
    if (this.results.length === 1) this.#touched(this);
  }
}

export class RemoteCalls {
  readonly #node: RemoteNode;
  #answered: RemoteCall[] = [];

  constructor(node: RemoteNode) {
    this.#node = node;
  }

  onCall(peer: number, call: ForwardedCall): void {
    const { callId, groupId } = call;
    switch (call.call?.$case) {
      case "operations":
        return this.#operations(peer, call, "", call.call.value.operations);
      case "transaction":
        return this.#operations(peer, call, call.call.value.transactionId, call.call.value.operations);
      case "command":
        return this.#command(groupId, call.call.value, (result, error) => {
          this.#node.answer(peer, {
            ...answerTo(callId),
            commandResult: result === undefined ? NO_BYTES : CommandResult.encode(result).finish(),
            error: error === undefined ? undefined : operationError(error),
          });
        });
      case "readIndex":
        return this.#node.localReadIndex(groupId, (index, error) => {
          this.#node.answer(peer, { ...answerTo(callId), readIndex: index ?? 0, error: error === undefined ? undefined : operationError(error) });
        });
      default:
        this.#node.answer(peer, { ...answerTo(callId), error: operationError(new MeshError("INTERNAL", "a call of a newer version")) });
    }
  }

  /** An entry that this version cannot apply would end every node that reads it: it never gets into the log. */
  #command(groupId: number, bytes: Uint8Array, done: (result: CommandResult | undefined, error: MeshError | undefined) => void): void {
    let command: Command;
    try {
      command = Command.decode(bytes);
    } catch (error) {
      return done(undefined, MeshError.from(error));
    }
    const body = command.command;
    const known = body?.$case === "hold" || body?.$case === "escrow" || (body?.$case === "fence" && body.value.region !== undefined) || ((body?.$case === "directory" || body?.$case === "membership") && body.value.command !== undefined) || (body?.$case === "transaction" && body.value.step !== undefined);
    if (known) return this.#node.localCommand(groupId, command, done);
    done(undefined, new MeshError("INTERNAL", "a command of a newer version"));
  }

  #operations(peer: number, call: ForwardedCall, transactionId: string, operations: readonly StampedOperation[]): void {
    const waiter = new RemoteCall(peer, call.callId, operations.length, (touched) => this.#answered.push(touched));
    const nowMs = this.#node.monotonicMs();
    const deadlineOf = (stamped: StampedOperation | undefined): number => nowMs + (stamped?.timeoutMs || call.timeoutMs);
    const pending: PendingOperation[] = [];
    for (const stamped of operations) {
      const one = this.#pending(stamped);
      // A transaction is refused whole.
      if (one === undefined && transactionId !== "") return refuseAll(operations, waiter);
      if (one === undefined) refuseAll([stamped], waiter);
      else if (transactionId === "") this.#node.submit(call.groupId, [one], "", waiter, deadlineOf(stamped));
      else pending.push(one);
    }
    if (transactionId !== "") this.#node.submit(call.groupId, pending, transactionId, waiter, deadlineOf(operations[0]));
  }

  #pending(stamped: StampedOperation): PendingOperation | undefined {
    return pendingOf(stamped, this.#node.policy, Math.floor(this.#node.wallMs()) + this.#node.policy.maxOffsetMs);
  }

  /** Sends the answers that came together. Called once a pump. */
  flush(): void {
    if (this.#answered.length === 0) return;
    const answered = this.#answered;
    this.#answered = [];
    for (const call of answered) {
      const results = call.results;
      call.results = [];
      this.#node.answer(call.peer, { ...answerTo(call.callId), results, last: call.open === 0 });
    }
  }
}

const NO_BYTES = new Uint8Array(0);

/** The nodes' policies or versions differ: this one does not know the type, or what is in it. Said, never guessed. */
function refuseAll(operations: readonly StampedOperation[], waiter: Waiter): void {
  for (const { operation } of operations) {
    const { operationId, type } = operation ?? { operationId: "", type: "" };
    waiter.failed(
      operationId,
      operationError(new MeshError("UNKNOWN_TYPE", `operation.type: the leader knows no strong operation ${type} of this content`, { field: "operation.type" })),
    );
  }
}

function answerTo(callId: number): ForwardedAnswer {
  return { callId, results: [], commandResult: NO_BYTES, readIndex: 0, error: undefined, last: true };
}
