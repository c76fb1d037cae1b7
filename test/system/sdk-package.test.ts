// The SDK outside of this project: packed, installed into an empty folder, compiled against, and its examples run by plain Node against a real mesh.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ROOT } from "../../tools/step.ts";
import { type Cluster, startCluster } from "./cluster.ts";
import { installSdk, type Ran, runPlain } from "./installed-sdk.ts";

const policy = ["--policy-file", join(ROOT, "packages/client/examples/policy.yaml")];

let cluster: Cluster | undefined;
let folder = "";

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "statemesh-sdk-"));
  [cluster] = await Promise.all([startCluster({ groups: 2, extraFlags: { "consensus-node": policy, "conflict-arbiter": policy } }), installSdk(folder)]);
});

function running(): Cluster {
  if (cluster === undefined) throw new Error("no cluster");
  return cluster;
}

function endpoints(): readonly string[] {
  return running().mesh.endpoints;
}

afterAll(async () => {
  await cluster?.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Runs an example of the installed package, at one node or at all. */
async function example(name: string, nodes: readonly string[] = endpoints(), heard?: (output: string) => void): Promise<Ran> {
  return await runPlain(join(folder, "game"), "node", [`node_modules/@statemesh/client/examples/${name}.js`, nodes.join(",")], 120_000, heard);
}

test("quickstart: connect, take a region, build, and see it", async () => {
  const { status, output } = await example("quickstart");
  expect(output).toContain("the gate: stands (rule uncontested)");
  expect(output).toContain("and the subscription has shown it");
  expect(output).toContain("asked again: the same decision");
  expect(status, output).toBe(0);
});

test("trade: two players over regions of their own, both sides or neither", async () => {
  const { status, output } = await example("trade");
  expect(output).toContain("before: ann holds 10 iron_ore, ben holds 3 gold");
  expect(output).toContain("after:  ann holds 2 gold, ben holds 1 gold and 10 iron_ore");
  expect(output).toContain("once more: refused, INSUFFICIENT_ITEMS");
  expect(status, output).toBe(0);
});

test("handoff: a creature over a border, and a region from one game server to another", async () => {
  const { status, output } = await example("handoff");
  expect(output).toContain("the wolf is in region_81_0_0, simulated by server 9104");
  expect(output).toContain("north's late order: refused, ");
  expect(output).toContain("south: owns the region under epoch");
  expect(output).toContain("north still holds it: false; south: true");
  expect(output).toContain("north under its old epoch: FENCED");
  expect(status, output).toBe(0);
});

test("custom type: a studio's own policy, an entity over a border and merging states", async () => {
  const { status, output } = await example("custom-type");
  expect(output).toContain("the cart: over the border, in region_91_0_0 with 3 ore");
  expect(output).toContain("a late save: NOT_FOUND");
  expect(output).toContain("the town: 70 in the treasury, ann, ben, eve, by the sea");
  expect(output).toContain("ben moved away: ann, eve");
  expect(output).toContain("the weather: rain 3");
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

test("escrow: what was set apart is paid by a node that is cut off, and what is left comes back", async () => {
  const leader = await running().leaderOf(1);
  const alone = running().nodes.find((node) => node !== leader);
  if (alone === undefined) throw new Error("no node to cut off");
  const others = running().nodes.filter((node) => node !== alone);
  let stopped = false;
  let resumed = false;
  const { status, output } = await example("escrow", [alone.clientAddress], (heard) => {
    if (!stopped && heard.includes("set apart")) {
      stopped = true;
      for (const node of others) node.pause();
    }
    if (!resumed && heard.includes("paid 10, 10 left")) {
      resumed = true;
      for (const node of others) node.resume();
    }
  });
  if (!resumed) for (const node of others) node.resume();
  expect(output).toContain("payments waited for the log at a time: the node was cut off");
  expect(output).toMatch(/closed: 10 came back to the shop|closing: what is left comes back later/);
  expect(status, output).toBe(0);
});

test("partition: what a cut-off node keeps is decided after the partition", async () => {
  const leader = await running().leaderOf(1);
  const alone = running().nodes.find((node) => node !== leader);
  if (alone === undefined) throw new Error("no node to cut off");
  const others = running().nodes.filter((node) => node !== alone);
  let stopped = false;
  let resumed = false;
  const { status, output } = await example("partition", [alone.clientAddress], (heard) => {
    if (!stopped && heard.includes("waiting to be cut off")) {
      stopped = true;
      for (const node of others) node.pause();
    }
    if (!resumed && heard.includes("kept: ")) {
      resumed = true;
      for (const node of others) node.resume();
    }
  });
  if (!resumed) for (const node of others) node.resume();
  expect(output).toContain("would stand");
  expect(output).toContain("healed: it stands");
  expect(status, output).toBe(0);
});
