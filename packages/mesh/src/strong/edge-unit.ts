import type { Decision, OperationError } from "@statemesh/contract";
import type { Admission } from "../flow/admission.ts";
import type { PendingOperation } from "@statemesh/replica";
import { operationBytes, type Waiter } from "./decision-queue.ts";

/** Who hears of a unit. */
export interface UnitOwner {
  decided(unit: EdgeUnit, decision: Decision): void;
  failed(unit: EdgeUnit, operationId: string, error: OperationError): void;
}

/** A unit that a caller waits for: one operation, or a transaction. */
export class EdgeUnit implements Waiter {
  readonly edge: UnitOwner;
  readonly groupId: number;
  readonly operations: readonly PendingOperation[];
  readonly transactionId: string;
  readonly caller: Waiter;
  readonly admission: Admission;
  readonly deadlineMs: number;
  /** About how many bytes its operations take. */
  readonly bytes: number;
  /** Operations not answered yet. */
  open: number;
  /** It left this node, or entered the local log queue, at least once: its outcome may be unknown. */
  sent = false;
  /** A try ended without an answer: it may have been done. */
  unknown = false;
  /** It stands in the list of what is to be sent. */
  waiting = false;
  /** Number of the forwarded call it travels in; 0: none. */
  callId = 0;
  notBeforeMs = 0;
  /** When it came, and when it was last handed to a leader, on the monotonic clock. */
  readonly cameMs: number;
  handedMs = 0;
  /** Little was under way when it began. */
  readonly isFirst: boolean;

  constructor(edge: UnitOwner, groupId: number, operations: readonly PendingOperation[], transactionId: string, caller: Waiter, admission: Admission, cameMs: number, deadlineMs: number) {
    this.edge = edge;
    this.groupId = groupId;
    this.operations = operations;
    this.transactionId = transactionId;
    this.caller = caller;
    this.admission = admission;
    this.cameMs = cameMs;
    this.deadlineMs = deadlineMs;
    this.bytes = bytesOf(operations);
    this.open = operations.length;
    this.isFirst = admission.began(this.serverId, this.open);
  }

  get serverId(): number {
    return this.operations[0]?.operation.serverId ?? 0;
  }

  /** What is left of the caller's time, as it travels. */
  leftMs(nowMs: number): number {
    return Math.min(2 ** 32 - 1, Math.max(1, Math.ceil(this.deadlineMs - nowMs)));
  }

  decided(decision: Decision): void {
    this.edge.decided(this, decision);
  }

  failed(operationId: string, error: OperationError): void {
    this.edge.failed(this, operationId, error);
  }

  /** It may stand in a log: a try is under way, or one ended without an answer. */
  get mayBeProposed(): boolean {
    return this.unknown || (this.sent && !this.waiting);
  }
}

/** About how many bytes operations take. */
export function bytesOf(operations: readonly Pick<PendingOperation, "operation">[]): number {
  let bytes = 0;
  for (const each of operations) bytes += operationBytes(each);
  return bytes;
}
