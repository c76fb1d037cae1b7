import { type Decision, type MeshError, type Operation, Outcome } from "@statemesh/contract";

/** What became of one operation. */
export interface Entry {
  readonly operation: Operation;
  /** What its server was told; undefined where it was told that nobody knows. */
  decision: Decision | undefined;
  error: MeshError | undefined;
  /** Monotonic. */
  readonly beganMs: number;
  /** When its server was told the decision; undefined where it was not. */
  endedMs: number | undefined;
}

/** Whether the decision let the operation take effect. */
export function isInForce(decision: Decision | undefined): boolean {
  return decision?.outcome === Outcome.ACCEPTED || decision?.outcome === Outcome.MERGED;
}
