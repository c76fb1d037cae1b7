/**
 * What the shards were told, kept apart from the mesh: at the end the mesh has to hold just that. Every entry comes
 * from a decision; what nobody knows (an outcome that stayed open) makes the accounts concerned unsure.
 */
import type { Bounds, Decision, Region } from "@statemesh/contract";

/** A structure that a decision put up. */
export interface BuiltStructure {
  readonly region: Region;
  readonly bounds: Bounds;
}

export class DemoLedger {
  /** Quantities by account, then item kind. */
  readonly balances = new Map<string, Map<string, number>>();
  /** Items that lie on the ground: kind, quantity and region. */
  readonly ground = new Map<string, { readonly kind: string; readonly quantity: number; readonly region: Region }>();
  readonly structures = new Map<string, BuiltStructure>();
  /** Who holds a resource (undefined: nobody any more), and the place in the log that says so. */
  readonly claims = new Map<string, { readonly playerId: string | undefined; readonly index: number }>();
  /** Accounts with an outcome that stayed open. */
  readonly unsure = new Set<string>();
  /** Items that two decisions gave away, which must never be. */
  readonly doubled: string[] = [];

  add(account: string, kind: string, quantity: number): void {
    const held = this.balances.get(account) ?? new Map<string, number>();
    this.balances.set(account, held);
    held.set(kind, (held.get(kind) ?? 0) + quantity);
  }

  lay(itemId: string, kind: string, quantity: number, region: Region): void {
    this.ground.set(itemId, { kind, quantity, region });
  }

  /** An item was given to an account; what it was, or undefined where it was given away before. */
  pickUp(itemId: string, account: string): { kind: string; quantity: number } | undefined {
    const item = this.ground.get(itemId);
    if (item === undefined) {
      this.doubled.push(itemId);
      return undefined;
    }
    this.ground.delete(itemId);
    this.add(account, item.kind, item.quantity);
    return item;
  }

  /** A claim or its release. Answers of two shards come in any order, so the later one in the log counts. */
  setClaim(resourceId: string, playerId: string | undefined, decision: Decision): void {
    const index = decision.position?.index ?? 0;
    if ((this.claims.get(resourceId)?.index ?? -1) < index) this.claims.set(resourceId, { playerId, index });
  }

  /** Accounts whose balances are known, with kind and quantity. */
  expected(): { account: string; kind: string; quantity: number }[] {
    const all: { account: string; kind: string; quantity: number }[] = [];
    for (const [account, held] of this.balances) {
      if (this.unsure.has(account)) continue;
      for (const [kind, quantity] of held) all.push({ account, kind, quantity });
    }
    return all;
  }
}
