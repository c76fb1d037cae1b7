// The names of grpc-js that this package uses, in one place.
export type {
  ChannelOptions,
  Client,
  ClientOptions,
  Metadata,
  MethodDefinition,
  ServerDuplexStream,
  ServerReadableStream,
  ServerUnaryCall,
  ServerWritableStream,
  sendUnaryData,
  ServiceDefinition,
  UntypedServiceImplementation,
} from "@grpc/grpc-js";
export { credentials, Server, ServerCredentials, setLogger } from "@grpc/grpc-js";

import type { Metadata } from "@grpc/grpc-js";

/** What calls of all four kinds have. */
export interface ServerSurfaceCall {
  readonly cancelled: boolean;
  readonly metadata: Metadata;
  getPeer(): string;
  getDeadline(): Date | number;
  once(event: "cancelled", listener: () => void): unknown;
}
