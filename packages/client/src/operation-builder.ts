/** Typed builders: one a strong type of the policy table. Each fills in id, server, place, epoch and time. */
import {
  type Bounds, type ContainerAction, ContainerAction_Action, type ContainerContents, type ContainerPlace, CustomAction_Expectation, type Footprint, type ItemStack, MeshError, type Operation, PlayerInventory_Action, type Position, type Region, TerrainModification_Mode,
} from "@statemesh/contract";
import { OperationIds } from "./operation-id.ts";
import type { MergingType, StrongType } from "./studio-types.ts";

/** Where an operation is at home, and the right to write there. A held lease is one. */
export interface Place {
  /** The home region. */
  readonly region: Region;
  /** Epoch of the server's lease on the region; 0 where nobody owns it. */
  readonly epoch: number;
}

/** What a caller may set instead of leaving it to the builder. */
export interface OperationOverrides {
  /** 1..64 bytes; made by the builder where it is left out. */
  readonly operationId?: string;
  /** When the player acted, milliseconds since the Unix epoch; now where it is left out; 0: the receiver stamps. */
  readonly timestampMs?: number;
  /** A node that is cut off may keep it, and answer OUTCOME_TENTATIVE. Default: false. */
  readonly allowTentative?: boolean;
  /** What is touched beyond the body. */
  readonly footprint?: Footprint;
}

/** What must be so in the home region for an operation on an entity of a studio's own type to be done. Needs cluster version 5. */
export interface Expected {
  /**
   * `exists`: the entity is in the home region, else `NOT_FOUND`. `absent`: no region of the home region's group has it, else `ALREADY_EXISTS`; not to
   * move or remove it. Left out: it is written either way, and a save that comes after the entity moved to a region of another group makes a second one.
   */
  readonly expect?: "exists" | "absent" | undefined;
  /** The version that was read (`entity.version`, `decision.version`): where the entity has another one, `VERSION_MISMATCH`. Implies `exists`. Not for types that merge. */
  readonly observedVersion?: number | undefined;
}

type Body = NonNullable<Operation["body"]>;

/** Whose items they are: a player's, or those in a container. */
export type Account = { readonly playerId: string; readonly containerId?: never } | { readonly containerId: string; readonly playerId?: never };

/** Whose they shall be. */
export type Counterparty = { readonly counterpartyId: string; readonly counterpartyContainerId?: never } | { readonly counterpartyContainerId: string; readonly counterpartyId?: never };

/** Where a container is: with a player, in another container, or in the world. */
export type Whereabouts = { readonly playerId: string } | { readonly containerId: string } | { readonly position: Position };

/** Makes operations of one server. */
export class OperationBuilder {
  /** The game server whose operations they are. */
  readonly serverId: number;
  readonly #ids: OperationIds;
  readonly #nowMs: () => number;

  constructor(serverId: number, ids: OperationIds = new OperationIds(), nowMs: () => number = Date.now) {
    this.serverId = serverId;
    this.#ids = ids;
    this.#nowMs = nowMs;
  }

  /** Puts up a structure. */
  structurePlacement(
    place: Place,
    it: { structureId: string; kind: string; bounds: Bounds; playerId?: string; attributes?: ReadonlyMap<string, string> },
    overrides?: OperationOverrides,
  ): Operation {
    const { structureId, kind, bounds, playerId = "" } = it;
    const attributes = new Map(it.attributes);
    return this.#make("structure_placement", place, { $case: "structurePlacement", value: { structureId, kind, bounds, playerId, attributes } }, overrides);
  }

  /** Takes a structure down. */
  structureRemoval(place: Place, it: { structureId: string; playerId?: string }, overrides?: OperationOverrides): Operation {
    const { structureId, playerId = "" } = it;
    return this.#make("structure_removal", place, { $case: "structureRemoval", value: { structureId, playerId } }, overrides);
  }

  /** Claims a resource for a player. */
  resourceClaim(place: Place, it: { resourceId: string; playerId: string }, overrides?: OperationOverrides): Operation {
    return this.#make("resource_claim", place, { $case: "resourceClaim", value: { ...it, release: false } }, overrides);
  }

  /** Gives a claim up. */
  resourceRelease(place: Place, it: { resourceId: string; playerId: string }, overrides?: OperationOverrides): Operation {
    return this.#make("resource_claim", place, { $case: "resourceClaim", value: { ...it, release: true } }, overrides);
  }

