// Items as double-entry postings. Every posting takes from one account and gives to another; an empty `from`
// mints and an empty `to` burns. So what all accounts hold is what was minted less what was burned, always.
import type { Posting } from "@statemesh/contract/log";
import type { StateHash } from "./state-hash.ts";

/** What one account holds of one kind. Replaced, never changed, so that a captured copy stays as it is. */
export interface BalanceRow {
  readonly account: string;
  readonly itemKind: string;
  /** 0 only for a row that has just been emptied. */
  readonly quantity: number;
  /** Log index that wrote it. */
  readonly version: number;
}

/** Minted and burned items of one kind. */
export interface TotalsRow {
  readonly itemKind: string;
  readonly minted: number;
  readonly burned: number;
}

const EMPTY: ReadonlyMap<string, BalanceRow> = new Map();

export function playerAccount(playerId: string): string {
  return `player:${playerId}`;
}

export function groundAccount(itemId: string): string {
  return `ground:${itemId}`;
}

/** The accounts of one group. */
export class Ledger {
  readonly #accounts = new Map<string, Map<string, BalanceRow>>();
  readonly #totals = new Map<string, TotalsRow>();
  readonly #hash: StateHash;

  constructor(hash: StateHash) {
    this.#hash = hash;
  }

  balance(account: string, itemKind: string): number {
    return this.#accounts.get(account)?.get(itemKind)?.quantity ?? 0;
  }

  rowsOf(account: string): ReadonlyMap<string, BalanceRow> {
    return this.#accounts.get(account) ?? EMPTY;
  }

  totals(itemKind: string): TotalsRow {
    return this.#totals.get(itemKind) ?? { itemKind, minted: 0, burned: 0 };
  }

  /**
   * Applies a posting at a log index. The leader has checked it against this very state: a posting that would
   * leave an account below zero or above 2^53-1 means that replicas have diverged, and throws.
   */
  post(posting: Posting, index: number): void {
    const { from, to, itemKind, quantity } = posting;
    if (from === "") this.#addTotals(itemKind, quantity, 0);
    else this.#change(from, itemKind, -quantity, index);
    if (to === "") this.#addTotals(itemKind, 0, quantity);
    else this.#change(to, itemKind, quantity, index);
  }

  #change(account: string, itemKind: string, delta: number, index: number): void {
    let rows = this.#accounts.get(account);
    const before = rows?.get(itemKind);
    const quantity = (before?.quantity ?? 0) + delta;
    if (quantity < 0 || quantity > Number.MAX_SAFE_INTEGER) {
      throw new Error(`ledger: posting of ${delta} ${itemKind} leaves ${account} at ${quantity} at index ${index}`);
    }
    if (before !== undefined) this.#hash.remove(account, itemKind, before.quantity, 1);
    if (quantity === 0) {
      rows?.delete(itemKind);
      if (rows?.size === 0) this.#accounts.delete(account);
      return;
    }
    if (rows === undefined) {
      rows = new Map();
      this.#accounts.set(account, rows);
    }
    rows.set(itemKind, { account, itemKind, quantity, version: index });
    this.#hash.add(account, itemKind, quantity, 1);
  }

  #addTotals(itemKind: string, minted: number, burned: number): void {
    const before = this.#totals.get(itemKind);
    if (before !== undefined) this.#hash.remove("totals", itemKind, before.minted, before.burned);
    const after = { itemKind, minted: (before?.minted ?? 0) + minted, burned: (before?.burned ?? 0) + burned };
    if (after.minted > Number.MAX_SAFE_INTEGER) throw new Error(`ledger: more than 2^53-1 ${itemKind} minted`);
    this.#totals.set(itemKind, after);
    this.#hash.add("totals", itemKind, after.minted, after.burned);
  }

  /** Every row that is not empty. */
  *rows(): Generator<BalanceRow> {
    for (const account of this.#accounts.values()) yield* account.values();
  }

  *totalsRows(): Generator<TotalsRow> {
    yield* this.#totals.values();
  }

  restoreRow(row: BalanceRow): void {
    let rows = this.#accounts.get(row.account);
    if (rows === undefined) {
      rows = new Map();
      this.#accounts.set(row.account, rows);
    }
    rows.set(row.itemKind, row);
    this.#hash.add(row.account, row.itemKind, row.quantity, 1);
  }

  restoreTotals(row: TotalsRow): void {
    this.#totals.set(row.itemKind, row);
    this.#hash.add("totals", row.itemKind, row.minted, row.burned);
  }

  /** What is held by item kind, in inventories and on the ground. */
  held(): Map<string, { inInventories: number; onGround: number }> {
    const held = new Map<string, { inInventories: number; onGround: number }>();
    for (const row of this.rows()) {
      let sum = held.get(row.itemKind);
      if (sum === undefined) {
        sum = { inInventories: 0, onGround: 0 };
        held.set(row.itemKind, sum);
      }
      if (row.account.startsWith("ground:")) sum.onGround += row.quantity;
      else sum.inInventories += row.quantity;
    }
    return held;
  }
}
