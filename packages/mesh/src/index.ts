// A node's protocols over ports. Pure: events in, calls of the host out.
export * from "./conservation.ts";
export * from "./item-flows.ts";
export * from "./host.ts";
export { bestSuccessor } from "./leadership.ts";
export * from "./node.ts";
export type { NodeOptions } from "./node-options.ts";
export { placeOfPage } from "./read-page.ts";
export * from "./reads.ts";
export { listContainers, startOfContainerList } from "./container-list.ts";
export { readSnapshot, type SnapshotHold, type SnapshotPart } from "./snapshot-read.ts";
export { checkSession, isReached, mergedTokens, sessionAfter } from "./session.ts";
export * from "./causal/index.ts";
export * from "./eventual/index.ts";
export * from "./subscriptions/index.ts";
export { STAGE_BUCKETS_MS, STAGES } from "./flow/stage-times.ts";
export * from "./strong/decision-queue.ts";
export * from "./strong/edge.ts";
export * from "./strong/group-replica.ts";
export * from "./strong/operation-errors.ts";
export { EscrowNotes } from "./escrow/held-escrow.ts";
export { ViewKeeper } from "./views/view-keeper.ts";
export { leastLeaseElectionTicks } from "@statemesh/raft";
// What callers of a node put into its groups' logs.
export { AUTHORITY_VERSION, commandOf, isRunning, needsAuthority, type VersionRange, VERSIONS } from "@statemesh/replica";