  /** Takes an item from the ground. */
  itemPickup(place: Place, it: { itemId: string; playerId: string }, overrides?: OperationOverrides): Operation {
    return this.#make("item_pickup", place, { $case: "itemPickup", value: { itemId: it.itemId, playerId: it.playerId } }, overrides);
  }

  /** Creates items in a player's inventory, or in a container. */
  mint(place: Place, it: Account & { itemKind: string; quantity: number }, overrides?: OperationOverrides): Operation {
    return this.#inventory(place, PlayerInventory_Action.MINT, it, overrides);
  }

  /** Destroys items of a player's inventory, or of a container. */
  burn(place: Place, it: Account & { itemKind: string; quantity: number }, overrides?: OperationOverrides): Operation {
    return this.#inventory(place, PlayerInventory_Action.BURN, it, overrides);
  }

  /** Moves items from one player or container to another. With `counterpartyRegion` to an account that the group of that region keeps: also to the player's own one there. */
  transfer(
    place: Place, it: Account & Counterparty & { itemKind: string; quantity: number; counterpartyRegion?: Region }, overrides?: OperationOverrides,
  ): Operation {
    return this.#inventory(place, PlayerInventory_Action.TRANSFER, it, overrides);
  }

  /** Lays items from a player's inventory on the ground. */
  drop(
    place: Place, it: { playerId: string; itemKind: string; quantity: number; itemId: string; position: Position }, overrides?: OperationOverrides,
  ): Operation {
    return this.#inventory(place, PlayerInventory_Action.DROP, it, overrides);
  }

  /** Creates items on the ground. */
  spawn(place: Place, it: { itemKind: string; quantity: number; itemId: string; position: Position }, overrides?: OperationOverrides): Operation {
    return this.#inventory(place, PlayerInventory_Action.SPAWN, { ...it, playerId: "" }, overrides);
  }

  /** Swaps items between two players: both sides or neither. */
  trade(
    place: Place,
    it: { firstPlayerId: string; secondPlayerId: string; firstGives: readonly ItemStack[]; secondGives: readonly ItemStack[]; secondRegion?: Region },
    overrides?: OperationOverrides,
  ): Operation {
    const { firstPlayerId, secondPlayerId } = it;
    const value = { firstPlayerId, secondPlayerId, firstGives: [...it.firstGives], secondGives: [...it.secondGives], secondRegion: it.secondRegion };
    return this.#make("trade", place, { $case: "trade", value }, overrides);
  }

  /** Makes an empty container. */
  containerCreate(place: Place, it: { containerId: string; kind: string; to: Whereabouts }, overrides?: OperationOverrides): Operation {
    const { containerId, kind, to } = it;
    return this.#container(place, { action: ContainerAction_Action.CREATE, containerId, kind, to: placeOf(to) }, overrides);
  }

  /**
   * Moves a container with everything in it from where it is to another place. With `toRegion` that place is in another region; then
   * `contents` is needed: what a read of the container has just answered.
   */
  containerMove(
    place: Place, it: { containerId: string; from: Whereabouts; to: Whereabouts; toRegion?: Region; contents?: readonly ContainerContents[] }, overrides?: OperationOverrides,
  ): Operation {
    const { containerId, from, to, toRegion, contents = [] } = it;
    return this.#container(place, { action: ContainerAction_Action.MOVE, containerId, from: placeOf(from), to: placeOf(to), toRegion, contents: [...contents] }, overrides);
  }

  /** Destroys a container. With `contents`, what a read of it has just answered, everything in it is burned; else it must be empty. */
  containerDestroy(place: Place, it: { containerId: string; from: Whereabouts; contents?: readonly ContainerContents[] }, overrides?: OperationOverrides): Operation {
    const { containerId, from, contents = [] } = it;
    return this.#container(place, { action: ContainerAction_Action.DESTROY, containerId, from: placeOf(from), contents: [...contents] }, overrides);
  }

  /** Takes material away. */
  dig(place: Place, it: { bounds: Bounds; playerId?: string; observedVersion?: number; brush?: Uint8Array }, overrides?: OperationOverrides): Operation {
    return this.#terrain(place, TerrainModification_Mode.DIG, { ...it, material: "" }, overrides);
  }

  /** Adds material. */
  fill(
    place: Place, it: { bounds: Bounds; material: string; playerId?: string; observedVersion?: number; brush?: Uint8Array }, overrides?: OperationOverrides,
  ): Operation {
    return this.#terrain(place, TerrainModification_Mode.FILL, it, overrides);
  }

