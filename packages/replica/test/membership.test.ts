import { MemberChangeKind, MemberChangeState, MemberState } from "@statemesh/contract";
import { BeginMemberChange, Command, type CommandResult, type MembershipCommand } from "@statemesh/contract/log";
import { describe, expect, it } from "vitest";
import { GroupState, NewerVersionError, SnapshotLoader, encodeSnapshot } from "../src/index.ts";

const OPTIONS = { groupId: 0, decisionWindow: 8, touchCapacity: 8 };

class Cluster {
  state = new GroupState(OPTIONS);
  #index = 0;

  apply(body: NonNullable<MembershipCommand["command"]>): CommandResult {
    const data = Command.encode({ format: 2, command: { $case: "membership", value: { nowMs: 7, command: body } } }).finish();
    const { commandResult } = this.state.apply({ term: 1, index: ++this.#index, kind: 0, data });
    if (commandResult === undefined) throw new Error("no result");
    return commandResult;
  }

  begin(request: Parameters<typeof BeginMemberChange.fromPartial>[0]): CommandResult {
    return this.apply({ $case: "begin", value: BeginMemberChange.fromPartial(request) });
  }

  add(folderId: number, more: Parameters<typeof BeginMemberChange.fromPartial>[0] = {}, nodeId = 0): CommandResult {
    return this.begin({ kind: MemberChangeKind.ADD, added: { nodeId, address: `host-${folderId}:1`, folderId }, ...more });
  }

  remove(removedNodeId: number, changeId = ""): CommandResult {
    return this.begin({ kind: MemberChangeKind.REMOVE, removedNodeId, changeId });
  }

  finish(changeId: string): CommandResult {
    return this.apply({ $case: "finish", value: { changeId } });
  }

  get nodes(): number[] {
    return this.state.membership.members().map(({ nodeId }) => nodeId);
  }
}

function founded(...ids: number[]): Cluster {
  const cluster = new Cluster();
  cluster.apply({ $case: "raise", value: { version: 2 } });
  cluster.apply({ $case: "found", value: { members: ids.map((nodeId) => ({ nodeId, address: `host-${nodeId}:1`, folderId: nodeId, state: MemberState.UNSPECIFIED })) } });
  return cluster;
}

describe("members on record", () => {
  it("adds a node under the next id that was never used", () => {
    const cluster = founded(1, 2, 3);
    const { reason, memberChange } = cluster.add(40);
    expect(reason).toBe("");
    expect(memberChange).toMatchObject({ changeId: "add-4", added: { nodeId: 4, state: MemberState.JOINING }, votersBefore: [1, 2, 3], votersAfter: [1, 2, 3, 4] });
    expect(cluster.state.membership.voters()).toEqual([1, 2, 3, 4]);
    expect(cluster.finish("add-4").memberChange?.state).toBe(MemberChangeState.DONE);
    expect(cluster.state.membership.member(4)?.state).toBe(MemberState.VOTER);
    expect(cluster.state.membership.running).toBeUndefined();
  });

  it("knows a change again by its id and by what it is about", () => {
    const cluster = founded(1, 2, 3);
    cluster.add(40, { changeId: "mine" });
    expect(cluster.add(40, { changeId: "mine" }).memberChange?.changeId).toBe("mine");
    expect(cluster.add(40).memberChange?.changeId).toBe("mine");
    expect(cluster.remove(2, "mine").reason).toBe("REQUEST_ID_REUSED");
    cluster.finish("mine");
    expect(cluster.add(40, { changeId: "mine" }).memberChange?.state).toBe(MemberChangeState.DONE);
    expect(cluster.add(40).memberChange?.state).toBe(MemberChangeState.DONE);
    expect(cluster.nodes).toEqual([1, 2, 3, 4]);
  });

  it("refuses by name, and changes nothing", () => {
    const cluster = founded(1, 2, 3);
    const before = cluster.state.digest;
    expect(cluster.remove(9)).toMatchObject({ reason: "UNKNOWN_MEMBER", metadata: new Map([["node_id", "9"], ["members", "1,2,3"]]) });
    expect(cluster.add(2).reason).toBe("MEMBER_EXISTS");
    expect(cluster.add(40, { added: { nodeId: 0, address: "host-2:1", folderId: 40 } }).reason).toBe("MEMBER_EXISTS");
    expect(cluster.add(40, {}, 3)).toMatchObject({ reason: "MEMBER_ID_USED", metadata: new Map([["node_id", "3"], ["next_node_id", "4"]]) });
    expect(cluster.state.digest).toBe(before);
    cluster.remove(3);
    expect(cluster.add(40)).toMatchObject({ reason: "CHANGE_PENDING", metadata: new Map([["change_id", "remove-3"]]) });
    const last = founded(1);
    expect(last.remove(1).reason).toBe("LAST_MEMBER");
    const full = founded(1, 2, 3, 4, 5, 6, 7, 8, 9);
    expect(full.add(40).reason).toBe("TOO_MANY_MEMBERS");
    expect(full.begin({ kind: MemberChangeKind.REPLACE, removedNodeId: 9, added: { nodeId: 0, address: "host-9:1", folderId: 40 } }).reason).toBe("");
  });

  it("never gives an id again, not even that of the newest node", () => {
    const cluster = founded(1, 2, 3);
    cluster.remove(3);
    cluster.finish("remove-3");
    expect(cluster.nodes).toEqual([1, 2]);
    expect(cluster.remove(3).memberChange?.state).toBe(MemberChangeState.DONE);
    expect(cluster.add(40, {}, 3).reason).toBe("MEMBER_ID_USED");
    expect(cluster.add(40).memberChange?.added?.nodeId).toBe(4);
  });

  it("turns a replacement back", () => {
    const cluster = founded(1, 2, 3);
    const change = cluster.begin({ kind: MemberChangeKind.REPLACE, removedNodeId: 2, added: { nodeId: 0, address: "host-2:1", folderId: 40 } }).memberChange;
    expect(change).toMatchObject({ changeId: "replace-2-by-4", votersAfter: [1, 3, 4] });
    expect(cluster.state.membership.voters()).toEqual([1, 3, 4]);
    expect(cluster.apply({ $case: "cancel", value: { changeId: "replace-2-by-4", dryRun: false } }).memberChange?.state).toBe(MemberChangeState.CANCELLING);
    expect(cluster.state.membership.voters()).toEqual([1, 2, 3]);
    expect(cluster.nodes).toEqual([1, 2, 3, 4]);
    expect(cluster.finish("replace-2-by-4").memberChange?.state).toBe(MemberChangeState.CANCELLED);
    expect(cluster.nodes).toEqual([1, 2, 3]);
    expect(cluster.state.membership.members().every(({ state }) => state === MemberState.VOTER)).toBe(true);
    // The same wish again is a new change.
    expect(cluster.begin({ kind: MemberChangeKind.REPLACE, removedNodeId: 2, added: { nodeId: 0, address: "host-2:1", folderId: 40 } }).memberChange?.changeId).toBe("replace-2-by-5");
    expect(cluster.apply({ $case: "cancel", value: { changeId: "x", dryRun: false } }).reason).toBe("NOT_FOUND");
  });

  it("says that a change that is done cannot be cancelled", () => {
    const cluster = founded(1, 2, 3);
    cluster.add(40);
    cluster.finish("add-4");
    expect(cluster.apply({ $case: "cancel", value: { changeId: "add-4", dryRun: false } }).reason).toBe("CHANGE_DONE");
  });

  it("is whole in a snapshot", () => {
    const cluster = founded(1, 2, 3);
    for (let round = 0; round < 20; round++) {
      const changeId = cluster.add(100 + round).memberChange?.changeId ?? "";
      cluster.finish(changeId);
      cluster.remove(4 + round);
      cluster.finish(`remove-${4 + round}`);
    }
    cluster.add(999);
    expect(cluster.state.membership.changes.length).toBe(17);
    const loader = new SnapshotLoader(OPTIONS);
    for (const chunk of encodeSnapshot(cluster.state.capture())) loader.push(chunk);
    const loaded = loader.finish();
    expect(loaded.digest).toBe(cluster.state.digest);
    expect(loaded.membership.capture()).toEqual(cluster.state.membership.capture());
    const old = new SnapshotLoader({ ...OPTIONS, versions: { min: 1, max: 1 } });
    expect(() => [...encodeSnapshot(cluster.state.capture())].forEach((chunk) => old.push(chunk))).toThrow(NewerVersionError);
  });

  it("stops a replica that cannot read an entry, before it changed anything", () => {
    const old = new GroupState({ ...OPTIONS, versions: { min: 1, max: 1 } });
    const data = Command.encode({ format: 2, command: { $case: "membership", value: { nowMs: 0, command: { $case: "raise", value: { version: 2 } } } } }).finish();
    expect(() => old.apply({ term: 1, index: 1, kind: 0, data })).toThrow(/entry 1 of group 0 needs version 2, and this node reads up to version 1/);
    expect(old.appliedIndex).toBe(0);
  });
});
