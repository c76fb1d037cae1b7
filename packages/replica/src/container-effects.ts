// What is done with containers, or why not. Where a container goes to another group, the caller has stated what it holds: the
// group that gives it checks that, and the group that takes it writes it down, so that both decide by what the operation says.
import { type ContainerAction, ContainerAction_Action, type ContainerContents, type ContainerPlace, type Entity, type Region } from "@statemesh/contract";
import type { Effect, Posting } from "@statemesh/contract/log";
import { CONTAINER_DEPTH_MAX, CONTAINER_KINDS_MAX, CONTAINER_TREE_MAX, groupOf, regionOf, sameRegion } from "@statemesh/world";
import { type Containers, contentsOf, enclosuresOf, heightOf, sameContents, treeOf } from "./containers.ts";
import { type EffectsOrRefusal, entity, isKeptHere, type Overlay, post, put, type Refusal } from "./effect-parts.ts";
import { enclosing } from "./entity-table.ts";
import { containerAccount, groupAccount } from "./ledger.ts";

/** What moves into a place: how many containers, and how deep they are in one another. */
interface Load {
  readonly count: number;
  readonly height: number;
  /** The outermost, where it is kept here. */
  readonly root: Entity | undefined;
}

const EMPTY: Load = { count: 1, height: 1, root: undefined };

export function containerEffects(overlay: Overlay, action: ContainerAction, home: Region | undefined): EffectsOrRefusal {
  if (action.action === ContainerAction_Action.CREATE) return create(overlay, action);
  if (!isKeptHere(home, overlay)) return arrive(overlay, action, home);
  const found = overlay.entities.get("container", action.containerId);
  if (found === undefined) return { rule: "existence", reason: "NOT_FOUND" };
  if (!isAt(found, action.from, home)) return { rule: "holder", reason: "NOT_HOLDER", winnerOperationId: found.operationId };
  const contents = contentsOf(overlay.entities, found, (id) => overlay.ledger.containerHolds(containerAccount(id)));
  if (action.contents.length > 0 && !sameContents(action.contents, contents)) return { rule: "containment", reason: "CONTENTS_CHANGED", winnerOperationId: found.operationId };
  if (action.action === ContainerAction_Action.DESTROY) {
    const isEmpty = contents.length === 1 && contents[0]?.items.length === 0;
    if (!isEmpty && action.contents.length === 0) return { rule: "containment", reason: "NOT_EMPTY" };
    return takeAway(overlay, contents, "");
  }
  const { toRegion } = action;
  if (toRegion !== undefined && overlay.place !== undefined && !isKeptHere(toRegion, overlay)) return takeAway(overlay, contents, groupAccount(groupOf(toRegion, overlay.place.groups)));
  const tree = treeOf(overlay.entities, found);
  const misfit = misfitOf(overlay.entities, action.to, { count: tree.length, height: heightOf(tree.map((each) => ({ id: each.entityId, inside: each === found ? "" : enclosing(each) }))), root: found });
  return misfit ?? put(placed(found.entityId, found.label, action.to, toRegion));
}

function create({ entities }: Overlay, { containerId, kind, to }: ContainerAction): EffectsOrRefusal {
  const usedBy = entities.usedBy("container", containerId);
  if (usedBy !== undefined) return { rule: "existence", reason: "ALREADY_EXISTS", winnerOperationId: usedBy };
  return misfitOf(entities, to, EMPTY) ?? put(placed(containerId, kind, to, undefined));
}

