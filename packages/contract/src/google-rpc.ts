// The standard error model of gRPC.
export { Any } from "./generated/google/protobuf/any.ts";
export { Status } from "./generated/google/rpc/status.ts";
export { BadRequest, ErrorInfo, RetryInfo } from "./generated/google/rpc/error_details.ts";
