// The Raft core: a pure state machine, one group an instance.
export * from "./invariant.ts";
export * from "./loss.ts";
export * from "./options.ts";
export * from "./ready.ts";
export * from "./raft-core.ts";
export * from "./status.ts";
export * from "./quorum/quorum.ts";
export * from "./quorum/majority.ts";
export * from "./quorum/weighted.ts";
export * from "./quorum/joint.ts";
export * from "./quorum/rule.ts";
export * from "./configuration.ts";
export type { ReadState } from "./read-queue.ts";
export type { ProgressState } from "./progress.ts";
export { entryBytes } from "./message.ts";
