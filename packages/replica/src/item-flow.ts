// How an account came to hold what it holds of a kind. Kept beside the balance, with every posting, so that the one proves the other.
import { addModulo } from "./modulo.ts";

/** Whole numbers; received and given modulo 2^53. Replaced, never changed. */
export interface ItemFlow {
  /** Held when counting began. */
  readonly opening: number;
  readonly minted: number;
  readonly burned: number;
  readonly received: number;
  readonly given: number;
}

export const NO_FLOW: ItemFlow = { opening: 0, minted: 0, burned: 0, received: 0, given: 0 };

/** After a posting. @param delta what the account gets, or loses. @param outside it is minted or burned, and comes from no account */
export function flowed(flow: ItemFlow, delta: number, outside: boolean): ItemFlow {
  if (outside) return delta > 0 ? { ...flow, minted: addModulo(flow.minted, delta) } : { ...flow, burned: addModulo(flow.burned, -delta) };
  return delta > 0 ? { ...flow, received: addModulo(flow.received, delta) } : { ...flow, given: addModulo(flow.given, -delta) };
}

/** What the account must hold, modulo 2^53. */
export function heldBy({ opening, minted, burned, received, given }: ItemFlow): number {
  return addModulo(addModulo(addModulo(addModulo(opening, minted), -burned), received), -given);
}

/** Sums of two. */
export function addFlows(a: ItemFlow, b: ItemFlow): ItemFlow {
  return {
    opening: addModulo(a.opening, b.opening), minted: addModulo(a.minted, b.minted), burned: addModulo(a.burned, b.burned), received: addModulo(a.received, b.received), given: addModulo(a.given, b.given),
  };
}

/** For the digest: 1 where nothing is counted. */
export function digestOf(flow: ItemFlow | undefined): number {
  if (flow === undefined) return 1;
  let sum = 2;
  for (const each of [flow.opening, flow.minted, flow.burned, flow.received, flow.given]) sum = (sum * 31 + (each % 1_000_003)) % 4_294_967_291;
  return sum;
}
