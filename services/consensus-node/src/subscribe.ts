// Subscribe and SubscribeStream: what a subscription covers, and its stream.
import { ConsistencyServiceService, MeshError, type Region, type SubscribeRequest, type SubscribeStreamRequest, type SubscriptionArea } from "@statemesh/contract";
import type { MeshNode } from "@statemesh/mesh";
import { subscribeInSession } from "@statemesh/node";
import { SystemTimers } from "@statemesh/ports";
import type { CallContext, RequestStream, ResponseStream } from "@statemesh/service";
import { checkBounds, quantizeBounds, regionsOfBounds } from "@statemesh/world";
import { PulledStreams } from "./pulled-streams.ts";
import { SubscriptionEncoder } from "./subscribe-encoding.ts";

/** About how large one message gets. */
const MESSAGE_BYTES = 64 * 1024;

const asIs = (bytes: Buffer): Buffer => bytes;

/** The service, with the responses of subscriptions in bytes already. */
export const CONSISTENCY_WITH_BYTES = {
  ...ConsistencyServiceService,
  subscribe: { ...ConsistencyServiceService.subscribe, responseSerialize: asIs, responseDeserialize: asIs },
  subscribeStream: { ...ConsistencyServiceService.subscribeStream, responseSerialize: asIs, responseDeserialize: asIs },
};

/** The open subscriptions of a node. */
export class SubscriptionStreams {
  readonly #node: MeshNode;
  readonly #encoder = new SubscriptionEncoder();
  readonly #timers = new SystemTimers();
  readonly #streams: PulledStreams<Buffer>;
  /** Those that may move. */
  readonly #wrapped = new Set<number>();

  constructor(node: MeshNode) {
    this.#node = node;
    const hub = node.subscriptions;
    this.#streams = new PulledStreams({
      next: (id) => {
        const response = hub.next(id, MESSAGE_BYTES);
        if (response === undefined) return undefined;
        return this.#wrapped.has(id) ? this.#encoder.encodeWrapped(response) : this.#encoder.encode(response);
      },
      close: (id) => {
        this.#wrapped.delete(id);
        hub.unsubscribe(id);
      },
      sizeOf: (bytes) => bytes.length,
      served: () => this.#encoder.forget(),
    });
    node.onReadable = (subscriberId) => this.#streams.note(subscriberId);
  }

  open(request: SubscribeRequest, responses: ResponseStream<Buffer>, context: CallContext): void {
    this.#subscribe(request, responses, context, (id) => this.#streams.serve(id, responses, context));
  }

  /** The first message starts the subscription, each later one moves it; what comes before it has started is kept, the last one of it. */
  openStream(requests: RequestStream<SubscribeStreamRequest>, responses: ResponseStream<Buffer>, context: CallContext): void {
    let hasStart = false;
    let started: number | undefined;
    let moved: SubscriptionArea | undefined;
    requests.onMessage(
      ({ request }) => {
        if (request?.$case === "start") {
          if (hasStart) throw MeshError.field("start", "only the first message starts a subscription");
          hasStart = true;
          this.#subscribe(request.value, responses, context, (id) => {
            started = id;
            this.#wrapped.add(id);
            this.#streams.serve(id, responses, context);
            if (moved !== undefined) this.#node.subscriptions.move(id, moved);
          });
          return;
        }
        if (!hasStart) throw MeshError.field("start", "the first message starts the subscription");
        if (request === undefined) throw MeshError.field("request", "start or move");
        if (started === undefined) moved = request.value;
        else this.#node.subscriptions.move(started, request.value);
      },
      () => {
        if (!hasStart) throw MeshError.field("start", "the first message starts the subscription");
      },
    );
  }

  #subscribe(request: SubscribeRequest, responses: ResponseStream<Buffer>, context: CallContext, done: (id: number) => void): void {
    const { strong, eventual, causal, resumeToken, area, eventualIntervalMs, entityKinds, types, omitPayloads, session } = request;
    this.#checkTypes(types);
    subscribeInSession(this.#node, this.#timers, session, { regions: this.#regionsOf(request), area, strong, eventual, causal, resumeToken, eventualIntervalMs, entityKinds, types, omitPayloads }, {
      done: (id) => {
        try {
          done(id);
        } catch (error) {
          responses.fail(MeshError.from(error));
        }
      },
      fail: (error) => responses.fail(MeshError.from(error)),
      isGone: () => context.cancelled || responses.over,
    });
  }

  /** A type that nothing is ever published of is a mistake. */
  #checkTypes(types: readonly string[]): void {
    for (const [at, type] of types.entries()) {
      const consistency = this.#node.options.policy.typeOf(type)?.consistency;
      if (consistency === "eventual" || consistency === "causal") continue;
      const field = `types[${at}]`;
      const shown = JSON.stringify(type.slice(0, 64));
      throw new MeshError("UNKNOWN_TYPE", `${field}: ${shown} is ${consistency === undefined ? "not in the policy table" : `${consistency}: choose entities by entity_kinds`}`, { field, metadata: { field, type: shown } });
    }
  }

  #regionsOf(request: SubscribeRequest): readonly Region[] {
    if (request.bounds === undefined) return request.regions;
    if (request.regions.length > 0) throw MeshError.field("bounds", "either regions or bounds");
    if (request.area !== undefined) throw MeshError.field("area", "either regions, bounds or an area");
    checkBounds(request.bounds, "bounds");
    const { maxRegions } = this.#node.subscriptions.limits;
    const regions = regionsOfBounds(quantizeBounds(request.bounds), maxRegions);
    if (regions === undefined) throw MeshError.field("bounds", `must reach at most ${maxRegions} regions`);
    return regions;
  }
}
