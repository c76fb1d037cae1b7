/** What grpc-js says when a call fails on the way, as an error that says what happened to the call and what to look at. */
import { type ServiceError, status } from "@grpc/grpc-js";
import { type FailedCall, MeshError, meshErrorFromServiceError } from "@statemesh/contract";

/** Only calls that were never handed to a connection end with these words of grpc-js. */
const NOT_SENT = /^No connection established|^Name resolution failed|(?:Waiting for LB pick|waiting for name resolution|waiting for metadata filters)$/;
const NOT_ENCODED = "Request message serialization failure: ";
const TOO_LARGE_TO_SEND = "Attempted to send message with a size larger than";
const TOO_LARGE_TO_TAKE = "Received message larger than max";

/** Whether the call was certainly not sent: nothing of it happened, though it writes. */
function isNotSent({ details }: ServiceError): boolean {
  return NOT_SENT.test(details);
}

/** What a failed connection points at. */
function hintOf(details: string): string {
  if (details.includes("ECONNREFUSED")) return "nothing listens there: is the mesh running, and is this the client port of one of its nodes?";
  if (details.startsWith("Name resolution failed")) return "the host name is not known here";
  if (details.includes("Waiting for LB pick")) return "no answer: is the host up and the port open to this machine, and does gRPC without TLS listen there?";
  return "what listens there does not speak gRPC without TLS: is it the client port of a node, or one with TLS or of another program?";
}

/**
 * The error of a call that failed. Of a call that writes and was never sent it is UNREACHABLE, not OUTCOME_UNKNOWN: nothing happened. What cannot
 * be encoded is INVALID_FIELD, what is larger than the client takes MESSAGE_TOO_LARGE; the mesh's own answers are as they are.
 *
 * @param address the node that was asked
 */
export function transportError(error: ServiceError, call: FailedCall, address: string): MeshError {
  const { details } = error;
  if (isNotSent(error)) {
    const why = /Last error: (?:Error: )?(.*?)(?: \(\d{4}-[^)]*\))?\. Resolution note/.exec(details)?.[1];
    return new MeshError("UNREACHABLE", `${address} cannot be reached${why === undefined ? "" : ` (${why})`}, nothing was sent: ${hintOf(details)}`, { cause: error });
  }
  if (details.startsWith(NOT_ENCODED)) return new MeshError("INVALID_FIELD", `the request cannot be encoded, a field has a wrong type: ${details.slice(NOT_ENCODED.length)}`, { cause: error });
  if (details.startsWith(TOO_LARGE_TO_SEND)) return new MeshError("MESSAGE_TOO_LARGE", `${details}: send less at a time`, { cause: error });
  if (details.startsWith(TOO_LARGE_TO_TAKE) && !call.writes) return new MeshError("MESSAGE_TOO_LARGE", `${details}: ask for less at a time, or raise messageBytesMax`, { cause: error });
  const known = meshErrorFromServiceError(error, call);
  const isAnswered = (error.metadata?.get("grpc-status-details-bin").length ?? 0) > 0;
  if (!isAnswered && known.reason === "OUTCOME_UNKNOWN") {
    const how = error.code === status.DEADLINE_EXCEEDED ? "did not answer in time" : error.code === status.CANCELLED ? "was asked, and its answer was not waited for" : "was asked, and the connection broke";
    return new MeshError("OUTCOME_UNKNOWN", `${address} ${how} (${known.message}): it may have been done, the same id asks again`, { cause: error });
  }
  // With details of the mesh's own it is an answer to keep as it is.
  if (known.reason !== "PEER_REFUSED" || error.code !== status.UNIMPLEMENTED) return known;
  return new MeshError("PEER_REFUSED", `${address} does not serve this call (${known.message}): is it the client port of a consensus node, of the version that this SDK is for?`, { cause: error });
}
