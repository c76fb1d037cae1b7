/** Who meets whom: operations that name an equal key, or whose boxes overlap in one layer. */
import { ConflictType } from "@statemesh/contract";
import { BoxIndex } from "./box-index.ts";
import type { Contender } from "./contender.ts";

/** How two operations meet over a key, told from the key's prefix. */
export function conflictOfKey(key: string): ConflictType {
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
  #query = 0;

  /** Found by the last search. */
  readonly found: Contender[] = [];
  /** The lowest key shared with each of the found; empty where the boxes overlap. */
  readonly keys: string[] = [];

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

  /** Fills `found` and `keys` with everyone put in so far that meets `it`, each once, in no promised order. */
  search(it: Contender): void {
    const { found, keys } = this;
    found.length = 0;
    keys.length = 0;
    const query = ++this.#query;
    it.foundBy = query;
    for (const key of it.keys) {
      const held = this.#holders.get(key);
      if (held === undefined) continue;
      if (!Array.isArray(held)) this.#take(held, key, query);
      else for (const other of held) this.#take(other, key, query);
    }
    if (it.bounds === undefined) return;
    this.#layers.get(it.order.layer)?.find(it.bounds, query, found);
    while (keys.length < found.length) keys.push("");
  }

  #take(other: Contender, key: string, query: number): void {
    if (other.foundBy === query) return;
    other.foundBy = query;
    this.found.push(other);
    this.keys.push(key);
  }

  /** How `it` met the one found at a place of the last search. */
  conflictAt(at: number, it: Contender): ConflictType {
    const key = this.keys[at];
    return key === undefined || key === "" ? it.order.conflict : conflictOfKey(key);
  }
}
