/** Subscriptions that outlive their connections. */
import { type ClientDuplexStream, Metadata } from "@grpc/grpc-js";
import { type Bounds, MeshError, type Position, type Region, type SubscribeRequest, type SubscribeResponse, type SessionToken, type SubscribeStreamRequest, type SubscribeStreamResponse, type SubscriptionArea } from "@statemesh/contract";
import type { CompiledClientOptions } from "./client-options.ts";
import type { NodePool } from "./node-pool.ts";
import type { OpenedStream, StreamLimits } from "./reopening-stream.ts";
import { ResumingStream } from "./resuming-stream.ts";

/** A ball in the world. */
export interface Ball {
  /** Its middle. */
  readonly center: Position;
  /** Metres. */
  readonly radius: number;
}

/** What to follow. */
export interface SubscriptionTarget extends StreamLimits {
  /** 1..343 regions; or `bounds`, or `area`. */
  readonly regions?: readonly Region[];
  /** A box of at most 343 regions. */
  readonly bounds?: Bounds;
  /** A ball, which `moveTo` moves: the regions that it reaches. */
  readonly area?: Ball;
  /** Entities. All three left out or false: everything. */
  readonly strong?: boolean;
  /** Eventual values. */
  readonly eventual?: boolean;
  /** Causal events. */
  readonly causal?: boolean;
  /** Eventual values come at most once in so many milliseconds, 0..60,000, each key with its latest value. Default: as they change. */
  readonly eventualIntervalMs?: number;
  /** Only entities of these kinds, at most 64. Default: all. */
  readonly entityKinds?: readonly string[];
  /** Only eventual values and causal events of these types, at most 64. Default: all. */
  readonly types?: readonly string[];
  /** Leaves out attributes and states of entities, values, and payloads of events. */
  readonly omitPayloads?: boolean;
  /** What it begins with is not older than what this session has seen; `client.session().subscribe(...)` sets it. */
  readonly session?: SessionToken;
  /** Continue after this token of an earlier subscription. */
  readonly resumeToken?: string;
}

function requestOf(target: SubscriptionTarget, area: SubscriptionArea | undefined, resumeToken: string): SubscribeRequest {
  const { regions = [], bounds, strong = false, eventual = false, causal = false, eventualIntervalMs = 0, entityKinds = [], types = [], omitPayloads = false, session } = target;
  return { regions: [...regions], bounds, area, strong, eventual, causal, eventualIntervalMs, entityKinds: [...entityKinds], types: [...types], omitPayloads, resumeToken, session };
}

/** Where a subscription's area is, and the stream that is to be told. */
class MovingArea {
  area: SubscriptionArea;
  #call: ClientDuplexStream<SubscribeStreamRequest, SubscribeStreamResponse> | undefined;
  #waits = false;

  constructor(area: SubscriptionArea) {
    this.area = area;
  }

  moveTo(area: SubscriptionArea): void {
    this.area = area;
    this.#tell();
  }

  /** A stream that starts where the area is; later moves are told to it. */
  open(call: ClientDuplexStream<SubscribeStreamRequest, SubscribeStreamResponse>, start: SubscribeRequest): OpenedStream<SubscribeResponse> {
    this.#call = call;
    this.#waits = false;
    call.write({ request: { $case: "start", value: start } });
    call.on("drain", () => {
      if (this.#call !== call || !this.#waits) return;
      this.#waits = false;
      this.#tell();
    });
    return {
      cancel: () => {
        if (this.#call === call) this.#call = undefined;
        call.cancel();
      },
      [Symbol.asyncIterator]: () => responsesOf(call),
    };
  }

  /** Of several moves that the connection does not take the last one counts. */
  #tell(): void {
    if (this.#call === undefined) return;
    if (this.#call.writableNeedDrain) this.#waits = true;
    else this.#call.write({ request: { $case: "move", value: this.area } });
  }
}

async function* responsesOf(call: ClientDuplexStream<SubscribeStreamRequest, SubscribeStreamResponse>): AsyncGenerator<SubscribeResponse, void, undefined> {
  for await (const { response } of call as AsyncIterable<SubscribeStreamResponse>) {
    if (response === undefined) throw new MeshError("INTERNAL", "the mesh sent a message without content");
    yield response;
  }
}

/** The events of a subscription, as ResumingStream says; where the place of resumption is too far back a new snapshot comes. */
export class Subscription extends ResumingStream<SubscribeResponse> {
  readonly #moving: MovingArea | undefined;

  constructor(pool: NodePool, options: CompiledClientOptions, target: SubscriptionTarget) {
    const moving = target.area === undefined ? undefined : new MovingArea({ center: target.area.center, radius: target.area.radius });
    super(
      pool,
      options,
      (node, token) => {
        const request = requestOf(target, moving?.area, token);
        return moving === undefined ? node.consistency.subscribe(request, new Metadata(), {}) : moving.open(node.consistency.subscribeStream(new Metadata(), {}), request);
      },
      target.resumeToken ?? "",
      target,
    );
    this.#moving = moving;
  }

  /**
   * Moves the area of a subscription that began with one: `moved` says which regions it enters, with all that is there, and which it
   * leaves. Also while there is no connection: it begins there. A place that is none ends the iteration with INVALID_FIELD.
   *
   * @param radius metres; left out: as before
   */
  moveTo(center: Position, radius?: number): void {
    if (this.#moving === undefined) throw MeshError.field("area", "only a subscription that began with an area moves");
    this.#moving.moveTo({ center, radius: radius ?? this.#moving.area.radius });
  }
}
