// What a node says must be so: how fresh a copy is, what became of an operation, how long a lease runs.
import { type MeshError, Outcome, RaftMessageType, ReadLevel, ReadRequest, type ReadResponse, TerrainModification_Mode } from "@statemesh/contract";
import { read } from "@statemesh/mesh";
import { commandOf } from "@statemesh/replica";
import { describe, expect, it } from "vitest";
import { PeerFrames } from "../src/peer-frames.ts";
import { Relay } from "../src/strong/relay.ts";
import { dig, mint, place } from "./operations.ts";
import { VirtualCluster, isDecision } from "./virtual-cluster.ts";

function ready(options: ConstructorParameters<typeof VirtualCluster>[0] = {}): VirtualCluster {
  const cluster = new VirtualCluster(options);
  cluster.settle();
  cluster.register(1, 2);
  return cluster;
}

function readAt(cluster: VirtualCluster, nodeId: number, fields: Partial<ReadRequest>, deadlineMs = 2_000) {
  const node = cluster.node(nodeId);
  const region = cluster.regionIn(1);
  const answers: { response: ReadResponse | undefined; error: MeshError | undefined }[] = [];
  const reader = {
    state: (id: number) => node.group(id).state,
    barrier: (id: number, untilMs: number, done: (error: MeshError | undefined) => void) => node.barrier(id, untilMs, done),
    whenApplied: (id: number, index: number, untilMs: number, done: (error: MeshError | undefined) => void) => node.group(id).whenApplied(index, untilMs, done),
    stalenessMs: (id: number) => node.stalenessMs(id),
    eventualValues: () => [],
  };
  const request = { ...ReadRequest.fromPartial({}), region, accounts: ["ada"], ...fields };
  read(reader, 1, region, request, cluster.nowMs + deadlineMs, (response, error) => answers.push({ response, error }));
  return answers;
}

describe("a read of bounded staleness", () => {
  it("is never answered from a copy that heartbeats reach but entries do not", () => {
    const cluster = ready();
    const region = cluster.regionIn(1);
    const leader = cluster.leaderOf(1);
    const [lagging = 0, other = 0] = cluster.members.filter((id) => id !== leader);
    cluster.execute(leader, [mint("a", 1, region, "ada", "gold", 1)]);
    const first = readAt(cluster, lagging, { level: ReadLevel.BOUNDED_STALENESS, maxStalenessMs: 100 });
    expect(cluster.runUntil(() => first.length === 1)).toBe(true);
    expect(first[0]?.response?.balances).toMatchObject([{ quantity: 1 }]);
    cluster.cut([lagging], [leader, other]);
    cluster.execute(leader, [mint("b", 1, region, "ada", "gold", 1)]);
    cluster.run(200);
    // As a leader says it to a follower that has not acknowledged the newest entries.
    const group = cluster.node(lagging).group(1);
    const { core } = cluster.node(leader).group(1);
    const heartbeat = { groupId: 1, type: RaftMessageType.HEARTBEAT, from: leader, to: lagging, term: core.term, logIndex: 0, logTerm: 0, entries: [], commit: group.state.appliedIndex, reject: false, rejectHint: 0, context: 0, forced: false, quiesce: false };
    cluster.node(lagging).onFrame(leader, { hello: undefined, raft: [heartbeat], calls: [], answers: [], deltas: [], causal: [], heartbeats: [], tentative: [] });
    expect(cluster.node(lagging).stalenessMs(1)).toBeGreaterThanOrEqual(200);
    const second = readAt(cluster, lagging, { level: ReadLevel.BOUNDED_STALENESS, maxStalenessMs: 100 });
    cluster.run(3_000);
    expect(second).toMatchObject([{ response: undefined }]);
  });

  it("is answered at once from a copy that was fresh a moment ago", () => {
    const cluster = ready();
    const follower = cluster.members.find((id) => id !== cluster.leaderOf(1)) ?? 0;
    const first = readAt(cluster, follower, { level: ReadLevel.BOUNDED_STALENESS, maxStalenessMs: 1_000 });
    expect(cluster.runUntil(() => first.length === 1)).toBe(true);
    expect(readAt(cluster, follower, { level: ReadLevel.BOUNDED_STALENESS, maxStalenessMs: 1_000 })).toHaveLength(1);
  });
});

describe("a read of a session", () => {
  it("that asks for more than there is ends with its deadline, and leaves nothing behind", () => {
    const cluster = ready();
    const answers = readAt(cluster, 1, { level: ReadLevel.SESSION, sessionPositions: [{ groupId: 1, term: 1, index: 1_000_000 }] });
    cluster.run(1_000);
    expect(answers).toEqual([]);
    cluster.run(2_000);
    expect(answers).toMatchObject([{ response: undefined, error: { reason: "NO_QUORUM" } }]);
    expect(cluster.node(1).group(1).waitingForApply).toBe(0);
  });
});

