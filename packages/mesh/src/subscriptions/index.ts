// Subscriptions: snapshot and ordered changes, resume tokens, slow readers.
export { DEFAULT_SUBSCRIPTION_LIMITS, type SubscriptionLimits } from "./limits.ts";
export {
  type CausalSource,
  type StateReader,
  SubscriptionHub,
  type SubscriptionHubOptions,
  type SubscriptionRequest,
  type SubscriptionStatistics,
} from "./subscription-hub.ts";
