import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { credentials, type ServiceError } from "@grpc/grpc-js";
import { Code, type LoadRegionResponse, RegionStoreServiceClient, type StoreRegionResponse } from "@statemesh/contract";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loading, region, storing, TestWorld } from "./world.ts";

const MAIN = fileURLToPath(new URL("../src/main.ts", import.meta.url));

interface Ended {
  readonly code: number | null;
  readonly output: string;
}

/** Starts the program; `until` names a text of its output to wait for. */
async function start(environment: Record<string, string>, until?: string) {
  const args = [MAIN, "--listen-address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0"];
  const child = spawn(process.execPath, args, { env: { PATH: process.env["PATH"] ?? "", ...environment }, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  const ended = new Promise<Ended>((resolve) => child.once("close", (code) => resolve({ code, output })));
  const said = new Promise<void>((resolve) => {
    const hear = (chunk: Buffer): void => {
      output += chunk.toString();
      if (until !== undefined && output.includes(until)) resolve();
    };
    child.stdout.on("data", hear);
    child.stderr.on("data", hear);
  });
  await (until === undefined ? ended : Promise.race([said, ended]));
  const stop = async (): Promise<Ended> => {
    child.kill("SIGTERM");
    return await ended;
  };
  return { ended, stop, output: () => output };
}

describe("the region store's process", () => {
  let world: TestWorld;

  beforeAll(async () => {
    world = await TestWorld.start();
  });

  afterAll(async () => {
    await world.stop();
  });

  it("serves over gRPC, tells errors with their reason, and ends with 0 on SIGTERM", async () => {
    const running = await start({ STATEMESH_DATABASE_URL: await world.database() }, "SQL answers");
    const address = /"address":"([^"]+)"/.exec(running.output())?.[1] ?? "";
    const client = new RegionStoreServiceClient(address, credentials.createInsecure());
    const stored = await new Promise<StoreRegionResponse>((resolve, reject) => client.storeRegion(storing(region(1)), (error, value) => (error ? reject(error) : resolve(value))));
    expect(stored.version).toBe(1);
    const loaded = await new Promise<LoadRegionResponse>((resolve, reject) => client.loadRegion(loading(region(1)), (error, value) => (error ? reject(error) : resolve(value))));
    expect(loaded.record?.attributes).toEqual(new Map([["biome", "ash"]]));
    const refused = await new Promise<ServiceError | null>((resolve) => client.storeRegion(storing(region(1), { expectedVersion: 9 }), (error) => resolve(error)));
    expect(refused?.code).toBe(Code.ABORTED);
    expect(refused?.details).toContain("is at version 1, not 9");
    client.close();
    expect((await running.stop()).code).toBe(0);
  });

  it("never shows the database's password, also where it cannot connect", async () => {
    const running = await start({ STATEMESH_DATABASE_URL: "postgresql://mesh:hunter2-secret@127.0.0.1:1/x" }, "SQL does not answer");
    const { output } = await running.stop();
    expect(output).toContain("SQL does not answer");
    expect(output).not.toContain("hunter2-secret");
  });

  it("ends with 2 and names the option where the configuration is wrong", async () => {
    const wrong = await (await start({ STATEMESH_DATABASE_URL: "mysql://hunter2-secret@127.0.0.1/x" })).ended;
    expect([wrong.code, wrong.output.includes("STATEMESH_DATABASE_URL"), wrong.output.includes("hunter2-secret")]).toEqual([2, true, false]);
    const missing = await (await start({})).ended;
    expect([missing.code, missing.output.includes("--database-url")]).toEqual([2, true]);
  });
});
