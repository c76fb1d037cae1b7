import type { Bounds} from "@statemesh/contract";
import { type Entity, type Region } from "@statemesh/contract";
import { type QuantizedBounds, quantizeBounds } from "@statemesh/world";
import { regionText } from "./region-text.ts";
import { SpatialIndex } from "./spatial-index.ts";
import type { StateHash } from "./state-hash.ts";

/** Recent terrain edits that count in conflicts, a group. Older ones are in force, but nothing is compared with them. */
export const RECENT_TERRAIN_EDITS = 8_192;

export function entityKey(kind: string, entityId: string): string {
  return `${kind}/${entityId}`;
}

/**
 * The strong entities of one group, by name, by region and by place. Entities are replaced, never changed, so
 * that a captured list stays as it was.
 */
export class EntityTable {
  readonly #byKey = new Map<string, Entity>();
  readonly #byRegion = new Map<string, Map<string, Entity>>();
  readonly #byLayer = new Map<string, SpatialIndex<Entity>>();
  readonly #recentTerrain: Entity[] = [];
  /** Containers that are in another one, by the other one's id. */
  readonly #contained = new Map<string, Map<string, Entity>>();
  /** Containers that a player holds, by the player's id. */
  readonly #held = new Map<string, Map<string, Entity>>();
  #recentTerrainStart = 0;
  readonly #hash: StateHash;

  constructor(hash: StateHash) {
    this.#hash = hash;
  }

  get size(): number {
    return this.#byKey.size;
  }

  get(kind: string, entityId: string): Entity | undefined {
    return this.#byKey.get(entityKey(kind, entityId));
  }

  /** Entities of a region by key, in the order they were first written. */
  inRegion(region: Region): ReadonlyMap<string, Entity> | undefined {
    return this.#byRegion.get(regionText(region));
  }

  /** The containers that are directly in one. */
  containedIn(containerId: string): Iterable<Entity> {
    return this.#contained.get(containerId)?.values() ?? [];
  }

  /** The containers that a player holds, not those that are in them. */
  heldBy(playerId: string): Iterable<Entity> {
    return this.#held.get(playerId)?.values() ?? [];
  }

  values(): IterableIterator<Entity> {
    return this.#byKey.values();
  }

  /** Visits entities whose box overlaps, in a layer of the policy (`structure`, `terrain`, a type of the operator's own). */
  visitOverlapping(layer: string, bounds: QuantizedBounds, visit: (entity: Entity) => void): void {
    this.#byLayer.get(layer)?.visitOverlapping(bounds, visit);
  }

  /** Answers what stood under the name before. */
  put(entity: Entity): Entity | undefined {
    entity.state = ownBytes(entity.state);
    const key = entityKey(entity.kind, entity.entityId);
    const before = this.#byKey.get(key);
    if (before !== undefined) this.#unlink(key, before);
    this.#byKey.set(key, entity);
    if (entity.region !== undefined) {
      const text = regionText(entity.region);
      let there = this.#byRegion.get(text);
      if (there === undefined) {
        there = new Map();
        this.#byRegion.set(text, there);
      }
      there.set(key, entity);
    }
    if (entity.kind === "container") {
      putTo(this.#contained, enclosing(entity), entity);
      putTo(this.#held, entity.playerId, entity);
    }
    this.#hash.add(key, entity.operationId, entity.version, entity.quantity);
    if (entity.bounds !== undefined && entity.kind !== "item" && entity.kind !== "container") this.#place(entity, entity.bounds);
    return before;
  }

  remove(kind: string, entityId: string): Entity | undefined {
    const key = entityKey(kind, entityId);
    const before = this.#byKey.get(key);
    if (before === undefined) return undefined;
    this.#unlink(key, before);
    this.#byKey.delete(key);
    return before;
  }

  #unlink(key: string, entity: Entity): void {
    this.#hash.remove(key, entity.operationId, entity.version, entity.quantity);
    if (entity.region !== undefined) {
      const text = regionText(entity.region);
      const there = this.#byRegion.get(text);
      there?.delete(key);
      if (there?.size === 0) this.#byRegion.delete(text);
    }
    if (entity.kind === "container") {
      takeFrom(this.#contained, enclosing(entity), entity);
      takeFrom(this.#held, entity.playerId, entity);
    }
    this.#unplace(entity);
  }

  #place(entity: Entity, bounds: Bounds): void {
    const box = quantizeBounds(bounds);
    const layer = layerOf(entity.kind);
    let index = this.#byLayer.get(layer);
    if (index === undefined) {
      index = new SpatialIndex();
      this.#byLayer.set(layer, index);
    }
    index.insert(box, entity);
    if (entity.kind !== "terrain_edit") return;
    this.#recentTerrain.push(entity);
    if (this.#recentTerrain.length - this.#recentTerrainStart <= RECENT_TERRAIN_EDITS) return;
    const oldest = this.#recentTerrain[this.#recentTerrainStart++];
    if (oldest !== undefined) this.#unplace(oldest);
    if (this.#recentTerrainStart >= RECENT_TERRAIN_EDITS) {
      this.#recentTerrain.splice(0, this.#recentTerrainStart);
      this.#recentTerrainStart = 0;
    }
  }

  #unplace(entity: Entity): void {
    if (entity.bounds !== undefined) this.#byLayer.get(layerOf(entity.kind))?.remove(quantizeBounds(entity.bounds), entity);
  }
}

/** An empty name is nobody's. */
function putTo(index: Map<string, Map<string, Entity>>, name: string, entity: Entity): void {
  if (name === "") return;
  const there = index.get(name);
  if (there === undefined) index.set(name, new Map([[entity.entityId, entity]]));
  else there.set(entity.entityId, entity);
}

function takeFrom(index: Map<string, Map<string, Entity>>, name: string, entity: Entity): void {
  const there = index.get(name);
  there?.delete(entity.entityId);
  if (there?.size === 0) index.delete(name);
}

/** What lies on the ground, by canonical region. */
export function* lyingItems(entities: EntityTable): Generator<{ readonly region: string; readonly itemKind: string; readonly quantity: number }> {
  for (const { kind, region, label, quantity } of entities.values()) if (kind === "item" && region !== undefined) yield { region: regionText(region), itemKind: label, quantity };
}

/** The container that a container is in; empty: it is in none, or none itself. */
export function enclosing({ kind, attributes }: Pick<Entity, "kind" | "attributes">): string {
  return kind === "container" ? (attributes.get("container") ?? "") : "";
}

/** The layer of the policy in which boxes of a kind meet. */
export function layerOf(kind: string): string {
  return kind === "terrain_edit" ? "terrain" : kind;
}

/** What was decoded is a view of the message that it came in, and would keep the whole of that as long as the entity lives. */
function ownBytes(bytes: Uint8Array): Uint8Array {
  if (bytes.length === bytes.buffer.byteLength) return bytes;
  return bytes.length === 0 ? NO_BYTES : new Uint8Array(bytes);
}

const NO_BYTES = new Uint8Array(0);
