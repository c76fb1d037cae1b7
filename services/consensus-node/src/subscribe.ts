// Subscribe: what a subscription covers, and its stream.
import { MeshError, type Region, type SubscribeRequest, type SubscribeResponse } from "@statemesh/contract";
import type { MeshNode } from "@statemesh/mesh";
import { subscribe } from "@statemesh/node";
import type { CallContext, ResponseStream } from "@statemesh/service";
import { checkBounds, quantizeBounds, regionsOfBounds } from "@statemesh/world";
import { PulledStreams } from "./pulled-streams.ts";

/** About how large one message gets. */
const MESSAGE_BYTES = 256 * 1024;

/** The open subscriptions of a node. */
export class SubscriptionStreams {
  readonly #node: MeshNode;
  readonly #streams: PulledStreams<SubscribeResponse>;

  constructor(node: MeshNode) {
    this.#node = node;
    const hub = node.subscriptions;
    this.#streams = new PulledStreams({ next: (id) => hub.next(id, MESSAGE_BYTES), close: (id) => hub.unsubscribe(id) });
    node.onReadable = (subscriberId) => this.#streams.note(subscriberId);
  }

  open(request: SubscribeRequest, responses: ResponseStream<SubscribeResponse>, context: CallContext): void {
    const { strong, eventual, causal, resumeToken } = request;
    subscribe(this.#node, { regions: this.#regionsOf(request), strong, eventual, causal, resumeToken }, {
      done: (id) => this.#streams.serve(id, responses, context),
      fail: (error) => responses.fail(MeshError.from(error)),
      isGone: () => context.cancelled || responses.over,
    });
  }

  #regionsOf(request: SubscribeRequest): readonly Region[] {
    if (request.bounds === undefined) return request.regions;
    if (request.regions.length > 0) throw MeshError.field("bounds", "either regions or bounds");
    checkBounds(request.bounds, "bounds");
    const { maxRegions } = this.#node.subscriptions.limits;
    const regions = regionsOfBounds(quantizeBounds(request.bounds), maxRegions);
    if (regions === undefined) throw MeshError.field("bounds", `must reach at most ${maxRegions} regions`);
    return regions;
  }
}
