import { MemberChangeKind, MemberState, View } from "@statemesh/contract";
import { type CommandResult, Command } from "@statemesh/contract/log";
import { describe, expect, it } from "vitest";
import { commandOf, encodeSnapshot, GroupState, type GroupStateOptions, NewerVersionError, SnapshotLoader } from "../src/index.ts";

const OPTIONS: GroupStateOptions = { groupId: 0, decisionWindow: 8, touchCapacity: 8 };

class Directory {
  readonly state: GroupState;

  constructor(options: GroupStateOptions = OPTIONS) {
    this.state = new GroupState(options);
    this.#put({ $case: "membership", value: { nowMs: 7, command: { $case: "raise", value: { version: 3 } } } });
    const members = [1, 2, 3].map((nodeId) => ({ nodeId, address: `host-${nodeId}:1`, folderId: nodeId, state: MemberState.UNSPECIFIED }));
    this.#put({ $case: "membership", value: { nowMs: 7, command: { $case: "found", value: { members } } } });
  }

  #put(body: NonNullable<Command["command"]>): CommandResult {
    const data = Command.encode(commandOf(body)).finish();
    const { commandResult } = this.state.apply({ term: 1, index: this.state.appliedIndex + 1, kind: 0, data });
    if (commandResult === undefined) throw new Error("no result");
    return commandResult;
  }

  view(view: Parameters<typeof View.fromPartial>[0]): CommandResult {
    return this.#put({ $case: "view", value: View.fromPartial({ atMs: 5, ...view }) });
  }

  addNode4(): void {
    const added = { nodeId: 4, address: "host-4:1", folderId: 4, state: MemberState.JOINING };
    this.#put({ $case: "membership", value: { nowMs: 7, command: { $case: "begin", value: { changeId: "", kind: MemberChangeKind.ADD, added, removedNodeId: 0, dryRun: false } } } });
  }
}

describe("views on record", () => {
  it("follow one another by one, with the votes of those who decide", () => {
    const directory = new Directory();
    expect(directory.view({ epoch: 1, alive: [1, 2, 3], votedBy: [2, 3] }).reason).toBe("");
    expect(directory.view({ epoch: 2, alive: [1, 2], removed: [3], votedBy: [1, 2] })).toMatchObject({ reason: "", position: { groupId: 0 } });
    expect(directory.state.views.view).toEqual({ epoch: 2, alive: [1, 2], removed: [3], votedBy: [1, 2], atMs: 5 });
  });

  it("of two for one epoch the first in the log counts, and a refused one changes nothing", () => {
    const directory = new Directory();
    directory.view({ epoch: 1, alive: [1, 2], votedBy: [1, 2] });
    const { digest } = directory.state;
    expect(directory.view({ epoch: 1, alive: [2, 3], votedBy: [2, 3] })).toMatchObject({ reason: "INVALID_FIELD", message: "view: epoch 1 does not follow 1" });
    expect(directory.view({ epoch: 2, alive: [3], votedBy: [3] }).message).toBe("view: nodes 3 cannot decide");
    expect(directory.view({ epoch: 2, alive: [1, 2, 9], votedBy: [1, 2] }).message).toBe("view: node 9 is not a member");
    expect(directory.state.views.view).toMatchObject({ epoch: 1, alive: [1, 2] });
    expect(directory.state.digest).toBe(digest);
  });

  it("while members change count by the voters before or after", () => {
    const directory = new Directory();
    directory.addNode4();
    expect(directory.view({ epoch: 1, alive: [2, 3, 4], votedBy: [2, 3] }).reason).toBe("");
    expect(directory.view({ epoch: 2, alive: [3, 4], votedBy: [3, 4] }).message).toBe("view: nodes 3, 4 cannot decide");
  });

  it("are in the snapshot, and in the digest", () => {
    const directory = new Directory();
    const before = directory.state.digest;
    directory.view({ epoch: 1, alive: [1, 2], removed: [3], votedBy: [1, 2] });
    expect(directory.state.digest).not.toBe(before);
    const loader = new SnapshotLoader(OPTIONS);
    for (const chunk of encodeSnapshot(directory.state.capture())) loader.push(chunk);
    expect(loader.finish().views.view).toEqual(directory.state.views.view);
  });

  it("cannot be read by version 2, neither from the log nor from a snapshot", () => {
    const old = new Directory({ ...OPTIONS, versions: { min: 1, max: 2 } });
    const { appliedIndex } = old.state;
    expect(() => old.view({ epoch: 1, alive: [1, 2], votedBy: [1, 2] })).toThrow(NewerVersionError);
    expect(old.state.appliedIndex).toBe(appliedIndex);
    const directory = new Directory();
    directory.view({ epoch: 1, alive: [1, 2], votedBy: [1, 2] });
    const loader = new SnapshotLoader({ ...OPTIONS, versions: { min: 1, max: 2 } });
    expect(() => {
      for (const chunk of encodeSnapshot(directory.state.capture())) loader.push(chunk);
    }).toThrow(NewerVersionError);
  });
});
