import type { MethodDefinition, ServiceDefinition, UntypedServiceImplementation } from "./grpc.ts";
import { guardedDecoder } from "./message-codec.ts";
import {
  type BidiStreamMethod,
  type ClientStreamMethod,
  type ServerStreamMethod,
  serveBidiStream,
  serveClientStream,
  serveServerStream,
  serveUnary,
  type UnaryMethod,
} from "./methods.ts";
import type { ServerState } from "./server-state.ts";

/** A method as ts-proto generates it. */
interface GeneratedMethod<Request, Response> {
  readonly path: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
  readonly requestSerialize: (value: Request) => Buffer;
  readonly requestDeserialize: (bytes: Buffer) => Request;
  readonly responseSerialize: (value: Response) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => Response;
}

type GeneratedService = Readonly<Record<string, GeneratedMethod<unknown, unknown>>>;

type MethodOf<D> = D extends {
  readonly requestStream: infer In;
  readonly responseStream: infer Out;
  readonly requestDeserialize: (bytes: Buffer) => infer Request;
  readonly responseDeserialize: (bytes: Buffer) => infer Response;
}
  ? In extends true
    ? Out extends true
      ? BidiStreamMethod<Request, Response>
      : ClientStreamMethod<Request, Response>
    : Out extends true
      ? ServerStreamMethod<Request, Response>
      : UnaryMethod<Request, Response>
  : never;

/** Every method of a service, made by `unary`, `serverStream`, `clientStream` or `bidiStream`. */
export type MethodsOf<S> = { readonly [K in keyof S]: MethodOf<S[K]> };

/** A service and what answers it, ready for `startServer`. */
export interface ServiceBinding {
  /** `package.Service`. */
  readonly name: string;
  /** What grpc-js registers, for one server. */
  readonly bind: (state: ServerState) => { definition: ServiceDefinition; implementation: UntypedServiceImplementation };
}

type AnyMethod = UnaryMethod<unknown, unknown> | ServerStreamMethod<unknown, unknown> | ClientStreamMethod<unknown, unknown> | BidiStreamMethod<unknown, unknown>;

/** Binds a generated service definition (`ConsistencyServiceService`) to its methods. The compiler asks for all of them. */
export function bindService<S extends { readonly [K in keyof S]: { readonly path: string } }>(service: S, methods: MethodsOf<S>): ServiceBinding {
  const definitions = service as unknown as GeneratedService;
  const first = Object.values(definitions)[0];
  if (first === undefined) throw new TypeError("a service has at least one method");
  return {
    name: first.path.slice(1, first.path.lastIndexOf("/")),
    bind: (state) => {
      const definition: Record<string, MethodDefinition<unknown, unknown>> = {};
      const implementation: UntypedServiceImplementation = {};
      for (const [key, generated] of Object.entries(definitions)) {
        const method = (methods as unknown as Readonly<Record<string, AnyMethod>>)[key];
        if (method === undefined) throw new TypeError(`${generated.path} has no method`);
        const name = generated.path.slice(1);
        const frame = { state, metrics: state.metrics.forMethod(name), method: name, answerBytes: 0 };
        definition[key] = guarded(generated, state.maxMessageBytes, (bytes) => (frame.answerBytes = bytes));
        implementation[key] = serve(method, frame);
      }
      return { definition, implementation };
    },
  };
}

/** `encoded`: told how large each answer is. */
function guarded(generated: GeneratedMethod<unknown, unknown>, maxBytes: number, encoded: (bytes: number) => void): MethodDefinition<unknown, unknown> {
  const requestDeserialize = guardedDecoder(generated.requestDeserialize, maxBytes);
  if (generated.responseStream) return { ...generated, requestDeserialize };
  const responseSerialize = (value: unknown): Buffer => {
    const bytes = generated.responseSerialize(value);
    encoded(bytes.length);
    return bytes;
  };
  return { ...generated, requestDeserialize, responseSerialize };
}

function serve(method: AnyMethod, frame: Parameters<typeof serveUnary>[1]): UntypedServiceImplementation[string] {
  switch (method.kind) {
    case "unary":
      return serveUnary(method, frame);
    case "serverStream":
      return serveServerStream(method, frame);
    case "clientStream":
      return serveClientStream(method, frame);
    case "bidiStream":
      return serveBidiStream(method, frame);
  }
}
