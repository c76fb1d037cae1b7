import type { DecisionRow } from "./group-state.ts";
import { addModulo } from "./modulo.ts";

/** What a group has decided of one transaction: how many operations, and the sum of their fingerprints modulo 2^53. */
export interface TransactionContent {
  readonly operations: number;
  readonly fingerprints: number;
}

/** The content of several operations, in whatever order. */
export function contentOf(fingerprints: Iterable<number>): TransactionContent {
  let operations = 0;
  let sum = 0;
  for (const fingerprint of fingerprints) {
    operations++;
    sum = addModulo(sum, fingerprint);
  }
  return { operations, fingerprints: sum };
}

/** What transactions held, of those whose decisions are kept: made from them, so that a snapshot needs no record of it. */
export class TransactionContents {
  readonly #contents = new Map<string, TransactionContent>();

  get(transactionId: string): TransactionContent | undefined {
    return this.#contents.get(transactionId);
  }

  add({ transactionId, fingerprint }: DecisionRow): void {
    if (transactionId === "") return;
    const { operations, fingerprints } = this.#contents.get(transactionId) ?? { operations: 0, fingerprints: 0 };
    this.#contents.set(transactionId, { operations: operations + 1, fingerprints: addModulo(fingerprints, fingerprint) });
  }

  forget({ transactionId, fingerprint }: DecisionRow): void {
    const known = transactionId === "" ? undefined : this.#contents.get(transactionId);
    if (known === undefined) return;
    if (known.operations <= 1) this.#contents.delete(transactionId);
    else this.#contents.set(transactionId, { operations: known.operations - 1, fingerprints: addModulo(known.fingerprints, -fingerprint) });
  }
}
