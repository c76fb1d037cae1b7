import { execFile } from "node:child_process";
import { join } from "node:path";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { promisify } from "node:util";
import { type ClientReadableStream, credentials } from "@grpc/grpc-js";
import { ErrorInfo } from "@statemesh/contract/google-rpc";
import { type HealthCheckResponse, HealthCheckResponse_ServingStatus, HealthClient } from "@statemesh/contract/health";
import { ServerReflectionService, ServerReflectionV1AlphaService, type ServerReflectionRequest, type ServerReflectionResponse } from "@statemesh/contract/reflection";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type LocalPostgres, startPostgres } from "../../tools/local-postgres.ts";
import { type Cluster, startCluster, until } from "./cluster.ts";
import { RawCaller } from "./raw-call.ts";

const PROJECT = join(import.meta.dirname, "../..");
const BUF = join(PROJECT, "node_modules/.bin/buf");
const run = promisify(execFile);

/** What each server says that it serves. */
const SERVED = {
  "consensus-node": ["statemesh.v1.ConsistencyService", "statemesh.v1.AuthorityDirectoryService", "statemesh.v1.ClusterAdminService", "statemesh.v1.ViewService", "statemesh.v1.HealingService", "statemesh.v1.EscrowService", "statemesh.v1.RaftPeerService"],
  "conflict-arbiter": ["statemesh.v1.ConflictArbiterService", "statemesh.v1.PartitionService"],
  "region-store": ["statemesh.v1.RegionStoreService"],
} as const;

interface FieldJson {
  readonly name: string;
  readonly typeName?: string;
}

interface MessageJson {
  readonly name: string;
  readonly field?: readonly FieldJson[];
  readonly nestedType?: readonly (MessageJson & { readonly options?: { readonly mapEntry?: boolean } })[];
}

interface FileJson {
  readonly name: string;
  readonly package?: string;
  readonly messageType?: readonly MessageJson[];
  readonly enumType?: readonly { readonly name: string }[];
  readonly service?: readonly { readonly name: string; readonly method?: readonly { readonly name: string; readonly inputType: string; readonly outputType: string }[] }[];
}

/** The contract as the compiler sees it. */
async function contractFiles(): Promise<readonly FileJson[]> {
  const { stdout } = await run(BUF, ["build", "--as-file-descriptor-set", "-o", "-#format=json"], { cwd: PROJECT, maxBuffer: 64 * 1024 * 1024 });
  return (JSON.parse(stdout) as { file: FileJson[] }).file;
}

/** A file descriptor that a server sent, read by the compiler. */
async function readDescriptors(files: readonly Uint8Array[]): Promise<readonly FileJson[]> {
  const set = Buffer.concat(files.map((file) => {
    const head: number[] = [0x0a];
    let rest = file.length;
    while (rest > 0x7f) {
      head.push((rest & 0x7f) | 0x80);
      rest >>>= 7;
    }
    return Buffer.concat([Buffer.from([...head, rest]), file]);
  }));
  const child = run(BUF, ["build", "-#format=binpb", "--as-file-descriptor-set", "-o", "-#format=json"], { cwd: PROJECT, maxBuffer: 64 * 1024 * 1024 });
  child.child.stdin?.end(set);
  return (JSON.parse((await child).stdout) as { file: FileJson[] }).file;
}

