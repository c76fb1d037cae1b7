import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { MeshClient } from "@statemesh/client";
import { ConsistencyServiceService, MeshError, type Operation, ReadLevel } from "@statemesh/contract";
import { call } from "@statemesh/service";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ALWAYS, DiskShim } from "../../tools/disk-shim.ts";
import type { MeshNode } from "../../tools/mesh-processes.ts";
import { type Cluster, regionsOfGroup, startCluster, until } from "./cluster.ts";
import { busiestGroup, Load, verifyLoad } from "./load.ts";

const GROUPS = 2;

let folder: string;
let shims: Map<string, DiskShim>;
let cluster: Cluster;
let servers: MeshClient[];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "statemesh-disks-"));
  shims = new Map();
  for (const id of [1, 2, 3]) shims.set(`node-${id}`, await DiskShim.of(join(folder, `node-${id}`), { holdBack: true }));
  const place = (name: string) => {
    const shim = shims.get(name);
    return { host: "127.0.0.1", ...(shim === undefined ? {} : { environment: shim.environment, dataDir: shim.folder }) };
  };
  cluster = await startCluster({ groups: GROUPS, place, extraFlags: { "consensus-node": ["--snapshot-log-bytes", "200000", "--trailing-entries", "64"] } });
  servers = await Promise.all([1, 2, 3].map((id) => cluster.server(id, id)));
});

afterEach(async () => {
  await cluster.close();
  rmSync(folder, { recursive: true, force: true });
});

function shimOf(node: MeshNode): DiskShim {
  const shim = shims.get(node.spec.name);
  if (shim === undefined) throw new Error(`${node.spec.name} has no disk`);
  return shim;
}

async function loaded(seed: number): Promise<{ load: Load; leader: MeshNode }> {
  const load = new Load([...regionsOfGroup(1, GROUPS, 3), ...regionsOfGroup(2, GROUPS, 1)], seed);
  load.start(servers, 4);
  await load.more(300);
  return { load, leader: await cluster.leaderOf(busiestGroup(load, GROUPS)) };
}

async function checked(load: Load): Promise<void> {
  await load.stop();
  const [first] = servers;
  if (first === undefined) throw new Error("no server");
  await verifyLoad(cluster, first, load);
}

describe("a sync that fails", () => {
  test("stops the node, which says why; nothing acknowledged is lost though the disk has less than the page cache showed", async () => {
    const { load, leader } = await loaded(31);
    shimOf(leader).set("syncErrors", ALWAYS);
    await until("the node stopped", () => !leader.running);
    const log = readFileSync(leader.spec.logFile, "utf8");
    expect(log).toContain("the node cannot go on");
    expect(log).toMatch(/sync of wal-[0-9]{10}\.log failed: what is durable is unknown, the node must stop/);
    await load.more(200);
    shimOf(leader).heal();
    // The system counts the pages as clean: what the next process reads back may not be on the disk, and a later sync does not bring it there.
    await leader.start();
    await load.more(200);
    await leader.kill();
    shimOf(leader).cutPower("drop");
    await leader.start();
    await load.more(100);
    await checked(load);
  });
});

describe("a power cut", () => {
  test("of every node at once, with unsynced data lost sector by sector, loses nothing that was acknowledged", async () => {
    const { load } = await loaded(32);
    for (let cut = 0; cut < 2; cut++) {
      await load.more(200);
      await Promise.all(cluster.nodes.map((node) => node.kill()));
      for (const node of cluster.nodes) shimOf(node).cutPower("mixed");
      await Promise.all(cluster.nodes.map((node) => node.start()));
      await load.more(100);
    }
    await checked(load);
  });
});

describe("a full disk", () => {
  test("refuses writes by name, serves reads, loses nothing, keeps no half snapshots, and ends by itself when there is space", async () => {
    const { load, leader } = await loaded(33);
    const region = regionsOfGroup(1, GROUPS, 1)[0] ?? { x: 0, y: 0, z: 0 };
    const shim = shimOf(leader);
    shim.set("noSpace", 1);
    const [first] = servers;
    if (first === undefined) throw new Error("no server");
    const only = cluster.only(first, leader);
    const tin = (): Operation => first.operations.mint({ region, epoch: 0 }, { playerId: "nobody", itemKind: "tin", quantity: 1 });
    let refusal: MeshError | undefined;
    await until("the full node refuses", async () => {
      try {
        // Without the SDK, which asks again and elsewhere.
        await call(cluster.stubs(leader.clientAddress).consistency, ConsistencyServiceService.execute, { operation: tin() }, { timeoutMs: 2_000, writes: true });
      } catch (error) {
        refusal = MeshError.from(error);
      }
      return refusal?.reason === "LOG_FULL";
    });
    expect(refusal?.message).toContain("the disk of this node is full");
    expect(leader.running).toBe(true);
    await only.read({ region, level: ReadLevel.EVENTUAL });
    // The others go on without it.
    await load.more(200);
    shim.heal();
    await until("the node takes writes again", async () => {
      try {
        await call(cluster.stubs(leader.clientAddress).consistency, ConsistencyServiceService.execute, { operation: tin() }, { timeoutMs: 2_000, writes: true });
        return true;
      } catch {
        return false; // Not yet: asked again until the limit.
      }
    });
    await load.more(400);
    await until("no half snapshot is left", () => readdirSync(join(shim.folder, "snapshots")).every((name) => !name.endsWith(".tmp")));
    await checked(load);
    expect(shim.counts.injected).toBeGreaterThan(0);
  });
});
