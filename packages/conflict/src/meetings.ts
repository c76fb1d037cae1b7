/** Who meets whom: operations that name an equal key, or whose boxes overlap in one layer. */
import { ConflictType } from "@statemesh/contract";
import { BoxIndex } from "./box-index.ts";
import type { Contender } from "./contender.ts";
import { type Purpose, Search } from "./search.ts";

/** How two operations meet over a key, told from the key's prefix. */
function conflictOfKey(key: string): ConflictType {
  if (key.startsWith("structure:")) return ConflictType.STRUCTURE_OVERLAP;
  if (key.startsWith("claim:")) return ConflictType.RESOURCE_CLAIM;
  if (key.startsWith("item:")) return ConflictType.ITEM_PICKUP;
  if (key.startsWith("creature:")) return ConflictType.CREATURE_OWNERSHIP;
  return ConflictType.KEY;
}

/**
 * The operations put in so far. A search costs one look-up a key and a bounded number of cells, plus what it finds.
 */
export class Meetings {
  readonly #holders = new Map<string, Contender | Contender[]>();
  readonly #layers = new Map<string, BoxIndex>();
  readonly #search = new Search();

  add(it: Contender): void {
    // Numbers of searches start anew with each instance.
    it.foundBy = 0;
    for (const key of it.keys) {
      const held = this.#holders.get(key);
      if (held === undefined) this.#holders.set(key, it);
      else if (Array.isArray(held)) held.push(it);
      else this.#holders.set(key, [held, it]);
    }
    if (it.bounds === undefined) return;
    let layer = this.#layers.get(it.order.layer);
    if (layer === undefined) {
      layer = new BoxIndex();
      this.#layers.set(it.order.layer, layer);
    }
    layer.add(it);
  }

  /** Everyone put in so far that meets `it`, in no promised order; good until the next search. */
  search(it: Contender, purpose: Purpose): Search {
    const search = this.#search;
    search.begin(it, purpose);
    for (const key of it.keys) {
      const held = this.#holders.get(key);
      if (held === undefined) continue;
      if (!Array.isArray(held)) offer(held, key, search);
      else for (const other of held) offer(other, key, search);
    }
    if (it.bounds !== undefined) this.#layers.get(it.order.layer)?.find(it.bounds, search);
    return search;
  }
}

function offer(other: Contender, key: string, search: Search): void {
  if (search.wants(other)) search.take(other, key);
}

/** How `it` met the one found at a place of its search. */
export function conflictAt(search: Search, at: number, it: Contender): ConflictType {
  const key = search.keys[at];
  return key === undefined || key === "" ? it.order.conflict : conflictOfKey(key);
}