/** From another group, with everything in it as the operation states it. */
function arrive(overlay: Overlay, { contents, to, toRegion }: ContainerAction, home: Region | undefined): EffectsOrRefusal {
  const { entities, ledger, place } = overlay;
  for (const { containerId } of contents) {
    const found = entities.get("container", containerId);
    if (found !== undefined) return { rule: "existence", reason: "ALREADY_EXISTS", winnerOperationId: found.operationId };
  }
  const height = heightOf(contents.map(({ containerId, inContainerId }) => ({ id: containerId, inside: inContainerId })));
  const misfit = misfitOf(entities, to, { count: contents.length, height, root: undefined });
  if (misfit !== undefined || home === undefined || place === undefined) return misfit ?? { rule: "existence", reason: "NOT_FOUND" };
  const effects: Effect[] = [];
  const postings: Posting[] = [];
  const from = groupAccount(groupOf(home, place.groups));
  for (const { containerId, inContainerId, kind, items } of contents) {
    const at: ContainerPlace | undefined = inContainerId === "" ? to : { place: { $case: "containerId", value: inContainerId } };
    effects.push(...put(placed(containerId, kind, at, toRegion)).effects);
    for (const { itemKind, quantity } of items) postings.push({ from, to: containerAccount(containerId), itemKind, quantity });
  }
  return post(ledger, postings, effects);
}

/** Containers go, the innermost first, and what they hold goes to another account. */
function takeAway({ ledger }: Overlay, contents: readonly ContainerContents[], to: string): EffectsOrRefusal {
  const postings: Posting[] = [];
  const effects: Effect[] = [];
  for (const { containerId, items } of [...contents].reverse()) {
    for (const { itemKind, quantity } of items) postings.push({ from: containerAccount(containerId), to, itemKind, quantity });
    effects.push({ effect: { $case: "remove", value: { kind: "container", entityId: containerId } } });
  }
  return post(ledger, postings, effects);
}

/** Why something cannot be put into a place. Only other containers have limits. */
function misfitOf(containers: Containers, to: ContainerPlace | undefined, { count, height, root }: Load): Refusal | undefined {
  if (to?.place?.$case !== "containerId") return undefined;
  const outer = containers.get("container", to.place.value);
  if (outer === undefined) return { rule: "existence", reason: "NOT_FOUND" };
  const way = enclosuresOf(containers, outer);
  if (root !== undefined && way.some(({ entityId }) => entityId === root.entityId)) return { rule: "containment", reason: "CONTAINER_CYCLE" };
  if (way.length + height > CONTAINER_DEPTH_MAX) return { rule: "containment", reason: "CONTAINER_TOO_DEEP" };
  const around = treeOf(containers, way.at(-1) ?? outer);
  const isInside = root !== undefined && around.some(({ entityId }) => entityId === root.entityId);
  if (around.length + (isInside ? 0 : count) > CONTAINER_TREE_MAX) return { rule: "containment", reason: "CONTAINER_FULL" };
  return undefined;
}

/** Why items of a kind cannot be put into a container that is kept here. */
export function noRoomFor({ entities, ledger }: Overlay, containerId: string, itemKind: string): Refusal | undefined {
  if (entities.get("container", containerId) === undefined) return { rule: "existence", reason: "NOT_FOUND" };
  const holds = ledger.containerHolds(containerAccount(containerId));
  return holds.has(itemKind) || holds.size < CONTAINER_KINDS_MAX ? undefined : { rule: "containment", reason: "CONTAINER_FULL" };
}

function isAt(found: Entity, from: ContainerPlace | undefined, home: Region | undefined): boolean {
  const at = from?.place;
  switch (at?.$case) {
    case "playerId":
      return found.playerId === at.value;
    case "containerId":
      return enclosing(found) === at.value;
    case "position":
      return found.bounds !== undefined && found.region !== undefined && home !== undefined && sameRegion(found.region, home);
    default:
      return false;
  }
}

/** @param region that of a place that is no position; undefined: the operation's home region */
function placed(containerId: string, kind: string, to: ContainerPlace | undefined, region: Region | undefined): Entity {
  const at = to?.place;
  switch (at?.$case) {
    case "playerId":
      return entity("container", containerId, { label: kind, playerId: at.value, region });
    case "containerId":
      return entity("container", containerId, { label: kind, attributes: new Map([["container", at.value]]), region });
    case "position": {
      const { x, y, z } = at.value;
      return entity("container", containerId, { label: kind, bounds: { minX: x, minY: y, minZ: z, maxX: x, maxY: y, maxZ: z }, region: regionOf(at.value) });
    }
    default:
      throw new Error("decide: a container without a place passed validation");
  }
}
