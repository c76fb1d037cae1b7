/** Items as a node counts them, all the time. */
import { Metadata } from "@grpc/grpc-js";
import type { WatchConservationResponse } from "@statemesh/contract";
import type { CompiledClientOptions } from "./client-options.ts";
import type { NodePool } from "./node-pool.ts";
import { ReopeningStream, type StreamLimits } from "./reopening-stream.ts";

/** What a watch of items shows. */
export interface ConservationTarget extends StreamLimits {
  /** How often, ms, 100..60,000. Default: as the node says. */
  readonly intervalMs?: number;
  /** Only these kinds. Default: all. */
  readonly itemKinds?: readonly string[];
}

/**
 * What was minted, burned and is held of each kind, again and again. A broken connection is made again at another node, which may
 * stand a little earlier or later.
 */
export class ConservationWatch extends ReopeningStream<WatchConservationResponse> {
  constructor(pool: NodePool, options: CompiledClientOptions, { intervalMs = 0, itemKinds = [], ...limits }: ConservationTarget) {
    super(pool, options, (node) => node.admin.watchConservation({ intervalMs, itemKinds: [...itemKinds] }, new Metadata(), {}), limits);
  }
}
