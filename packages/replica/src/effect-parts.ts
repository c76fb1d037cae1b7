// What effects are made of, and what is asked before they are.
import type { Entity, Region } from "@statemesh/contract";
import type { Effect, FootprintClearing, Posting } from "@statemesh/contract/log";
import { groupOf } from "@statemesh/world";
import type { EscrowOverlay } from "./escrow-overlay.ts";
import type { EntityOverlay } from "./entity-overlay.ts";
import type { LedgerOverlay } from "./ledger-overlay.ts";

/** Why an operation is refused by the state of the world. */
export interface Refusal {
  readonly rule: "existence" | "balance" | "holder" | "merge" | "version" | "containment" | "escrow";
  readonly reason: string;
  readonly winnerOperationId?: string;
  /** Of `VERSION_MISMATCH`: what stands; 0: what this set has just written. */
  readonly currentVersion?: number;
}

/** Which group decides, and how many hold regions. Of an operation that reaches several, each decides its own part. */
export interface GroupPlace {
  readonly groupId: number;
  readonly groups: number;
  /** Unset: every node is. */
  readonly isMember?: ((nodeId: number) => boolean) | undefined;
}

/** The state as it will be once what is decided so far is applied. */
export interface Overlay {
  readonly entities: EntityOverlay;
  readonly ledger: Pick<LedgerOverlay, "tryAll" | "containerHolds">;
  readonly escrows: EscrowOverlay;
  /** Unset: one group keeps all that the operations reach. */
  readonly place?: GroupPlace | undefined;
}

/** What an operation does; `merged`: into a state that was there; `clears`: footprints that go from other groups with it. */
export type EffectsOrRefusal = { readonly effects: Effect[]; readonly merged?: boolean; readonly clears?: FootprintClearing[] } | Refusal;

/** True where the group that decides keeps the region. */
export function isKeptHere(region: Region | undefined, { place }: Pick<Overlay, "place">): boolean {
  return place === undefined || region === undefined || groupOf(region, place.groups) === place.groupId;
}

export function put(value: Entity): { effects: Effect[] } {
  return { effects: [{ effect: { $case: "put", value } }] };
}

/** Checks the postings one after the other against the batch so far; all of them hold, or none counts. */
export function post(ledger: Overlay["ledger"], postings: readonly Posting[], before: readonly Effect[]): EffectsOrRefusal {
  const problem = ledger.tryAll(postings);
  if (problem !== undefined) return { rule: "balance", reason: problem };
  const effects: Effect[] = [...before];
  for (const value of postings) effects.push({ effect: { $case: "post", value } });
  return { effects };
}

export function entity(kind: string, entityId: string, fields: Partial<Entity>): Entity {
  return {
    entityId,
    kind,
    // Region, version, operation, server, stamp and epoch are filled in on apply: the log does not repeat them.
    region: undefined,
    version: 0,
    operationId: "",
    serverId: 0,
    playerId: "",
    bounds: undefined,
    label: "",
    quantity: 0,
    attributes: new Map(),
    state: new Uint8Array(0),
    stamp: undefined,
    epoch: 0,
    ...fields,
  };
}
