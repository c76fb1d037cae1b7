// Containers in containers: a forest of entities of the kind `container`, each of which names the one that it is in. Each has an
// account. What is in what is said once, by the inner one, so that moving the outer one writes one row.
import type { ContainerContents, Entity, ItemStack } from "@statemesh/contract";
import { CONTAINER_DEPTH_MAX, CONTAINER_TREE_MAX } from "@statemesh/world";
import { enclosing } from "./entity-table.ts";

/** Where containers are found: the state, or what is decided so far on top of it. */
export interface Containers {
  get(kind: "container", entityId: string): Entity | undefined;
  containedIn(containerId: string): Iterable<Entity>;
}

/** A container and everything in it, each after the one that it is in. */
export function treeOf(containers: Containers, root: Entity): Entity[] {
  const tree = [root];
  for (let at = 0; at < tree.length && tree.length <= CONTAINER_TREE_MAX; at++) {
    const outer = tree[at];
    if (outer !== undefined) tree.push(...containers.containedIn(outer.entityId));
  }
  return tree;
}

/** A container, the one that it is in, and so on to the outermost. */
export function enclosuresOf(containers: Containers, entity: Entity): Entity[] {
  const way = [entity];
  let outer = containers.get("container", enclosing(entity));
  for (; outer !== undefined && way.length <= CONTAINER_DEPTH_MAX; outer = containers.get("container", enclosing(outer))) way.push(outer);
  return way;
}

/** How deep containers are in the first of them, which counts as 1. Each is listed after the one that it is in. */
export function heightOf(tree: readonly { readonly id: string; readonly inside: string }[]): number {
  const depths = new Map<string, number>();
  let height = 0;
  for (const { id, inside } of tree) {
    const depth = (depths.get(inside) ?? 0) + 1;
    depths.set(id, depth);
    if (depth > height) height = depth;
  }
  return height;
}

/** What a container and everything in it holds, as a caller states and reads it. */
export function contentsOf(containers: Containers, root: Entity, holds: (containerId: string) => Iterable<readonly [itemKind: string, quantity: number]>): ContainerContents[] {
  return treeOf(containers, root).map((entity) => {
    const items: ItemStack[] = [];
    for (const [itemKind, quantity] of holds(entity.entityId)) items.push({ itemKind, quantity });
    items.sort((a, b) => (a.itemKind < b.itemKind ? -1 : 1));
    return { containerId: entity.entityId, inContainerId: entity === root ? "" : enclosing(entity), kind: entity.label, items };
  });
}

/** Whether two lists say the same, in whatever order. Neither names a container or a kind twice. */
export function sameContents(a: readonly ContainerContents[], b: readonly ContainerContents[]): boolean {
  if (a.length !== b.length) return false;
  const others = new Map(b.map((each) => [each.containerId, each]));
  return a.every(({ containerId, inContainerId, kind, items }) => {
    const other = others.get(containerId);
    if (other?.inContainerId !== inContainerId || other.kind !== kind || other.items.length !== items.length) return false;
    const quantities = new Map(other.items.map(({ itemKind, quantity }) => [itemKind, quantity]));
    return items.every(({ itemKind, quantity }) => quantities.get(itemKind) === quantity);
  });
}
