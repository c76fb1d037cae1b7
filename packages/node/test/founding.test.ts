import type { PeerHello } from "@statemesh/contract";
import { type Disk, SystemRandom } from "@statemesh/ports";
import { describe, expect, it } from "vitest";
import { Founding } from "../src/founding.ts";
import { claimFolder } from "../src/identity.ts";
import { newFolder } from "./memory-folder.ts";

const log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
const random = new SystemRandom();

/** A process of node `nodeId` on a folder. */
async function node(nodeId: number, folder: Disk) {
  const seen = { votes: false, lost: [] as number[] };
  const record = await claimFolder(folder, { clusterId: "c", nodeId, groups: 1, decisionWindow: 8 }, [1, 2, 3], random);
  const others = [1, 2, 3].filter((id) => id !== nodeId);
  const failed = (error: unknown): never => {
    throw error;
  };
  const founding = new Founding(folder, record, others, { founded: () => (seen.votes = true), lostData: (peer) => seen.lost.push(peer), failed }, log);
  seen.votes = founding.isFounded;
  const hello = (): PeerHello => ({ protocolMin: 1, protocolMax: 1, nodeId, clusterId: "c", clientAddress: "", groups: 1, decisionWindow: 8, leaseReads: false, damagedGroups: [], terms: [], address: "", members: [], toNodeId: 0, clusterVersion: 1, policyDigest: "", ...founding.hello });
  return { founding, seen, hello };
}

type Node = Awaited<ReturnType<typeof node>>;

/** Everything that was begun on the folders in memory is done. */
async function settled(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

async function meet(...nodes: Node[]): Promise<void> {
  for (const from of nodes) for (const to of nodes) if (from !== to) to.founding.onHello(from.hello());
  await settled();
}

describe("the founding of a cluster", () => {
  it("needs all nodes, in any order of meeting, and holds across restarts", async () => {
    const folders3 = [newFolder(), newFolder(), newFolder()] as const;
    const [a, b, c] = [await node(1, folders3[0]), await node(2, folders3[1]), await node(3, folders3[2])];
    await meet(a, b);
    expect([a.seen.votes, b.seen.votes]).toEqual([false, false]);
    expect(a.founding.problem).toContain("waiting for node 3");
    // Node 1 is founded first; the others meet it as such.
    a.founding.onHello(c.hello());
    await settled();
    expect(a.seen.votes).toBe(true);
    b.founding.onHello(a.hello());
    b.founding.onHello(c.hello());
    c.founding.onHello(b.hello());
    c.founding.onHello(a.hello());
    await settled();
    expect([b.seen.votes, c.seen.votes]).toEqual([true, true]);
    expect((await node(2, folders3[1])).seen.votes).toBe(true);
  });

  it("does not let a node vote that comes back with another folder, and tells the others", async () => {
    const folders3 = [newFolder(), newFolder(), newFolder()] as const;
    const [a, b, c] = [await node(1, folders3[0]), await node(2, folders3[1]), await node(3, folders3[2])];
    await meet(a, b, c);
    await meet(a, b, c);
    expect([a, b, c].every(({ seen }) => seen.votes)).toBe(true);
    const wiped = await node(3, newFolder());
    await meet(a, wiped);
    await meet(b, wiped);
    expect(wiped.seen.votes).toBe(false);
    expect(wiped.founding.problem).toContain("came back without its data");
    expect([a.seen.lost, b.seen.lost]).toEqual([[3], [3]]);
    // Nor after another restart, with one of the others away.
    expect(wiped.founding.isFounded).toBe(false);
  });

  it("does not let two wiped nodes of three found a cluster of their own", async () => {
    const folders3 = [newFolder(), newFolder(), newFolder()] as const;
    const nodes = [await node(1, folders3[0]), await node(2, folders3[1]), await node(3, folders3[2])] as const;
    await meet(...nodes);
    await meet(...nodes);
    const [b, c] = [await node(2, newFolder()), await node(3, newFolder())];
    await meet(b, c);
    expect([b.seen.votes, c.seen.votes]).toEqual([false, false]);
    await meet(nodes[0], b, c);
    expect([b.seen.votes, c.seen.votes]).toEqual([false, false]);
  });
});
