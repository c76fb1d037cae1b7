// What a game shard does with containers: makes them, fills them, puts them into one another, takes them along to other groups and
// destroys them, by what it last saw of them, which may be long past.
import { type Decision, ContainerAction_Action, type ContainerContents, type ContainerPlace, type EntityKey, type Operation, Outcome, PlayerInventory_Action, type Position, type ReadResponse, type Region } from "@statemesh/contract";
import { groupOf, sameRegion } from "@statemesh/world";
import type { SimRandom } from "../sim-random.ts";
import { ITEM_KIND } from "./mesh-requests.ts";

interface Seen {
  readonly at: ContainerPlace;
  readonly contents: readonly ContainerContents[];
}

interface Asked {
  readonly type: string;
  readonly body: NonNullable<Operation["body"]>;
}

/** Kinds of items, so that a container holds more than one. */
const KINDS = [ITEM_KIND, "stone"] as const;

export class ShardContainers {
  readonly #random: SimRandom;
  readonly #regions: readonly Region[];
  readonly #names: number;
  /** By region that was read, then by container. */
  readonly #seen = new Map<Region, Map<string, Seen>>();

  constructor(random: SimRandom, regions: readonly Region[], names: number) {
    this.#random = random;
    this.#regions = regions;
    this.#names = names;
  }

  /** Names to look at. */
  names(): { readonly entities: EntityKey[]; readonly containers: string[] } {
    const containers = [...new Set(Array.from({ length: 8 }, () => this.#any()))];
    return { containers, entities: containers.map((entityId) => ({ kind: "container", entityId })) };
  }

  saw(region: Region, { entities, containers }: ReadResponse): void {
    const seen = new Map<string, Seen>();
    let contents: ContainerContents[] = [];
    for (const each of containers) {
      if (each.inContainerId !== "") {
        contents.push(each);
        continue;
      }
      contents = [each];
      const found = entities.find(({ entityId }) => entityId === each.containerId);
      if (found !== undefined) seen.set(found.entityId, { at: placeOf(found), contents });
    }
    this.#seen.set(region, seen);
  }

  operation(region: Region, position: Position): Asked {
    const known = [...(this.#seen.get(region)?.keys() ?? [])];
    const id = known.length > 0 && this.#random.chance(0.9) ? this.#random.pick(known) : this.#any();
    const seen = this.#seen.get(region)?.get(id);
    const from = seen?.at ?? this.#player();
    const itemKind = this.#random.pick(KINDS);
    switch (this.#random.between(0, 11)) {
      case 0:
      case 1:
        return act({ action: ContainerAction_Action.CREATE, containerId: this.#any(), kind: "chest", to: this.#place(position, known) });
      case 2:
      case 3:
        return inventory(PlayerInventory_Action.MINT, itemKind, { containerId: id });
      case 4:
        return inventory(PlayerInventory_Action.TRANSFER, itemKind, { playerId: this.#name(), counterpartyContainerId: id });
      case 5:
        return inventory(PlayerInventory_Action.TRANSFER, itemKind, { containerId: id, counterpartyId: this.#name() });
      case 6: {
        const there = this.#random.pick(this.#regions);
        const other = this.#any();
        if (sameRegion(there, region) && other === id) return inventory(PlayerInventory_Action.BURN, itemKind, { containerId: id });
        return inventory(PlayerInventory_Action.TRANSFER, itemKind, { containerId: id, counterpartyContainerId: other, counterpartyRegion: there });
      }
      case 7: {
        const contents = this.#random.chance(0.5) ? seen?.contents : undefined;
        return this.#random.chance(0.4) ? act({ action: ContainerAction_Action.DESTROY, containerId: id, from, contents: [...(contents ?? [])] }) : this.#move(region, id, from, seen, position, known);
      }
      default:
        return this.#move(region, id, from, seen, position, known);
    }
  }

  #move(region: Region, containerId: string, from: ContainerPlace, seen: Seen | undefined, position: Position, known: readonly string[]): Asked {
    const there = this.#random.pick(this.#regions);
    const others = known.filter((id) => id !== containerId);
    if (seen === undefined || sameRegion(there, region) || this.#random.chance(0.5)) {
      const contents = seen !== undefined && this.#random.chance(0.3) ? [...seen.contents] : [];
      const to = this.#place(position, others.filter((id) => !contents.some((each) => each.containerId === id)));
      return act({ action: ContainerAction_Action.MOVE, containerId, from, to, contents });
    }
    const inThere = { x: there.x * 2_000 + 20, y: there.y * 2_000 + 20, z: there.z * 2_000 + 20 };
    const into = [...(this.#seen.get(there)?.keys() ?? [])].filter((id) => !seen.contents.some((each) => each.containerId === id));
    return act({ action: ContainerAction_Action.MOVE, containerId, from, to: this.#place(inThere, into), toRegion: there, contents: [...seen.contents] });
  }

  #place(position: Position, others: readonly string[]): ContainerPlace {
    const dice = this.#random.next();
    if (dice < 0.5 && others.length > 0) return { place: { $case: "containerId", value: this.#random.pick(others) } };
    return dice < 0.75 ? this.#player() : { place: { $case: "position", value: position } };
  }

  #player(): ContainerPlace {
    return { place: { $case: "playerId", value: this.#name() } };
  }

  #name(): string {
    return `p${this.#random.between(1, this.#names)}`;
  }

  #any(): string {
    return `x${this.#random.between(1, this.#names * 3)}`;
  }
}

/** What came about, for whoever counts it. */
export function newsOfContainer({ body, homeRegion }: Operation, { outcome, reason }: Decision, groups: number): string | undefined {
  if (body?.$case !== "container" || homeRegion === undefined) return undefined;
  if (outcome === Outcome.REJECTED) return `container ${reason}`;
  const { action, to, toRegion, contents } = body.value;
  if (action === ContainerAction_Action.DESTROY) return contents.length > 0 ? "container destroyed with its contents" : "container destroyed";
  if (toRegion !== undefined && groupOf(toRegion, groups) !== groupOf(homeRegion, groups)) return "container taken to another group";
  return to?.place?.$case === "containerId" ? "container put into another" : "container moved";
}

function placeOf({ playerId, attributes, bounds }: { readonly playerId: string; readonly attributes: ReadonlyMap<string, string>; readonly bounds: { minX: number; minY: number; minZ: number } | undefined }): ContainerPlace {
  const outer = attributes.get("container");
  if (outer !== undefined) return { place: { $case: "containerId", value: outer } };
  if (bounds === undefined) return { place: { $case: "playerId", value: playerId } };
  return { place: { $case: "position", value: { x: bounds.minX, y: bounds.minY, z: bounds.minZ } } };
}

function act(fields: { action: ContainerAction_Action; containerId: string; kind?: string; from?: ContainerPlace; to?: ContainerPlace; toRegion?: Region; contents?: ContainerContents[] }): Asked {
  return { type: "container", body: { $case: "container", value: { kind: "", from: undefined, to: undefined, toRegion: undefined, contents: [], ...fields } } };
}

function inventory(action: PlayerInventory_Action, itemKind: string, fields: { playerId?: string; containerId?: string; counterpartyId?: string; counterpartyContainerId?: string; counterpartyRegion?: Region }): Asked {
  const none = { playerId: "", containerId: "", counterpartyId: "", counterpartyContainerId: "", counterpartyRegion: undefined };
  return { type: "player_inventory", body: { $case: "playerInventory", value: { ...none, action, itemKind, quantity: 1, itemId: "", position: undefined, ...fields } } };
}
