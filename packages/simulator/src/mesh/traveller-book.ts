// What goes from region to region, as the committed logs tell of it: each entity has one history, in which one operation takes it from the
// next; it is in one place, or promised to leave the other; nobody moves it who has not the authority where it is; and none is lost.
import type { Entity, Operation } from "@statemesh/contract";
import type { DecidedOperation } from "@statemesh/contract/log";
import type { GroupState } from "@statemesh/replica";
import { formatRegion } from "@statemesh/world";
import { isTraveller, travelOf } from "./shard-travellers.ts";

interface Place {
  readonly operationId: string;
  readonly region: string;
  /** The log index that put it there. */
  readonly index: number;
}

interface Traveller {
  /** By group: by which operation it stands there, and in which region. */
  readonly places: Map<number, Place>;
  /** By operation: the one that took the entity from it. */
  readonly next: Map<string, string>;
  /** All operations that put it somewhere, or ended it. */
  readonly operations: Map<string, "lives" | "ended">;
}

export class TravellerBook {
  readonly #operationOf: (operationId: string) => Operation | undefined;
  readonly #isHeld: (groupId: number, name: string) => boolean;
  readonly #fail: (kind: string, message: string) => void;
  readonly #travellers = new Map<string, Traveller>();

  /**
   * @param operationOf what the caller of an operation sent
   * @param isHeld whether a group has promised a transaction to let go of a name, or to take it
   */
  constructor(operationOf: (operationId: string) => Operation | undefined, isHeld: (groupId: number, name: string) => boolean, fail: (kind: string, message: string) => void) {
    this.#operationOf = operationOf;
    this.#isHeld = isHeld;
    this.#fail = fail;
  }

  /** An operation came into force in a group, which stands behind it. */
  decided(state: GroupState, index: number, { operationId, region, effects }: DecidedOperation): void {
    for (const { effect } of effects) {
      if ((effect?.$case !== "put" && effect?.$case !== "remove") || !isTraveller(effect.value.entityId)) continue;
      const name = `${effect.value.kind}/${effect.value.entityId}`;
      const sent = this.#operationOf(operationId);
      const asked = sent === undefined ? undefined : travelOf(sent);
      if (asked === undefined || `${asked.kind}/${asked.entityId}` !== name) {
        this.#fail("moves", `${operationId} changed ${name} at ${index} of group ${state.groupId}, and asked nothing of it`);
        continue;
      }
      const traveller = this.#of(name);
      const to = formatRegion(asked.to);
      traveller.operations.set(operationId, asked.ends ? "ended" : "lives");
      const before = traveller.places.get(state.groupId);
      const where = `at ${index} of group ${state.groupId}`;
      // Elsewhere than at home it comes to a place where nothing is; there it is new, or is taken from where it was.
      if (region === undefined) {
        if (before !== undefined) this.#fail("no entity in two places", `${operationId} brought ${name} ${where}, where it stood by ${before.operationId}`);
      } else if (before !== undefined) this.#taken(traveller, before, { name, operationId, home: formatRegion(asked.home), where });
      else if (asked.moves || effect.$case === "remove") this.#fail("moves", `${operationId} took ${name} away ${where}, where it was not`);
      else if (asked.saves) this.#fail("saves create nothing", `${operationId} saved ${name} ${where}, where it was not`);
      if (region !== undefined && before !== undefined && asked.creates) this.#fail("what is created is new", `${operationId} created ${name} ${where}, where it stood by ${before.operationId}`);
      if (asked.observedVersion > 0 && region !== undefined && before !== undefined && before.index !== asked.observedVersion) this.#fail("versions", `${operationId} had read ${name} at version ${asked.observedVersion}, and wrote it ${where}, where it stood at ${before.index} by ${before.operationId}`);
      if (effect.$case === "remove") traveller.places.delete(state.groupId);
      else traveller.places.set(state.groupId, { operationId, region: to, index });
      if (effect.$case === "put") this.#stands(state.entities.get(effect.value.kind, effect.value.entityId), { name, operationId, index, region: to });
      this.#checkPlaces(name, traveller, index);
    }
  }

