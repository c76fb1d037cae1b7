import type { Posting } from "@statemesh/contract/log";
import { type Ledger, peerGroupOf } from "./ledger.ts";
import type { Reservations } from "./reservations.ts";

/** Balances as they will be once the postings decided so far are applied. */
export class LedgerOverlay {
  readonly #ledger: Ledger;
  readonly #deltas = new Map<string, number>();
  /** Kinds with a delta, by container. */
  #containerKinds: Map<string, Set<string>> | undefined;
  readonly #mintedInFlight: ReadonlyMap<string, number>;
  readonly #reservedInFlight: Reservations | undefined;

  constructor(ledger: Ledger, mintedInFlight: ReadonlyMap<string, number>, reservedInFlight?: Reservations) {
    this.#ledger = ledger;
    this.#mintedInFlight = mintedInFlight;
    this.#reservedInFlight = reservedInFlight;
  }

  /** Takes all postings, or answers why not and takes none. */
  tryAll(postings: readonly Posting[]): "INSUFFICIENT_ITEMS" | "BALANCE_OVERFLOW" | undefined {
    for (let taken = 0; taken < postings.length; taken++) {
      const posting = postings[taken];
      if (posting === undefined) continue;
      const problem = this.#problem(posting);
      if (problem === undefined) {
        this.#move(posting, 1);
        continue;
      }
      for (let i = taken - 1; i >= 0; i--) {
        const earlier = postings[i];
        if (earlier !== undefined) this.#move(earlier, -1);
      }
      return problem;
    }
    return undefined;
  }

  /** As `tryAll`, and takes none. */
  check(postings: readonly Posting[]): "INSUFFICIENT_ITEMS" | "BALANCE_OVERFLOW" | undefined {
    const problem = this.tryAll(postings);
    if (problem === undefined) for (const posting of postings) this.#move(posting, -1);
    return problem;
  }

  /** What the account of a container holds. */
  containerHolds(account: string): Map<string, number> {
    const holds = new Map<string, number>();
    for (const [itemKind, { quantity }] of this.#ledger.rowsOf(account)) holds.set(itemKind, quantity);
    for (const itemKind of this.#containerKinds?.get(account) ?? []) {
      const quantity = this.#balance(account, itemKind);
      if (quantity === 0) holds.delete(itemKind);
      else holds.set(itemKind, quantity);
    }
    return holds;
  }

  #problem({ from, to, itemKind, quantity }: Posting): "INSUFFICIENT_ITEMS" | "BALANCE_OVERFLOW" | undefined {
    if (from !== "" && peerGroupOf(from) === 0 && this.#balance(from, itemKind) - this.#reservedOf("debits", from, itemKind) < quantity) return "INSUFFICIENT_ITEMS";
    // What is in escrows comes without being decided here: there is always room for it.
    if (to !== "" && peerGroupOf(to) === 0 && this.#balance(to, itemKind) + this.#reservedOf("credits", to, itemKind) > Number.MAX_SAFE_INTEGER - quantity - this.#ledger.escrowed(itemKind)) return "BALANCE_OVERFLOW";
    if (from === "") {
      const minted = this.#ledger.totals(itemKind).minted + this.#ledger.mintsPrepared(itemKind) + (this.#mintedInFlight.get(itemKind) ?? 0) + (this.#deltas.get(mintKey(itemKind)) ?? 0);
      if (minted > Number.MAX_SAFE_INTEGER - quantity) return "BALANCE_OVERFLOW";
    }
    return undefined;
  }

  /** What is set apart is nobody else's, whether it is taken in the end or not; and what may come is not there yet, but has its room. */
  #reservedOf(side: "debits" | "credits", account: string, itemKind: string): number {
    return this.#ledger.reserved[side](account, itemKind) + (this.#reservedInFlight?.[side](account, itemKind) ?? 0);
  }

  #balance(account: string, itemKind: string): number {
    return this.#ledger.balance(account, itemKind) + (this.#deltas.get(`${account}\u0000${itemKind}`) ?? 0);
  }

  #move({ from, to, itemKind, quantity }: Posting, sign: 1 | -1): void {
    const fromKey = from === "" ? mintKey(itemKind) : `${from}\u0000${itemKind}`;
    this.#noteKind(from, itemKind);
    this.#noteKind(to, itemKind);
    this.#deltas.set(fromKey, (this.#deltas.get(fromKey) ?? 0) + (from === "" ? sign : -sign) * quantity);
    if (to === "") return;
    const toKey = `${to}\u0000${itemKind}`;
    this.#deltas.set(toKey, (this.#deltas.get(toKey) ?? 0) + sign * quantity);
  }

  #noteKind(account: string, itemKind: string): void {
    if (!account.startsWith("container:")) return;
    const kinds = (this.#containerKinds ??= new Map<string, Set<string>>()).get(account);
    if (kinds === undefined) this.#containerKinds.set(account, new Set([itemKind]));
    else kinds.add(itemKind);
  }
}

function mintKey(itemKind: string): string {
  return `\u0000${itemKind}`;
}
