// Server reflection of gRPC: the current version, and the one that older clients still ask for. Both have the same messages.
export {
  ServerReflectionClient,
  type ServerReflectionRequest,
  type ServerReflectionResponse,
  ServerReflectionService,
} from "./generated/grpc/reflection/v1/reflection.ts";
export { ServerReflectionService as ServerReflectionV1AlphaService } from "./generated/grpc/reflection/v1alpha/reflection.ts";
