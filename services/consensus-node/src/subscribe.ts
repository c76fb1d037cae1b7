// Subscribe: pulls messages out of the hub whenever the stream can take them.
import { MeshError, type Region, type SubscribeRequest, type SubscribeResponse } from "@statemesh/contract";
import type { MeshNode } from "@statemesh/mesh";
import type { CallContext, ResponseStream } from "@statemesh/service";
import { checkBounds, quantizeBounds, regionsOfBounds } from "@statemesh/world";

/** About how large one message gets. */
const MESSAGE_BYTES = 256 * 1024;

/** The open subscriptions of a node. A change only marks its readers; they are served after it. */
export class SubscriptionStreams {
  readonly #node: MeshNode;
  readonly #streams = new Map<number, ResponseStream<SubscribeResponse>>();
  readonly #readable = new Set<number>();
  #due = false;

  constructor(node: MeshNode) {
    this.#node = node;
    node.onReadable = (subscriberId) => this.#note(subscriberId);
  }

  open(request: SubscribeRequest, responses: ResponseStream<SubscribeResponse>, context: CallContext): void {
    const hub = this.#node.subscriptions;
    const { strong, eventual, causal, resumeToken } = request;
    const id = hub.subscribe({ regions: this.#regionsOf(request), strong, eventual, causal, resumeToken });
    this.#streams.set(id, responses);
    context.onEnd(() => {
      hub.unsubscribe(id);
      this.#streams.delete(id);
      this.#readable.delete(id);
    });
    context.onShutdown(() => responses.fail(new MeshError("SHUTTING_DOWN", "the node is going down: resume on another")));
    this.#note(id);
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

  #note(id: number): void {
    this.#readable.add(id);
    if (this.#due) return;
    this.#due = true;
    setImmediate(() => this.#serve());
  }

  #serve(): void {
    this.#due = false;
    const readable = [...this.#readable];
    this.#readable.clear();
    for (const id of readable) this.#write(id);
  }

  /** Writes until the hub has nothing more, or the stream takes nothing more. */
  #write(id: number): void {
    const responses = this.#streams.get(id);
    while (responses !== undefined && !responses.over) {
      if (!responses.writable) return responses.onWritable(() => this.#note(id));
      const response = this.#node.subscriptions.next(id, MESSAGE_BYTES);
      if (response === undefined) return;
      responses.write(response);
    }
  }
}
