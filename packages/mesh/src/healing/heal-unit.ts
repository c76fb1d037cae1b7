// Kept operations on their way into the log: a set that is decided as a whole, once nothing that meets it is on its way.
import type { Decision, OperationError } from "@statemesh/contract";
import { type HealBatch, KeptDecision } from "@statemesh/contract/log";
import type { Waiter } from "../strong/decision-queue.ts";
import type { KeptOperation } from "./kept-operation.ts";

/** What all batches of one report have in common. */
export type HealHeading = Omit<HealBatch, "operations">;

/** Decisions and bytes of one entry, at most; one decision may go beyond the bytes. */
const ENTRY_DECISIONS = 512;
const ENTRY_BYTES = 524_288;

export class HealUnit {
  readonly kept: readonly KeptOperation[];
  readonly heading: HealHeading;
  /** In the log, and not applied. */
  readonly open = new Set<string>();
  /** Who asked for one of the operations meanwhile. */
  readonly #waiters = new Map<string, Waiter[]>();
  readonly #done: () => void;

  constructor(kept: readonly KeptOperation[], heading: HealHeading, done: () => void) {
    this.kept = kept;
    this.heading = heading;
    this.#done = done;
  }

  fingerprintOf(operationId: string): number | undefined {
    return this.kept.find((one) => one.operationId === operationId)?.record.fingerprint;
  }

  wait(operationId: string, waiter: Waiter): void {
    const waiters = this.#waiters.get(operationId);
    if (waiters === undefined) this.#waiters.set(operationId, [waiter]);
    else waiters.push(waiter);
  }

  /** In entries, in the order of the decisions. */
  *entries(decisions: readonly KeptDecision[]): Generator<readonly KeptDecision[]> {
    let entry: KeptDecision[] = [];
    let bytes = 0;
    for (const decision of decisions) {
      // What it puts may be far more than its operation: a whole merged state.
      const size = KeptDecision.encode(decision).finish().length;
      if (entry.length > 0 && (entry.length >= ENTRY_DECISIONS || bytes + size > ENTRY_BYTES)) {
        yield entry;
        entry = [];
        bytes = 0;
      }
      entry.push(decision);
      bytes += size;
    }
    if (entry.length > 0) yield entry;
  }

  /** Who waits for one of them, who are somebody else's care from now on. */
  takeWaiters(operationId: string): Waiter[] {
    const waiters = this.#waiters.get(operationId) ?? [];
    this.#waiters.delete(operationId);
    return waiters;
  }

  /** One was applied. */
  settle(operationId: string, decision: Decision | undefined): void {
    this.open.delete(operationId);
    if (decision === undefined) return;
    for (const waiter of this.takeWaiters(operationId)) waiter.decided(decision);
  }

  /** Nothing more comes of it: those who still wait hear why. */
  end(failure: OperationError): void {
    for (const [operationId, waiters] of this.#waiters) for (const waiter of waiters) waiter.failed(operationId, failure);
    this.#waiters.clear();
    this.#done();
  }
}
