/**
 * Types of the policy table with the game's own values in them. Each is made once, beside the policy file's entry of that name:
 * builders then take values instead of bytes, and what reads and subscriptions bring is read back.
 */
import type { CausalEvent, DeliveredEvent, Entity, EventualUpdate, EventualValue, Footprint, Region } from "@statemesh/contract";
import { parseJson } from "@statemesh/merge";
import { type Codec, decoded, jsonCodec } from "./codec.ts";
import type { Merging } from "./merging.ts";

/** A strong type of the studio's own whose entities hold values, the last write of which stands. */
export interface StrongType<State> {
  /** As the policy file names it. */
  readonly name: string;
  /** The bytes of an entity's state. */
  readonly codec: Codec<State>;
  /** What an operation on an entity touches besides the entity: keys that exclude one another, a box. */
  readonly footprint: ((entityId: string, state: State | undefined) => Partial<Footprint>) | undefined;
  /** The state of an entity of this type; undefined: it is of another. @throws MeshError INVALID_FIELD where the state is not one */
  read(entity: Entity): State | undefined;
}

/** What a strong type may say besides its name. */
export interface StrongTypeOptions<State> {
  /** Default: JSON. */
  readonly codec?: Codec<State>;
  /** Default: nothing. */
  readonly footprint?: (entityId: string, state: State | undefined) => Partial<Footprint>;
}

/** A strong type of the studio's own: `types.NAME` of the policy file, without `merge` or with `merge: true`. */
export function strongType<State>(name: string, options: StrongTypeOptions<State> = {}): StrongType<State> {
  const codec = options.codec ?? jsonCodec<State>();
  return { name, codec, footprint: options.footprint, read: (entity) => (entity.kind === name ? decoded(codec, entity.state, "entity.state", name) : undefined) };
}

/** A strong type of the studio's own whose updates merge. */
export interface MergingType<Update, Value> {
  /** As the policy file names it. */
  readonly name: string;
  /** The function that the policy file names. */
  readonly merging: Merging<Update, Value>;
  /** What all updates of an entity make together; undefined: it is of another type. @throws MeshError INVALID_FIELD where another function wrote it */
  read(entity: Entity): Value | undefined;
}

/** A strong type of the studio's own whose updates merge: `types.NAME` of the policy file, with the same function as `merge`. */
export function mergingType<Update, Value>(name: string, merging: Merging<Update, Value>): MergingType<Update, Value> {
  const codec: Codec<Value> = { encode: () => new Uint8Array(0), decode: (bytes) => merging.valueOf(parseJson(bytes)) };
  return { name, merging, read: (entity) => (entity.kind === name ? decoded(codec, entity.state, "entity.state", name) : undefined) };
}

/** An eventual type, built-in or the studio's own, with the game's values. */
export interface EventualType<Value> {
  /** As the policy table names it. */
  readonly name: string;
  /** A write, for `publish`. `timestampMs`: when it was written; default: now, so that it can be sent again. */
  write(region: Region, key: string, value: Value, timestampMs?: number): EventualUpdate;
  /** A deletion, for `publish`: where a creature left a region, of its key there. */
  remove(region: Region, key: string, timestampMs?: number): EventualUpdate;
  /** The value of a key; undefined: it is of another type, or deleted. @throws MeshError INVALID_FIELD where it is not one of the type */
  read(value: EventualValue): Value | undefined;
}

/** An eventual type. Its values have at most 4,096 bytes. */
export function eventualType<Value>(name: string, codec: Codec<Value> = jsonCodec<Value>()): EventualType<Value> {
  return {
    name,
    write: (region, key, value, timestampMs = Date.now()) => ({ type: name, region, key, value: codec.encode(value), deleted: false, timestampMs }),
    remove: (region, key, timestampMs = Date.now()) => ({ type: name, region, key, value: new Uint8Array(0), deleted: true, timestampMs }),
    read: ({ type, deleted, value }) => (type === name && !deleted ? decoded(codec, value, "value.value", name) : undefined),
  };
}

/** Positions of creatures, with what the game says of one. */
export function creaturePositions<Value>(codec?: Codec<Value>): EventualType<Value> {
  return eventualType("creature_position", codec);
}

/** Effects that only look. */
export function cosmeticEffects<Value>(codec?: Codec<Value>): EventualType<Value> {
  return eventualType("cosmetic_effect", codec);
}

/** States of machines. */
export function automationStates<Value>(codec?: Codec<Value>): EventualType<Value> {
  return eventualType("automation_state", codec);
}

/** States of power grids. */
export function powerGridStates<Value>(codec?: Codec<Value>): EventualType<Value> {
  return eventualType("power_grid_state", codec);
}

/** A causal type, built-in or the studio's own, with the game's events. */
export interface CausalType<Payload> {
  /** As the policy table names it. */
  readonly name: string;
  /** An event, for `publish`. */
  event(region: Region, key: string, payload: Payload): CausalEvent;
  /** What an event says; undefined: it is of another type. @throws MeshError INVALID_FIELD where it is not one of the type */
  read(delivered: DeliveredEvent): Payload | undefined;
}

/** A causal type. Its payloads have at most 4,096 bytes. */
export function causalType<Payload>(name: string, codec: Codec<Payload> = jsonCodec<Payload>()): CausalType<Payload> {
  return {
    name,
    event: (region, key, payload) => ({ type: name, region, key, payload: codec.encode(payload) }),
    read: ({ event }) => (event?.type === name ? decoded(codec, event.payload, "event.payload", name) : undefined),
  };
}

/** Chains of events whose order matters: quests, dialogues. */
export function eventSequences<Payload>(codec?: Codec<Payload>): CausalType<Payload> {
  return causalType("event_sequence", codec);
}
