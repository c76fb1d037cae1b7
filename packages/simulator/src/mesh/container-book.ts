// What is in what, as the committed log of one group tells it: a forest with limits, in which nothing is in itself, and no items are
// in a container that is not there.
import type { Entity } from "@statemesh/contract";
import { CONTAINER_DEPTH_MAX, CONTAINER_KINDS_MAX, CONTAINER_TREE_MAX } from "@statemesh/world";

export class ContainerBook {
  /** The container that each is in; empty: in none. */
  readonly #inside = new Map<string, string>();
  /** By container: kinds that it holds. */
  readonly #holds = new Map<string, Set<string>>();
  readonly #touched = new Set<string>();

  changed({ kind, entityId, attributes }: Entity, removed: boolean): void {
    if (kind !== "container") return;
    this.#touched.add(entityId);
    if (removed) this.#inside.delete(entityId);
    else this.#inside.set(entityId, attributes.get("container") ?? "");
  }

  balance(account: string, itemKind: string, quantity: number): void {
    if (!account.startsWith("container:")) return;
    const id = account.slice("container:".length);
    this.#touched.add(id);
    const kinds = this.#holds.get(id) ?? new Set();
    if (quantity === 0) kinds.delete(itemKind);
    else kinds.add(itemKind);
    if (kinds.size === 0) this.#holds.delete(id);
    else this.#holds.set(id, kinds);
  }

  /** After an entry: what is wrong with what it touched. */
  problem(): string | undefined {
    if (this.#touched.size === 0) return undefined;
    this.#touched.clear();
    const trees = new Map<string, number>();
    for (const [id, kinds] of this.#holds) {
      if (!this.#inside.has(id)) return `${[...kinds].join()} are in ${id}, which is not there`;
      if (kinds.size > CONTAINER_KINDS_MAX) return `${id} holds ${kinds.size} kinds`;
    }
    for (const [id, inside] of this.#inside) {
      let root = id;
      let depth = 1;
      for (let outer = inside; outer !== ""; outer = this.#inside.get(outer) ?? "") {
        if (!this.#inside.has(outer)) return `${root} is in ${outer}, which is not there`;
        if (++depth > CONTAINER_DEPTH_MAX) return `${id} is more than ${CONTAINER_DEPTH_MAX} deep, or in itself`;
        root = outer;
      }
      const count = (trees.get(root) ?? 0) + 1;
      if (count > CONTAINER_TREE_MAX) return `more than ${CONTAINER_TREE_MAX} containers are in ${root}`;
      trees.set(root, count);
    }
    return undefined;
  }
}
