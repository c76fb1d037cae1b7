import { Code, MeshError, statusFromMeshError } from "@statemesh/contract";
import { CallContext } from "./call-context.ts";
import type { MethodMetrics } from "./call-metrics.ts";
import type { ServerDuplexStream, ServerReadableStream, ServerSurfaceCall, ServerUnaryCall, ServerWritableStream, sendUnaryData } from "./grpc.ts";
import { Undecodable } from "./message-codec.ts";
import { RequestStream } from "./request-stream.ts";
import { callerGone, codeOf, deadlinePassed, ResponseStream } from "./response-stream.ts";
import type { ServerState } from "./server-state.ts";

/** Answers a unary call, once: with a response, or with an error. Later calls do nothing. */
export interface Respond<Response> {
  (response: Response): void;
  readonly fail: (error: unknown) => void;
}

type UnaryRun<Request, Response> = (request: Request, context: CallContext, respond: Respond<Response>) => void;

/** One request, one response. */
export interface UnaryMethod<Request, Response> {
  readonly kind: "unary";
  readonly run: UnaryRun<Request, Response>;
}

/** One request, a stream of responses. */
export interface ServerStreamMethod<Request, Response> {
  readonly kind: "serverStream";
  readonly run: (request: Request, responses: ResponseStream<Response>, context: CallContext) => Promise<void> | void;
}

/** A stream of requests, one response. */
export interface ClientStreamMethod<Request, Response> {
  readonly kind: "clientStream";
  readonly run: (requests: RequestStream<Request>, context: CallContext) => Promise<Response>;
}

/** Streams both ways. */
export interface BidiStreamMethod<Request, Response> {
  readonly kind: "bidiStream";
  readonly run: (requests: RequestStream<Request>, responses: ResponseStream<Response>, context: CallContext) => Promise<void> | void;
}

/** A unary method that returns its response or a promise of it. Throw MeshError to refuse. */
export function unary<Request, Response>(handler: (request: Request, context: CallContext) => Promise<Response> | Response): UnaryMethod<Request, Response> {
  return {
    kind: "unary",
    run: (request, context, respond) => {
      const answer = handler(request, context);
      if (answer instanceof Promise) answer.then(respond, respond.fail);
      else respond(answer);
    },
  };
}

/** A unary method without promises, for hot paths: calls `respond(response)` or `respond.fail(error)` when it is ready. */
export function unaryCallback<Request, Response>(handler: UnaryRun<Request, Response>): UnaryMethod<Request, Response> {
  return { kind: "unary", run: handler };
}

/**
 * A method that streams responses. One that returns a promise is ended when that settles; one that returns
 * nothing ends the stream itself. A stream that may run for long listens to `context.onShutdown`.
 */
export function serverStream<Request, Response>(handler: ServerStreamMethod<Request, Response>["run"]): ServerStreamMethod<Request, Response> {
  return { kind: "serverStream", run: handler };
}

/** A method that takes a stream of requests and returns one response. */
export function clientStream<Request, Response>(handler: ClientStreamMethod<Request, Response>["run"]): ClientStreamMethod<Request, Response> {
  return { kind: "clientStream", run: handler };
}

/** A method with streams both ways; ends as `serverStream` does. */
export function bidiStream<Request, Response>(handler: BidiStreamMethod<Request, Response>["run"]): BidiStreamMethod<Request, Response> {
  return { kind: "bidiStream", run: handler };
}

/** What a method needs from its server. */
interface Frame {
  readonly state: ServerState;
  readonly metrics: MethodMetrics;
  readonly method: string;
  /** Of the last unary answer, encoded. */
  answerBytes: number;
}

/** Why the call must not begin: the caller has gone, or the server goes. */
function refusal(call: ServerSurfaceCall): MeshError | undefined {
  if (call.cancelled) return callerGone(call);
  if (deadlinePassed(call)) return new MeshError("DEADLINE_EXCEEDED", "the deadline passed before the call began");
  return undefined;
}

/** Logs what is a defect of ours, once; refusals are the caller's business. */
function logDefect(frame: Frame, error: MeshError): void {
  if (error.code === Code.INTERNAL) frame.state.log.error({ method: frame.method, err: error.cause ?? error }, "call failed");
}