describe("what a person at a terminal sees of the servers", () => {
  let folder: string;
  let postgres: LocalPostgres;
  let cluster: Cluster;
  let contract: readonly FileJson[];

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "statemesh-reflection-"));
    postgres = await startPostgres({ dataDir: join(folder, "data"), databases: ["world"] });
    cluster = await startCluster({ nodes: 1, groups: 2, postgres: postgres.urlOf("world") });
    contract = await contractFiles();
  });

  afterAll(async () => {
    await cluster.close();
    await postgres.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  const addressOf = (service: keyof typeof SERVED): string => {
    if (service === "consensus-node") return cluster.node(1).address;
    return (service === "conflict-arbiter" ? cluster.mesh.arbiter : cluster.mesh.regionStore)?.address ?? "";
  };

  async function curl(...args: readonly string[]): Promise<string> {
    const { stdout } = await run(BUF, ["curl", "--http2-prior-knowledge", "--protocol", "grpc", ...args], { cwd: folder, maxBuffer: 16 * 1024 * 1024 });
    return stdout;
  }

  /** Asks one reflection service, one message after the other. */
  async function reflect(service: keyof typeof SERVED, version: "v1" | "v1alpha", requests: readonly ServerReflectionRequest["messageRequest"][]): Promise<ServerReflectionResponse[]> {
    const method = (version === "v1" ? ServerReflectionService : ServerReflectionV1AlphaService).serverReflectionInfo;
    const caller = new RawCaller(addressOf(service));
    const answer = await caller.call(method, requests.map((messageRequest) => method.requestSerialize({ host: "", messageRequest })), { quietMs: 5_000 });
    caller.close();
    expect(answer.code, answer.message).toBe(0);
    return answer.responses.map((response) => method.responseDeserialize(response));
  }

  for (const service of ["consensus-node", "conflict-arbiter", "region-store"] as const) {
    test(`${service}: buf curl lists every method, over both versions of reflection`, async () => {
      const wanted = SERVED[service].flatMap((name) => contract.flatMap((file) => (file.service ?? []).filter((each) => `${file.package}.${each.name}` === name).flatMap((each) => (each.method ?? []).map((method) => `${name}/${method.name}`))));
      expect(wanted.length).toBeGreaterThan(0);
      for (const version of ["grpc-v1", "grpc-v1alpha"]) {
        const listed = (await curl("--reflect-protocol", version, "--list-methods", `http://${addressOf(service)}`)).trim().split("\n");
        for (const name of wanted) expect(listed, `${name} over ${version}`).toContain(name);
        expect(listed).toContain("grpc.health.v1.Health/Check");
        expect(listed.filter((name) => name.startsWith("statemesh.")).sort()).toEqual([...wanted].sort());
      }
    });

    test(`${service}: every method, and every message that it reaches, is described as the contract has it, maps too`, async () => {
      const expected = new Map(contract.flatMap((file) => (file.messageType ?? []).map((message) => [`.${file.package}.${message.name}` as string, message] as const)));
      const reached = new Set<string>();
      const visit = (name: string): void => {
        const message = expected.get(name);
        if (message === undefined || reached.has(name)) return;
        reached.add(name);
        for (const each of [...(message.field ?? []), ...(message.nestedType ?? []).flatMap((nested) => nested.field ?? [])]) if (each.typeName !== undefined) visit(each.typeName);
      };
      for (const file of contract) {
        for (const each of file.service ?? []) {
          if (!(SERVED[service] as readonly string[]).includes(`${file.package}.${each.name}`)) continue;
          for (const method of each.method ?? []) {
            visit(method.inputType);
            visit(method.outputType);
          }
        }
      }
      const symbols = [...SERVED[service], ...[...reached].map((name) => name.slice(1))];
      let maps = 0;
      for (const version of ["v1", "v1alpha"] as const) {
        const answers = await reflect(service, version, symbols.map((value) => ({ $case: "fileContainingSymbol", value })));
        expect(answers.length).toBe(symbols.length);
        const files = new Map<string, Uint8Array>();
        for (const [at, { messageResponse }] of answers.entries()) {
          if (messageResponse?.$case !== "fileDescriptorResponse") throw new Error(`${symbols[at]}: ${JSON.stringify(messageResponse)}`);
          for (const file of messageResponse.value.fileDescriptorProto) files.set(Buffer.from(file).toString("base64"), file);
        }
        const described = await readDescriptors(inOrder([...files.values()]));
        const found = new Map(described.flatMap((file) => (file.messageType ?? []).map((message) => [`.${file.package}.${message.name}` as string, message] as const)));
        for (const name of reached) {
          expect(found.get(name), `${name} over ${version}`).toEqual(expected.get(name));
          maps += (found.get(name)?.nestedType ?? []).filter((nested) => nested.options?.mapEntry === true).length;
        }
      }
      expect(maps, "no message with a map was seen").toBeGreaterThan(0);
    });
  }

  test("a real call with buf curl to each service, a map in it", async () => {
    const node = `http://${addressOf("consensus-node")}`;
    const status = JSON.parse(await curl("-d", "{}", `${node}/statemesh.v1.ClusterAdminService/GetStatus`)) as { nodeId: number; groups: { match: Record<string, string> }[] };
    expect(status.nodeId).toBe(1);
    expect(Object.keys(status.groups[1]?.match ?? {})).toEqual(["1"]);
    await curl("-d", JSON.stringify({ serverId: 5, name: "curl", incarnation: 1 }), `${node}/statemesh.v1.AuthorityDirectoryService/Register`);
    const operation = { operationId: "curl-1", type: "structure_placement", serverId: 5, homeRegion: { x: 0, y: 0, z: 0 }, structurePlacement: { structureId: "s", kind: "wall", bounds: { minX: 1, minY: 1, minZ: 1, maxX: 2, maxY: 2, maxZ: 2 }, attributes: { colour: "red" } } };
    const { decision } = JSON.parse(await curl("-d", JSON.stringify({ operation }), `${node}/statemesh.v1.ConsistencyService/Execute`)) as { decision: { outcome: string; rule: string } };
    expect(decision).toMatchObject({ outcome: "OUTCOME_ACCEPTED", rule: "uncontested" });
    const streamed = await curl("-d", JSON.stringify({ operations: [operation] }), `${node}/statemesh.v1.ConsistencyService/ExecuteStream`);
    expect(JSON.parse(streamed)).toMatchObject({ results: [{ decision: { repeated: true } }] });

    const store = `http://${addressOf("region-store")}/statemesh.v1.RegionStoreService`;
    await curl("-d", JSON.stringify({ region: { x: 1 }, attributes: { biome: "tundra" } }), `${store}/StoreRegion`);
    expect(JSON.parse(await curl("-d", JSON.stringify({ regionText: "region_1_0_0" }), `${store}/LoadRegion`))).toMatchObject({ record: { attributes: { biome: "tundra" }, version: "1" } });

    const arbiter = `http://${addressOf("conflict-arbiter")}/statemesh.v1.ConflictArbiterService`;
    const candidate = (operationId: string, physicalMs: number) => ({ operationId, type: "item_pickup", serverId: 1, stamp: { physicalMs }, keys: ["item:1"] });
    const resolved = JSON.parse(await curl("-d", JSON.stringify({ set: { candidates: [candidate("late", 2), candidate("early", 1)] } }), `${arbiter}/Resolve`)) as { verdicts: { winnerOperationId: string }[] };
    expect(resolved.verdicts.map(({ winnerOperationId }) => winnerOperationId)).toEqual(["early", "early"]);

    // An error shows its reason and its field.
    const refused = await curl("-d", "{}", `${node}/statemesh.v1.ConsistencyService/Execute`).then(() => "no error", (error: { stderr: string }) => error.stderr);
    const { code, message, details } = JSON.parse(refused) as { code: string; message: string; details: { type: string; value: string }[] };
    expect([code, message]).toEqual(["invalid_argument", "operation: is required"]);
    const info = details.find(({ type }) => type === "google.rpc.ErrorInfo");
    expect(ErrorInfo.decode(Buffer.from(info?.value ?? "", "base64"))).toMatchObject({ reason: "INVALID_FIELD", domain: "statemesh" });
  });

  test("health: Check and Watch, for the server and for each of its services", async () => {
    for (const service of ["consensus-node", "conflict-arbiter", "region-store"] as const) {
      const client = new HealthClient(addressOf(service), credentials.createInsecure());
      for (const name of ["", ...SERVED[service]]) {
        const { status } = await new Promise<HealthCheckResponse>((done, fail) => client.check({ service: name }, (error, response) => (error === null ? done(response) : fail(error))));
        expect(status, `${service} ${name}`).toBe(HealthCheckResponse_ServingStatus.SERVING);
      }
      const unknown = await new Promise<number>((done) => client.check({ service: "statemesh.v1.NoSuchService" }, (error) => done(error?.code ?? 0)));
      expect(unknown).toBe(5);
      client.close();
    }

    const arbiter = cluster.mesh.arbiter;
    if (arbiter === undefined) throw new Error("no arbiter");
    const client = new HealthClient(arbiter.address, credentials.createInsecure());
    const watched: number[] = [];
    const watch: ClientReadableStream<HealthCheckResponse> = client.watch({ service: "statemesh.v1.ConflictArbiterService" });
    watch.on("data", ({ status }: HealthCheckResponse) => watched.push(status));
    const over = new Promise<void>((done) => {
      watch.on("error", () => done());
      watch.on("end", () => done());
    });
    await until("the watcher hears that it serves", () => watched.includes(HealthCheckResponse_ServingStatus.SERVING));
    await arbiter.stop();
    await over;
    expect(watched.at(-1)).toBe(HealthCheckResponse_ServingStatus.NOT_SERVING);
    client.close();
    await arbiter.start();
  });
});

/** Files after those that they import, as a descriptor set wants them: imports come first in each answer already. */
function inOrder(files: readonly Uint8Array[]): readonly Uint8Array[] {
  const byName = new Map<string, Uint8Array>();
  for (const file of files) {
    // Field 1 of a file descriptor is its name, and comes first.
    const length = file[1] ?? 0;
    byName.set(Buffer.from(file.subarray(2, 2 + length)).toString("utf8"), file);
  }
  return [...byName.values()];
}
