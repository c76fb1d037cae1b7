// Eventual state: last-write-wins registers, deltas by tick, repair by digests.
export { EventualStore, type EventualListener, type EventualStatistics, type PublishCounts } from "./eventual-store.ts";
export { compareWrites } from "./last-write-wins.ts";
export { DEFAULT_EVENTUAL_LIMITS, type EventualLimits } from "./limits.ts";
export type { PublishPolicy } from "./validate-update.ts";
export { OwnInterest } from "./interest.ts";
export { EventualStorage } from "./eventual-storage.ts";
export { SpreadPace } from "./spread-pace.ts";
