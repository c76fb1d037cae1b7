import { RaftMessageType } from "@statemesh/contract";
import type { LogEntry, RaftMessage } from "@statemesh/contract";
import { describe, expect, test } from "vitest";
import { RaftCore, RaftInvariantError } from "../src/index.ts";
import type { RaftOptions } from "../src/index.ts";

const OPTIONS: RaftOptions = {
  groupId: 1, nodeId: 1, voters: [1, 2, 3], electionTicks: 10, heartbeatTicks: 1,
  maxInflightMessages: 16, maxInflightBytes: 1 << 20, maxMessageBytes: 1 << 20, maxUncommittedBytes: 1 << 20, random: () => 0,
};

const entry = (index: number, term: number): LogEntry => ({ index, term, kind: 0, data: new Uint8Array(1) });

function message(type: RaftMessageType, fields: Partial<RaftMessage>): RaftMessage {
  return {
    groupId: 1, type, from: 2, to: 1, term: 1, logIndex: 0, logTerm: 0, entries: [], commit: 0, reject: false, rejectHint: 0, context: 0, forced: false,
    ...fields,
  };
}

/** Takes everything that is ready, all of it durable at once. */
function drain(core: RaftCore): RaftMessage[] {
  const sent: RaftMessage[] = [];
  while (core.hasReady()) {
    const ready = core.ready();
    core.persisted(ready.sequence);
    sent.push(...ready.messages, ...ready.messagesAfterPersist);
    const last = ready.committed.at(-1);
    if (last !== undefined) core.applied(last.index);
  }
  return sent;
}

function leader(options: Partial<RaftOptions> = {}): RaftCore {
  const core = new RaftCore({ ...OPTIONS, ...options });
  core.campaign();
  drain(core);
  core.step(message(RaftMessageType.PRE_VOTE_RESPONSE, { term: core.term + 1 }));
  drain(core);
  core.step(message(RaftMessageType.VOTE_RESPONSE, { term: core.term }));
  drain(core);
  expect(core.role).toBe("leader");
  return core;
}

describe("options", () => {
  const wrong: [string, Partial<RaftOptions>][] = [
    ["groupId", { groupId: -1 }],
    ["nodeId", { nodeId: 0 }],
    ["electionTicks", { electionTicks: 1.5 }],
    ["electionTicks must be above heartbeatTicks", { electionTicks: 3, heartbeatTicks: 3 }],
    ["maxMessageBytes", { maxMessageBytes: 0 }],
    ["voters", { voters: [] }],
    ["voters", { voters: [1, 0] }],
  ];
  test.each(wrong)("%s out of its range is refused by name", (name, options) => {
    expect(() => new RaftCore({ ...OPTIONS, ...options })).toThrow(name);
  });

  test("a restored state that cannot be is refused", () => {
    const restore = (entries: LogEntry[], hardState = { term: 1, vote: 0, commit: 0 }, applied = 0) => (): RaftCore =>
      new RaftCore({ ...OPTIONS, restored: { hardState, entries, applied } });
    expect(restore([entry(2, 1)])).toThrow("starts at index 1");
    expect(restore([entry(1, 1), entry(3, 1)])).toThrow("no gap");
    expect(restore([entry(1, 2), entry(2, 1)])).toThrow("terms never fall");
    expect(restore([entry(1, 2)])).toThrow("term is at least");
    expect(restore([entry(1, 1)], { term: 1, vote: 0, commit: 2 })).toThrow("committed <= last");
    expect(restore([entry(1, 1)], { term: 1, vote: 0, commit: 0 }, 3)).toThrow(RaftInvariantError);
  });

  test("a restored log may begin before its snapshot, at it, or behind it", () => {
    const snapshot = { groupId: 1, index: 5, term: 2, voters: [1, 2, 3], learners: [], size: 0, crc32c: 0 };
    const restore = (entries: LogEntry[]): RaftCore =>
      new RaftCore({ ...OPTIONS, restored: { hardState: { term: 3, vote: 0, commit: 5 }, snapshot, entries, applied: 5 } });
    const before = restore([entry(3, 1), entry(4, 2), entry(5, 2), entry(6, 3)]);
    expect([before.firstIndex, before.lastIndex, before.commitIndex]).toEqual([4, 6, 5]);
    const behind = restore([entry(6, 3)]);
    expect([behind.firstIndex, behind.lastIndex, behind.termOf(5)]).toEqual([6, 6, 2]);
    const other = restore([entry(4, 1), entry(5, 1), entry(6, 1)]);
    expect([other.firstIndex, other.lastIndex], "a log that parted from the snapshot is void").toEqual([6, 5]);
    expect(() => restore([entry(8, 3)])).toThrow("no gap between the snapshot");
  });
});

describe("messages that no correct peer sends", () => {
  test("a message of another group or node is a defect of the transport", () => {
    const core = new RaftCore(OPTIONS);
    expect(() => {
      core.step(message(RaftMessageType.HEARTBEAT, { groupId: 2 }));
    }).toThrow(RaftInvariantError);
    expect(() => {
      core.step(message(RaftMessageType.HEARTBEAT, { to: 3 }));
    }).toThrow(RaftInvariantError);
  });

  test("entries with a gap, a falling term or a term of the future are ignored and counted", () => {
    const core = new RaftCore(OPTIONS);
    for (const entries of [[entry(2, 1)], [entry(1, 1), entry(3, 1)], [entry(1, 2)]]) core.step(message(RaftMessageType.APPEND, { entries }));
    expect(core.lastIndex).toBe(0);
    expect(core.status().malformedMessages).toBe(3);
  });

  test("a heartbeat that commits what the log does not hold commits nothing", () => {
    const core = new RaftCore(OPTIONS);
    core.step(message(RaftMessageType.APPEND, { entries: [entry(1, 1)] }));
    core.step(message(RaftMessageType.HEARTBEAT, { commit: 9 }));
    expect(core.commitIndex).toBe(0);
    expect(core.status().malformedMessages).toBe(1);
  });

  test("an acknowledgement of what was never sent, or from a stranger, changes nothing", () => {
    const core = leader();
    core.step(message(RaftMessageType.APPEND_RESPONSE, { logIndex: 99 }));
    core.step(message(RaftMessageType.APPEND_RESPONSE, { from: 9, logIndex: 1 }));
    expect(core.commitIndex).toBe(0);
  });

  test("an append of the same term from another leader stops the node: election safety is gone", () => {
    const core = leader();
    expect(() => {
      core.step(message(RaftMessageType.APPEND, { term: core.term }));
    }).toThrow("a term has one leader");
  });
});

