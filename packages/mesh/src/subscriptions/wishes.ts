// What a reader wants of its regions: classes, kinds, types, and whether with what only the game reads.
import { type DeliveredEvent, type Entity, type EntityChange, type EventualValue, MeshError } from "@statemesh/contract";
import { withinBytes } from "../eventual/validate-update.ts";
import type { SubscriptionRequest } from "./hub-options.ts";

/** Kinds, and types, that a reader may name. */
const NAMES_MAX = 64;
const NAME_BYTES_MAX = 64;

const EMPTY = new Uint8Array(0);

// What is left of a change without payloads, as long as the change is: all who want it so get the same.
const lean = new WeakMap<object, object>();

export class Wishes {
  readonly strong: boolean;
  readonly eventual: boolean;
  readonly causal: boolean;
  /** Tells other wishes apart: positions of the one say nothing about the other. */
  readonly hash: number;
  readonly #kinds: ReadonlySet<string> | undefined;
  readonly #types: ReadonlySet<string> | undefined;
  readonly #isLean: boolean;

  /** Throws INVALID_FIELD. */
  constructor({ strong, eventual, causal, entityKinds = [], types = [], omitPayloads = false }: SubscriptionRequest) {
    const all = !strong && !eventual && !causal;
    this.strong = all || strong;
    this.eventual = all || eventual;
    this.causal = all || causal;
    this.#kinds = setOf(entityKinds, "entity_kinds");
    this.#types = setOf(types, "types");
    this.#isLean = omitPayloads;
    const classes = (this.strong ? 1 : 0) + (this.eventual ? 2 : 0) + (this.causal ? 4 : 0) + (omitPayloads ? 8 : 0);
    this.hash = (classes + hashOf(this.#kinds, 0x9e3779b1) + hashOf(this.#types, 0x85ebca6b)) | 0;
  }

  equals(other: Wishes): boolean {
    const classes = this.strong === other.strong && this.eventual === other.eventual && this.causal === other.causal && this.#isLean === other.#isLean;
    return classes && sameNames(this.#kinds, other.#kinds) && sameNames(this.#types, other.#types);
  }

  wantsKind(kind: string): boolean {
    return this.#kinds === undefined || this.#kinds.has(kind);
  }

  wantsType(type: string): boolean {
    return this.#types === undefined || this.#types.has(type);
  }

  entity(entity: Entity): Entity {
    return this.#isLean && (entity.state.length > 0 || entity.attributes.size > 0) ? leanOf(entity, () => ({ ...entity, state: EMPTY, attributes: new Map() })) : entity;
  }

  change(change: EntityChange): EntityChange {
    const { entity } = change;
    if (!this.#isLean || entity === undefined) return change;
    return leanOf(change, () => ({ ...change, entity: this.entity(entity) }));
  }

  value(value: EventualValue): EventualValue {
    return this.#isLean && value.value.length > 0 ? leanOf(value, () => ({ ...value, value: EMPTY })) : value;
  }

  event(event: DeliveredEvent): DeliveredEvent {
    const { event: content } = event;
    if (!this.#isLean || content === undefined || content.payload.length === 0) return event;
    return leanOf(event, () => ({ ...event, event: { ...content, payload: EMPTY } }));
  }
}

function leanOf<T extends object>(whole: T, make: () => T): T {
  let found = lean.get(whole) as T | undefined;
  if (found === undefined) lean.set(whole, (found = make()));
  return found;
}

function setOf(names: readonly string[], field: string): ReadonlySet<string> | undefined {
  if (names.length > NAMES_MAX) throw MeshError.field(field, `at most ${NAMES_MAX}`);
  for (const [at, name] of names.entries()) if (!withinBytes(name, NAME_BYTES_MAX)) throw MeshError.field(`${field}[${at}]`, `1..${NAME_BYTES_MAX} bytes`);
  return names.length === 0 ? undefined : new Set(names);
}

function sameNames(one: ReadonlySet<string> | undefined, other: ReadonlySet<string> | undefined): boolean {
  return one === other || (one !== undefined && other !== undefined && one.size === other.size && [...one].every((name) => other.has(name)));
}

function hashOf(names: ReadonlySet<string> | undefined, seed: number): number {
  let sum = 0;
  for (const name of names ?? []) {
    let hash = seed;
    for (let i = 0; i < name.length; i += 1) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
    sum = (sum + (hash ^ (hash >>> 15))) | 0;
  }
  return sum;
}