  /** Whom the operation took the entity from. */
  #taken(traveller: Traveller, before: Place, { name, operationId, home, where }: { readonly name: string; readonly operationId: string; readonly home: string; readonly where: string }): void {
    if (before.region !== home) this.#fail("moves", `${operationId} took ${name} ${where} from ${before.region} with the authority of ${home}`);
    const other = traveller.next.get(before.operationId);
    if (other !== undefined && other !== operationId) this.#fail("no entity in two places", `${operationId} took ${name} ${where} from where ${before.operationId} had put it, and so had ${other}`);
    traveller.next.set(before.operationId, operationId);
  }

  /** A later operation of the same entry may have written it anew. */
  #stands(entity: Entity | undefined, { name, operationId, index, region }: { readonly name: string; readonly operationId: string; readonly index: number; readonly region: string }): void {
    if (entity?.operationId !== operationId) return;
    const stands = entity.region === undefined ? "nowhere" : formatRegion(entity.region);
    if (stands !== region) this.#fail("moves", `${operationId} sent ${name} to ${region}, it stands in ${stands}`);
    if (entity.version !== index) this.#fail("moves", `${operationId} put ${name} at ${index}, it stands at version ${entity.version}`);
  }

  /** What is promised to a transaction that ended elsewhere is as good as gone from there, or not there yet. */
  #checkPlaces(name: string, { places }: Traveller, index: number): void {
    if (places.size < 2) return;
    const free = [...places].filter(([groupId]) => !this.#isHeld(groupId, name));
    if (free.length > 1) this.#fail("no entity in two places", `${name} stands in ${free.map(([groupId, { region, operationId }]) => `${region} of group ${groupId} by ${operationId}`).join(" and in ")}, after ${index}`);
  }

  /** Once all is quiet. `stored`: entities of all groups in the database; undefined: there is none. */
  checkFinal(states: readonly GroupState[], stored: readonly Entity[] | undefined): void {
    const rows = new Map<string, string[]>();
    for (const { kind, entityId, region } of stored ?? []) {
      if (!isTraveller(entityId)) continue;
      const name = `${kind}/${entityId}`;
      rows.set(name, [...(rows.get(name) ?? []), region === undefined ? "nowhere" : formatRegion(region)]);
    }
    for (const [name, { places, next, operations }] of this.#travellers) {
      const last = [...operations].filter(([operationId]) => !next.has(operationId));
      const [place, ...others] = [...places.values()];
      const [end, ...ends] = last;
      if (others.length > 0 || ends.length > 0 || end === undefined) {
        this.#fail("no entity in two places", `${name} stands in ${[...places.values()].map(({ region, operationId }) => `${region} by ${operationId}`).join(" and ")}; last were ${last.map(([operationId]) => operationId).join(" and ")}`);
        continue;
      }
      const [operationId, how] = end;
      if (how === "lives" && place?.operationId !== operationId) this.#fail("no entity is lost", `${name} was put somewhere by ${operationId} last, and stands ${place === undefined ? "nowhere" : `in ${place.region} by ${place.operationId}`}`);
      if (how === "ended" && place !== undefined) this.#fail("no entity in two places", `${name} was ended by ${operationId}, and stands in ${place.region} by ${place.operationId}`);
      const found = states.flatMap(({ entities }) => entities.get(name.slice(0, name.indexOf("/")), name.slice(name.indexOf("/") + 1)) ?? []);
      if (found.map((entity) => entity.operationId).join() !== (place?.operationId ?? "")) this.#fail("no entity in two places", `${name} is held by ${found.length} groups, by ${found.map((entity) => entity.operationId).join(" and ")}`);
      const expected = place === undefined ? [] : [place.region];
      if (stored !== undefined && (rows.get(name) ?? []).join() !== expected.join()) this.#fail("stored is replicated", `${name} is stored in ${(rows.get(name) ?? []).join(" and ") || "no region"}, it stands in ${expected.join() || "none"}`);
    }
  }

  #of(name: string): Traveller {
    let traveller = this.#travellers.get(name);
    if (traveller === undefined) this.#travellers.set(name, (traveller = { places: new Map(), next: new Map(), operations: new Map() }));
    return traveller;
  }
}
