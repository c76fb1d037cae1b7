import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { loadFileDescriptorSetFromBuffer } from "@grpc/proto-loader";
import { ReflectionService } from "@grpc/reflection";
import type { Server } from "./grpc.ts";

/**
 * The descriptor set that buf built. Not what proto-loader makes of .proto files: its descriptors lose the
 * `map_entry` option, and then grpcurl cannot show a message with a map (grpcurl issue 519).
 */
export function readContractImage(path: string = contractImagePath()): Buffer {
  return readFileSync(path);
}

/** Beside a bundle, or in the workspace. */
function contractImagePath(): string {
  return process.env["STATEMESH_CONTRACT_IMAGE"] ?? fileURLToPath(import.meta.resolve("@statemesh/contract/image.binpb"));
}

/** Serves reflection v1 and v1alpha. Lists `services` only: what this server really answers. */
export function addReflection(server: Server, services: readonly string[], image: Buffer): void {
  new ReflectionService(loadFileDescriptorSetFromBuffer(image), { services: [...services] }).addToServer(server);
}
