// What operations that are not in force yet set apart of accounts, so that others may go on with the rest: the escrow method of O'Neil, "The Escrow
// Transactional Method" (1986). Whether what is set apart is taken in the end or not, and in what order, what was promised beside it holds.
import { PlayerInventory_Action } from "@statemesh/contract";
import type { DecidedOperation, LockedFootprint } from "@statemesh/contract/log";
import type { PendingOperation } from "./pending-operation.ts";

/** What a transaction does at most to what an account holds of a kind, on the way through its postings. */
export interface Need {
  readonly account: string;
  readonly itemKind: string;
  /** What must be there. */
  readonly debit: number;
  /** What there must be room for. */
  readonly credit: number;
}

/** Sums of needs, by account and kind. */
export class Reservations {
  readonly #accounts = new Map<string, Map<string, { debit: number; credit: number }>>();

  /** What is set apart of the account to be taken away. */
  debits(account: string, itemKind: string): number {
    return this.#accounts.get(account)?.get(itemKind)?.debit ?? 0;
  }

  /** What may yet come to the account. */
  credits(account: string, itemKind: string): number {
    return this.#accounts.get(account)?.get(itemKind)?.credit ?? 0;
  }

  /** Something of the account is set apart, or may yet come. */
  has(account: string): boolean {
    return this.#accounts.has(account);
  }

  change(needs: readonly Need[], sign: 1 | -1): void {
    for (const { account, itemKind, debit, credit } of needs) {
      let kinds = this.#accounts.get(account);
      if (kinds === undefined) this.#accounts.set(account, (kinds = new Map()));
      const before = kinds.get(itemKind);
      const after = { debit: (before?.debit ?? 0) + sign * debit, credit: (before?.credit ?? 0) + sign * credit };
      if (after.debit !== 0 || after.credit !== 0) kinds.set(itemKind, after);
      else if (kinds.delete(itemKind) && kinds.size > 0) continue;
      if (kinds.size === 0) this.#accounts.delete(account);
    }
  }

  clear(): void {
    this.#accounts.clear();
  }
}

/** What the postings of a transaction's part need, one after the other. */
export function needsOf(decided: readonly DecidedOperation[]): Need[] {
  const sums = new Map<string, { account: string; itemKind: string; sum: number; least: number; most: number }>();
  const change = (account: string, itemKind: string, delta: number): void => {
    if (account === "" || isPeerGroup(account)) return;
    const key = `${account}\u0000${itemKind}`;
    let at = sums.get(key);
    if (at === undefined) sums.set(key, (at = { account, itemKind, sum: 0, least: 0, most: 0 }));
    at.sum += delta;
    at.least = Math.min(at.least, at.sum);
    at.most = Math.max(at.most, at.sum);
  };
  for (const { effects } of decided) {
    for (const { effect } of effects) {
      if (effect?.$case !== "post") continue;
      const { from, to, itemKind, quantity } = effect.value;
      change(from, itemKind, -quantity);
      change(to, itemKind, quantity);
    }
  }
  return [...sums.values()].map(({ account, itemKind, least, most }) => ({ account, itemKind, debit: -least, credit: most }));
}

/**
 * True where an operation only moves items between players' accounts: beside others on the same accounts it is decided by what they leave. Containers
 * are no such accounts: how many kinds are in one has a limit, and who takes one away says what it holds.
 */
export function onlyPosts({ operation: { body }, touched: { keys, shared, bounds } }: Pick<PendingOperation, "operation" | "touched">): boolean {
  if (keys.length > 0 || bounds !== undefined || !shared.every(isAccountName)) return false;
  if (body?.$case === "trade") return true;
  if (body?.$case !== "playerInventory") return false;
  const { action } = body.value;
  return action === PlayerInventory_Action.TRANSFER || action === PlayerInventory_Action.MINT || action === PlayerInventory_Action.BURN;
}

/** The account of a name in footprints; undefined: it names something else. */
export function accountNamed(name: string): string | undefined {
  return isAccountName(name) ? `player:${name.slice(ACCOUNT.length)}` : undefined;
}

/** The same of what is prepared, by what it holds and does: so a new leader knows it, whoever prepared it. */
export function reservesOnly({ decided, locks }: { readonly decided: readonly DecidedOperation[]; readonly locks: readonly LockedFootprint[] }): boolean {
  if (!locks.every(({ keys, shared, bounds }) => keys.length === 0 && bounds.length === 0 && shared.every(isAccountName))) return false;
  return decided.every(({ effects }) => effects.every(({ effect }) => effect?.$case === "post" && isPlayers(effect.value.from) && isPlayers(effect.value.to)));
}

const ACCOUNT = "account:";

function isAccountName(name: string): boolean {
  return name.startsWith(ACCOUNT);
}

function isPlayers(account: string): boolean {
  return account === "" || account.startsWith("player:") || isPeerGroup(account);
}

/** The way to another group, which holds nothing. */
function isPeerGroup(account: string): boolean {
  return account.startsWith("group:");
}