describe("a follower", () => {
  test("commits no further than what the leader's message verified", () => {
    const core = new RaftCore({ ...OPTIONS, restored: { hardState: { term: 1, vote: 0, commit: 0 }, entries: [entry(1, 1), entry(2, 1), entry(3, 1)], applied: 0 } });
    core.step(message(RaftMessageType.APPEND, { term: 2, logIndex: 0, entries: [entry(1, 1)], commit: 3 }));
    expect(core.commitIndex, "entries 2 and 3 may differ from the leader's").toBe(1);
    expect(core.lastIndex, "what does not conflict stays").toBe(3);
  });

  test("never cuts off entries that an old, reordered append repeats", () => {
    const core = new RaftCore(OPTIONS);
    core.step(message(RaftMessageType.APPEND, { entries: [entry(1, 1), entry(2, 1), entry(3, 1)] }));
    core.step(message(RaftMessageType.APPEND, { entries: [entry(1, 1)] }));
    expect(core.lastIndex).toBe(3);
  });

  test("ignores answers of older terms", () => {
    const core = leader({ restored: { hardState: { term: 4, vote: 0, commit: 0 }, entries: [entry(1, 1)], applied: 0 } });
    core.step(message(RaftMessageType.APPEND_RESPONSE, { term: 2, logIndex: 2 }));
    expect(core.commitIndex).toBe(0);
    core.step(message(RaftMessageType.APPEND_RESPONSE, { term: core.term, logIndex: 2 }));
    expect(core.commitIndex).toBe(2);
  });
});

describe("a leader", () => {
  test("spreads election timeouts over [electionTicks, 2 * electionTicks)", () => {
    const ticksToCampaign = (random: number): number => {
      const core = new RaftCore({ ...OPTIONS, random: () => random });
      let ticks = 0;
      for (; core.role === "follower"; ticks++) core.tick();
      return ticks;
    };
    expect(ticksToCampaign(0)).toBe(10);
    expect(ticksToCampaign(0.999)).toBe(19);
  });

  test("refuses reads above its limit and takes them again when they are answered", () => {
    const core = leader({ maxPendingReads: 2 });
    expect(core.readIndex(1)).toBe("not_ready");
    core.step(message(RaftMessageType.APPEND_RESPONSE, { logIndex: 1, term: core.term }));
    expect([core.readIndex(1), core.readIndex(2), core.readIndex(3)]).toEqual(["ok", "ok", "overloaded"]);
    drain(core);
    core.step(message(RaftMessageType.HEARTBEAT_RESPONSE, { term: core.term, context: 1 }));
    expect(core.ready().readStates).toEqual([{ context: 1, index: 1 }, { context: 2, index: 1 }]);
    expect(core.readIndex(4)).toBe("ok");
  });

  test("hands out committed entries in bounded portions", () => {
    const core = leader({ maxCommittedBytes: 100 });
    for (let n = 0; n < 5; n++) core.propose(new Uint8Array(10));
    core.ready();
    core.step(message(RaftMessageType.APPEND_RESPONSE, { logIndex: 6, term: core.term }));
    core.persisted(core.ready().sequence);
    const portions: number[] = [];
    for (let ready = core.ready(); ready.committed.length > 0; ready = core.ready()) portions.push(ready.committed.length);
    expect(portions.every((count) => count <= 3)).toBe(true);
    expect(core.hasReady()).toBe(false);
  });

  test("gives committed entries to readers, and none that are compacted away", () => {
    const core = leader();
    for (let n = 0; n < 5; n++) core.propose(new Uint8Array(10));
    drain(core);
    core.step(message(RaftMessageType.APPEND_RESPONSE, { logIndex: 4, term: core.term }));
    drain(core);
    expect(core.entries(1, 99, Infinity).map(({ index }) => index)).toEqual([1, 2, 3, 4]);
    expect(core.entries(2, 3, 1).map(({ index }) => index)).toEqual([2]);
    core.compact(2, { groupId: 1, index: 3, term: core.term, voters: [1, 2, 3], learners: [], size: 0, crc32c: 0 });
    expect(core.entries(2, 99, Infinity)).toEqual([]);
    expect(core.entries(3, 99, Infinity).map(({ index }) => index)).toEqual([3, 4]);
    expect(() => {
      core.compact(5, { groupId: 1, index: 5, term: core.term, voters: [], learners: [], size: 0, crc32c: 0 });
    }).toThrow("a snapshot holds only what was applied");
  });

  test("a Ready never changes after it was handed out", () => {
    const core = leader();
    drain(core);
    const ready = core.ready();
    core.tick();
    core.propose(new Uint8Array(1));
    core.step(message(RaftMessageType.APPEND, { term: core.term + 1 }));
    core.ready();
    expect([ready.messages, ready.messagesAfterPersist, ready.entries, ready.readStates, ready.abortedReads].flat()).toEqual([]);
  });
});