  /** Replaces the surface. */
  paint(
    place: Place, it: { bounds: Bounds; material: string; playerId?: string; observedVersion?: number; brush?: Uint8Array }, overrides?: OperationOverrides,
  ): Operation {
    return this.#terrain(place, TerrainModification_Mode.PAINT, it, overrides);
  }

  /** Takes a creature over (for this server where no owner is named), or gives it up with owner 0. */
  creatureOwnership(place: Place, it: { creatureId: string; ownerServerId?: number }, overrides?: OperationOverrides): Operation {
    const { creatureId, ownerServerId = this.serverId } = it;
    return this.#make("creature_ownership", place, { $case: "creatureOwnership", value: { creatureId, ownerServerId, toRegion: undefined } }, overrides);
  }

  /** Hands one of this server's creatures over a border, to the server that owns the region there. */
  creatureHandoff(place: Place, it: { creatureId: string; toServerId: number; toRegion: Region }, overrides?: OperationOverrides): Operation {
    const { creatureId, toServerId: ownerServerId, toRegion } = it;
    return this.#make("creature_ownership", place, { $case: "creatureOwnership", value: { creatureId, ownerServerId, toRegion } }, overrides);
  }

  /**
   * An operation of a type that the operator added to the policy table. With `toRegion` the entity goes there, with this state.
   *
   * @throws MeshError INVALID_FIELD where `expect` is none
   */
  custom(type: string, place: Place, it: { entityId: string; state: Uint8Array; toRegion?: Region } & Expected, overrides?: OperationOverrides): Operation {
    const { entityId, state, toRegion, expect, observedVersion = 0 } = it;
    return this.#make(type, place, { $case: "custom", value: { entityId, state, toRegion, expectation: expectationOf(expect), observedVersion } }, overrides);
  }

  /** Creates an entity of a studio's own type. Refused with `ALREADY_EXISTS` where there is one of that id. */
  create<State>(type: StrongType<State>, place: Place, it: { entityId: string; state: State }, overrides?: OperationOverrides): Operation {
    return this.put(type, place, { ...it, expect: "absent" }, overrides);
  }

  /**
   * Writes an entity of a studio's own type that is there. Where it is not, or moved away meanwhile, it is refused with `NOT_FOUND`, and nothing is
   * created; with `observedVersion` also where somebody else wrote it since (`VERSION_MISMATCH`).
   */
  save<State>(type: StrongType<State>, place: Place, it: { entityId: string; state: State; observedVersion?: number }, overrides?: OperationOverrides): Operation {
    return this.put(type, place, { ...it, expect: "exists" }, overrides);
  }

  /** Writes an entity of a studio's own type: what is there is replaced, what is not is created. Of what moves `save` is for, unless `expect` says the same. */
  put<State>(type: StrongType<State>, place: Place, it: { entityId: string; state: State } & Expected, overrides?: OperationOverrides): Operation {
    const { entityId, state, expect, observedVersion } = it;
    return this.custom(type.name, place, { entityId, state: type.codec.encode(state), expect, observedVersion }, withFootprint(type.footprint?.(entityId, state), overrides));
  }

  /** Takes an entity of a studio's own type to another region, with this state. Only where its type's states do not merge. */
  move<State>(type: StrongType<State>, place: Place, it: { entityId: string; state: State; toRegion: Region; observedVersion?: number }, overrides?: OperationOverrides): Operation {
    const { entityId, state, toRegion, observedVersion } = it;
    return this.custom(type.name, place, { entityId, state: type.codec.encode(state), toRegion, observedVersion }, withFootprint(type.footprint?.(entityId, state), overrides));
  }

  /** Updates an entity of a studio's own type together with whoever else does. */
  update<Update>(type: MergingType<Update, unknown>, place: Place, it: { entityId: string; update: Update; expect?: Expected["expect"] }, overrides?: OperationOverrides): Operation {
    return this.custom(type.name, place, { entityId: it.entityId, state: new TextEncoder().encode(JSON.stringify(it.update)), expect: it.expect }, overrides);
  }

  /** Removes an entity of a studio's own type. */
  remove<State>(type: StrongType<State> | MergingType<never, unknown>, place: Place, it: { entityId: string; observedVersion?: number }, overrides?: OperationOverrides): Operation {
    const footprint = "footprint" in type ? type.footprint?.(it.entityId, undefined) : undefined;
    return this.custom(type.name, place, { entityId: it.entityId, state: new Uint8Array(0), observedVersion: it.observedVersion }, withFootprint(footprint, overrides));
  }

