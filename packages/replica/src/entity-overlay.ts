import type { Entity } from "@statemesh/contract";
import type { DecidedOperation } from "@statemesh/contract/log";
import { enclosing, entityKey } from "./entity-table.ts";
import type { GroupState } from "./group-state.ts";

/** What the last effect decided so far does to an entity. `put` undefined: it is taken away. */
interface Change {
  readonly put: Entity | undefined;
  readonly by: DecidedOperation;
}

/**
 * Entities as they will be once the effects decided so far are applied. The rules keep apart what excludes each
 * other; but types of the operator's own may name one entity several times in a set, and an arbiter may be wrong.
 */
export class EntityOverlay {
  readonly #state: GroupState;
  readonly #isCut: boolean;
  #changes: Map<string, Change> | undefined;
  /** Those of containers, by id. */
  #containers: Map<string, Entity | undefined> | undefined;

  /** `isCut`: a later decision may not come into force with the earlier ones, which keep what they put. */
  constructor(state: GroupState, isCut: boolean) {
    this.#state = state;
    this.#isCut = isCut;
  }

  get(kind: string, entityId: string): Entity | undefined {
    const change = this.#changes?.get(entityKey(kind, entityId));
    if (change === undefined) return this.#state.entities.get(kind, entityId);
    if (change.put === undefined) return undefined;
    // As it is filled in on apply.
    return { ...change.put, operationId: change.by.operationId, region: change.put.region ?? change.by.region };
  }

  /** The containers that are directly in one. */
  *containedIn(containerId: string): Generator<Entity> {
    for (const entity of this.#state.entities.containedIn(containerId)) if (this.#containers?.has(entity.entityId) !== true) yield entity;
    for (const entity of this.#containers?.values() ?? []) if (entity !== undefined && enclosing(entity) === containerId) yield entity;
  }

  /** The operation that last gave the name to an entity, or took it away; undefined where the name is new, or forgotten. */
  usedBy(kind: string, entityId: string): string | undefined {
    const key = entityKey(kind, entityId);
    const change = this.#changes?.get(key);
    if (change !== undefined) return change.by.operationId;
    return (this.#state.entities.get(kind, entityId) ?? this.#state.gone.get(key))?.operationId;
  }

  /**
   * Takes in what an operation was decided to do. `contains`: what it puts has in it what was put there before in this set, so
   * that the earlier state need not be written down as well.
   */
  add(decided: DecidedOperation, contains: boolean): void {
    for (const { effect } of decided.effects) {
      if (effect?.$case !== "put" && effect?.$case !== "remove") continue;
      const put = effect.$case === "put" ? effect.value : undefined;
      if (effect.value.kind === "container") (this.#containers ??= new Map()).set(effect.value.entityId, put);
      const earlier = contains && !this.#isCut ? this.#changes?.get(entityKey(effect.value.kind, effect.value.entityId)) : undefined;
      if (earlier?.put !== undefined) earlier.by.effects = earlier.by.effects.filter((own) => own.effect?.value !== earlier.put);
      (this.#changes ??= new Map()).set(entityKey(effect.value.kind, effect.value.entityId), { put, by: decided });
    }
  }
}
