/** Splits of the mesh, as the asked node sees them. */
import { Metadata } from "@grpc/grpc-js";
import { PartitionEvent, Side, type WatchViewResponse } from "@statemesh/contract";
import type { CompiledClientOptions } from "./client-options.ts";
import type { NodePool } from "./node-pool.ts";
import { ReopeningStream, type StreamLimits } from "./reopening-stream.ts";

/**
 * Tells when a partition starts, changes and ends, on which side the asked node is, and which regions are affected. The first message says
 * how things stand. A broken connection is made again at another node, which may stand on another side: what it says is told as the
 * start or end of a partition where it is one for this reader.
 */
export class ViewWatch extends ReopeningStream<WatchViewResponse> {
  #side: Side | undefined;

  constructor(pool: NodePool, options: CompiledClientOptions, limits: StreamLimits) {
    super(pool, options, (node) => node.views.watchView({ serverId: options.serverId }, new Metadata(), {}), limits);
  }

  /** The side of the node that was heard last; undefined: nothing was heard yet. */
  get side(): Side | undefined {
    return this.#side;
  }

  /** What another node says first is news where it is on another side than the one before. */
  protected override taken(message: WatchViewResponse): WatchViewResponse {
    const before = this.#side;
    const now = message.state?.side ?? Side.UNSPECIFIED;
    this.#side = now;
    if (message.event !== PartitionEvent.STATE || before === undefined) return message;
    const wasWhole = before === Side.WHOLE;
    const isWhole = now === Side.WHOLE;
    if (wasWhole === isWhole) return { ...message, event: PartitionEvent.CHANGED };
    return { ...message, event: isWhole ? PartitionEvent.ENDED : PartitionEvent.STARTED };
  }
}
