// The SDK for game servers: routing, retries, streams, leases, subscriptions.
export { connect, MeshClient, type PublishSpec, type ReadSpec } from "./mesh-client.ts";
export { Healing } from "./healing.ts";
export { MeshSession } from "./mesh-session.ts";
export type { ClientOptions } from "./client-options.ts";
export { AuthorityWatch, type WatchTarget } from "./authority-watch.ts";
export { HeldLease } from "./held-lease.ts";
export { LeaseKeeper, type LeaseLost, type LossReason } from "./lease-keeper.ts";
export { overlapBounds } from "./overlap.ts";
export { RegionFollower, type RegionHandlers, type TakeReason } from "./region-follower.ts";
export type { ResumingStream } from "./resuming-stream.ts";
export { OperationBuilder, type OperationOverrides, type Place } from "./operation-builder.ts";
export { OperationIds } from "./operation-id.ts";
export { type Decided, OperationStream, type StreamCounts, type StreamOptions, WINDOW_MAX } from "./operation-stream.ts";
export { Subscription, type SubscriptionTarget } from "./subscription.ts";
export { ViewWatch } from "./view-watch.ts";
export type { Heartbeats } from "./heartbeats.ts";
export type { CallLimits } from "./unary-caller.ts";
export * from "./vocabulary.ts";
