// The SDK for game servers: routing, retries, streams, leases, subscriptions.
export { connect, MeshClient, type PublishSpec, type ReadSpec } from "./mesh-client.ts";
export type { ClientOptions } from "./client-options.ts";
export { HeldLease, LeaseKeeper, type LeaseLost, type LossReason } from "./lease-keeper.ts";
export { OperationBuilder, type OperationOverrides, type Place } from "./operation-builder.ts";
export { OperationIds } from "./operation-id.ts";
export { type Decided, OperationStream, type StreamCounts, type StreamOptions, WINDOW_MAX } from "./operation-stream.ts";
export { Subscription, type SubscriptionTarget } from "./subscription.ts";
export { ViewWatch } from "./view-watch.ts";
export type { Heartbeats } from "./heartbeats.ts";
export type { CallLimits } from "./unary-caller.ts";
