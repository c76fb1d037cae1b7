// Items as double-entry postings. Every posting takes from one account and gives to another; an empty `from`
// mints and an empty `to` burns. So what all accounts hold is what was minted less what was burned, always.
import type { Posting } from "@statemesh/contract/log";
import { isEscrowAccount } from "./escrow-table.ts";
import { digestOf, flowed, type ItemFlow, NO_FLOW } from "./item-flow.ts";
import { addModulo } from "./modulo.ts";
import { Reservations } from "./reservations.ts";
import type { StateHash } from "./state-hash.ts";
import { WideCount } from "./wide-count.ts";

/** What one account holds of one kind. Replaced, never changed, so that a captured copy stays as it is. */
export interface BalanceRow {
  readonly account: string;
  readonly itemKind: string;
  /** 0 only for a row that has just been emptied. */
  readonly quantity: number;
  /** Log index that wrote it. */
  readonly version: number;
  /** Unset: nothing was posted since counting began. */
  readonly flow?: ItemFlow | undefined;
}

/** What lies on the ground of a region, of one kind. */
export interface RegionItemsRow {
  /** Canonical. */
  readonly region: string;
  readonly itemKind: string;
  readonly quantity: number;
  readonly flow: ItemFlow;
}

/** Minted and burned items of one kind. */
export interface TotalsRow {
  readonly itemKind: string;
  readonly minted: number;
  readonly burned: number;
}

/** What ever went to another group, and came from there, of one kind: counts modulo 2^53, to be compared and never ordered. */
export interface TransitRow {
  readonly groupId: number;
  readonly itemKind: string;
  readonly sent: number;
  readonly received: number;
}

/** What a group has of one kind, counted with every posting. */
export interface KindCount {
  minted: number;
  burned: number;
  /** In inventories and containers. */
  readonly held: WideCount;
  readonly onGround: WideCount;
  /** In escrows; part of what is held. */
  escrowed: number;
  /** What went to other groups less what came from there, modulo 2^53. */
  away: number;
}

const NOTHING_LIES: ReadonlyMap<string, RegionItemsRow> = new Map();
const EMPTY: ReadonlyMap<string, BalanceRow> = new Map();

export function playerAccount(playerId: string): string {
  return `player:${playerId}`;
}

export function groundAccount(itemId: string): string {
  return `ground:${itemId}`;
}

export function containerAccount(containerId: string): string {
  return `container:${containerId}`;
}

/** Where items go to another group, and come from there, in a transaction. */
export function groupAccount(groupId: number): string {
  return `group:${groupId}`;
}

/** The group that such an account stands for; 0: it is an account of somebody. */
export function peerGroupOf(account: string): number {
  return account.startsWith("group:") ? Number(account.slice(6)) : 0;
}

/** The accounts of one group. */
export class Ledger {
  readonly #accounts = new Map<string, Map<string, BalanceRow>>();
  readonly #totals = new Map<string, TotalsRow>();
  readonly #transit = new Map<string, TransitRow>();
  readonly #kinds = new Map<string, KindCount>();
  /** By canonical region, then by kind. */
  readonly #grounds = new Map<string, Map<string, RegionItemsRow>>();
  #flowsSince = 0;
  /** Minted by what is prepared and not decided. */
  readonly #mintsPrepared = new Map<string, number>();
  /** What is prepared sets apart of accounts. */
  readonly reserved: Reservations = new Reservations();
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

  /** Items of a kind that what is prepared may yet mint. */
  mintsPrepared(itemKind: string): number {
    return this.#mintsPrepared.get(itemKind) ?? 0;
  }

  reserveMint(itemKind: string, delta: number): void {
    const left = this.mintsPrepared(itemKind) + delta;
    if (left === 0) this.#mintsPrepared.delete(itemKind);
    else this.#mintsPrepared.set(itemKind, left);
  }

