/** Limits of the subscriptions of a node. */
export interface SubscriptionLimits {
  /** Subscribers of a node. Reached: OVERLOADED. */
  readonly maxSubscribers: number;
  /** Regions of a subscription. */
  readonly maxRegions: number;
  /** Regions of all subscriptions of a node together, each as often as it is read: about 256 bytes. Reached: new ones, and moves that reach more, are answered OVERLOADED. */
  readonly maxReads: number;
  /** Strong changes and causal events that wait for a subscriber. Reached: all are dropped, it gets `lagged` and a new snapshot. */
  readonly maxQueued: number;
  /** Entities and values that wait in snapshots, of all subscribers. Reached: new ones are answered OVERLOADED, those that lag wait. */
  readonly maxSnapshotItems: number;
  /** Recent strong changes kept for resuming, a group. Further back: a new snapshot. */
  readonly maxRecentChanges: number;
  /** Resuming with eventual values after longer than this starts with a new snapshot: tombstones may be gone. Milliseconds. */
  readonly maxResumeAgeMs: number;
  /** Length of a resume token that is looked at. */
  readonly maxTokenLength: number;
  /** Longest time from one round of eventual values to the next that a subscriber may ask for, milliseconds. */
  readonly maxEventualIntervalMs: number;
  /** What an overloaded subscriber is told to wait, milliseconds. */
  readonly retryDelayMs: number;
}

export const DEFAULT_SUBSCRIPTION_LIMITS: SubscriptionLimits = {
  maxSubscribers: 20_000,
  maxRegions: 343,
  maxReads: 2_000_000,
  maxQueued: 4_096,
  maxSnapshotItems: 4_000_000,
  maxRecentChanges: 16_384,
  maxResumeAgeMs: 540_000,
  maxTokenLength: 65_536,
  maxEventualIntervalMs: 60_000,
  retryDelayMs: 1_000,
};
