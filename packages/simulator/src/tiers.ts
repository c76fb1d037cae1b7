import { meshTier } from "./mesh/mesh-tier.ts";
import { raftTier } from "./raft/index.ts";
import { cacheTier } from "./store/cache-tier.ts";
import type { Tier } from "./tier.ts";

/** Every tier, the cheapest first. */
export const TIERS: readonly Tier[] = [cacheTier, raftTier, meshTier];
