// The SDK outside of this project: packed, installed into an empty folder, compiled against, and its examples run by plain Node against a real mesh.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ROOT } from "../../tools/step.ts";
import { type Cluster, startCluster } from "./cluster.ts";
import { installSdk, type Ran, runPlain } from "./installed-sdk.ts";

let cluster: Cluster;
let folder = "";

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "statemesh-sdk-"));
  [cluster] = await Promise.all([startCluster({ groups: 2 }), installSdk(folder)]);
});

afterAll(async () => {
  await cluster.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Runs an example of the installed package. */
async function example(name: string, endpoints: readonly string[] = cluster.mesh.endpoints): Promise<Ran> {
  return await runPlain(join(folder, "game"), "node", [`node_modules/@statemesh/client/examples/${name}.js`, endpoints.join(",")], 60_000);
}

test("quickstart: connect, take a region, build, and see it", async () => {
  const { status, output } = await example("quickstart");
  expect(output).toContain("the gate: stands (rule uncontested)");
  expect(output).toContain("and the subscription has shown it");
  expect(output).toContain("asked again: the same decision");
  expect(status, output).toBe(0);
});

test("a studio's own code compiles against the declarations, those checked too", async () => {
  const game = join(folder, "game");
  writeFileSync(join(game, "shard.ts"), [
    'import { connect, type Decision, MeshError, Outcome } from "@statemesh/client";',
    'import { ConsistencyServiceClient } from "@statemesh/client/contract";',
    'const client = connect({ endpoints: ["127.0.0.1:1"], serverId: 1, name: "one" });',
    'export const decided: Promise<Decision> = client.execute(client.operations.mint({ region: { x: 0, y: 0, z: 0 }, epoch: 0 }, { playerId: "ann", itemKind: "ore", quantity: 1 }));',
    "export const accepted: number = Outcome.ACCEPTED;",
    'export const fenced = (error: unknown): boolean => MeshError.from(error).reason === "FENCED";',
    "export const stub: typeof ConsistencyServiceClient = ConsistencyServiceClient;",
    `// ${"@ts-"}expect-error a quantity is a number`,
    'client.operations.mint({ region: { x: 0, y: 0, z: 0 }, epoch: 0 }, { playerId: "ann", itemKind: "ore", quantity: "1" });',
  ].join("\n"));
  const compilerOptions = { module: "nodenext", target: "es2022", strict: true, noEmit: true, skipLibCheck: false, types: ["node"], typeRoots: [join(ROOT, "node_modules", "@types")] };
  writeFileSync(join(game, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["shard.ts"] }));
  const { output } = await runPlain(game, join(ROOT, "node_modules", ".bin", "tsc"), ["-p", ".", "--listFiles"], 60_000);
  const lines = output.split("\n").filter((line) => line.includes("shard.ts") || line.includes("@statemesh/client"));
  expect(lines.filter((line) => line.endsWith("types/client/src/index.d.ts"))).toHaveLength(1);
  // What others publish has errors of its own.
  expect(lines.filter((line) => /\berror TS\d+/.test(line))).toEqual([]);
});