describe("an answer", () => {
  it("is not a refusal where an earlier try may have been done", () => {
    const cluster = ready();
    const region = cluster.regionIn(1);
    const leader = cluster.leaderOf(1);
    const edge = cluster.members.find((id) => id !== leader) ?? 0;
    const answers = cluster.submit(edge, [mint("a", 1, region, "ada", "gold", 1)], 5_000);
    cluster.run(0);
    // On its way to the leader the connection breaks; when it is back, the region is another's.
    cluster.node(edge).peerDisconnected(leader);
    cluster.node(leader).group(1).command(commandOf({ $case: "fence", value: { region, epoch: 1, ownerServerId: 2 } }), () => undefined);
    cluster.run(10);
    cluster.node(edge).peerConnected(leader);
    cluster.runUntil(() => answers.size === 1);
    const answer = answers.get("a");
    // Where it was decided before the fence the retry finds that; else nobody can say that it was not done.
    expect(isDecision(answer) || answer?.reason === "OUTCOME_UNKNOWN").toBe(true);
  });

  it("of an operation is not that of another with the same id in the same message", () => {
    const cluster = ready();
    const region = cluster.regionIn(1);
    const edge = cluster.members.find((id) => id !== cluster.leaderOf(1)) ?? 0;
    const node = cluster.node(edge);
    const heard = new Map<string, string>();
    const callers = ["ada", "bob"].map((player) => ({
      decided: () => heard.set(player, "decided"),
      failed: (_: string, error: { reason: string }) => heard.set(player, error.reason),
    }));
    for (const [i, player] of ["ada", "bob"].entries()) {
      const caller = callers[i];
      if (caller !== undefined) node.edge.execute([mint("same", 1, region, player, "gold", 1)], cluster.nowMs + 5_000, caller);
    }
    node.dirty();
    cluster.runUntil(() => heard.size === 2);
    expect(Object.fromEntries(heard)).toEqual({ ada: "decided", bob: "OPERATION_ID_REUSED" });
  });

  it("that was lost because the peer's own way back broke is asked for again", () => {
    const cluster = ready();
    const region = cluster.regionIn(1);
    const leader = cluster.leaderOf(1);
    const edge = cluster.members.find((id) => id !== leader) ?? 0;
    const answers = cluster.submit(edge, [mint("a", 1, region, "ada", "gold", 1)], 8_000);
    cluster.run(2);
    cluster.loseFrames(leader, edge, true);
    cluster.run(50);
    cluster.loseFrames(leader, edge, false);
    cluster.node(edge).peerReturned(leader);
    expect(cluster.runUntil(() => answers.size === 1, 1_000)).toBe(true);
    expect(isDecision(answers.get("a"))).toBe(true);
  });
});

describe("a lease", () => {
  it("that was renewed just before its end does not end while the renewal is on its way through the log", () => {
    const cluster = ready();
    const region = cluster.regionIn(1);
    cluster.directory(1, { $case: "acquire", value: { serverId: 1, region, durationMs: 3_000 } });
    const leader = cluster.leaderOf(0);
    const node = cluster.node(leader);
    cluster.runUntil(() => node.authority.leases.remainingMs(region, cluster.nowMs) <= 1);
    expect(node.directory.directory.lease(region)?.serverId).toBe(1);
    let renewed = 0;
    node.relay.command(
      0,
      commandOf({ $case: "directory", value: { command: { $case: "renew", value: { serverId: 1, leases: [{ region, epoch: 1, players: 0 }], durationMs: 3_000, ttlMs: 10_000, load: undefined } }, nowMs: 0 } }),
      cluster.nowMs + 5_000,
      (result) => (renewed = result?.renewed.length ?? -1),
    );
    node.dirty();
    cluster.run(0);
    // Time goes on before the entry is committed, and the leader looks.
    cluster.nowMs += 2;
    node.tick();
    cluster.runUntil(() => renewed !== 0);
    expect(renewed).toBe(1);
    cluster.run(1_000);
    expect(node.directory.directory.lease(region)).toMatchObject({ serverId: 1, epoch: 1 });
  });

  it("ends all the same where somebody else tries to renew it", () => {
    const cluster = ready();
    const region = cluster.regionIn(1);
    cluster.directory(1, { $case: "acquire", value: { serverId: 1, region, durationMs: 3_000 } });
    for (let i = 0; i < 10; i++) {
      cluster.directory(1, { $case: "renew", value: { serverId: 2, leases: [{ region, epoch: 1, players: 0 }], durationMs: 3_000, ttlMs: 10_000, load: undefined } });
      cluster.run(400);
    }
    expect(cluster.node(1).directory.directory.lease(region)?.serverId).toBe(0);
  });
});

