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
/**
 * Trailers are HTTP/2 headers, and some clients take no more than 8 KiB of them. The message travels three times,
 * once percent-encoded, and the details as base64: within these limits, in bytes of UTF-8, it comes to less than 7 KiB.
 */
const MESSAGE_BYTES_MAX = 512;
const FIELD_BYTES_MAX = 256;
const METADATA_BYTES_MAX = 2048;
const METADATA_VALUE_BYTES_MAX = 256;

/** What grpc-js sends for an error. */
export interface GrpcStatus {
  readonly code: Code;
  readonly details: string;
  readonly metadata: Metadata;
}

/** The status of an error with its details trailer. Texts are cut to their limits; `cause` stays here. */
export function statusFromMeshError(error: MeshError): GrpcStatus {
  const message = cut(error.message, MESSAGE_BYTES_MAX);
  const details: Any[] = [
    any("ErrorInfo", ErrorInfo.encode({ reason: error.reason, domain: ERROR_DOMAIN, metadata: cutMetadata(error.metadata) }).finish()),
  ];
  if (error.retryDelayMs !== undefined) {
    const ms = Math.max(0, Math.ceil(error.retryDelayMs));
    const retryDelay = { seconds: Math.floor(ms / 1000), nanos: (ms % 1000) * 1_000_000 };
    details.push(any("RetryInfo", RetryInfo.encode({ retryDelay }).finish()));
  }
  if (error.field !== undefined) {
    const violation = { field: cut(error.field, FIELD_BYTES_MAX), description: message };
    details.push(any("BadRequest", BadRequest.encode({ fieldViolations: [violation] }).finish()));
  }
  const metadata = new Metadata();
  metadata.set(DETAILS_TRAILER, Buffer.from(Status.encode({ code: error.code, message, details }).finish()));
  return { code: error.code, details: message, metadata };
}

function any(name: string, value: Uint8Array): Any {
  return { typeUrl: TYPE_PREFIX + name, value: Buffer.from(value) };
}

/** At most `bytes` of UTF-8. Well-formed too: grpc-js percent-encodes messages, and that throws on a lone surrogate. */
function cut(text: string, bytes: number): string {
  if (text.length * 3 <= bytes) return text.isWellFormed() ? text : text.toWellFormed();
  const encoded = Buffer.from(text);
  if (encoded.length <= bytes) return encoded.toString();
  let end = bytes - 3;
  // Not in the middle of a character: continuation bytes begin with 10.
  while (end > 0 && ((encoded[end] ?? 0) & 0xc0) === 0x80) end--;
  return `${encoded.toString("utf8", 0, end)}...`;
}

/** The first entries that fit. */
function cutMetadata(metadata: Readonly<Record<string, string>>): Map<string, string> {
  const kept = new Map<string, string>();
  let left = METADATA_BYTES_MAX;
  for (const [key, value] of Object.entries(metadata)) {
    const name = cut(key, METADATA_VALUE_BYTES_MAX);
    const text = cut(value, METADATA_VALUE_BYTES_MAX);
    left -= Buffer.byteLength(name) + Buffer.byteLength(text) + 8;
    if (left < 0) break;
    kept.set(name, text);
  }
  return kept;
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
