/** A consensus node that answers what a test tells it to. */
import { type handleBidiStreamingCall, type handleServerStreamingCall, Server, ServerCredentials, type ServiceError, type ServiceDefinition } from "@grpc/grpc-js";
import {
  AuthorityDirectoryServiceService, ConsistencyServiceService, type Decision, type ExecuteStreamRequest, type ExecuteStreamResponse, MeshError,
  Outcome, RegionStoreServiceService, statusFromMeshError, type SubscribeRequest, type SubscribeResponse, type SubscribeStreamRequest, type SubscribeStreamResponse, ViewServiceService, type WatchRequest, type WatchResponse, type WatchViewRequest,
  type WatchViewResponse, ClusterAdminServiceService, EscrowServiceService, HealingServiceService, type WatchTentativeRequest, type WatchTentativeResponse,
} from "@statemesh/contract";

type Answer = (request: never) => unknown;

/** Unary answers by method name, such as `execute` (undefined: none, ever); and the streams. */
export interface Answers {
  readonly unary?: Readonly<Record<string, Answer>>;
  /** Unary answers that take their time. */
  readonly slow?: Readonly<Record<string, (request: never) => Promise<unknown>>>;
  /** Told of each unary call that its caller gave up, by method name. */
  readonly cancelled?: (method: string) => void;
  readonly executeStream?: handleBidiStreamingCall<ExecuteStreamRequest, ExecuteStreamResponse>;
  readonly watch?: handleServerStreamingCall<WatchRequest, WatchResponse>;
  readonly subscribe?: handleServerStreamingCall<SubscribeRequest, SubscribeResponse>;
  readonly subscribeStream?: handleBidiStreamingCall<SubscribeStreamRequest, SubscribeStreamResponse>;
  readonly watchTentative?: handleServerStreamingCall<WatchTentativeRequest, WatchTentativeResponse>;
  readonly watchView?: handleServerStreamingCall<WatchViewRequest, WatchViewResponse>;
}

/** A MeshError as a server of ours puts it on the wire. */
export function serviceError(error: MeshError): ServiceError {
  const status = statusFromMeshError(error);
  return Object.assign(new Error(status.details), status, { name: "ServiceError" });
}

function implementation(definition: ServiceDefinition, answers: Answers): Record<string, unknown> {
  const methods: Record<string, unknown> = {};
  for (const name of Object.keys(definition)) {
    if (name === "executeStream") methods[name] = answers.executeStream ?? ((call: { end(): void }) => call.end());
    else if (name === "watch") methods[name] = answers.watch ?? ((call: { end(): void }) => call.end());
    else if (name === "subscribe") methods[name] = answers.subscribe ?? ((call: { end(): void }) => call.end());
    else if (name === "subscribeStream") methods[name] = answers.subscribeStream ?? ((call: { end(): void }) => call.end());
    else if (name === "watchTentative") methods[name] = answers.watchTentative ?? ((call: { end(): void }) => call.end());
    else if (name === "watchView") methods[name] = answers.watchView ?? ((call: { end(): void }) => call.end());
    else {
      methods[name] = (call: { request: never; on(event: "cancelled", told: () => void): void }, done: (error: ServiceError | null, response?: unknown) => void) => {
        call.on("cancelled", () => answers.cancelled?.(name));
        const slow = answers.slow?.[name];
        if (slow !== undefined) return void slow(call.request).then((response) => done(null, response));
        const answer = answers.unary?.[name];
        if (answer === undefined) return done(serviceError(new MeshError("INTERNAL", `the test gave no answer for ${name}`)));
        try {
          const response = answer(call.request);
          if (response !== undefined) done(null, response);
        } catch (error) {
          done(serviceError(MeshError.from(error)));
        }
      };
    }
  }
  return methods;
}

export class FakeNode {
  readonly address: string;
  readonly #server: Server;

  private constructor(address: string, server: Server) {
    this.address = address;
    this.#server = server;
  }

  static async start(answers: Answers, port = 0): Promise<FakeNode> {
    const server = new Server();
    for (const definition of [ConsistencyServiceService, AuthorityDirectoryServiceService, ViewServiceService, HealingServiceService, EscrowServiceService, ClusterAdminServiceService, RegionStoreServiceService] as unknown as ServiceDefinition[]) {
      server.addService(definition, implementation(definition, answers) as never);
    }
    const bound = await new Promise<number>((resolve, reject) => {
      server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error, got) => (error === null ? resolve(got) : reject(error)));
    });
    return new FakeNode(`127.0.0.1:${bound}`, server);
  }

  /** Breaks every connection. */
  kill(): void {
    this.#server.forceShutdown();
  }
}

export function accepted(operationId: string): Decision {
  return {
    operationId, outcome: Outcome.ACCEPTED, rule: "uncontested", winnerOperationId: operationId, version: 1,
    position: { groupId: 1, term: 1, index: 1 }, conflict: 0, reason: "", stamp: { physicalMs: 1, logical: 0 }, repeated: false,
  };
}

/** Polls until `condition` holds. */
export async function until(condition: () => boolean, limitMs = 10_000): Promise<void> {
  const end = performance.now() + limitMs;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`not within ${limitMs} ms: ${condition.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
