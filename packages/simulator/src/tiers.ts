import { meshTier } from "./mesh/mesh-tier.ts";
import { raftTier } from "./raft/index.ts";
import type { Tier } from "./tier.ts";

/** Every tier, the cheapest first. */
export const TIERS: readonly Tier[] = [raftTier, meshTier];
