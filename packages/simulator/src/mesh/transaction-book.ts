// Transactions across groups, as the committed logs tell of them: one outcome in all groups, decided before anything of it is in
// force, by a coordinating group that every other had promised; and while a group holds something for one, nothing else touches it, but for
// players' accounts: of these nothing else takes what is set apart.
import type { DecidedOperation } from "@statemesh/contract/log";

interface Known {
  readonly groups: readonly number[];
  readonly prepared: Set<number>;
  outcome: "open" | "committed" | "aborted";
  readonly released: Set<number>;
}

/** What a group's account holds of a kind, by the entries so far. */
export type BalanceOf = (account: string, itemKind: string) => number;

export class TransactionBook {
  readonly #known = new Map<string, Known>();
  /** By group: who holds a name. */
  readonly #held = new Map<string, string>();
  /** By group, account and kind: what is set apart for each transaction. */
  readonly #apart = new Map<string, Map<string, number>>();
  readonly #fail: (kind: string, message: string) => void;
  readonly #sometimes: (what: string) => void;

  constructor(fail: (kind: string, message: string) => void, sometimes: (what: string) => void) {
    this.#fail = fail;
    this.#sometimes = sometimes;
  }

  begun(groupId: number, key: string, beginIndex: number, groups: readonly number[], decided: readonly DecidedOperation[], balanceOf: BalanceOf): void {
    this.#known.set(`${key} ${beginIndex}`, { groups, prepared: new Set([groupId]), outcome: "open", released: new Set() });
    this.#hold(groupId, key, decided, balanceOf);
  }

  prepared(groupId: number, key: string, beginIndex: number, decided: readonly DecidedOperation[], balanceOf: BalanceOf): void {
    const known = this.#known.get(`${key} ${beginIndex}`);
    if (known === undefined) return this.#fail("transactions", `group ${groupId} is prepared for ${key}, which nobody began at ${beginIndex}`);
    known.prepared.add(groupId);
    if (known.outcome !== "open") this.#sometimes("transaction prepared too late");
    this.#hold(groupId, key, decided, balanceOf);
  }

  decided(key: string, beginIndex: number, commit: boolean, decided: readonly DecidedOperation[]): void {
    const known = this.#known.get(`${key} ${beginIndex}`);
    if (known === undefined) return;
    if (known.outcome !== "open") return this.#fail("transactions", `${key} was decided twice`);
    known.outcome = commit ? "committed" : "aborted";
    const missing = known.groups.filter((groupId) => !known.prepared.has(groupId));
    if (commit && missing.length > 0) this.#fail("transactions", `${key} was committed, and group ${missing.join()} had not promised`);
    const [groupId = 0] = known.groups;
    known.released.add(groupId);
    this.#free(groupId, key, decided);
    this.#sometimes(commit ? "transaction across groups committed" : "transaction across groups aborted");
  }

  /** A group that was prepared let go of it, with its effects or without. */
  released(groupId: number, key: string, beginIndex: number, { commit, forget }: { readonly commit: boolean; readonly forget: boolean }, decided: readonly DecidedOperation[]): void {
    const known = this.#known.get(`${key} ${beginIndex}`);
    this.#free(groupId, key, decided);
    if (known === undefined) return;
    const before = known.released.has(groupId);
    if (commit && known.outcome !== "committed") this.#fail("transactions", `${key} came into force in group ${groupId}, and is ${known.outcome}`);
    if (!commit && known.outcome === "committed" && !(forget && before)) this.#fail("transactions", `${key} was committed, and group ${groupId} let it go`);
    if (!commit && known.outcome === "open") this.#fail("transactions", `${key} is open, and group ${groupId} let it go`);
    if (commit && before) this.#fail("transactions", `${key} came into force twice in group ${groupId}`);
    known.released.add(groupId);
  }

  /** What an entry of a group did besides. */
  touched(groupId: number, decided: DecidedOperation, balanceOf: BalanceOf): void {
    this.#checkApart(groupId, decided.operationId, [decided], balanceOf);
    for (const name of namesOf(groupId, [decided])) {
      const holder = this.#held.get(name);
      if (holder !== undefined) this.#fail("locks hold", `${decided.operationId} changed ${name}, which ${holder} holds`);
    }
  }

