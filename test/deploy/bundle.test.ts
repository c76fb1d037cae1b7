// What an image runs: one file under plain Node, in a folder with nothing of the workspace around it.
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HealthCheckResponse_ServingStatus as Status, HealthClient, HealthService } from "@statemesh/contract/health";
import { call, connect } from "@statemesh/service";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { bundleService } from "../../tools/bundles.ts";
import { freePort } from "../../tools/free-port.ts";
import { type LocalPostgres, startPostgres } from "../../tools/local-postgres.ts";
import { PROGRAMS } from "../../tools/programs.ts";
import { runTool } from "../../tools/step.ts";

const START_LIMIT_MS = 60_000;

let folder = "";
let postgres: LocalPostgres | undefined;
let child: ChildProcess | undefined;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "statemesh-bundle-"));
  postgres = await startPostgres({ databases: ["bundle"] });
}, 120_000);

afterEach(() => {
  child?.kill("SIGKILL");
  child = undefined;
});

afterAll(async () => {
  await postgres?.stop();
  rmSync(folder, { recursive: true });
});

/** Settings of each service for this test, besides its ports. */
function settingsOf(service: string, port: number): Record<string, string> {
  if (service === "region-store") return { STATEMESH_DATABASE_URL: postgres?.url ?? "" };
  if (service === "consensus-node") return { STATEMESH_NODE_ID: "1", STATEMESH_PEERS: `1=127.0.0.1:${port}`, STATEMESH_DATA_DIR: join(folder, "data") };
  return {};
}

for (const service of Object.keys(PROGRAMS)) {
  test(`the bundled ${service} starts, is healthy, is reflected and stops`, async () => {
    const home = join(folder, service);
    await bundleService(service, home);
    const port = await freePort();
    const address = `127.0.0.1:${port}`;
    const environment = { STATEMESH_LISTEN_ADDRESS: address, STATEMESH_METRICS_ADDRESS: "127.0.0.1:0", ...settingsOf(service, port) };
    const running = spawn(process.execPath, ["--enable-source-maps", "main.mjs"], { cwd: home, env: environment, stdio: ["ignore", "pipe", "pipe"] });
    child = running;
    let output = "";
    for (const stream of [running.stdout, running.stderr]) stream.on("data", (chunk: Buffer) => (output += chunk.toString()));
    const exit = new Promise<number | null>((resolve) => {
      running.once("close", resolve);
    });

    const client = connect(HealthClient, address, { ownConnection: true, reconnectMaxMs: 200 });
    const limitMs = performance.now() + START_LIMIT_MS;
    while ((await health(client)) !== Status.SERVING) {
      if (performance.now() > limitMs || running.exitCode !== null) throw new Error(`${service} is not healthy:\n${output}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    client.close();

    const listed = runTool("buf", ["curl", "--protocol", "grpc", "--http2-prior-knowledge", "--list-methods", `http://${address}`]);
    expect(listed.output).toContain("grpc.health.v1.Health/Check");
    expect(listed.output).toMatch(/^statemesh\.v1\./m);

    running.kill("SIGTERM");
    expect(await exit, output).toBe(0);
  });
}

/** What the server says of itself; undefined while it says nothing. */
async function health(client: HealthClient): Promise<Status | undefined> {
  return call(client, HealthService.check, { service: "" }, { timeoutMs: 1000, writes: false }).then(
    ({ status }) => status,
    () => undefined,
  );
}