export function serveUnary<Request, Response>(method: UnaryMethod<Request, Response>, frame: Frame) {
  return (call: ServerUnaryCall<Request | Undecodable, Response>, callback: sendUnaryData<Response>): void => {
    const context = new CallContext(call, frame.state, frame.method);
    const { metrics } = frame;
    let answered = false;
    const end = (code: Code): boolean => {
      if (answered) return false;
      answered = true;
      frame.state.activeCalls.delete(respond.fail);
      metrics.ended(call.cancelled ? (deadlinePassed(call) ? Code.DEADLINE_EXCEEDED : Code.CANCELLED) : code, performance.now() - context.startedMs);
      return true;
    };
    const respond = ((response: Response) => {
      if (!end(Code.OK)) return;
      frame.answerBytes = 0;
      callback(null, response);
      const read = frame.state.unread.answered(() => call.getPeer(), frame.answerBytes);
      if (read !== undefined) context.onEnd(read);
    }) as Respond<Response> & { fail: (error: unknown) => void };
    respond.fail = (thrown) => {
      const error = MeshError.from(thrown);
      if (!end(error.code)) return;
      logDefect(frame, error);
      callback(statusFromMeshError(error));
    };
    frame.state.activeCalls.add(respond.fail);
    const { request } = call;
    if (request instanceof Undecodable) {
      respond.fail(request.error);
      return;
    }
    const refused = refusal(call) ?? frame.state.unread.refusal(() => call.getPeer());
    if (refused !== undefined) {
      respond.fail(refused);
      return;
    }
    try {
      method.run(request, context, respond);
    } catch (error) {
      respond.fail(error);
    }
  };
}

function responsesOf<Response>(call: ServerWritableStream<unknown, Response> | ServerDuplexStream<unknown, Response>, frame: Frame, context: CallContext): ResponseStream<Response> {
  const responses = new ResponseStream<Response>(call, (error) => {
    frame.state.activeCalls.delete(fail);
    frame.metrics.ended(codeOf(error), performance.now() - context.startedMs);
    if (error !== undefined) logDefect(frame, error);
  });
  const fail = (error: MeshError): void => responses.fail(error);
  frame.state.activeCalls.add(fail);
  return responses;
}

/** Runs a streaming handler; a promise ends the stream when it settles. */
function drive<Response>(responses: ResponseStream<Response>, run: () => Promise<void> | void): void {
  try {
    const done = run();
    if (done !== undefined) {
      done.then(
        () => responses.end(),
        (error: unknown) => responses.fail(error),
      );
    }
  } catch (error) {
    responses.fail(error);
  }
}

export function serveServerStream<Request, Response>(method: ServerStreamMethod<Request, Response>, frame: Frame) {
  return (call: ServerWritableStream<Request | Undecodable, Response>): void => {
    const context = new CallContext(call, frame.state, frame.method);
    const responses = responsesOf(call, frame, context);
    const { request } = call;
    const refused = request instanceof Undecodable ? request.error : refusal(call);
    if (refused !== undefined || request instanceof Undecodable) responses.fail(refused);
    else drive(responses, () => method.run(request, responses, context));
  };
}

export function serveBidiStream<Request, Response>(method: BidiStreamMethod<Request, Response>, frame: Frame) {
  return (call: ServerDuplexStream<Request | Undecodable, Response>): void => {
    const context = new CallContext(call, frame.state, frame.method);
    const responses = responsesOf(call, frame, context);
    const requests = new RequestStream<Request>(call, (error) => responses.fail(error));
    const refused = refusal(call);
    if (refused !== undefined) responses.fail(refused);
    else drive(responses, () => method.run(requests, responses, context));
  };
}

export function serveClientStream<Request, Response>(method: ClientStreamMethod<Request, Response>, frame: Frame) {
  return (call: ServerReadableStream<Request | Undecodable, Response>, callback: sendUnaryData<Response>): void => {
    const context = new CallContext(call, frame.state, frame.method);
    let answered = false;
    const end = (error: MeshError | undefined): boolean => {
      if (answered) return false;
      answered = true;
      frame.state.activeCalls.delete(fail);
      frame.metrics.ended(codeOf(error), performance.now() - context.startedMs);
      if (error !== undefined) logDefect(frame, error);
      return true;
    };
    const fail = (thrown: unknown): void => {
      const error = MeshError.from(thrown);
      if (end(error)) callback(statusFromMeshError(error));
    };
    frame.state.activeCalls.add(fail);
    call.once("cancelled", () => end(callerGone(call)));
    const refused = refusal(call);
    if (refused !== undefined) {
      fail(refused);
      return;
    }
    method.run(new RequestStream<Request>(call, fail), context).then((response) => {
      if (end(undefined)) callback(null, response);
    }, fail);
  };
}
