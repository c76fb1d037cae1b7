// An operation that is kept until it can be decided, made ready for the rules.
import type { TentativeOperation } from "@statemesh/contract";
import type { PendingOperation } from "@statemesh/replica";
import { compareUtf8, footprintOf, overlaps, type Policy } from "@statemesh/world";
import { operationBytes } from "../strong/decision-queue.ts";

export interface KeptOperation {
  readonly record: TentativeOperation;
  readonly operationId: string;
  /** Undefined where the policy does not know its type, or this version not its body. */
  readonly pending: PendingOperation | undefined;
  /** About what it takes on its way. */
  readonly bytes: number;
}

export function keptOf(record: TentativeOperation, policy: Policy): KeptOperation {
  const { operation } = record;
  return { record, operationId: operation?.operationId ?? "", pending: pendingOf(record, policy), bytes: operation === undefined ? 0 : operationBytes({ operation }) };
}

/** Footprint and priority are this node's own: whoever decides does so by one policy. */
function pendingOf({ operation, stamp, fingerprint }: TentativeOperation, policy: Policy): PendingOperation | undefined {
  const type = operation === undefined ? undefined : policy.typeOf(operation.type);
  if (operation === undefined || stamp === undefined || type?.consistency !== "strong") return undefined;
  try {
    return { operation, type, touched: footprintOf(operation, type), stamp, fingerprint, priority: policy.priorityOf(operation.serverId) };
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/** An order of operations that says nothing of how they came together: by server, stamp, id and content. */
export function compareKept(a: KeptOperation, b: KeptOperation): number {
  const server = (a.record.operation?.serverId ?? 0) - (b.record.operation?.serverId ?? 0);
  if (server !== 0) return server;
  const physical = (a.record.stamp?.physicalMs ?? 0) - (b.record.stamp?.physicalMs ?? 0);
  if (physical !== 0) return physical;
  const logical = (a.record.stamp?.logical ?? 0) - (b.record.stamp?.logical ?? 0);
  if (logical !== 0) return logical;
  return compareUtf8(a.operationId, b.operationId) || a.record.fingerprint - b.record.fingerprint;
}

/** Whether two operations exclude each other by name or place. */
export function excludes(a: PendingOperation, b: PendingOperation): boolean {
  const one = a.touched;
  const other = b.touched;
  if (one.keys.some((key) => other.keys.includes(key))) return true;
  if (one.bounds === undefined || other.bounds === undefined || one.layer !== other.layer || !overlaps(one.bounds, other.bounds)) return false;
  return one.mergeClass === "" || one.mergeClass !== other.mergeClass;
}
