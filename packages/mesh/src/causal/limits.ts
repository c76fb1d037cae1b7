/** Limits and intervals of a node's causal events. Sizes in bytes, times in milliseconds. */
export interface CausalLimits {
  /** Events in one publish. */
  readonly maxEvents: number;
  readonly maxKeyBytes: number;
  readonly maxPayloadBytes: number;
  /** Entries of a token that is presented: a reader that merged what it saw of many origins. */
  readonly maxTokenEntries: number;
  /** Dependencies of an event, after what follows from others and what every member has is left out. Reached: OVERLOADED, until more is stable. */
  readonly maxDependencies: number;
  /** Events published here between two ticks. Reached: OVERLOADED. */
  readonly maxPublishedPerTick: number;
  /** Delivered events kept for peers and readers that miss them, an origin. Older ones are gone: a gap for who still lacks them. */
  readonly maxKeptEvents: number;
  /** Bytes of all kept events. Reached: the origin that takes most gives its oldest. */
  readonly maxKeptBytes: number;
  /** Events that came before what they depend on. Reached: not taken, pulled later. */
  readonly maxPending: number;
  /** How far above the contiguous prefix an event of an origin is taken; a power of two. */
  readonly window: number;
  /** Origins (node starts) known at a time. Reached: one that is over, and of which all is delivered, is forgotten; without any, events of new ones are refused and counted. */
  readonly maxOrigins: number;
  /** Events and bytes in a peer's batch of one tick: own new ones, and as much again of asked ones. */
  readonly maxEventsPerTick: number;
  readonly maxBytesPerTick: number;
  /** Ranges that a peer may have waiting. Reached: it asks again. */
  readonly maxRanges: number;
  /** Ticks from one frontier message to the next, and origins in one. */
  readonly frontierEveryTicks: number;
  readonly maxFrontier: number;
  /** How long an event may be missing before it is asked for: it may be on its way. */
  readonly pullAfterMs: number;
  /** From one request for the same events to the next, to another peer. */
  readonly pullRetryMs: number;
  /** Missing events that no peer has, of a node that has started anew since, are given up after this. */
  readonly lostAfterMs: number;
  /** The same, of a node that is away and may come back with them. */
  readonly awayAfterMs: number;
  /** What a publisher that is ahead of this node, or too fast for it, is told to wait. */
  readonly retryDelayMs: number;
}

export const DEFAULT_CAUSAL_LIMITS: CausalLimits = {
  maxEvents: 256,
  maxKeyBytes: 128,
  maxPayloadBytes: 4_096,
  maxTokenEntries: 1_024,
  maxDependencies: 64,
  maxPublishedPerTick: 4_096,
  maxKeptEvents: 10_000,
  maxKeptBytes: 67_108_864,
  maxPending: 16_384,
  window: 16_384,
  maxOrigins: 4_096,
  maxEventsPerTick: 4_096,
  maxBytesPerTick: 1_048_576,
  maxRanges: 256,
  frontierEveryTicks: 4,
  maxFrontier: 1_024,
  pullAfterMs: 100,
  pullRetryMs: 250,
  lostAfterMs: 10_000,
  awayAfterMs: 300_000,
  retryDelayMs: 50,
};
