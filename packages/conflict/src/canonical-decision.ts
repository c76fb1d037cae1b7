/** A decision as bytes, for digests: equal sets give equal bytes, in whatever order and however often their parts come. */
import type { Verdict } from "@statemesh/contract";

const encoder = new TextEncoder();

function field(text: string): string {
  // The length in front keeps fields apart, whatever they contain.
  return `${text.length}:${text}`;
}

/**
 * The canonical bytes of what `resolve` said: each operation once, in the total order, as UTF-8. Hash them with SHA-256
 * for the digest of the contract (hashing is no part of the pure packages).
 */
export function canonicalDecision(verdicts: readonly Verdict[]): Uint8Array {
  const byRank: Verdict[] = [];
  for (const verdict of verdicts) byRank[verdict.rank] = verdict;
  let text = "statemesh decision 1\n";
  for (const it of byRank) {
    text += `${it.rank},${it.outcome},${it.conflict},${field(it.operationId)}${field(it.rule)}${field(it.winnerOperationId)}\n`;
  }
  return encoder.encode(text);
}
