// Who is let in, and how a node without a place gets one.
import { InstallSnapshotRequest, MeshError, PeerHello } from "@statemesh/contract";
import { type Disk, SystemRandom } from "@statemesh/ports";
import { describe, expect, it } from "vitest";
import { type FolderRecord, beginStart, claimFolder, takePlace } from "../src/identity.ts";
import { PeerDoor } from "../src/peer-door.ts";
import { WaitingRoom } from "../src/waiting-room.ts";
import { newFolder } from "./memory-folder.ts";

const IDENTITY = { clusterId: "c", nodeId: 0, groups: 1, decisionWindow: 8 };
const random = new SystemRandom();

const frame = (hello: object) => ({
  hello: PeerHello.fromPartial({ clusterId: "c", nodeId: 1, groups: 1, decisionWindow: 8, protocolMin: 1, protocolMax: 2, clusterVersion: 2, founded: true, ...hello }),
  raft: [], calls: [], answers: [], deltas: [], causal: [], heartbeats: [], tentative: [],
});

async function waiting(folder: Disk): Promise<{ record: FolderRecord; room: WaitingRoom; placed: Promise<number> }> {
  const record = await claimFolder(folder, IDENTITY, [], random);
  const { promise: placed, resolve, reject } = Promise.withResolvers<number>();
  return { record, room: new WaitingRoom(folder, record, { leaseReads: false, versions: { min: 1, max: 2 } }, { placed: resolve, failed: reject }), placed };
}

describe("a node without a place in the cluster", () => {
  it("takes the one that a member's hello holds for its folder, and keeps it whatever it is started with", async () => {
    const folder = newFolder();
    const { record, room, placed } = await waiting(folder);
    expect(room.identify()).toMatchObject({ nodeId: 0, folderId: record.folderId, founded: false });
    expect(() => room.stream()(frame({ members: [{ nodeId: 1, address: "a:1", folderId: 11 }] }))).toThrow("has no place in the cluster yet");
    const members = [{ nodeId: 1, address: "a:1", folderId: 11 }, { nodeId: 7, address: "b:1", folderId: record.folderId }];
    expect(() => room.stream()(frame({ members }))).toThrow("takes its place as node 7");
    expect(await placed).toBe(7);
    for (const nodeId of [0, 3]) {
      expect(await claimFolder(folder, { ...IDENTITY, nodeId }, [], random)).toMatchObject({ nodeId: 7, founded: true, founders: [], known: { 1: 11 }, members });
    }
    await expect(claimFolder(folder, { ...IDENTITY, groups: 2 }, [], random)).rejects.toThrow("this folder has groups 1");
  });

  it("begins a log of its own: that there is none yet is no loss, until it has begun", async () => {
    const folder = newFolder();
    const { record } = await waiting(folder);
    await takePlace(folder, record, 7, [{ nodeId: 7, address: "b:1", folderId: record.folderId }]);
    const placed = await claimFolder(folder, IDENTITY, [], random);
    expect(placed).toMatchObject({ founded: true, isUnused: true });
    expect(await beginStart(folder, placed, 5)).toMatchObject({ nodeId: 7, isUnused: false, incarnation: 5 });
    expect(await claimFolder(folder, IDENTITY, [], random)).toMatchObject({ nodeId: 7, founded: true, isUnused: false });
  });

  it("believes no node of another cluster, none that has no place itself, and none that is beyond it", async () => {
    const { record, room } = await waiting(newFolder());
    const members = [{ nodeId: 7, address: "b:1", folderId: record.folderId }];
    expect(() => room.stream()(frame({ members, clusterId: "other" }))).toThrow("this node is of cluster c, not other");
    expect(() => room.stream()(frame({ members, founded: false }))).toThrow("has no place in the cluster yet");
    expect(() => room.stream()(frame({ members, protocolMax: 3, clusterVersion: 3 }))).toThrow("this node speaks versions 1 to 2, the peer 3 to 3");
  });
});

