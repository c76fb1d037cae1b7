/** Calls with bytes of one's own: what no generated client would send. */
import { Client, credentials, Metadata, type ServiceError, type StatusObject } from "@grpc/grpc-js";
import { Code, ERROR_DOMAIN } from "@statemesh/contract";
import { BadRequest, ErrorInfo, Status } from "@statemesh/contract/google-rpc";
import { clientOptions } from "@statemesh/service";

/** A method as a service definition has it. */
export interface RawMethod {
  readonly path: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
}

/** What a call came to. */
export interface RawAnswer {
  readonly code: number;
  /** Of the ErrorInfo in the details; empty where the answer carries none. */
  readonly reason: string;
  readonly domain: string;
  readonly metadata: ReadonlyMap<string, string>;
  /** Of the BadRequest in the details. */
  readonly field: string;
  readonly message: string;
  readonly responses: readonly Buffer[];
}

export interface RawSettings {
  /** Milliseconds until the call is given up. Default 20,000. */
  readonly timeoutMs?: number;
  /** Cancelled right after it was sent. */
  readonly cancel?: boolean;
  /** Of a stream of responses: how long nothing may come before it counts as silent and is ended. Default 10,000 ms. */
  readonly quietMs?: number;
}

const asIs = (bytes: Buffer): Buffer => bytes;

/** Sends raw messages to one server. */
export class RawCaller {
  readonly #client: Client;

  constructor(address: string) {
    this.#client = new Client(address, credentials.createInsecure(), {
      ...clientOptions({ ownConnection: true, reconnectMaxMs: 200 }),
      "grpc.max_send_message_length": -1,
      "grpc.max_receive_message_length": -1,
    });
  }

  close(): void {
    this.#client.close();
  }

  async call(method: RawMethod, requests: readonly Buffer[], settings: RawSettings = {}): Promise<RawAnswer> {
    const { timeoutMs = 20_000, cancel = false, quietMs = 10_000 } = settings;
    const options = { deadline: Date.now() + timeoutMs };
    const metadata = new Metadata();
    const [request = Buffer.alloc(0)] = requests;
    return await new Promise((done) => {
      const responses: Buffer[] = [];
      const ended = (error: ServiceError | null): void => done(error === null ? answered(responses) : failed(error, responses));
      const unaryEnd = (error: ServiceError | null, response?: Buffer): void => {
        if (response !== undefined) responses.push(response);
        ended(error);
      };
      if (!method.responseStream) {
        if (!method.requestStream) {
          const call = this.#client.makeUnaryRequest(method.path, asIs, asIs, request, metadata, options, unaryEnd);
          if (cancel) call.cancel();
          return;
        }
        const call = this.#client.makeClientStreamRequest(method.path, asIs, asIs, metadata, options, unaryEnd);
        call.on("error", ignore);
        for (const each of requests) call.write(each);
        if (cancel) call.cancel();
        else call.end();
        return;
      }
      const both = method.requestStream ? this.#client.makeBidiStreamRequest(method.path, asIs, asIs, metadata, options) : undefined;
      const call = both ?? this.#client.makeServerStreamRequest(method.path, asIs, asIs, request, metadata, options);
      // A stream of requests ends with them.
      let quiet = setTimeout(silent, method.requestStream ? Math.max(quietMs, 10_000) : quietMs);
      function silent(): void {
        done(answered(responses));
        call.cancel();
      }
      call.on("data", (response: Buffer) => {
        responses.push(response);
        clearTimeout(quiet);
        quiet = setTimeout(silent, quietMs);
      });
      call.on("status", ({ code }: StatusObject) => {
        clearTimeout(quiet);
        if (code === Code.OK) ended(null);
      });
      call.on("error", (error: ServiceError) => {
        clearTimeout(quiet);
        ended(error);
      });
      if (both !== undefined) {
        for (const each of requests) both.write(each);
        if (!cancel) both.end();
      }
      if (cancel) call.cancel();
    });
  }
}

/** The callback has it too. */
function ignore(): void {
  return;
}

function answered(responses: readonly Buffer[]): RawAnswer {
  return { code: 0, reason: "", domain: "", metadata: new Map(), field: "", message: "", responses };
}

function failed(error: ServiceError, responses: readonly Buffer[]): RawAnswer {
  const trailer = error.metadata.get("grpc-status-details-bin")[0];
  const details = trailer instanceof Buffer ? Status.decode(trailer).details : [];
  const find = (name: string) => details.find((detail) => detail.typeUrl === `type.googleapis.com/google.rpc.${name}`)?.value;
  const infoBytes = find("ErrorInfo");
  const info = infoBytes === undefined ? undefined : ErrorInfo.decode(infoBytes);
  const badBytes = find("BadRequest");
  const field = badBytes === undefined ? "" : (BadRequest.decode(badBytes).fieldViolations[0]?.field ?? "");
  return { code: error.code, reason: info?.reason ?? "", domain: info?.domain ?? "", metadata: info?.metadata ?? new Map(), field, message: error.details, responses };
}

/** Whether an error says what every error of StateMesh says. */
export function isDocumented(answer: RawAnswer): boolean {
  return answer.reason !== "" && answer.domain === ERROR_DOMAIN;
}

/** A varint field, of any size. */
export function varintField(field: number, value: bigint): Buffer {
  return Buffer.concat([varint(BigInt(field) << 3n), varint(BigInt.asUintN(64, value))]);
}

/** A field of bytes, text or a message. */
export function bytesField(field: number, value: Uint8Array | string): Buffer {
  const bytes = Buffer.from(value as Uint8Array);
  return Buffer.concat([varint((BigInt(field) << 3n) | 2n), varint(BigInt(bytes.length)), bytes]);
}

export function doubleField(field: number, value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleLE(value);
  return Buffer.concat([varint((BigInt(field) << 3n) | 1n), bytes]);
}

export function fixed32Field(field: number, value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0);
  return Buffer.concat([varint((BigInt(field) << 3n) | 5n), bytes]);
}

function varint(value: bigint): Buffer {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 0x7fn) {
    bytes.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return Buffer.from(bytes);
}
