import { readFileSync } from "node:fs";
import { Code } from "@statemesh/contract";
import { type ServerReflectionRequest, type ServerReflectionResponse, ServerReflectionService, ServerReflectionV1AlphaService } from "@statemesh/contract/reflection";
import { bindService, type ServiceBinding } from "./binding.ts";
import { DescriptorIndex } from "./descriptor-index.ts";
import { bidiStream } from "./methods.ts";

/** The descriptor set of the contract. `tools/bundles.ts` knows this expression. */
export function readContractImage(): Uint8Array {
  return readFileSync(new URL(import.meta.resolve("@statemesh/contract/image.binpb")));
}

/** Reflection v1 and v1alpha. Lists `services` only: what this server really answers. */
export function reflectionBindings(services: readonly string[], image: Uint8Array): ServiceBinding[] {
  const index = new DescriptorIndex(image);
  const method = bidiStream<ServerReflectionRequest, ServerReflectionResponse>((requests, responses, context) => {
    requests.onMessage(
      (request) => {
        if (responses.write(answer(request, services, index))) return;
        requests.pause();
        responses.onWritable(() => requests.resume());
      },
      () => responses.end(),
    );
    context.onShutdown(() => responses.end());
  });
  return [ServerReflectionService, ServerReflectionV1AlphaService].map((service) => bindService(service, { serverReflectionInfo: method }));
}

function answer(request: ServerReflectionRequest, services: readonly string[], index: DescriptorIndex): ServerReflectionResponse {
  return { validHost: request.host, originalRequest: request, messageResponse: find(request, services, index) };
}

function find(request: ServerReflectionRequest, services: readonly string[], index: DescriptorIndex): ServerReflectionResponse["messageResponse"] {
  const asked = request.messageRequest;
  switch (asked?.$case) {
    case "listServices":
      return { $case: "listServicesResponse", value: { service: services.map((name) => ({ name })) } };
    case "fileByFilename":
      return filesOf(asked.value, asked.value, index);
    case "fileContainingSymbol":
      return filesOf(index.fileOf(asked.value), asked.value, index);
    case "fileContainingExtension":
    case "allExtensionNumbersOfType":
      return error(Code.NOT_FOUND, "the contract has no extensions");
    default:
      return error(Code.INVALID_ARGUMENT, "message_request: one of its fields must be set");
  }
}

function filesOf(file: string | undefined, asked: string, index: DescriptorIndex): ServerReflectionResponse["messageResponse"] {
  const files = file === undefined ? undefined : index.withImports(file);
  if (files === undefined) return error(Code.NOT_FOUND, `${JSON.stringify(asked.slice(0, 200))} is not in the contract`);
  return { $case: "fileDescriptorResponse", value: { fileDescriptorProto: files.map((each) => Buffer.from(each)) } };
}

function error(errorCode: Code, errorMessage: string): ServerReflectionResponse["messageResponse"] {
  return { $case: "errorResponse", value: { errorCode, errorMessage } };
}
