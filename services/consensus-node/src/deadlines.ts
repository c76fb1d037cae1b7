import type { CallContext } from "@statemesh/service";

/** When a call is given up, on the monotonic clock: the caller's deadline where it set one, else the node's default. */
export function deadlineOf(context: CallContext, monotonicMs: number, defaultMs: number): number {
  return monotonicMs + Math.max(1, Math.min(context.remainingMs, defaultMs));
}
