/** What the contract fixes about its own types. Their rule chains are the policy's, see default-policy.ts. */
import { ConflictType } from "@statemesh/contract";
import type { Consistency } from "./policy.ts";

/** The fixed part of a built-in type. */
export interface BuiltInType {
  readonly consistency: Consistency;
  readonly conflict: ConflictType;
  readonly layer: string;
  /** Whether operations of the type can carry a merge class. */
  readonly mergeable: boolean;
  /**
   * Whether the type may be kept on the losing side of a partition. Nothing that moves items may: what is spent there can be
   * spent on the other side too, and neither can be taken back from whoever has built on it.
   */
  readonly keepable: boolean;
}

function strong(conflict: ConflictType, layer = "", mergeable = false): BuiltInType {
  return { consistency: "strong", conflict, layer, mergeable, keepable: conflict !== ConflictType.INVENTORY && conflict !== ConflictType.ITEM_PICKUP };
}

const EVENTUAL: BuiltInType = { consistency: "eventual", conflict: ConflictType.UNSPECIFIED, layer: "", mergeable: false, keepable: false };
const CAUSAL: BuiltInType = { ...EVENTUAL, consistency: "causal" };

/** By name. The strong ones have a body of their own in the contract. */
export const BUILT_IN_TYPES: ReadonlyMap<string, BuiltInType> = new Map([
  ["structure_placement", strong(ConflictType.STRUCTURE_OVERLAP, "structure")],
  ["structure_removal", strong(ConflictType.STRUCTURE_OVERLAP)],
  ["resource_claim", strong(ConflictType.RESOURCE_CLAIM)],
  ["item_pickup", strong(ConflictType.ITEM_PICKUP)],
  ["player_inventory", strong(ConflictType.INVENTORY)],
  ["trade", strong(ConflictType.INVENTORY)],
  ["container", strong(ConflictType.INVENTORY)],
  ["escrow_opening", strong(ConflictType.INVENTORY)],
  ["terrain_modification", strong(ConflictType.TERRAIN_OVERLAP, "terrain", true)],
  ["creature_ownership", strong(ConflictType.CREATURE_OWNERSHIP)],
  ["creature_position", EVENTUAL],
  ["cosmetic_effect", EVENTUAL],
  ["automation_state", EVENTUAL],
  ["power_grid_state", EVENTUAL],
  ["event_sequence", CAUSAL],
]);

/** Names that a type of the operator's own can't have: kinds of built-in entities, layers and account prefixes. */
export const RESERVED_NAMES: ReadonlySet<string> = new Set([
  "structure", "claim", "item", "terrain", "terrain_edit", "creature", "player", "ground", "account", "escrow", "entity", "key", "custom",
]);
