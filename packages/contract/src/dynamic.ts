// The contract for programs that bring no generated code: the .proto files, loaded as they stand.
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { type GrpcObject, loadPackageDefinition } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

/** The folder of the contract. */
const PROTO = join(import.meta.dirname, "..", "..", "..", "proto");

/**
 * Service constructors under `statemesh.v1`, as `loadPackageDefinition` makes them. Messages are plain objects with the
 * field names of the .proto files; 64-bit integers are decimal texts and enums are names, so that nothing is rounded.
 * (The compiler's image will not do here: the loader makes lists of map fields from it.)
 */
export function loadContract(): GrpcObject {
  const files = readdirSync(join(PROTO, "statemesh", "v1")).map((file) => join("statemesh", "v1", file));
  return loadPackageDefinition(loadSync(files, { includeDirs: [PROTO], keepCase: true, longs: String, enums: String, defaults: true, oneofs: true }));
}
