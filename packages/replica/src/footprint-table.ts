// What entities of other groups take up in the regions of this one. A footprint has no version, is never read, sent or
// materialised: it only stands in the way of what is decided here, as the group's own entities do.
import type { Bounds, Region } from "@statemesh/contract";
import type { DecidedOperation, Effect, Footprint, FootprintClearing } from "@statemesh/contract/log";
import { groupOf, type QuantizedBounds, quantizeBounds, REACHED_REGIONS_MAX, regionsOfBounds } from "@statemesh/world";
import { entityKey, layerOf, RECENT_TERRAIN_EDITS } from "./entity-table.ts";
import { regionText } from "./region-text.ts";
import { SpatialIndex } from "./spatial-index.ts";
import type { StateHash } from "./state-hash.ts";

/** The groups that a box reaches, ascending. */
export function groupsOfBounds(bounds: Bounds | undefined, groups: number): number[] {
  if (bounds === undefined) return [];
  const found = new Set<number>();
  for (const region of regionsOfBounds(quantizeBounds(bounds), REACHED_REGIONS_MAX) ?? []) found.add(groupOf(region, groups));
  return [...found].sort((a, b) => a - b);
}

type Name = Pick<Footprint, "kind" | "entityId" | "region">;

/** Names are those of the group of the home region: the same one may be used elsewhere. */
function nameOf({ kind, entityId, region }: Name): string {
  return `${region === undefined ? "" : regionText(region)}/${entityKey(kind, entityId)}`;
}

/** Rows are replaced, never changed. */
export class FootprintTable {
  readonly #hash: StateHash;
  /** By kind, then by name, in the order in which they came. */
  readonly #byKind = new Map<string, Map<string, Footprint>>();
  readonly #byLayer = new Map<string, SpatialIndex<Footprint>>();
  #size = 0;

  constructor(hash: StateHash) {
    this.#hash = hash;
  }

  get size(): number {
    return this.#size;
  }

  *values(): Generator<Footprint> {
    for (const rows of this.#byKind.values()) yield* rows.values();
  }

  /** Visits footprints whose box overlaps, in a layer of the policy. */
  visitOverlapping(layer: string, bounds: QuantizedBounds, visit: (row: Footprint) => void): void {
    if (this.#size > 0) this.#byLayer.get(layer)?.visitOverlapping(bounds, visit);
  }

  /** Of terrain edits the last 8,192 are kept, as of the group's own. */
  put(row: Footprint): void {
    this.#take(row);
    let rows = this.#byKind.get(row.kind);
    if (rows === undefined) this.#byKind.set(row.kind, (rows = new Map()));
    rows.set(nameOf(row), row);
    this.#size++;
    this.#hash.add(`footprint/${nameOf(row)}`, row.operationId, row.serverId, row.stamp?.physicalMs ?? 0);
    if (row.bounds !== undefined) {
      const layer = layerOf(row.kind);
      let index = this.#byLayer.get(layer);
      if (index === undefined) this.#byLayer.set(layer, (index = new SpatialIndex()));
      index.insert(quantizeBounds(row.bounds), row);
    }
    if (row.kind !== "terrain_edit" || rows.size <= RECENT_TERRAIN_EDITS) return;
    const [oldest] = rows.values();
    if (oldest !== undefined) this.#take(oldest);
  }

  /** What the operation that is named put there goes; anything else stays. */
  clear({ operationId, ...name }: Name & Pick<FootprintClearing, "operationId">): void {
    if (this.#byKind.get(name.kind)?.get(nameOf(name))?.operationId === operationId) this.#take(name);
  }

  #take(name: Name): void {
    const rows = this.#byKind.get(name.kind);
    const row = rows?.get(nameOf(name));
    if (rows === undefined || row === undefined) return;
    rows.delete(nameOf(row));
    this.#size--;
    this.#hash.remove(`footprint/${nameOf(row)}`, row.operationId, row.serverId, row.stamp?.physicalMs ?? 0);
    if (row.bounds !== undefined) this.#byLayer.get(layerOf(row.kind))?.remove(quantizeBounds(row.bounds), row);
  }
}

/** A footprint as it is kept, once the operation takes effect. */
export function footprintRow(row: Footprint, { operationId, serverId, stamp }: DecidedOperation): Footprint {
  return { ...row, operationId, serverId, stamp };
}

/** True where nodes that know no footprints would make another state of what was decided. */
export function hasFootprints(decided: readonly DecidedOperation[]): boolean {
  return decided.some(({ clears, effects }) => clears.length > 0 || effects.some(isFootprint));
}

function isFootprint({ effect }: Effect): boolean {
  return effect?.$case === "footprint";
}

/** What an operation without effects elsewhere clears. */
export const NO_CLEARS: FootprintClearing[] = [];

/** The clearing of an entity that goes; undefined where no other group keeps a footprint of it. Own types leave none. */
export function clearingOf(entity: { readonly kind: string; readonly entityId: string; readonly region?: Region | undefined; readonly bounds?: Bounds | undefined; readonly operationId: string }, groupId: number, groups: number): FootprintClearing | undefined {
  const { kind, entityId, region, operationId } = entity;
  const others = groupsOfBounds(entity.bounds, groups).filter((group) => group !== groupId);
  return others.length === 0 ? undefined : { kind, entityId, region, operationId, groups: others };
}
