import type { DeliveredEvent, Entity, EventualValue, Region, SubscriptionArea, VectorClock } from "@statemesh/contract";
import type { SubscriptionLimits } from "./limits.ts";

/** The state of the node, read between two changes. What it returns must not be changed afterwards. */
export interface StateReader {
  /** Strong entities of a region. */
  entitiesOf(region: Region): Iterable<Entity>;
  /** Live eventual values of a region; with `tombstones` also deletions that are still held. */
  valuesOf(region: Region, tombstones: boolean): Iterable<EventualValue>;
  /** Up to where the group's state is applied. */
  positionOf(groupId: number): { readonly term: number; readonly index: number };
}

/** The node's causal events; `CausalLog` is one. */
export interface CausalSource {
  frontier(): VectorClock;
  since(clock: VectorClock, wants: (event: DeliveredEvent) => boolean): { events: DeliveredEvent[]; lost: number };
}

export interface SubscriptionHubOptions {
  /** Tokens of other clusters are refused. */
  readonly clusterId: string;
  readonly groupOf: (region: Region) => number;
  readonly reader: StateReader;
  readonly causal: CausalSource;
  /** Milliseconds since the Unix epoch. */
  readonly nowMs: () => number;
  /** Milliseconds that only grow. */
  readonly monotonicMs: () => number;
  /** Hears of regions whose eventual values are read, once a reader. */
  readonly interest?: { hold(region: Region): void; release(region: Region): void };
  /** A subscriber has something to read: once, until `next` has returned undefined. Called in the middle of a change: only note it. */
  readonly onReadable: (subscriberId: number) => void;
  readonly limits?: Partial<SubscriptionLimits>;
}

/** What a reader asks for. A box is given as its regions. */
export interface SubscriptionRequest {
  readonly regions: readonly Region[];
  /** Instead of regions: what a ball reaches. */
  readonly area?: SubscriptionArea | undefined;
  /** All three false means all. */
  readonly strong: boolean;
  readonly eventual: boolean;
  readonly causal: boolean;
  readonly resumeToken: string;
  /** From one round of eventual values to the next, milliseconds. */
  readonly eventualIntervalMs?: number;
  /** None: all. */
  readonly entityKinds?: readonly string[];
  /** Of eventual values and causal events; none: all. */
  readonly types?: readonly string[];
  readonly omitPayloads?: boolean;
}

/** Counters since the start, and what is held now. */
export interface SubscriptionStatistics {
  subscribers: number;
  regions: number;
  snapshotItems: number;
  /** Times that a subscriber was too slow. */
  lagged: number;
  snapshots: number;
  resumed: number;
  /** Times that an area reached other regions. */
  moved: number;
}