describe("a member's place", () => {
  it("stays what a folder without one in its record had been given", async () => {
    const folder = newFolder();
    const record = await claimFolder(folder, { ...IDENTITY, nodeId: 2 }, [1, 2, 3], random);
    await takePlace(folder, record, 9, [{ nodeId: 9, address: "x:1", folderId: record.folderId }]);
    // What it founded stands at the beginning of its log still.
    expect(await claimFolder(folder, { ...IDENTITY, nodeId: 2 }, [1, 2, 3], random)).toMatchObject({ nodeId: 9, founders: [1, 2, 3] });
  });
});

describe("the door of a member", () => {
  const refusals = new Map([[5, new MeshError("MEMBER_REMOVED", "node 5 was removed from the cluster")]]);
  const door = (clusterVersion: number) => {
    const seen: number[] = [];
    const options = { nodeId: 2, clusterId: "c", groups: 1, decisionWindow: 8, leaseReads: false, versions: { min: 1, max: 2 } };
    const events = { clusterVersion: () => clusterVersion, refuses: (nodeId: number) => refusals.get(nodeId), hello: () => undefined, frame: (peer: number) => void seen.push(peer) };
    return { door: new PeerDoor(options, events), seen };
  };

  it("is closed to who is too old for the cluster, who takes it for another, and who was removed", () => {
    expect(() => door(2).door.stream()(frame({ protocolMax: 1, clusterVersion: 1 }))).toThrow("the cluster works at version 2, and the peer speaks up to 1");
    expect(() => door(2).door.stream()(frame({ toNodeId: 3 }))).toThrow("this is node 2, not node 3");
    expect(() => door(2).door.stream()(frame({ nodeId: 5 }))).toThrow("node 5 was removed");
    expect(door(1).door.stream()(frame({ protocolMax: 1, clusterVersion: 1, toNodeId: 2 }))).toBe(1);
  });

  it("takes snapshots from who would be let in, and for this node only", () => {
    const part = (from: number, to: number, hello?: PeerHello): InstallSnapshotRequest => InstallSnapshotRequest.fromPartial({ header: { from, to }, ...(hello === undefined ? {} : { hello }) });
    const hello = (values: Partial<PeerHello>): PeerHello => frame({ protocolMax: 3, ...values }).hello!;
    const { door: own } = door(2);
    expect(() => own.checkSender(part(1, 2, hello({})))).not.toThrow();
    expect(() => own.checkSender(part(1, 2, hello({ clusterId: "d" })))).toThrow("this node is of cluster c, not d");
    expect(() => own.checkSender(part(5, 2, hello({ nodeId: 5 })))).toThrow("node 5 was removed");
    expect(() => own.checkSender(part(1, 2, hello({ nodeId: 3 })))).toThrow("node 3 sends a snapshot as node 1");
    expect(() => own.checkSender(part(1, 3, hello({})))).toThrow("this is node 2, not node 3");
    expect(() => own.checkSender(part(1, 2, hello({ groups: 4 })))).toThrow("this node has 1 groups, the peer 4");
    expect(() => own.checkSender(part(2, 2, hello({ nodeId: 2 })))).toThrow("no peer of itself");
  });

  it("takes snapshots that do not say who sends them from builds before version 3 only, which it knows from their streams", () => {
    const unsaid = InstallSnapshotRequest.fromPartial({ header: { from: 1, to: 2 } });
    const { door: own } = door(1);
    expect(() => own.checkSender(unsaid)).toThrow("the first part of a snapshot says hello");
    own.stream()(frame({ protocolMax: 2, clusterVersion: 1 }));
    expect(() => own.checkSender(unsaid)).not.toThrow();
    refusals.set(1, new MeshError("MEMBER_REMOVED", "node 1 was removed from the cluster"));
    expect(() => own.checkSender(unsaid)).toThrow("node 1 was removed");
    refusals.delete(1);
    own.stream()(frame({ protocolMax: 3, clusterVersion: 1 }));
    expect(() => own.checkSender(unsaid)).toThrow("the first part of a snapshot says hello");
  });

  it("closes behind who is removed while its stream is open", () => {
    const { door: own, seen } = door(2);
    const take = own.stream();
    take(frame({}));
    take(frame({}));
    expect(seen).toEqual([1]);
    refusals.set(1, new MeshError("MEMBER_REMOVED", "node 1 was removed from the cluster"));
    expect(() => take(frame({}))).toThrow("node 1 was removed");
    refusals.delete(1);
  });
});
