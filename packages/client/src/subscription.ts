/** Subscriptions that outlive their connections. */
import { Metadata } from "@grpc/grpc-js";
import type { Bounds, Region, SubscribeRequest, SubscribeResponse } from "@statemesh/contract";
import type { CompiledClientOptions } from "./client-options.ts";
import type { NodePool } from "./node-pool.ts";
import { ResumingStream } from "./resuming-stream.ts";

/** What to follow. */
export interface SubscriptionTarget {
  /** 1..343 regions; or `bounds`. */
  readonly regions?: readonly Region[];
  /** A box of at most 343 regions. */
  readonly bounds?: Bounds;
  /** Entities. All three left out or false: everything. */
  readonly strong?: boolean;
  /** Eventual values. */
  readonly eventual?: boolean;
  /** Causal events. */
  readonly causal?: boolean;
  /** Continue after this token of an earlier subscription. */
  readonly resumeToken?: string;
  /** Longest time without a connection before the iterator throws, ms. Default 60,000. */
  readonly giveUpAfterMs?: number;
}

function requestOf(target: SubscriptionTarget, resumeToken: string): SubscribeRequest {
  const { regions = [], bounds, strong = false, eventual = false, causal = false } = target;
  return { regions: [...regions], bounds, strong, eventual, causal, resumeToken };
}

/** The events of a subscription, as ResumingStream says; where the place of resumption is too far back a new snapshot comes. */
export class Subscription extends ResumingStream<SubscribeResponse> {
  constructor(pool: NodePool, options: CompiledClientOptions, target: SubscriptionTarget) {
    super(pool, options, (node, token) => node.consistency.subscribe(requestOf(target, token), new Metadata(), {}), target.resumeToken ?? "", target.giveUpAfterMs ?? 60_000);
  }
}
