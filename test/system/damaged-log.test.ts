import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { MeshClient } from "@statemesh/client";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { run } from "../../tools/debian-package.ts";
import type { MeshNode } from "../../tools/mesh-processes.ts";
import { nodeProgram } from "../../tools/service-process.ts";
import { type Cluster, LIMIT_MS, regionsOfGroup, startCluster, until } from "./cluster.ts";
import { Load, verifyLoad } from "./load.ts";

const GROUPS = 2;
const MAIN = join(import.meta.dirname, "../../services/consensus-node/src/main.ts");

let cluster: Cluster;
let servers: MeshClient[];
let load: Load;

beforeEach(async () => {
  cluster = await startCluster({ groups: GROUPS, extraFlags: { "consensus-node": ["--snapshot-log-bytes", "65536", "--trailing-entries", "0", "--trailing-bytes", "0"] } });
  servers = await Promise.all([1, 2, 3].map((id) => cluster.server(id, id)));
  load = new Load([...regionsOfGroup(1, GROUPS, 2), ...regionsOfGroup(2, GROUPS, 2)], 41);
  load.start(servers, 8);
  await load.more(200);
});

afterEach(async () => cluster.close());

const folderOf = (node: MeshNode, name: string): string => join(cluster.dataDir, node.spec.name, name);

async function verify(node: MeshNode): Promise<{ code: number | null; output: string }> {
  return await run(nodeProgram(), [MAIN, "wal", "verify", "--data-dir", join(cluster.dataDir, node.spec.name)]);
}

function flip(path: string, share: number): void {
  const content = readFileSync(path);
  const at = Math.floor(content.length * share);
  content[at] = (content[at] ?? 0) ^ 16;
  writeFileSync(path, content);
}

/** The node has come to serve, so every group of it is whole; the mesh is checked, and then what the node has on its disk. */
async function checked(node: MeshNode): Promise<void> {
  await load.more(100);
  await load.stop();
  const [first] = servers;
  if (first === undefined) throw new Error("no server");
  await verifyLoad(cluster, first, load);
  await node.stop();
  expect(await verify(node)).toEqual({ code: 0, output: "clean\n" });
}

describe("a node whose disk was damaged while it was down", () => {
  test("in the middle of its log: it says where, starts, is repaired by the others and counts again", { timeout: 600_000 }, async () => {
    const node = cluster.node(2);
    await node.kill();
    expect((await verify(node)).code).toBe(0);
    const [segment = ""] = readdirSync(folderOf(node, "wal")).sort();
    for (const share of [0.3, 0.6]) flip(join(folderOf(node, "wal"), segment), share);
    expect(await verify(node)).toMatchObject({ code: 1, output: expect.stringMatching(new RegExp(`^${segment}: frame damaged at byte [0-9]+`)) });
    await load.more(50);
    await node.start();
    const log = readFileSync(node.spec.logFile, "utf8");
    expect(log).toContain("the log was damaged: what is missing is fetched from the other nodes");
    expect(log).toContain(segment);
    // A repaired node carries the others: with one of them down, every write needs it.
    await cluster.node(1).kill();
    await load.more(100);
    await cluster.node(1).start();
    await checked(node);
  });

  test("in its snapshots: the groups begin anew with a copy of their leaders", { timeout: 600_000 }, async () => {
    const node = cluster.node(3);
    const stored = (): string[] => readdirSync(folderOf(node, "snapshots")).filter((name) => !name.endsWith(".tmp"));
    await until("the load made a snapshot", () => stored().length > 0, () => `${load.acknowledged} operations`, 3 * LIMIT_MS);
    // Its mark in the log follows the file, and counts from then on.
    await load.more(30);
    await node.kill();
    const snapshots = stored();
    for (const [at, name] of snapshots.entries()) {
      const path = join(folderOf(node, "snapshots"), name);
      if (at === 0) rmSync(path);
      else flip(path, 0.5);
    }
    expect((await verify(node)).code).toBe(1);
    await node.start();
    expect(readFileSync(node.spec.logFile, "utf8")).toContain("the snapshot of a group is damaged");
    await checked(node);
  });
});
