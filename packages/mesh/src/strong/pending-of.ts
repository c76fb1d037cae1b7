import type { StampedOperation } from "@statemesh/contract";
import type { PendingOperation } from "@statemesh/replica";
import { footprintOf, type Policy } from "@statemesh/world";

/**
 * An operation that another node validated and stamped; the footprint and the priority are the leader's own. Undefined where this
 * node's policy or version does not know what is in it: what is thrown here would break the connection, with Raft on it, at every try.
 *
 * @param latestMs stamps beyond it are taken for it: a peer whose clock runs ahead would stamp what everybody else takes for the future
 */
export function pendingOf({ operation, stamp, fingerprint }: StampedOperation, policy: Policy, latestMs: number): PendingOperation | undefined {
  if (operation === undefined || stamp === undefined) return undefined;
  const type = policy.typeOf(operation.type);
  if (type?.consistency !== "strong") return undefined;
  const bounded = stamp.physicalMs > latestMs ? { physicalMs: latestMs, logical: 0 } : stamp;
  try {
    return { operation, type, touched: footprintOf(operation, type), stamp: bounded, fingerprint, priority: policy.priorityOf(operation.serverId) };
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}
