// What a game shard does with creatures and entities of a studio's own types that go from region to region, and so from group to group: it
// brings some to life, saves and sends them on, and ends some, by what it last heard of each, which may be long past. What it sent away it goes on
// saving now and then, as a server whose timer runs on. Ids are used once in a run.
import { type CustomAction, CustomAction_Expectation, type Decision, type EntityKey, type Operation, Outcome, type ReadResponse, type Region } from "@statemesh/contract";
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
  /** As it was last heard; 0: not known. */
  readonly version: number;
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
  /** By kind and id: own types' entities that this shard sent away, where they were before. */
  readonly #left = new Map<string, Known>();
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
    const saved = this.#save(region, here, operationId);
    if (saved !== undefined) return saved;
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
    if (type === undefined) return creature(entityId, this.#serverId, undefined);
    const expectation = this.#random.chance(0.5) ? CustomAction_Expectation.ABSENT : CustomAction_Expectation.UNSPECIFIED;
    return custom(type, entityId, new TextEncoder().encode(operationId), undefined, { expectation });
  }

  /** Of what is in the region, as far as this shard knows, or was: saves create nothing, so that one that is late does no harm. */
  #save(region: Region, here: readonly Known[], operationId: string): Asked | undefined {
    const isLate = this.#left.size > 0 && this.#random.chance(0.2);
    if (!isLate && !this.#random.chance(0.2)) return undefined;
    const some = (isLate ? [...this.#left.values()].filter((known) => sameRegion(known.region, region)) : here).filter(({ kind }) => kind !== "creature");
    if (some.length === 0) return undefined;
    const { kind, entityId, version } = this.#random.pick(some);
    const observedVersion = this.#random.chance(0.5) ? version : 0;
    // The version that was read says that it is there, too.
    const expectation = observedVersion > 0 && this.#random.chance(0.5) ? CustomAction_Expectation.UNSPECIFIED : CustomAction_Expectation.EXISTS;
    return custom(kind, entityId, new TextEncoder().encode(operationId), undefined, { expectation, observedVersion });
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
    for (const { kind, entityId, version } of entities) if (isTraveller(entityId)) this.#learn({ kind, entityId, region, version });
  }

  decided(operation: Operation, { outcome, version }: Decision): void {
    const what = travelOf(operation);
    if (what === undefined || (outcome !== Outcome.ACCEPTED && outcome !== Outcome.MERGED)) return;
    if (what.ends) this.#known.delete(`${what.kind}/${what.entityId}`);
    // Where it went it has another one.
    else this.#learn({ kind: what.kind, entityId: what.entityId, region: what.to, version: what.moves ? 0 : version });
    if (!what.moves || what.kind === "creature") return;
    this.#left.set(`${what.kind}/${what.entityId}`, { kind: what.kind, entityId: what.entityId, region: what.home, version: 0 });
    dropOldest(this.#left);
  }

  #learn(known: Known): void {
    this.#known.set(`${known.kind}/${known.entityId}`, known);
    dropOldest(this.#known);
  }
}

function dropOldest(known: Map<string, Known>): void {
  const [oldest] = known.keys();
  if (known.size > KNOWN_MAX && oldest !== undefined) known.delete(oldest);
}

export function isTraveller(entityId: string): boolean {
  return entityId.startsWith(PREFIX);
}

interface Travel {
  readonly kind: string;
  readonly entityId: string;
  readonly home: Region;
  readonly to: Region;
  readonly moves: boolean;
  readonly ends: boolean;
  /** It is to be there already. */
  readonly saves: boolean;
  /** It is not to be there yet. */
  readonly creates: boolean;
  /** With which version it is to be there; 0: with any. */
  readonly observedVersion: number;
}

/** What an operation asks of a traveller; undefined: it has nothing to do with one. */
export function travelOf({ type, body, homeRegion }: Operation): Travel | undefined {
  if (homeRegion === undefined) return undefined;
  if (body?.$case === "creatureOwnership" && isTraveller(body.value.creatureId)) {
    const { creatureId: entityId, ownerServerId, toRegion } = body.value;
    return { kind: "creature", entityId, home: homeRegion, to: toRegion ?? homeRegion, moves: toRegion !== undefined, ends: ownerServerId === 0, saves: false, creates: false, observedVersion: 0 };
  }
  if (body?.$case === "custom" && isTraveller(body.value.entityId)) {
    const { entityId, state, toRegion, expectation, observedVersion } = body.value;
    const saves = expectation === CustomAction_Expectation.EXISTS || observedVersion > 0;
    const creates = expectation === CustomAction_Expectation.ABSENT;
    return { kind: type, entityId, home: homeRegion, to: toRegion ?? homeRegion, moves: toRegion !== undefined, ends: state.length === 0, saves, creates, observedVersion };
  }
  return undefined;
}

/** What came about, for whoever counts it. */
export function newsOfTraveller(operation: Operation, { outcome, reason }: Decision, groups: number): string | undefined {
  const what = travelOf(operation);
  if (what === undefined) return undefined;
  if (outcome === Outcome.REJECTED) return what.moves ? `move refused with ${reason}` : what.saves ? `save refused with ${reason}` : undefined;
  if (!what.moves) return what.saves ? "save of what is there" : undefined;
  return groupOf(what.home, groups) === groupOf(what.to, groups) ? "entity moved to another region" : "entity moved to another group";
}

function creature(creatureId: string, ownerServerId: number, toRegion: Region | undefined): Asked {
  return { type: "creature_ownership", body: { $case: "creatureOwnership", value: { creatureId, ownerServerId, toRegion } } };
}

function custom(type: string, entityId: string, state: Uint8Array, toRegion: Region | undefined, expected: Partial<Pick<CustomAction, "expectation" | "observedVersion">> = {}): Asked {
  return { type, body: { $case: "custom", value: { entityId, state, toRegion, expectation: CustomAction_Expectation.UNSPECIFIED, observedVersion: 0, ...expected } } };
}
