// The ports under one seed: virtual time, network and disk.
export * from "./sim-random.ts";
export * from "./simulation.ts";
export * from "./sim-clock.ts";
export * from "./sim-network.ts";
export * from "./sim-disk.ts";
// What runs on them: tiers, each a part of the system under faults.
export * from "./tier.ts";
export * from "./recorder.ts";
export * from "./raft/index.ts";
export * from "./store/index.ts";
export type { MeshSettings } from "./mesh/mesh-settings.ts";
export * from "./mesh/mesh-tier.ts";
export * from "./tiers.ts";
export * from "./shrink.ts";
export * from "./store/cache-tier.ts";