  /**
   * Applies a posting at a log index, under the authority of a region (canonical; empty: elsewhere's). The leader has checked it against this very state: a posting that would
   * leave an account below zero or above 2^53-1 means that replicas have diverged, and throws.
   */
  post(posting: Posting, index: number, region = ""): void {
    const { from, to, itemKind, quantity } = posting;
    if (from === "") this.#addTotals(itemKind, quantity, 0);
    else this.#change(from, itemKind, -quantity, index, to === "", region);
    if (to === "") this.#addTotals(itemKind, 0, quantity);
    else this.#change(to, itemKind, quantity, index, from === "", region);
  }

  /** Log index from which flows are counted; 0: they are not. */
  get flowsSince(): number {
    return this.#flowsSince;
  }

  /** Begins to count. `lying`: what lies on the ground, by canonical region. A group that counts goes on as it does. */
  countFlows(index: number, lying: Iterable<{ readonly region: string; readonly itemKind: string; readonly quantity: number }>): void {
    if (this.#flowsSince !== 0) return;
    this.restoreFlows(index);
    for (const { region, itemKind, quantity } of lying) {
      const before = this.#grounds.get(region)?.get(itemKind)?.quantity ?? 0;
      this.#putLying({ region, itemKind, quantity: before + quantity, flow: { ...NO_FLOW, opening: before + quantity } });
    }
  }

  restoreFlows(index: number): void {
    this.#flowsSince = index;
    if (index !== 0) this.#hash.add("flows", "", index, 1);
  }

  /** What lies on the ground of a region, by kind. */
  lyingIn(region: string): ReadonlyMap<string, RegionItemsRow> {
    return this.#grounds.get(region) ?? NOTHING_LIES;
  }

  *lyingRows(): Generator<RegionItemsRow> {
    for (const kinds of this.#grounds.values()) yield* kinds.values();
  }

  restoreLying(row: RegionItemsRow): void {
    this.#putLying(row);
  }

  #lie(region: string, itemKind: string, delta: number, outside: boolean): void {
    const before = this.#grounds.get(region)?.get(itemKind);
    this.#putLying({ region, itemKind, quantity: (before?.quantity ?? 0) + delta, flow: flowed(before?.flow ?? NO_FLOW, delta, outside) });
  }

  #putLying(row: RegionItemsRow): void {
    const { region, itemKind, quantity, flow } = row;
    const kinds = this.#grounds.get(region);
    const before = kinds?.get(itemKind);
    if (before !== undefined) this.#hash.remove(`lying ${region}`, itemKind, before.quantity, digestOf(before.flow));
    if (quantity === 0) {
      kinds?.delete(itemKind);
      if (kinds?.size === 0) this.#grounds.delete(region);
      return;
    }
    if (kinds === undefined) this.#grounds.set(region, new Map([[itemKind, row]]));
    else kinds.set(itemKind, row);
    this.#hash.add(`lying ${region}`, itemKind, quantity, digestOf(flow));
  }

  #change(account: string, itemKind: string, delta: number, index: number, outside: boolean, region: string): void {
    const peerGroup = peerGroupOf(account);
    if (peerGroup !== 0) return this.#addTransit(peerGroup, itemKind, delta);
    let rows = this.#accounts.get(account);
    const before = rows?.get(itemKind);
    const quantity = (before?.quantity ?? 0) + delta;
    if (quantity < 0 || quantity > Number.MAX_SAFE_INTEGER) {
      throw new Error(`ledger: posting of ${delta} ${itemKind} leaves ${account} at ${quantity} at index ${index}`);
    }
    this.#count(account, itemKind, delta);
    if (this.#flowsSince !== 0 && account.startsWith("ground:")) this.#lie(region, itemKind, delta, outside);
    if (before !== undefined) this.#hash.remove(account, itemKind, before.quantity, digestOf(before.flow));
    if (quantity === 0) {
      rows?.delete(itemKind);
      if (rows?.size === 0) this.#accounts.delete(account);
      return;
    }
    if (rows === undefined) {
      rows = new Map();
      this.#accounts.set(account, rows);
    }
    const flow = this.#flowsSince === 0 ? undefined : flowed(before?.flow ?? { ...NO_FLOW, opening: before?.quantity ?? 0 }, delta, outside);
    rows.set(itemKind, { account, itemKind, quantity, version: index, flow });
    this.#hash.add(account, itemKind, quantity, digestOf(flow));
  }

