import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Client, type GrpcObject, Metadata, type ServiceError, credentials } from "@grpc/grpc-js";
import { loadContract } from "@statemesh/contract/dynamic";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Mesh, startMesh } from "../../tools/mesh-processes.ts";

type Answer = Record<string, unknown>;
type Call = (request: object, metadata: Metadata, options: object, done: (error: ServiceError | null, answer: Answer) => void) => void;
type ServiceConstructor = new (address: string, channelCredentials: ReturnType<typeof credentials.createInsecure>) => Client & Record<string, Call>;

const HOME = { x: 3, y: 0, z: -2 };
let dataDir: string;
let mesh: Mesh;
const clients: Client[] = [];

/** A client that knows nothing but the .proto files. */
function client(service: string, address: string) {
  const namespace = (loadContract()["statemesh"] as GrpcObject)["v1"] as unknown as Record<string, ServiceConstructor>;
  const Service = namespace[service];
  if (Service === undefined) throw new Error(`the contract has no ${service}`);
  const made = new Service(address, credentials.createInsecure());
  clients.push(made);
  return async (method: string, request: object): Promise<Answer> =>
    new Promise((resolve, reject) => {
      made[method]?.call(made, request, new Metadata(), { deadline: Date.now() + 30_000 }, (error, answer) => (error === null ? resolve(answer) : reject(error)));
    });
}

beforeAll(async () => {
  dataDir = mkdtempSync(join(tmpdir(), "statemesh-dynamic-"));
  mesh = await startMesh({ nodes: 1, groups: 2, dataDir });
});

afterAll(async () => {
  for (const each of clients) each.close();
  await mesh.stop();
  rmSync(dataDir, { recursive: true, force: true });
});

describe("a game server without generated code", () => {
  it("registers, decides an operation with a map in it, reads it back and asks the arbiter why", async () => {
    const node = mesh.endpoints[0] ?? "";
    const registered = await client("AuthorityDirectoryService", node)("Register", { server_id: 5, name: "dynamic", incarnation: "9007199254740991" });
    expect(registered).toMatchObject({ server: { server_id: 5, name: "dynamic", incarnation: "9007199254740991" } });
    const consistency = client("ConsistencyService", node);
    const bounds = { min_x: 6_000, min_y: 0, min_z: -4_000, max_x: 6_004, max_y: 4, max_z: -3_996 };
    const operation = {
      operation_id: "dynamic-1",
      type: "structure_placement",
      server_id: 5,
      home_region: HOME,
      structure_placement: { structure_id: "tower", kind: "tower", bounds, attributes: { colour: "red", "señal": "ü" } },
    };
    const executed = await consistency("Execute", { operation });
    expect(executed).toMatchObject({ decision: { operation_id: "dynamic-1", outcome: "OUTCOME_ACCEPTED", rule: "uncontested" } });
    const read = await consistency("Read", { region: HOME, entities: [{ kind: "structure", entity_id: "tower" }] });
    expect(read["entities"]).toMatchObject([{ entity_id: "tower", attributes: { colour: "red", "señal": "ü" }, bounds }]);
    const candidate = (operation_id: string, server_id: number) => ({ operation_id, type: "resource_claim", server_id, stamp: { physical_ms: "1000" }, keys: ["claim:vein"], region: HOME });
    const explained = await client("ConflictArbiterService", mesh.arbiter?.address ?? "")("Explain", {
      set: { candidates: [candidate("ten", 10), candidate("nine", 9)] },
      operation_id: "ten",
    });
    expect(explained).toMatchObject({ verdict: { outcome: "OUTCOME_REJECTED", rule: "server_id", winner_operation_id: "nine" } });
  });
});
