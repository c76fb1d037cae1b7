import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { PeerHello } from "@statemesh/contract";
import { createLogger } from "@statemesh/service";
import { afterEach, describe, expect, it } from "vitest";
import { Founding } from "../src/founding.ts";
import { claimFolder } from "../src/identity.ts";

const log = createLogger({ service: "test", level: "fatal" });
const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "statemesh-founding-"));
  folders.push(folder);
  return folder;
}

/** A process of node `nodeId` on a folder. */
function node(nodeId: number, folder: string) {
  const seen = { votes: false, lost: [] as number[] };
  const record = claimFolder(folder, { clusterId: "c", nodeId, groups: 1, decisionWindow: 8 });
  const others = [1, 2, 3].filter((id) => id !== nodeId);
  const founding = new Founding(folder, record, others, { founded: () => (seen.votes = true), lostData: (peer) => seen.lost.push(peer) }, log);
  seen.votes = founding.isFounded;
  const hello = (): PeerHello => ({ protocolMin: 1, protocolMax: 1, nodeId, clusterId: "c", clientAddress: "", groups: 1, decisionWindow: 8, leaseReads: false, ...founding.hello });
  return { founding, seen, hello };
}

type Node = ReturnType<typeof node>;

function meet(...nodes: Node[]): void {
  for (const from of nodes) for (const to of nodes) if (from !== to) to.founding.onHello(from.hello());
}

describe("the founding of a cluster", () => {
  it("needs all nodes, in any order of meeting, and holds across restarts", () => {
    const folders3 = [newFolder(), newFolder(), newFolder()] as const;
    const [a, b, c] = [node(1, folders3[0]), node(2, folders3[1]), node(3, folders3[2])];
    meet(a, b);
    expect([a.seen.votes, b.seen.votes]).toEqual([false, false]);
    expect(a.founding.problem).toContain("waiting for node 3");
    // Node 1 is founded first; the others meet it as such.
    a.founding.onHello(c.hello());
    expect(a.seen.votes).toBe(true);
    b.founding.onHello(a.hello());
    b.founding.onHello(c.hello());
    c.founding.onHello(b.hello());
    c.founding.onHello(a.hello());
    expect([b.seen.votes, c.seen.votes]).toEqual([true, true]);
    expect(node(2, folders3[1]).seen.votes).toBe(true);
  });

  it("does not let a node vote that comes back with another folder, and tells the others", () => {
    const folders3 = [newFolder(), newFolder(), newFolder()] as const;
    const [a, b, c] = [node(1, folders3[0]), node(2, folders3[1]), node(3, folders3[2])];
    meet(a, b, c);
    meet(a, b, c);
    expect([a, b, c].every(({ seen }) => seen.votes)).toBe(true);
    const wiped = node(3, newFolder());
    meet(a, wiped);
    meet(b, wiped);
    expect(wiped.seen.votes).toBe(false);
    expect(wiped.founding.problem).toContain("came back without its data");
    expect([a.seen.lost, b.seen.lost]).toEqual([[3], [3]]);
    // Nor after another restart, with one of the others away.
    expect(wiped.founding.isFounded).toBe(false);
  });

  it("does not let two wiped nodes of three found a cluster of their own", () => {
    const folders3 = [newFolder(), newFolder(), newFolder()] as const;
    const nodes = [node(1, folders3[0]), node(2, folders3[1]), node(3, folders3[2])] as const;
    meet(...nodes);
    meet(...nodes);
    const [b, c] = [node(2, newFolder()), node(3, newFolder())];
    meet(b, c);
    expect([b.seen.votes, c.seen.votes]).toEqual([false, false]);
    meet(nodes[0], b, c);
    expect([b.seen.votes, c.seen.votes]).toEqual([false, false]);
  });
});
