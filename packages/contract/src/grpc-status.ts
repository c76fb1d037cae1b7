// The border between MeshError and gRPC's wire: status, message and the `grpc-status-details-bin` trailer.
import { Metadata, type ServiceError } from "@grpc/grpc-js";
import type { Any } from "./generated/google/protobuf/any.ts";
import { BadRequest, ErrorInfo, RetryInfo } from "./generated/google/rpc/error_details.ts";
import { Status } from "./generated/google/rpc/status.ts";
import { MeshError, type MeshErrorDetails } from "./mesh-error.ts";
import { Code, type Reason, Reasons } from "./reasons.ts";

/** `google.rpc.ErrorInfo.domain` of every error of StateMesh. */
export const ERROR_DOMAIN = "statemesh";

const DETAILS_TRAILER = "grpc-status-details-bin";
const TYPE_PREFIX = "type.googleapis.com/google.rpc.";
/** Trailers are HTTP/2 headers: everything in them stays well below the 16 KiB that some proxies allow. */
const MESSAGE_LENGTH_MAX = 1024;
const METADATA_ENTRIES_MAX = 16;
const METADATA_VALUE_LENGTH_MAX = 256;

/** What grpc-js sends for an error. */
export interface GrpcStatus {
  readonly code: Code;
  readonly details: string;
  readonly metadata: Metadata;
}

/** The status of an error with its details trailer. Texts are cut to their limits; `cause` stays here. */
export function statusFromMeshError(error: MeshError): GrpcStatus {
  const message = cut(error.message, MESSAGE_LENGTH_MAX);
  const details: Any[] = [
    any("ErrorInfo", ErrorInfo.encode({ reason: error.reason, domain: ERROR_DOMAIN, metadata: cutMetadata(error.metadata) }).finish()),
  ];
  if (error.retryDelayMs !== undefined) {
    const ms = Math.max(0, Math.ceil(error.retryDelayMs));
    const retryDelay = { seconds: Math.floor(ms / 1000), nanos: (ms % 1000) * 1_000_000 };
    details.push(any("RetryInfo", RetryInfo.encode({ retryDelay }).finish()));
  }
  if (error.field !== undefined) {
    const violation = { field: cut(error.field, METADATA_VALUE_LENGTH_MAX), description: message };
    details.push(any("BadRequest", BadRequest.encode({ fieldViolations: [violation] }).finish()));
  }
  const metadata = new Metadata();
  metadata.set(DETAILS_TRAILER, Buffer.from(Status.encode({ code: error.code, message, details }).finish()));
  return { code: error.code, details: message, metadata };
}

function any(name: string, value: Uint8Array): Any {
  return { typeUrl: TYPE_PREFIX + name, value: Buffer.from(value) };
}

/** grpc-js percent-encodes messages with `encodeURI`, which throws on a lone surrogate. */
function cut(text: string, length: number): string {
  const whole = text.length > length ? `${text.slice(0, length - 3)}...` : text;
  return whole.isWellFormed() ? whole : whole.toWellFormed();
}

function cutMetadata(metadata: Readonly<Record<string, string>>): Map<string, string> {
  const entries = Object.entries(metadata).slice(0, METADATA_ENTRIES_MAX);
  return new Map(entries.map(([key, value]) => [cut(key, 64), cut(value, METADATA_VALUE_LENGTH_MAX)]));
}

/** What the caller knows about the call that failed. */
export interface FailedCall {
  /** The call may have changed something, so a broken transport leaves its outcome open. */
  readonly writes: boolean;
}

/**
 * The way back, for clients. An error that StateMesh answered keeps its reason, metadata, field and retry delay.
 * Everything else comes from the transport: of a call that writes nobody knows whether it was done, so it is
 * OUTCOME_UNKNOWN; of a call that only reads it is UNREACHABLE, DEADLINE_EXCEEDED, CANCELLED, OVERLOADED,
 * PEER_REFUSED (the method is not there) or INTERNAL. `cause` is the error of grpc-js.
 */
export function meshErrorFromServiceError(error: ServiceError, call: FailedCall): MeshError {
  const trailer = error.metadata?.get(DETAILS_TRAILER)[0];
  const answered = trailer instanceof Buffer ? fromDetails(error, trailer) : undefined;
  if (answered !== undefined) return answered;
  const message = error.details === "" ? error.message : error.details;
  if (error.code === Code.UNIMPLEMENTED) return new MeshError("PEER_REFUSED", message, { cause: error });
  return new MeshError(call.writes ? "OUTCOME_UNKNOWN" : transportReason(error.code), message, { cause: error });
}

function transportReason(code: Code): Reason {
  switch (code) {
    case Code.UNAVAILABLE:
      return "UNREACHABLE";
    case Code.DEADLINE_EXCEEDED:
      return "DEADLINE_EXCEEDED";
    case Code.CANCELLED:
      return "CANCELLED";
    case Code.RESOURCE_EXHAUSTED:
      return "OVERLOADED";
    default:
      return "INTERNAL";
  }
}

function fromDetails(error: ServiceError, trailer: Buffer): MeshError | undefined {
  let status: Status;
  try {
    status = Status.decode(trailer);
    const info = decodeDetail(status, "ErrorInfo", ErrorInfo);
    if (info?.domain !== ERROR_DOMAIN || !isReason(info.reason)) return undefined;
    const details: { -readonly [K in keyof MeshErrorDetails]: MeshErrorDetails[K] } = {
      metadata: Object.fromEntries(info.metadata),
      cause: error,
    };
    const field = decodeDetail(status, "BadRequest", BadRequest)?.fieldViolations[0]?.field;
    if (field !== undefined) details.field = field;
    const delay = decodeDetail(status, "RetryInfo", RetryInfo)?.retryDelay;
    if (delay !== undefined) details.retryDelayMs = delay.seconds * 1000 + delay.nanos / 1_000_000;
    return new MeshError(info.reason, status.message, details);
  } catch (damage) {
    // A trailer that cannot be read is no answer of ours: the plain status is judged instead.
    if (damage instanceof Error) return undefined;
    throw damage;
  }
}

function decodeDetail<T>(status: Status, name: string, type: { decode(input: Uint8Array): T }): T | undefined {
  const found = status.details.find((detail) => detail.typeUrl === TYPE_PREFIX + name);
  return found === undefined ? undefined : type.decode(found.value);
}

function isReason(text: string): text is Reason {
  return Object.hasOwn(Reasons, text);
}
