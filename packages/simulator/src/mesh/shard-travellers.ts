// What a game shard does with creatures and entities of a studio's own types that go from region to region, and so from group to group: it
// brings some to life, sends them on, and ends some, by what it last heard of each, which may be long past. Ids are used once in a run.
import { type Decision, type EntityKey, type Operation, Outcome, type ReadResponse, type Region } from "@statemesh/contract";
import { groupOf, sameRegion } from "@statemesh/world";
import type { SimRandom } from "../sim-random.ts";
import type { Asked } from "./shard-built-in.ts";
import type { ShardParts } from "./shard-parts.ts";

/** What the ids of travellers begin with. */
const PREFIX = "tr-";
/** Travellers that a shard brings to life in a run, and that it remembers. */
const BIRTHS_MAX = 12;
const KNOWN_MAX = 64;
const NOTHING = new Uint8Array(0);

interface Known {
  readonly kind: string;
  readonly entityId: string;
  readonly region: Region;
}

type TravellerParts = Pick<ShardParts, "regions" | "servers" | "policy">;

export class ShardTravellers {
  readonly #serverId: number;
  readonly #random: SimRandom;
  readonly #parts: TravellerParts;
  /** Types of a studio's own whose entities move. */
  readonly #ownTypes: readonly string[];
  /** By kind and id: where it was, as this shard last heard. */
  readonly #known = new Map<string, Known>();
  #births = 0;

  constructor(serverId: number, random: SimRandom, parts: TravellerParts) {
    this.#serverId = serverId;
    this.#random = random;
    this.#parts = parts;
    this.#ownTypes = parts.policy.types().filter(({ builtIn, consistency, stateMerge }) => !builtIn && consistency === "strong" && stateMerge === undefined).map(({ name }) => name);
  }

  /** Undefined: nobody is there to be sent. */
  operation(region: Region, operationId: string): Asked | undefined {
    const here = [...this.#known.values()].filter((known) => sameRegion(known.region, region));
    // Now and then from where it is not.
    const some = here.length > 0 && this.#random.chance(0.9) ? here : [...this.#known.values()];
    if (this.#births < BIRTHS_MAX && (some.length === 0 || this.#random.chance(0.2))) return this.#birth(operationId);
    if (some.length === 0) return undefined;
    const { kind, entityId } = this.#random.pick(some);
    const others = this.#parts.regions.filter((each) => !sameRegion(each, region));
    const isEnd = this.#random.chance(0.08);
    if (!isEnd && others.length === 0) return undefined;
    const toRegion = isEnd ? undefined : this.#random.pick(others);
    if (kind === "creature") return creature(entityId, isEnd ? 0 : this.#random.pick(this.#parts.servers), toRegion);
    return custom(kind, entityId, isEnd ? NOTHING : new TextEncoder().encode(operationId), toRegion);
  }

  #birth(operationId: string): Asked {
    this.#births++;
    const entityId = `${PREFIX}${operationId}`;
    const type = this.#ownTypes.length > 0 && this.#random.chance(0.5) ? this.#random.pick(this.#ownTypes) : undefined;
    return type === undefined ? creature(entityId, this.#serverId, undefined) : custom(type, entityId, new TextEncoder().encode(operationId), undefined);
  }

  /** The name of a creature, to be looked at: of types of a studio's own, histories of clients say nothing. */
  name(): EntityKey | undefined {
    const all = [...this.#known.values()].filter(({ kind }) => kind === "creature");
    if (all.length === 0) return undefined;
    const { kind, entityId } = this.#random.pick(all);
    return { kind, entityId };
  }

  /** What stands in a region, as far as it was read: all shards learn of what comes to them. */
  saw(region: Region, { entities, nextPageToken }: ReadResponse): void {
    if (nextPageToken === "") for (const [name, known] of this.#known) if (sameRegion(known.region, region)) this.#known.delete(name);
    for (const { kind, entityId } of entities) if (isTraveller(entityId)) this.#learn({ kind, entityId, region });
  }

  decided(operation: Operation, { outcome }: Decision): void {
    const what = travelOf(operation);
    if (what === undefined || (outcome !== Outcome.ACCEPTED && outcome !== Outcome.MERGED)) return;
    if (what.ends) this.#known.delete(`${what.kind}/${what.entityId}`);
    else this.#learn({ kind: what.kind, entityId: what.entityId, region: what.to });
  }

  #learn(known: Known): void {
    this.#known.set(`${known.kind}/${known.entityId}`, known);
    const [oldest] = this.#known.keys();
    if (this.#known.size > KNOWN_MAX && oldest !== undefined) this.#known.delete(oldest);
  }
}

export function isTraveller(entityId: string): boolean {
  return entityId.startsWith(PREFIX);
}

/** What an operation asks of a traveller; undefined: it has nothing to do with one. */
export function travelOf({ type, body, homeRegion }: Operation): { readonly kind: string; readonly entityId: string; readonly home: Region; readonly to: Region; readonly moves: boolean; readonly ends: boolean } | undefined {
  if (homeRegion === undefined) return undefined;
  if (body?.$case === "creatureOwnership" && isTraveller(body.value.creatureId)) {
    const { creatureId: entityId, ownerServerId, toRegion } = body.value;
    return { kind: "creature", entityId, home: homeRegion, to: toRegion ?? homeRegion, moves: toRegion !== undefined, ends: ownerServerId === 0 };
  }
  if (body?.$case === "custom" && isTraveller(body.value.entityId)) {
    const { entityId, state, toRegion } = body.value;
    return { kind: type, entityId, home: homeRegion, to: toRegion ?? homeRegion, moves: toRegion !== undefined, ends: state.length === 0 };
  }
  return undefined;
}

/** What came about, for whoever counts it. */
export function newsOfTraveller(operation: Operation, { outcome, reason }: Decision, groups: number): string | undefined {
  const what = travelOf(operation);
  if (what === undefined) return undefined;
  if (outcome === Outcome.REJECTED) return what.moves ? `move refused with ${reason}` : undefined;
  if (!what.moves) return undefined;
  return groupOf(what.home, groups) === groupOf(what.to, groups) ? "entity moved to another region" : "entity moved to another group";
}

function creature(creatureId: string, ownerServerId: number, toRegion: Region | undefined): Asked {
  return { type: "creature_ownership", body: { $case: "creatureOwnership", value: { creatureId, ownerServerId, toRegion } } };
}

function custom(type: string, entityId: string, state: Uint8Array, toRegion: Region | undefined): Asked {
  return { type, body: { $case: "custom", value: { entityId, state, toRegion } } };
}
