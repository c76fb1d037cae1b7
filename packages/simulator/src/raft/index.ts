// One Raft group under faults.
export { raftTier } from "./raft-tier.ts";
export type { RaftSettings } from "./raft-settings.ts";