  #hold(groupId: number, key: string, decided: readonly DecidedOperation[], balanceOf: BalanceOf): void {
    for (const [name, needed] of needsOf(groupId, decided)) {
      const apart = this.#apart.get(name) ?? new Map<string, number>();
      if (apart.size > 0) this.#sometimes("account in several transactions across groups");
      this.#apart.set(name, apart.set(key, needed));
    }
    this.#checkApart(groupId, key, decided, balanceOf);
    for (const name of namesOf(groupId, decided)) {
      const holder = this.#held.get(name);
      if (holder !== undefined && holder !== key) this.#fail("locks hold", `${key} takes ${name}, which ${holder} holds`);
      this.#held.set(name, key);
    }
  }

  /** Whatever becomes of those that are prepared, each finds what it was promised. */
  #checkApart(groupId: number, who: string, decided: readonly DecidedOperation[], balanceOf: BalanceOf): void {
    for (const { effects } of decided) {
      for (const { effect } of effects) {
        if (effect?.$case !== "post") continue;
        const { from, itemKind } = effect.value;
        if (!from.startsWith("player:")) continue;
        let apart = 0;
        for (const needed of this.#apart.get(nameOf(groupId, from, itemKind))?.values() ?? []) apart += needed;
        const held = balanceOf(from, itemKind);
        if (apart > held) this.#fail("locks hold", `${who} leaves ${held} ${itemKind} in ${from} of group ${groupId}, of which ${apart} are set apart`);
      }
    }
  }

  #free(groupId: number, key: string, decided: readonly DecidedOperation[]): void {
    for (const [name] of needsOf(groupId, decided)) {
      const apart = this.#apart.get(name);
      if (apart?.delete(key) === true && apart.size === 0) this.#apart.delete(name);
    }
    for (const name of namesOf(groupId, decided)) if (this.#held.get(name) === key) this.#held.delete(name);
  }

  /** Whether a group holds the name of something for a transaction that has not ended there. */
  isHeld(groupId: number, name: string): boolean {
    return this.#held.has(`${groupId} ${name}`);
  }

  /** What has not ended; undefined: everything has. */
  get unrest(): string | undefined {
    for (const [key, { groups, outcome, released }] of this.#known) {
      if (outcome === "open") return `transaction ${key} is not decided`;
      if (outcome === "committed" && groups.some((groupId) => !released.has(groupId))) return `transaction ${key} is not in force in every group`;
    }
    const [held] = this.#held;
    if (held !== undefined) return `${held[1]} still holds ${held[0]}`;
    const [apart] = this.#apart.keys();
    return apart === undefined ? undefined : `something is still set apart of ${apart}`;
  }
}

function* namesOf(groupId: number, decided: readonly DecidedOperation[]): Generator<string> {
  for (const { effects } of decided) {
    for (const { effect } of effects) {
      if (effect?.$case !== "post") {
        // Nobody reads a footprint, and its name may be that of something else here.
        if (effect !== undefined && effect.$case !== "footprint" && effect.$case !== "escrow") yield `${groupId} ${effect.value.kind}/${effect.value.entityId}`;
        continue;
      }
      for (const account of [effect.value.from, effect.value.to]) if (account !== "" && !account.startsWith("group:") && !account.startsWith("player:")) yield `${groupId} ${account}`;
    }
  }
}

function nameOf(groupId: number, account: string, itemKind: string): string {
  return `${groupId} ${account} ${itemKind}`;
}

/** What must be there of players' accounts, one posting after the other. */
function needsOf(groupId: number, decided: readonly DecidedOperation[]): Map<string, number> {
  const sums = new Map<string, number>();
  const needs = new Map<string, number>();
  for (const { effects } of decided) {
    for (const { effect } of effects) {
      if (effect?.$case !== "post") continue;
      const { from, to, itemKind, quantity } = effect.value;
      for (const [account, delta] of [[from, -quantity], [to, quantity]] as const) {
        if (!account.startsWith("player:")) continue;
        const name = nameOf(groupId, account, itemKind);
        const sum = (sums.get(name) ?? 0) + delta;
        sums.set(name, sum);
        needs.set(name, Math.max(needs.get(name) ?? 0, -sum));
      }
    }
  }
  return needs;
}
