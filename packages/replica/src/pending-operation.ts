import type { HybridTimestamp, Operation } from "@statemesh/contract";
import type { OperationType, TouchedSet } from "@statemesh/world";

/** An operation that was validated and stamped, and waits for its decision. */
export interface PendingOperation {
  readonly operation: Operation;
  readonly type: OperationType;
  readonly touched: TouchedSet;
  readonly stamp: HybridTimestamp;
  readonly fingerprint: number;
  /** From the operator's table. */
  readonly priority: number;
}
