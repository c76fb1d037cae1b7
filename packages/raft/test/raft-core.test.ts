import { RaftMessageType } from "@statemesh/contract";
import type { LogEntry, RaftMessage } from "@statemesh/contract";
import { describe, expect, test } from "vitest";
import { encodeConfiguration, RaftCore, RaftInvariantError } from "../src/index.ts";
import type { RaftOptions } from "../src/index.ts";

const OPTIONS: RaftOptions = {
  groupId: 1, nodeId: 1, voters: [1, 2, 3], electionTicks: 10, heartbeatTicks: 1,
  maxInflightMessages: 16, maxInflightBytes: 1 << 20, maxMessageBytes: 1 << 20, maxUncommittedBytes: 1 << 20, random: () => 0,
};

const entry = (index: number, term: number): LogEntry => ({ index, term, kind: 0, data: new Uint8Array(1) });

function message(type: RaftMessageType, fields: Partial<RaftMessage>): RaftMessage {
  return {
    groupId: 1, type, from: 2, to: 1, term: 1, logIndex: 0, logTerm: 0, entries: [], commit: 0, reject: false, rejectHint: 0, context: 0, forced: false, quiesce: false,
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
    ["voters must be empty", { joining: true }],
    ["leaseReads needs checkQuorum", { leaseReads: true, checkQuorum: false }],
    ["leaseReads needs electionTicks above", { leaseReads: true, leaseMarginTicks: 9 }],
    ["leaseMarginTicks", { leaseMarginTicks: 0 }],
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

describe("a configuration", () => {
  const meta = (index: number, term: number, voters: number[], learners: number[] = []) => ({ groupId: 1, index, term, voters, learners, size: 0, crc32c: 0 });

  /** A leader that committed its first entry. */
  function settledLeader(options: Partial<RaftOptions> = {}): RaftCore {
    const core = leader(options);
    core.step(message(RaftMessageType.APPEND_RESPONSE, { term: core.term, logIndex: 1 }));
    drain(core);
    return core;
  }

  test("that cannot be read is ignored with all that came along, and counted", () => {
    const core = new RaftCore(OPTIONS);
    core.step(message(RaftMessageType.APPEND, { entries: [entry(1, 1), { ...entry(2, 1), kind: 2 }] }));
    expect([core.lastIndex, core.status().malformedMessages]).toEqual([0, 1]);
  });

  test("holds for a follower from the moment that it has the entry, and no longer", () => {
    const core = new RaftCore(OPTIONS);
    const data = encodeConfiguration({ voters: [1, 2], outgoing: [1, 2, 3], learners: [4] });
    core.step(message(RaftMessageType.APPEND, { entries: [entry(1, 1), { ...entry(2, 1), kind: 2, data }] }));
    expect(core.configuration).toEqual({ voters: [1, 2], outgoing: [1, 2, 3], learners: [4] });
    core.step(message(RaftMessageType.APPEND, { term: 2, logIndex: 1, logTerm: 1, entries: [entry(2, 2)] }));
    expect(core.configuration).toEqual({ voters: [1, 2, 3], outgoing: [], learners: [] });
    expect(core.configurationIndex).toBe(0);
  });

  test("is what a snapshot has to carry, else the node stops", () => {
    const core = settledLeader();
    expect(core.proposeConfiguration({ voters: [1, 2, 3], learners: [4] })).toEqual({ ok: true, index: 2, term: 1 });
    drain(core);
    core.step(message(RaftMessageType.APPEND_RESPONSE, { term: 1, logIndex: 2 }));
    drain(core);
    expect(core.snapshotConfiguration(1)).toEqual({ voters: [1, 2, 3], outgoing: [], learners: [] });
    expect(core.snapshotConfiguration(2)?.learners).toEqual([4]);
    expect(() => {
      core.compact(1, meta(2, 1, [1, 2, 3]));
    }).toThrow("carries the configuration at its index");
  });

  test("of a snapshot without voters is the bootstrap's, and no other's", () => {
    const core = new RaftCore(OPTIONS);
    const snapshot = message(RaftMessageType.SNAPSHOT, { logIndex: 5, logTerm: 1 });
    expect(core.stepSnapshot(meta(5, 1, [2, 3]), snapshot)).toBe(true);
    core.persisted(core.ready().sequence);
    core.applied(5);
    expect(core.voters).toEqual([2, 3]);
    expect(core.stepSnapshot(meta(9, 1, []), { ...snapshot, logIndex: 9 })).toBe(false);
    expect(core.status().malformedMessages).toBe(1);
  });

  test("that leaves the leader alone answers the reads that waited for others", () => {
    const core = settledLeader();
    core.readIndex(1);
    drain(core);
    core.proposeConfiguration({ voters: [1], learners: [] });
    core.readIndex(2);
    drain(core);
    const states = (): number[] => core.ready().readStates.map(({ context }) => context);
    core.step(message(RaftMessageType.APPEND_RESPONSE, { term: 1, logIndex: 2 }));
    expect(core.configuration).toEqual({ voters: [1], outgoing: [], learners: [] });
    expect(states()).toEqual([1, 2]);
  });

  test("takes no learner for a leader, and gives it no vote", () => {
    const core = settledLeader();
    core.proposeConfiguration({ voters: [1, 2, 3], learners: [4] });
    drain(core);
    expect(core.transferLeadership(4)).toBe("unknown_peer");
    core.step(message(RaftMessageType.APPEND_RESPONSE, { from: 4, term: 1, logIndex: 2 }));
    expect(core.commitIndex).toBe(1);
    expect([core.learnerCaughtUp(4), core.learnerCaughtUp(3)]).toEqual([true, false]);
  });

  test("a learner that heard nobody for an election timeout votes; it does not take its own patience for news", () => {
    const core = new RaftCore({ ...OPTIONS, nodeId: 4, voters: [1, 2, 3], restored: { hardState: { term: 1, vote: 0, commit: 1 }, entries: [entry(1, 1)], applied: 0 } });
    core.step(message(RaftMessageType.HEARTBEAT, { to: 4, commit: 1 }));
    for (let ticks = 0; ticks < 30; ticks++) core.tick();
    drain(core);
    core.step(message(RaftMessageType.PRE_VOTE, { to: 4, term: 2, logIndex: 1, logTerm: 1 }));
    expect(drain(core)).toMatchObject([{ type: RaftMessageType.PRE_VOTE_RESPONSE, reject: false }]);
  });

  test("unknown to a node that joins: it waits", () => {
    const core = new RaftCore({ ...OPTIONS, voters: [], joining: true });
    for (let ticks = 0; ticks < 100; ticks++) core.tick();
    expect([core.role, core.hasReady(), core.voters, core.snapshotConfiguration(0)]).toEqual(["follower", false, [], undefined]);
  });
});

describe("a lease", () => {
  const LEASES: Partial<RaftOptions> = { leaseReads: true, voters: [1, 2, 3] };

  /** Leads, committed its first entry, and had one heartbeat of this tick answered by node 2. */
  function leaseholder(): RaftCore {
    const core = new RaftCore({ ...OPTIONS, ...LEASES });
    while (core.role === "follower") core.tick();
    drain(core);
    core.step(message(RaftMessageType.PRE_VOTE_RESPONSE, { term: 1 }));
    drain(core);
    core.step(message(RaftMessageType.VOTE_RESPONSE, { term: 1 }));
    drain(core);
    core.step(message(RaftMessageType.APPEND_RESPONSE, { term: 1, logIndex: 1 }));
    core.tick();
    const round = drain(core).find(({ type }) => type === RaftMessageType.HEARTBEAT)!.context;
    core.step(message(RaftMessageType.HEARTBEAT_RESPONSE, { term: 1, context: round }));
    return core;
  }

  test("is an election timeout less the margin, from the tick that sent the heartbeat", () => {
    const core = leaseholder();
    const left: number[] = [];
    for (let ticks = 0; ticks < 10; ticks++, core.tick()) left.push(core.status().leaseTicks);
    expect(left).toEqual([8, 7, 6, 5, 4, 3, 2, 1, 0, 0]);
  });

  test("ends with the office, at once", () => {
    const core = leaseholder();
    core.step(message(RaftMessageType.APPEND_RESPONSE, { term: 2, reject: true }));
    expect([core.role, core.status().leaseTicks, core.readIndex(1)]).toEqual(["follower", 0, "not_leader"]);
  });

  test("is kept by a voter whatever becomes of its term, except on the leader's own request", () => {
    const core = new RaftCore({ ...OPTIONS, ...LEASES });
    for (let ticks = 0; ticks < 20; ticks++) core.tick();
    drain(core);
    core.step(message(RaftMessageType.HEARTBEAT, { term: 3 }));
    core.step(message(RaftMessageType.APPEND_RESPONSE, { from: 3, term: 5, reject: true }));
    drain(core);
    expect([core.term, core.leader]).toEqual([5, 0]);
    for (const type of [RaftMessageType.PRE_VOTE, RaftMessageType.VOTE]) core.step(message(type, { from: 3, term: 6 }));
    core.step(message(RaftMessageType.VOTE, { from: 3, term: 5 }));
    core.campaign();
    expect([drain(core), core.term]).toEqual([[], 5]);
    core.step(message(RaftMessageType.VOTE, { from: 3, term: 6, forced: true }));
    expect(drain(core)).toMatchObject([{ type: RaftMessageType.VOTE_RESPONSE, reject: false }]);
    const other = new RaftCore({ ...OPTIONS, ...LEASES });
    other.step(message(RaftMessageType.HEARTBEAT, { term: 3 }));
    for (let ticks = 0; ticks < 10; ticks++) other.tick();
    drain(other);
    other.step(message(RaftMessageType.VOTE, { from: 3, term: 6 }));
    expect(drain(other)).toMatchObject([{ type: RaftMessageType.VOTE_RESPONSE, reject: false }]);
  });
});
