import { type FailedCall, MeshError, meshErrorFromServiceError } from "@statemesh/contract";
import { Metadata } from "@grpc/grpc-js";
import { type Client, type ClientOptions, credentials } from "./grpc.ts";

/** What a service that calls services may set. */
export interface ChannelSettings {
  /** How often an idle or busy connection is pinged, milliseconds; default 10,000. */
  readonly keepaliveMs?: number;
  /** Longest wait between two attempts to connect, milliseconds; default 2,000. */
  readonly reconnectMaxMs?: number;
  /** A connection of its own instead of the process's shared one to that address. */
  readonly ownConnection?: boolean;
}

/** grpc-js options for calls between services: a dead peer is noticed, no hidden retries, stated sizes. */
export function clientOptions(settings: ChannelSettings = {}): ClientOptions {
  const keepaliveMs = settings.keepaliveMs ?? 10_000;
  return {
    "grpc.keepalive_time_ms": keepaliveMs,
    "grpc.keepalive_timeout_ms": Math.ceil(keepaliveMs / 2),
    "grpc.keepalive_permit_without_calls": 1,
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.min_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": settings.reconnectMaxMs ?? 2_000,
    "grpc.max_receive_message_length": 16 * 1024 * 1024,
    "grpc.max_send_message_length": 16 * 1024 * 1024,
    "grpc.enable_retries": 0,
    "grpc.enable_http_proxy": 0,
    "grpc.service_config_disable_resolution": 1,
    "grpc.use_local_subchannel_pool": settings.ownConnection === true ? 1 : 0,
  };
}

/** A generated client (`ArbiterServiceClient`) for an address. Connects on the first call. */
export function connect<C extends Client>(
  type: new (address: string, channelCredentials: ReturnType<typeof credentials.createInsecure>, options?: Partial<ClientOptions>) => C,
  address: string,
  settings: ChannelSettings = {},
): C {
  return new type(address, credentials.createInsecure(), clientOptions(settings));
}

/** A unary method of a generated service definition. */
export interface UnaryCallDefinition<Request, Response> {
  readonly path: string;
  readonly requestSerialize: (value: Request) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => Response;
}

/** Of one call. */
export interface CallSettings extends FailedCall {
  /** Milliseconds until the call is given up; always set one. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  readonly metadata?: Metadata;
}

/** A unary call as a promise. Rejects with MeshError only. */
export async function call<Request, Response>(
  client: Client,
  method: UnaryCallDefinition<Request, Response>,
  request: Request,
  settings: CallSettings,
): Promise<Response> {
  if (settings.signal?.aborted === true) throw new MeshError("CANCELLED", "cancelled before the call began");
  return new Promise((resolve, reject) => {
    const { signal } = settings;
    const abort = (): void => running.cancel();
    const running = client.makeUnaryRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      request,
      settings.metadata ?? new Metadata(),
      { deadline: Date.now() + settings.timeoutMs },
      (error, response) => {
        signal?.removeEventListener("abort", abort);
        if (error !== null) reject(meshErrorFromServiceError(error, settings));
        else if (response === undefined) reject(new MeshError("INTERNAL", "neither an error nor a response"));
        else resolve(response);
      },
    );
    signal?.addEventListener("abort", abort, { once: true });
  });
}
