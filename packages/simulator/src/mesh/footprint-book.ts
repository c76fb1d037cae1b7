// What stands where, over the borders of groups, as the committed logs tell of it: two structures never stand in one place, whichever groups keep
// them; a group holds the footprints that were left there and not cleared, and no other; and in the end each is that of something.
import type { Bounds, Entity } from "@statemesh/contract";
import type { Footprint, FootprintClearing } from "@statemesh/contract/log";
import { type GroupState, RECENT_TERRAIN_EDITS } from "@statemesh/replica";
import { formatRegion, groupOf, overlaps, quantizeBounds, REACHED_REGIONS_MAX, regionsOfBounds } from "@statemesh/world";

export class FootprintBook {
  readonly #groups: number;
  readonly #fail: (kind: string, message: string) => void;
  readonly #sometimes: (what: string) => void;
  /** Structures of all groups. */
  readonly #structures = new Map<string, ReturnType<typeof quantizeBounds>>();
  /** By group and name: the operation that left it. */
  readonly #kept = new Map<number, Map<string, string>>();

  /** @param groups how many hold regions */
  constructor(groups: number, fail: (kind: string, message: string) => void, sometimes: (what: string) => void) {
    this.#groups = groups;
    this.#fail = fail;
    this.#sometimes = sometimes;
  }

  /** Whatever the rules were, and whoever decided. */
  placed(groupId: number, index: number, { kind, entityId, bounds }: Pick<Entity, "kind" | "entityId" | "bounds">, removed: boolean): void {
    if (kind !== "structure" || bounds === undefined) return;
    const name = `${entityId} of group ${groupId}`;
    this.#structures.delete(name);
    if (removed) return;
    const box = quantizeBounds(bounds);
    for (const [other, place] of this.#structures) {
      if (overlaps(box, place)) this.#fail("structures do not overlap", `${name} was placed at ${index}, where ${other} stands`);
    }
    this.#structures.set(name, box);
  }

  /** An operation of another group came into force. */
  left(groupId: number, operationId: string, row: Footprint): void {
    this.#rowsOf(groupId).set(nameOf(row), operationId);
    this.#sometimes("footprint left in another group");
  }

  cleared(groupId: number, clears: readonly FootprintClearing[]): void {
    const rows = this.#rowsOf(groupId);
    for (const clearing of clears) {
      if (rows.get(nameOf(clearing)) !== clearing.operationId) continue;
      rows.delete(nameOf(clearing));
      this.#sometimes("footprint cleared");
    }
  }

  /** A rival lost in the group. */
  lost(groupId: number, winnerOperationId: string): void {
    for (const operationId of this.#rowsOf(groupId).values()) if (operationId === winnerOperationId) return this.#sometimes("rival lost to a footprint");
  }

  check({ groupId, footprints }: GroupState, index: number): void {
    const rows = this.#rowsOf(groupId);
    if (footprints.size !== rows.size) this.#fail("footprints", `group ${groupId} holds ${footprints.size} footprints after ${index}, ${rows.size} were left there and not cleared`);
  }

  /** Once all is quiet. */
  checkFinal(states: readonly GroupState[]): void {
    for (const state of states) {
      const found = new Map([...state.footprints.values()].map((row) => [nameOf(row), row.operationId]));
      for (const [name, operationId] of this.#rowsOf(state.groupId)) {
        if (found.get(name) !== operationId) this.#fail("footprints", `group ${state.groupId} holds ${found.get(name) ?? "no footprint"} of ${name}, which ${operationId} left`);
      }
      for (const row of state.footprints.values()) {
        const home = row.region === undefined ? undefined : states[groupOf(row.region, this.#groups)];
        const stands = home?.entities.get(row.kind, row.entityId);
        if (stands?.operationId !== row.operationId) this.#fail("footprints", `group ${state.groupId} keeps the footprint of ${nameOf(row)}, by ${row.operationId}: at home stands ${stands?.operationId ?? "nothing"}`);
      }
      for (const entity of state.entities.values()) this.#checkReach(entity, state.groupId, states);
    }
  }

  #checkReach({ kind, entityId, region, bounds, operationId }: Entity, groupId: number, states: readonly GroupState[]): void {
    if (kind !== "structure" && kind !== "terrain_edit") return;
    for (const other of this.#groupsOf(bounds)) {
      const rows = this.#rowsOf(other);
      if (other === groupId || (kind === "terrain_edit" && rows.size >= RECENT_TERRAIN_EDITS) || states[other] === undefined) continue;
      const known = rows.get(nameOf({ kind, entityId, region }));
      if (known !== operationId) this.#fail("footprints", `${kind} ${entityId} of group ${groupId} reaches group ${other}, which keeps ${known === undefined ? "no footprint of it" : `that of ${known}`}`);
    }
  }

  #groupsOf(bounds: Bounds | undefined): Set<number> {
    const regions = bounds === undefined ? undefined : regionsOfBounds(quantizeBounds(bounds), REACHED_REGIONS_MAX);
    return new Set(regions?.map((region) => groupOf(region, this.#groups)));
  }

  #rowsOf(groupId: number): Map<string, string> {
    let rows = this.#kept.get(groupId);
    if (rows === undefined) this.#kept.set(groupId, (rows = new Map()));
    return rows;
  }
}

function nameOf({ kind, entityId, region }: Pick<Footprint, "kind" | "entityId" | "region">): string {
  return `${region === undefined ? "nowhere" : formatRegion(region)}/${kind}/${entityId}`;
}
