// Subscriptions: snapshot and ordered changes, resume tokens, slow readers.
export type { CausalSource, StateReader, SubscriptionHubOptions, SubscriptionRequest, SubscriptionStatistics } from "./hub-options.ts";
export { DEFAULT_SUBSCRIPTION_LIMITS, type SubscriptionLimits } from "./limits.ts";
export { SubscriptionHub } from "./subscription-hub.ts";
