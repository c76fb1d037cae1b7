/** Operations at one place, decided by one call each: `client.at(lease).itemPickup({ itemId, playerId })`. */
import { type Decision, type Operation, Outcome, type Region } from "@statemesh/contract";
import type { Expected, OperationBuilder, OperationOverrides, Place } from "./operation-builder.ts";
import type { MergingType, StrongType } from "./studio-types.ts";

/** The builders that begin with a place. */
const BUILDERS = [
  "structurePlacement", "structureRemoval", "resourceClaim", "resourceRelease", "itemPickup", "mint", "burn", "transfer", "drop", "spawn", "trade", "containerCreate", "containerMove",
  "containerDestroy", "dig", "fill", "paint", "creatureOwnership", "creatureHandoff", "escrowOpening",
] as const satisfies readonly (keyof OperationBuilder)[];

type Builder = (typeof BUILDERS)[number];
/** What a builder takes besides the place. */
type Rest<Name extends Builder> = Parameters<OperationBuilder[Name]> extends [Place, ...infer More] ? More : never;

/** The builders for types of a studio's own: the type comes first. */
interface OwnTypeActions {
  /** Creates an entity of a studio's own type. Refused with `ALREADY_EXISTS` where there is one of that id. */
  create<State>(type: StrongType<State>, it: { entityId: string; state: State }, overrides?: OperationOverrides): Promise<Decision>;
  /** Writes an entity of a studio's own type that is there. Where it is not, or moved away: `NOT_FOUND`; where somebody else wrote it since `observedVersion`: `VERSION_MISMATCH`. */
  save<State>(type: StrongType<State>, it: { entityId: string; state: State; observedVersion?: number }, overrides?: OperationOverrides): Promise<Decision>;
  /** Writes an entity of a studio's own type: what is there is replaced, what is not is created. */
  put<State>(type: StrongType<State>, it: { entityId: string; state: State } & Expected, overrides?: OperationOverrides): Promise<Decision>;
  /** Takes an entity of a studio's own type to another region, with this state. */
  move<State>(type: StrongType<State>, it: { entityId: string; state: State; toRegion: Region; observedVersion?: number }, overrides?: OperationOverrides): Promise<Decision>;
  /** Updates an entity of a studio's own type together with whoever else does. */
  update<Update>(type: MergingType<Update, unknown>, it: { entityId: string; update: Update; expect?: Expected["expect"] }, overrides?: OperationOverrides): Promise<Decision>;
  /** Removes an entity of a studio's own type. */
  remove<State>(type: StrongType<State> | MergingType<never, unknown>, it: { entityId: string; observedVersion?: number }, overrides?: OperationOverrides): Promise<Decision>;
}

/**
 * Each builder of `client.operations` at one place, with its decision. The operation is not kept: where OUTCOME_UNKNOWN has to be asked about again under
 * the same id, build it with `client.operations` and keep it.
 */
export type PlaceActions = { readonly [Name in Builder]: (...rest: Rest<Name>) => Promise<Decision> } & OwnTypeActions;

export function placeActions(operations: OperationBuilder, place: Place, execute: (operation: Operation) => Promise<Decision>): PlaceActions {
  const builders = BUILDERS.map((name): [string, unknown] => {
    const build = operations[name].bind(operations) as (place: Place, ...rest: unknown[]) => Operation;
    return [name, async (...rest: unknown[]) => await execute(build(place, ...rest))];
  });
  const own: OwnTypeActions = {
    create: async (type, it, overrides) => await execute(operations.create(type, place, it, overrides)),
    save: async (type, it, overrides) => await execute(operations.save(type, place, it, overrides)),
    put: async (type, it, overrides) => await execute(operations.put(type, place, it, overrides)),
    move: async (type, it, overrides) => await execute(operations.move(type, place, it, overrides)),
    update: async (type, it, overrides) => await execute(operations.update(type, place, it, overrides)),
    remove: async (type, it, overrides) => await execute(operations.remove(type, place, it, overrides)),
  };
  return { ...Object.fromEntries(builders), ...own } as PlaceActions;
}

/** Whether what was decided is in force: ACCEPTED or MERGED. Else `decision.reason` says why not, or it is TENTATIVE. */
export function isInForce({ outcome }: Decision): boolean {
  return outcome === Outcome.ACCEPTED || outcome === Outcome.MERGED;
}