  /** Nothing limits what comes and goes in the long run, so the counts go round. */
  #addTransit(groupId: number, itemKind: string, delta: number): void {
    const key = `${groupId}/${itemKind}`;
    const before = this.#transit.get(key);
    if (before !== undefined) {
      this.#hash.remove("transit", key, before.sent, before.received);
      const count = this.#countOf(itemKind);
      count.away = addModulo(addModulo(count.away, -before.sent), before.received);
    }
    const sent = addModulo(before?.sent ?? 0, Math.max(0, delta));
    const received = addModulo(before?.received ?? 0, Math.max(0, -delta));
    this.restoreTransit({ groupId, itemKind, sent, received });
  }

  *transitRows(): Generator<TransitRow> {
    yield* this.#transit.values();
  }

  restoreTransit(row: TransitRow): void {
    const key = `${row.groupId}/${row.itemKind}`;
    this.#transit.set(key, row);
    this.#hash.add("transit", key, row.sent, row.received);
    const count = this.#countOf(row.itemKind);
    count.away = addModulo(addModulo(count.away, row.sent), -row.received);
  }

  #addTotals(itemKind: string, minted: number, burned: number): void {
    const before = this.#totals.get(itemKind);
    if (before !== undefined) this.#hash.remove("totals", itemKind, before.minted, before.burned);
    const after = { itemKind, minted: (before?.minted ?? 0) + minted, burned: (before?.burned ?? 0) + burned };
    if (after.minted > Number.MAX_SAFE_INTEGER) throw new Error(`ledger: more than 2^53-1 ${itemKind} minted`);
    this.restoreTotals(after);
  }

  #countOf(itemKind: string): KindCount {
    let count = this.#kinds.get(itemKind);
    if (count === undefined) this.#kinds.set(itemKind, (count = { minted: 0, burned: 0, held: new WideCount(), onGround: new WideCount(), escrowed: 0, away: 0 }));
    return count;
  }

  #count(account: string, itemKind: string, delta: number): void {
    const count = this.#countOf(itemKind);
    (account.startsWith("ground:") ? count.onGround : count.held).add(delta);
    if (isEscrowAccount(account)) count.escrowed += delta;
  }

  /** Items of a kind that are in escrows, and may come into any account of the group at any time. */
  escrowed(itemKind: string): number {
    return this.#kinds.get(itemKind)?.escrowed ?? 0;
  }

  /** Counts that are kept with every posting, by item kind. */
  counts(): ReadonlyMap<string, Readonly<KindCount>> {
    return this.#kinds;
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
    this.#count(row.account, row.itemKind, row.quantity);
    this.#hash.add(row.account, row.itemKind, row.quantity, digestOf(row.flow));
  }

  restoreTotals(row: TotalsRow): void {
    this.#totals.set(row.itemKind, row);
    const count = this.#countOf(row.itemKind);
    count.minted = row.minted;
    count.burned = row.burned;
    this.#hash.add("totals", row.itemKind, row.minted, row.burned);
  }

  /** What is held by item kind, in inventories and on the ground: added up anew, account by account. */
  held(): Map<string, Pick<KindCount, "held" | "onGround">> {
    const sums = new Map<string, Pick<KindCount, "held" | "onGround">>();
    for (const { account, itemKind, quantity } of this.rows()) {
      let sum = sums.get(itemKind);
      if (sum === undefined) sums.set(itemKind, (sum = { held: new WideCount(), onGround: new WideCount() }));
      (account.startsWith("ground:") ? sum.onGround : sum.held).add(quantity);
    }
    return sums;
  }
}
