import { join } from "node:path";
import { AuthorityDirectoryServiceService, MeshError } from "@statemesh/contract";
import { call } from "@statemesh/service";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Cluster, regionsOfGroup, startCluster, until } from "./cluster.ts";
import { Load, verifyLoad } from "./load.ts";
import { MemberCalls } from "./members.ts";

const GROUPS = 2;
const OLD = join(import.meta.dirname, "old-node.ts");

describe("nodes of an older version are restarted one by one with this one, under load", () => {
  let cluster: Cluster;
  const old = new Set([1, 2, 3]);

  beforeAll(async () => {
    cluster = await startCluster({ groups: GROUPS, nodeMain: (nodeId) => (old.has(nodeId) ? OLD : undefined) });
  });

  afterAll(async () => cluster.close());

  async function versionAt(nodeId: number): Promise<number> {
    return (await cluster.status(cluster.node(nodeId))).clusterVersion;
  }

  test("work goes on, nothing acknowledged is lost or doubled, and the version rises with the last of them", async () => {
    const patient = await Promise.all([1, 2, 3].map((id) => cluster.server(id, id - 1)));
    const load = new Load([...regionsOfGroup(1, GROUPS, 2), ...regionsOfGroup(2, GROUPS, 2)], 77_003);
    load.start(patient, 3);
    await load.more(200);
    const calls = new MemberCalls(cluster, cluster.node(1).clientAddress);
    const refused = await calls.remove(3).then(() => undefined, (error: unknown) => MeshError.from(error));
    expect(refused).toMatchObject({ reason: "VERSION_TOO_LOW", metadata: { cluster_version: "1", needed_version: "2" } });

    const { authority } = cluster.stubs(cluster.node(1).clientAddress);
    const transfer = { handoffId: "h", region: { x: 0, y: 0, z: 0 }, fromServerId: 1, epoch: 1, toServerId: 2, timeoutMs: 0 };
    const tooEarly = await call(authority, AuthorityDirectoryServiceService.transfer, transfer, { timeoutMs: 20_000, writes: true }).then(() => undefined, (error: unknown) => MeshError.from(error));
    expect(tooEarly).toMatchObject({ reason: "VERSION_TOO_LOW", metadata: { cluster_version: "1", needed_version: "3" } });

    for (const nodeId of [1, 2, 3]) {
      expect(await versionAt(nodeId), "what an old node cannot read is in no log").toBe(1);
      expect(await new MemberCalls(cluster, cluster.node(nodeId).clientAddress).drain()).toEqual([]);
      await cluster.node(nodeId).stop();
      await load.more(80);
      old.delete(nodeId);
      await cluster.node(nodeId).start();
      await load.more(80);
    }
    await calls.onRecord();
    await until("every node works at a version with handoffs", async () => (await Promise.all([1, 2, 3].map(versionAt))).every((version) => version >= 3));
    expect(await calls.members()).toEqual([1, 2, 3]);

    // An old build comes back: it stops with words, the others go on, and its data is as it was.
    const late = cluster.node(3);
    await late.stop();
    old.add(3);
    late.launch();
    await until("the old build has stopped", () => !late.running);
    expect(late.logTail()).toMatch(/needs version [23], and this node reads up to version 1: start it with a build/);
    await load.more(80);
    old.delete(3);
    await late.start();
    await load.more(80);
    await load.stop();
    await verifyLoad(cluster, patient[0] ?? await cluster.server(1), load);
  });
});
