// What a game shard asks for by built-in types: structures on few places, claims, items of few players, terrain and creatures.
import { type Footprint, type Operation, PlayerInventory_Action, type Position, type Region, TerrainModification_Mode } from "@statemesh/contract";
import { sameRegion } from "@statemesh/world";
import type { SimRandom } from "../sim-random.ts";
import { ITEM_KIND } from "./mesh-requests.ts";
import type { ShardParts } from "./shard-parts.ts";

/** An operation but for who asks, and when. */
export interface Asked {
  readonly type: string;
  readonly body: NonNullable<Operation["body"]>;
  readonly footprint?: Footprint | undefined;
}

/** Where something is built: one of the few places of a region. */
interface Place {
  readonly at: number;
  readonly row: number;
  readonly corner: { readonly minX: number; readonly minY: number; readonly minZ: number };
  readonly position: Position;
}

export class ShardBuiltIn {
  readonly #serverId: number;
  readonly #random: SimRandom;
  readonly #parts: ShardParts;

  constructor(serverId: number, random: SimRandom, parts: ShardParts) {
    this.#serverId = serverId;
    this.#random = random;
    this.#parts = parts;
  }

  place(region: Region): Place {
    const { names, borders } = this.#parts;
    const isAcross = this.#random.chance(borders);
    const at = isAcross ? this.#random.pick([-6, 1_996]) : this.#random.between(0, names) * 8;
    const row = isAcross ? this.#random.between(0, names) * 8 : 0;
    const corner = { minX: region.x * 2_000 + at, minY: region.y * 2_000 + 10 + row, minZ: region.z * 2_000 + 10 };
    return { at, row, corner, position: { x: Math.max(corner.minX, region.x * 2_000), y: corner.minY, z: corner.minZ } };
  }

  /** @param serial of the shard's operations: items are picked up by the ids that they were laid down under */
  operation(region: Region, id: string, serial: number, { at, row, corner, position }: Place): Asked {
    const { names, regions } = this.#parts;
    const player = (): string => `p${this.#random.between(1, names)}`;
    const bounds = { ...corner, maxX: corner.minX + 10, maxY: corner.minY + 4, maxZ: corner.minZ + 4 };
    const place = `${region.x}.${region.y}.${region.z}.${at}${row === 0 ? "" : `.${row}`}`;
    switch (this.#random.between(0, 11)) {
      case 0:
      case 1:
        return { type: "structure_placement", body: { $case: "structurePlacement", value: { structureId: `s-${place}-${this.#random.between(0, 2)}`, kind: "wall", bounds, playerId: "", attributes: new Map() } }, footprint: this.#plot() };
      case 2:
        return { type: "structure_removal", body: { $case: "structureRemoval", value: { structureId: `s-${place}-${this.#random.between(0, 2)}`, playerId: "" } } };
      case 3:
        return { type: "resource_claim", body: { $case: "resourceClaim", value: { resourceId: `r-${place}`, playerId: player(), release: this.#random.chance(0.4) } } };
      case 4:
        return this.#inventory(PlayerInventory_Action.MINT, { playerId: player() });
      case 5:
      case 6:
        return this.#inventory(PlayerInventory_Action.TRANSFER, { playerId: player(), counterpartyId: `q${this.#random.between(1, names)}` });
      case 7:
        return this.#inventory(PlayerInventory_Action.SPAWN, { itemId: `i-${id}`, position });
      case 8:
        return { type: "item_pickup", body: { $case: "itemPickup", value: { itemId: `i-${this.#random.between(1, 4)}-${this.#random.between(1, serial)}`, playerId: player() } } };
      case 9: {
        const mode = this.#random.chance(0.5) ? TerrainModification_Mode.DIG : TerrainModification_Mode.FILL;
        const material = mode === TerrainModification_Mode.DIG ? "" : "stone";
        return { type: "terrain_modification", body: { $case: "terrainModification", value: { mode, bounds, material, playerId: "", observedVersion: 0, brush: new Uint8Array(0) } } };
      }
      case 11: {
        // Items go to another account of the same player, wherever the group is that keeps it.
        const there = this.#random.pick(regions);
        const own = player();
        const other = sameRegion(there, region) ? `q${this.#random.between(1, names)}` : own;
        return this.#inventory(PlayerInventory_Action.TRANSFER, { playerId: own, counterpartyId: other, counterpartyRegion: there });
      }
      default:
        return { type: "creature_ownership", body: { $case: "creatureOwnership", value: { creatureId: `c-${place}`, ownerServerId: this.#random.chance(0.3) ? 0 : this.#serverId, toRegion: undefined } } };
    }
  }

  #inventory(action: PlayerInventory_Action, fields: Partial<{ playerId: string; counterpartyId: string; counterpartyRegion: Region; itemId: string; position: Position }>): Asked {
    const none = { containerId: "", counterpartyContainerId: "", playerId: "", counterpartyId: "", itemId: "", position: undefined, counterpartyRegion: undefined };
    return { type: "player_inventory", body: { $case: "playerInventory", value: { ...none, action, itemKind: ITEM_KIND, quantity: this.#random.between(1, 5), ...fields } } };
  }

  /** A name that those in other regions give as well. */
  #plot(): Footprint | undefined {
    const { plots, names } = this.#parts;
    if (plots === 0 || !this.#random.chance(plots)) return undefined;
    return { keys: [`plot-${this.#random.between(1, names)}`], regions: [], bounds: undefined };
  }
}