describe("an answer to an earlier start of a node", () => {
  it("is not taken for the answer to a call of this one", () => {
    const idsOf = (incarnation: number): number[] => {
      const ids: number[] = [];
      const relay = new Relay({
        nodeId: 1,
        incarnation,
        monotonicMs: () => 0,
        leaderOf: () => 2,
        isConnected: () => true,
        losingSide: () => undefined,
        sendCall: (_, { callId }) => ids.push(callId),
        localCommand: () => undefined,
        localReadIndex: () => undefined,
      });
      for (let i = 0; i < 3; i++) relay.readIndex(1, 1_000, () => undefined);
      relay.flush();
      return ids;
    };
    // Seconds since 2020, as the service numbers them: a year of starts, none with an id of another.
    const starts = [217_000_000, 217_000_001, 248_000_000, 2 ** 32 - 1];
    const ids = starts.flatMap(idsOf);
    expect(new Set(ids).size).toBe(3 * starts.length);
    expect(ids.every((id) => Number.isSafeInteger(id) && id > 2 ** 52)).toBe(true);
  });
});

describe("a frame to a peer", () => {
  it("stays within what the peer takes: a large entry does not travel with what waits before it", () => {
    const sizes: number[] = [];
    const frames = new PeerFrames((frame) => sizes.push(frame.raft.reduce((sum, { entries }) => sum + entries.reduce((all, { data }) => all + data.length, 0), 0)));
    const message = (bytes: number) => ({ groupId: 1, type: RaftMessageType.APPEND, from: 1, to: 2, term: 1, logIndex: 0, logTerm: 0, entries: [{ term: 1, index: 1, kind: 0, data: new Uint8Array(bytes) }], commit: 0, reject: false, rejectHint: 0, context: 0, forced: false, quiesce: false });
    frames.raft(message(1_900_000));
    frames.raft(message(3_000_000));
    frames.flush();
    expect(sizes).toEqual([1_900_000, 3_000_000]);
  });
});

describe("a decision", () => {
  it("that was forgotten is not made again, also where the claimed time was ahead of the receiver's clock", () => {
    const cluster = ready({ node: { decisionWindow: 8 } });
    const region = cluster.regionIn(1);
    const leader = cluster.leaderOf(1);
    const ahead = { ...mint("ahead", 1, region, "ada", "gold", 1), timestampMs: Math.floor(cluster.nowMs) + 400 };
    expect(isDecision(cluster.execute(leader, [ahead]).get("ahead"))).toBe(true);
    cluster.execute(leader, Array.from({ length: 24 }, (_, i) => mint(`m${i}`, 1, region, "bob", "gold", 1)));
    expect(cluster.execute(leader, [ahead]).get("ahead")).toMatchObject({ reason: "DECISION_FORGOTTEN" });
    expect(cluster.node(leader).group(1).state.ledger.balance("player:ada", "gold")).toBe(1);
  });

  it("sees the one edit in force that refuses, among many that would merge", () => {
    const cluster = ready();
    const region = cluster.regionIn(1);
    const leader = cluster.leaderOf(1);
    cluster.execute(leader, Array.from({ length: 100 }, (_, i) => dig(`d${i}`, 1, region, [0, 0, 0])));
    cluster.execute(leader, [dig("paint", 1, region, [0, 0, 0], TerrainModification_Mode.PAINT)]);
    const late = dig("late", 2, region, [0, 0, 0]);
    // Its server has seen nothing of all that.
    if (late.body?.$case === "terrainModification") late.body.value.observedVersion = 1;
    expect(cluster.execute(leader, [late]).get("late")).toMatchObject({ outcome: Outcome.REJECTED, winnerOperationId: "paint" });
  });
});

describe("leadership", () => {
  it("comes and goes, and every node that has it decides", () => {
    const cluster = ready();
    const region = cluster.regionIn(1);
    for (let round = 0; round < 4; round++) {
      const leader = cluster.leaderOf(1);
      cluster.node(leader).leadership.stepDown();
      cluster.run(500);
      cluster.settle();
      expect(isDecision(cluster.execute(1, [place(`p${round}`, 1, region, [round * 10, 0, 0])]).get(`p${round}`))).toBe(true);
    }
    cluster.converge();
  });
});
