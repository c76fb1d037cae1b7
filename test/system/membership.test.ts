import { GroupChangeStage, MeshError } from "@statemesh/contract";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Cluster, regionsOfGroup, startCluster, until } from "./cluster.ts";
import { Load, verifyLoad } from "./load.ts";
import { MemberCalls, newcomer, wipe } from "./members.ts";

const GROUPS = 2;

async function reasonOf(work: Promise<unknown>): Promise<{ reason: string; metadata: Readonly<Record<string, string>> }> {
  try {
    await work;
  } catch (error) {
    const { reason, metadata } = MeshError.from(error);
    return { reason, metadata };
  }
  return { reason: "none", metadata: {} };
}

describe("the members of a cluster change while players are at work", () => {
  let cluster: Cluster;

  beforeAll(async () => {
    cluster = await startCluster({ groups: GROUPS, extraFlags: { "consensus-node": ["--snapshot-log-bytes", "65536", "--trailing-entries", "64"] } });
  });

  afterAll(async () => cluster.close());

  test("two nodes come, the leader goes, a wiped node is replaced: nothing acknowledged is lost, nothing is doubled", async () => {
    const calls = new MemberCalls(cluster, cluster.node(2).clientAddress);
    await calls.onRecord();
    expect(await calls.members()).toEqual([1, 2, 3]);
    const patient = await Promise.all([1, 2, 3].map((id) => cluster.server(id, id - 1)));
    const regions = [...regionsOfGroup(1, GROUPS, 3), ...regionsOfGroup(2, GROUPS, 2)];
    const load = new Load(regions, 40_961);
    load.start(patient, 3);
    await load.more(600);

    // Refused by name, whoever is asked.
    expect(await reasonOf(calls.remove(9))).toEqual({ reason: "UNKNOWN_MEMBER", metadata: { node_id: "9", members: "1,2,3" } });
    expect(await reasonOf(calls.add({ address: "127.0.0.1:1" }))).toMatchObject({ reason: "UNREACHABLE", metadata: { address: "127.0.0.1:1" } });
    expect(await reasonOf(calls.add({ address: cluster.node(3).clientAddress }))).toMatchObject({ reason: "MEMBER_EXISTS", metadata: { node_id: "3" } });
    expect(await reasonOf(calls.add({ address: "nowhere" }))).toMatchObject({ reason: "INVALID_FIELD" });

    // One is added by the operator, one asks by itself; both are up to date and vote in the end.
    const fourth = await newcomer(cluster, 4, ["--join", "wait"]);
    fourth.launch();
    await until("node 4 answers", async () => (await reasonOf(calls.add({ address: fourth.address, dryRun: true }))).reason === "none");
    expect(await reasonOf(calls.add({ address: fourth.address, nodeId: 2, dryRun: true }))).toMatchObject({ reason: "MEMBER_ID_USED", metadata: { next_node_id: "4" } });
    const dry = await calls.add({ address: fourth.address, dryRun: true });
    expect(dry).toMatchObject({ changeId: "add-4", votersBefore: [1, 2, 3], votersAfter: [1, 2, 3, 4] });
    expect((await calls.changes()).changes).toEqual([]);
    const added = await calls.add({ address: fourth.address });
    expect(await reasonOf(calls.remove(1))).toMatchObject({ reason: "CHANGE_PENDING", metadata: { change_id: "add-4" } });
    expect((await calls.add({ address: fourth.address })).changeId).toBe(added.changeId);
    const seen = await calls.ended(added.changeId);
    expect(seen.every(({ stage }) => stage !== GroupChangeStage.UNSPECIFIED)).toBe(true);
    await fourth.waitUntilServing();
    cluster.joins(fourth);
    const fifth = await newcomer(cluster, 5, ["--join", `${cluster.node(1).clientAddress},${cluster.node(3).clientAddress}`]);
    await fifth.start();
    cluster.joins(fifth);
    await calls.ended("add-5");
    expect(await calls.members()).toEqual([1, 2, 3, 4, 5]);
    await load.more(300);

    // The leader of the directory goes. It says so itself, and does nothing any more.
    const leader = await cluster.leaderOf(0);
    const gone = leader.nodeId;
    const through = cluster.nodes.find(({ nodeId }) => nodeId !== gone) ?? leader;
    const others = new MemberCalls(cluster, through.clientAddress);
    await others.remove(gone);
    await others.ended(`remove-${gone}`);
    cluster.leaves(leader);
    await load.more(300);
    await until("the removed node says so", async () => (await (await fetch(`http://${leader.metricsAddress}/readyz`)).text()).includes("was removed"));
    await leader.stop();

    // Another one dies with its disk. Under its old id it holds copies; as a new member it votes again.
    const victim = cluster.mesh.nodes.find((node) => node.nodeId !== gone && node.nodeId !== through.nodeId) ?? fourth;
    await victim.kill();
    await load.more(100);
    wipe(cluster, `node-${victim.nodeId}`);
    victim.launch();
    await until("the wiped node is told apart", async () => {
      const { reason } = await reasonOf(others.replace({ nodeId: victim.nodeId, dryRun: true }));
      return reason === "none";
    });
    const replaced = await others.replace({ nodeId: victim.nodeId });
    expect(replaced).toMatchObject({ changeId: `replace-${victim.nodeId}-by-6`, added: { nodeId: 6, address: victim.address } });
    await others.ended(replaced.changeId);
    await victim.waitUntilServing();
    expect((await cluster.status(victim)).nodeId).toBe(6);
    expect(await others.members()).toEqual([1, 2, 3, 4, 5, 6].filter((id) => id !== gone && id !== victim.nodeId));
    await load.more(300);
    // It is node 6 from now on, whatever it is started with.
    await victim.kill();
    await load.more(50);
    await victim.start();
    expect((await cluster.status(victim)).nodeId).toBe(6);

    await load.stop();
    await verifyLoad(cluster, patient[0] ?? await cluster.server(1), load);
  });
});
