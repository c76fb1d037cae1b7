/** Rules of operations on containers, as the contract's comments state them. */
import { type ContainerAction, ContainerAction_Action, type ContainerContents, type ContainerPlace, MeshError, type Region } from "@statemesh/contract";
import { checkInteger, checkList, checkName, checkPosition, checkRegion, ID_BYTES_MAX, isMessage, QUANTITY_MAX } from "./field-check.ts";
import { regionOf, sameRegion } from "./region.ts";

/** Most containers in one another, the outermost included. */
export const CONTAINER_TREE_MAX = 64;
/** Most containers on the way from the outermost to the innermost. */
export const CONTAINER_DEPTH_MAX = 8;
/** Most kinds of items that one container holds. */
export const CONTAINER_KINDS_MAX = 64;
/** Most stacks that an operation states as the contents of a container. */
export const CONTENTS_STACKS_MAX = 1_024;

/** @param inside the region in which the place must be where it is a position */
function checkPlace(place: ContainerPlace | undefined, inside: Region, containerId: string, path: string): void {
  if (!isMessage(place) || place.place === undefined) throw MeshError.field(path, "must name a player, a container or a position");
  const at = place.place;
  switch (at.$case) {
    case "playerId":
      return checkName(at.value, 1, ID_BYTES_MAX, path, "player_id");
    case "containerId":
      checkName(at.value, 1, ID_BYTES_MAX, path, "container_id");
      if (at.value === containerId) throw MeshError.field(`${path}.container_id`, "must differ from the container's own id");
      return;
    case "position":
      checkPosition(at.value, `${path}.position`);
      if (!sameRegion(regionOf(at.value), inside)) throw MeshError.field(`${path}.position`, "must be inside the region");
      return;
  }
}

function checkContents(contents: readonly ContainerContents[], containerId: string, path: string): void {
  checkList(contents, CONTAINER_TREE_MAX, path, "contents");
  const depths = new Map<string, number>();
  let stacks = 0;
  for (let at = 0; at < contents.length; at++) {
    const here = `${path}.contents[${at}]`;
    const each = contents[at];
    if (!isMessage(each)) throw MeshError.field(here, "is required");
    checkName(each.containerId, 1, ID_BYTES_MAX, here, "container_id");
    checkName(each.kind, 1, ID_BYTES_MAX, here, "kind");
    if (depths.has(each.containerId)) throw MeshError.field(`${here}.container_id`, "must name each container once");
    if (at === 0) {
      if (each.containerId !== containerId) throw MeshError.field(`${here}.container_id`, "must be the container itself");
      if (each.inContainerId !== "") throw MeshError.field(`${here}.in_container_id`, "must be empty for the first");
      depths.set(each.containerId, 1);
    } else {
      const outer = depths.get(each.inContainerId);
      if (outer === undefined) throw MeshError.field(`${here}.in_container_id`, "must name a container before it in the list");
      if (outer === CONTAINER_DEPTH_MAX) throw MeshError.field(`${here}.in_container_id`, `must be at most ${CONTAINER_DEPTH_MAX} deep`);
      depths.set(each.containerId, outer + 1);
    }
    checkList(each.items, CONTAINER_KINDS_MAX, here, "items");
    stacks += each.items.length;
    if (stacks > CONTENTS_STACKS_MAX) throw MeshError.field(`${path}.contents`, `must have at most ${CONTENTS_STACKS_MAX} stacks in all`);
    const kinds = new Set<string>();
    for (const [i, item] of each.items.entries()) {
      const stack = `${here}.items[${i}]`;
      if (!isMessage(item)) throw MeshError.field(stack, "is required");
      checkName(item.itemKind, 1, ID_BYTES_MAX, stack, "item_kind");
      checkInteger(item.quantity, 1, QUANTITY_MAX, stack, "quantity");
      if (kinds.has(item.itemKind)) throw MeshError.field(`${stack}.item_kind`, "must be named once");
      kinds.add(item.itemKind);
    }
  }
}

/** Which fields an action uses: those of the others must be unset, so that a slip is told and not ignored. */
export function checkContainer(it: ContainerAction, home: Region, path: string): void {
  const { action, toRegion } = it;
  const isNew = action === ContainerAction_Action.CREATE;
  const moves = action === ContainerAction_Action.MOVE;
  if (!isNew && !moves && action !== ContainerAction_Action.DESTROY) throw MeshError.field(`${path}.action`, "must be one of CREATE, MOVE, DESTROY");
  checkName(it.containerId, 1, ID_BYTES_MAX, path, "container_id");
  if (isNew) checkName(it.kind, 1, ID_BYTES_MAX, path, "kind");
  else if (it.kind !== "") throw MeshError.field(`${path}.kind`, "must be empty but for ACTION_CREATE");
  if (toRegion !== undefined) {
    if (!moves) throw MeshError.field(`${path}.to_region`, "must be unset but for ACTION_MOVE");
    checkRegion(toRegion, `${path}.to_region`);
    if (sameRegion(toRegion, home)) throw MeshError.field(`${path}.to_region`, "must differ from the home region");
  }
  if (!isNew) checkPlace(it.from, home, it.containerId, `${path}.from`);
  else if (it.from !== undefined) throw MeshError.field(`${path}.from`, "must be unset for ACTION_CREATE");
  if (isNew || moves) checkPlace(it.to, toRegion ?? home, it.containerId, `${path}.to`);
  else if (it.to !== undefined) throw MeshError.field(`${path}.to`, "must be unset for ACTION_DESTROY");
  checkContents(it.contents, it.containerId, path);
  if (isNew && it.contents.length > 0) throw MeshError.field(`${path}.contents`, "must be empty for ACTION_CREATE");
  if (toRegion !== undefined && it.contents.length === 0) throw MeshError.field(`${path}.contents`, "must state what it holds where to_region is set");
  const into = it.to?.place;
  if (into?.$case === "containerId" && it.contents.some(({ containerId }) => containerId === into.value)) throw MeshError.field(`${path}.to.container_id`, "must not be in the container that moves");
}