  /** Sets items of a player apart, for this server to spend through a node: see `client.escrows.open`, which asks with it. */
  escrowOpening(place: Place, it: { escrowId: string; playerId: string; itemKind: string; quantity: number; nodeId: number; expiresMs: number }, overrides?: OperationOverrides): Operation {
    return this.#make("escrow_opening", place, { $case: "escrowOpening", value: { ...it, spenderServerId: this.serverId } }, overrides);
  }

  #inventory(
    place: Place,
    action: PlayerInventory_Action,
    it: {
      playerId?: string; containerId?: string; itemKind: string; quantity: number; counterpartyId?: string; counterpartyContainerId?: string; counterpartyRegion?: Region; itemId?: string; position?: Position;
    },
    overrides: OperationOverrides | undefined,
  ): Operation {
    const { playerId = "", containerId = "", itemKind, quantity, counterpartyId = "", counterpartyContainerId = "", counterpartyRegion, itemId = "", position } = it;
    const value = { action, playerId, itemKind, quantity, counterpartyId, itemId, position, counterpartyRegion, containerId, counterpartyContainerId };
    return this.#make("player_inventory", place, { $case: "playerInventory", value }, overrides);
  }

  #container(place: Place, it: Pick<ContainerAction, "action" | "containerId"> & Partial<ContainerAction>, overrides: OperationOverrides | undefined): Operation {
    return this.#make("container", place, { $case: "container", value: { kind: "", from: undefined, to: undefined, toRegion: undefined, contents: [], ...it } }, overrides);
  }

  #terrain(
    place: Place,
    mode: TerrainModification_Mode,
    it: { bounds: Bounds; material: string; playerId?: string; observedVersion?: number; brush?: Uint8Array },
    overrides: OperationOverrides | undefined,
  ): Operation {
    const { bounds, material, playerId = "", observedVersion = 0, brush = new Uint8Array(0) } = it;
    const value = { mode, bounds, material, playerId, observedVersion, brush };
    return this.#make("terrain_modification", place, { $case: "terrainModification", value }, overrides);
  }

  /** @throws MeshError INVALID_FIELD where the place is none */
  #make(type: string, place: Place, body: Body, overrides: OperationOverrides | undefined): Operation {
    checkPlace(place);
    return {
      operationId: overrides?.operationId ?? this.#ids.next(),
      type,
      serverId: this.serverId,
      homeRegion: place.region,
      authorityEpoch: place.epoch,
      timestampMs: overrides?.timestampMs ?? this.#nowMs(),
      footprint: overrides?.footprint,
      allowTentative: overrides?.allowTentative ?? false,
      body,
    };
  }
}

function expectationOf(expect: Expected["expect"]): CustomAction_Expectation {
  if (expect === undefined) return CustomAction_Expectation.UNSPECIFIED;
  // JavaScript lets others pass.
  if (!Object.hasOwn(EXPECTATIONS, expect)) throw MeshError.field("expect", 'must be "exists", "absent" or left out');
  return EXPECTATIONS[expect];
}

const EXPECTATIONS = { exists: CustomAction_Expectation.EXISTS, absent: CustomAction_Expectation.ABSENT } as const;

/** JavaScript lets a region's text or a forgotten argument pass, and the mesh could not say what was meant. */
function checkPlace(place: Place): void {
  checkRegionShape(place.region, "place.region");
  if (typeof place.epoch !== "number") throw MeshError.field("place.epoch", "must be a number: a lease is a place, or { region, epoch: 0 } where nobody owns the region");
}

/** @throws MeshError INVALID_FIELD where it has no three whole numbers */
export function checkRegionShape(region: Region | undefined, field: string): void {
  const { x, y, z }: Partial<Region> = typeof region === "object" ? region : {};
  if (!Number.isInteger(x) || !Number.isInteger(y) || !Number.isInteger(z)) throw MeshError.field(field, "must be { x, y, z } of whole numbers; parseRegion reads a text, regionOf a position");
}

/** What the caller says beats what the type says. */
function withFootprint(of: Partial<Footprint> | undefined, overrides: OperationOverrides | undefined): OperationOverrides | undefined {
  if (of === undefined || overrides?.footprint !== undefined) return overrides;
  return { ...overrides, footprint: { keys: of.keys ?? [], regions: of.regions ?? [], bounds: of.bounds } };
}

function placeOf(where: Whereabouts): ContainerPlace {
  if ("playerId" in where) return { place: { $case: "playerId", value: where.playerId } };
  if ("containerId" in where) return { place: { $case: "containerId", value: where.containerId } };
  return { place: { $case: "position", value: where.position } };
}
