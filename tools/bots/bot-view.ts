/** What a shard of bots is shown of its own regions: everything that its players can act on. */
import type { Entity, EntityChange, Region } from "@statemesh/contract";
import { formatRegion } from "@statemesh/world";

interface RegionView {
  /** Items on the ground. */
  readonly items: Set<string>;
  /** Structures with the player who built each. */
  readonly structures: Map<string, string>;
  /** Claimed resources with the player who holds each. */
  readonly claims: Map<string, string>;
}

export class BotView {
  readonly #run: string;
  readonly #regions = new Map<string, RegionView>();
  /** A creature of this run is in one of the regions: who owns it stands in it. */
  readonly #onCreature: (creature: Entity) => void;

  constructor(run: string, regions: readonly Region[], onCreature: (creature: Entity) => void) {
    this.#run = run;
    this.#onCreature = onCreature;
    for (const region of regions) this.#regions.set(formatRegion(region), { items: new Set(), structures: new Map(), claims: new Map() });
  }

  /** A snapshot begins. */
  forgetAll(): void {
    for (const view of this.#regions.values()) {
      view.items.clear();
      view.structures.clear();
      view.claims.clear();
    }
  }

  change({ entity, removed }: EntityChange): void {
    if (entity === undefined) return;
    if (removed) this.#drop(entity);
    else this.put(entity);
  }

  put(entity: Entity): void {
    const view = this.#viewOf(entity);
    if (view === undefined) return;
    if (entity.kind === "creature") this.#onCreature(entity);
    else if (entity.kind === "item") view.items.add(entity.entityId);
    else if (entity.kind === "structure") view.structures.set(entity.entityId, entity.playerId);
    else if (entity.kind === "claim") view.claims.set(entity.entityId, entity.playerId);
  }

  #drop(entity: Entity): void {
    const view = this.#viewOf(entity);
    if (entity.kind === "item") view?.items.delete(entity.entityId);
    else if (entity.kind === "structure") view?.structures.delete(entity.entityId);
    else if (entity.kind === "claim") view?.claims.delete(entity.entityId);
  }

  /** Undefined of what is not this shard's, or not of this run. */
  #viewOf({ entityId, region }: Entity): RegionView | undefined {
    return region === undefined || !entityId.startsWith(this.#run) ? undefined : this.#regions.get(formatRegion(region));
  }

  itemsIn(region: Region): readonly string[] {
    return [...(this.#regions.get(formatRegion(region))?.items ?? [])];
  }

  structuresOf(player: string, region: Region): string[] {
    return heldBy(this.#regions.get(formatRegion(region))?.structures, player);
  }

  claimsOf(player: string, region: Region): string[] {
    return heldBy(this.#regions.get(formatRegion(region))?.claims, player);
  }

  /** Everything that players of this run put up and hold. */
  *all(): Generator<{ readonly region: string; readonly kind: "structure" | "claim"; readonly id: string; readonly player: string }, void> {
    for (const [region, view] of this.#regions) {
      for (const [id, player] of view.structures) yield { region, kind: "structure", id, player };
      for (const [id, player] of view.claims) yield { region, kind: "claim", id, player };
    }
  }
}

function heldBy(things: ReadonlyMap<string, string> | undefined, player: string): string[] {
  return [...(things ?? [])].filter(([, holder]) => holder === player).map(([id]) => id);
}
