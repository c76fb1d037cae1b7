// What callers of a node hear while it is on the losing side of a partition.
import { type Decision, type EventualUpdate, type MeshError, type OperationError, Outcome, ReadLevel, ReadRequest, type ReadResponse } from "@statemesh/contract";
import { commandOf, read } from "@statemesh/mesh";
import { describe, expect, it } from "vitest";
import { mint } from "./operations.ts";
import { VirtualCluster, isDecision } from "./virtual-cluster.ts";

const SUSPICION_MS = 1_500;
const TICK_MS = 50;

function ready(nodes = 3): VirtualCluster {
  const cluster = new VirtualCluster({ nodes });
  cluster.settle();
  cluster.register(1, 2);
  return cluster;
}

/** Cuts nodes off that lead nothing. */
function cutOff(cluster: VirtualCluster, count: number): number[] {
  const leaders = new Set(Array.from({ length: cluster.groups + 1 }, (_, groupId) => cluster.leaderOf(groupId)));
  const losing = cluster.members.filter((id) => !leaders.has(id)).slice(0, count);
  expect(losing).toHaveLength(count);
  cluster.cut(losing, cluster.members.filter((id) => !losing.includes(id)));
  return losing;
}

function refusal(answer: Decision | OperationError | undefined): OperationError {
  if (answer === undefined || isDecision(answer)) throw new Error("a refusal was expected");
  return answer;
}

function oneLeader(cluster: VirtualCluster): void {
  for (let groupId = 0; groupId <= cluster.groups; groupId++) {
    const leader = cluster.leaderOf(groupId);
    if (leader !== 1) cluster.node(leader).group(groupId).transferLeadership(1);
  }
  expect(cluster.runUntil(() => Array.from({ length: cluster.groups + 1 }, (_, groupId) => cluster.leaderOf(groupId)).every((id) => id === 1))).toBe(true);
}

describe("a strong operation on the losing side", () => {
  it("is refused at once, with the side's size, and is decided on the other side", () => {
    const cluster = ready(5);
    oneLeader(cluster);
    const [first = 0] = cutOff(cluster, 2);
    cluster.run(SUSPICION_MS + 2 * TICK_MS);
    const operation = mint("m", 1, cluster.regionIn(1), "ada", "gold", 1);
    const answers = cluster.submit(first, [operation]);
    cluster.runUntil(() => answers.size === 1, TICK_MS);
    const error = refusal(answers.get("m"));
    expect(error).toMatchObject({ reason: "MINORITY_PARTITION", code: 14 });
    expect(Object.fromEntries(error.metadata)).toMatchObject({ side_size: "2", voters: "5", group_id: "1", retry_delay_ms: "500" });
    expect(cluster.execute(1, [operation]).get("m")).toMatchObject({ outcome: Outcome.ACCEPTED });
  });

  it("that came before the partition was certain is refused as soon as it is, not at its deadline", () => {
    const cluster = ready();
    oneLeader(cluster);
    const [node = 0] = cutOff(cluster, 1);
    // Its leader is forgotten before the partition is certain.
    cluster.runUntil(() => cluster.node(node).group(1).leader === 0);
    const answers = cluster.submit(node, [mint("m", 1, cluster.regionIn(1), "ada", "gold", 1)]);
    cluster.runUntil(() => answers.size === 1, SUSPICION_MS + 2 * TICK_MS);
    expect(refusal(answers.get("m")).reason).toBe("MINORITY_PARTITION");
  });

  it("that may have been proposed stays unknown", () => {
    const cluster = ready();
    oneLeader(cluster);
    cluster.cut([1], [2, 3]);
    const region = cluster.regionIn(1);
    const sent = cluster.submit(1, [mint("sent", 1, region, "ada", "gold", 1)], 6_000);
    cluster.run(SUSPICION_MS + 500);
    expect(sent.size === 0 || refusal(sent.get("sent")).reason === "OUTCOME_UNKNOWN").toBe(true);
    const late = cluster.submit(1, [mint("late", 1, region, "ada", "gold", 1)], 6_000);
    cluster.run(6_000);
    expect(refusal(sent.get("sent")).reason).toBe("OUTCOME_UNKNOWN");
    expect(refusal(late.get("late")).reason).toBe("MINORITY_PARTITION");
  });

  it("is not spoken of as a partition while there is an election that can be won", () => {
    const cluster = ready();
    oneLeader(cluster);
    cluster.kill(1);
    const answers = cluster.execute(2, [mint("m", 1, cluster.regionIn(1), "ada", "gold", 1)]);
    expect(answers.get("m")).toMatchObject({ outcome: Outcome.ACCEPTED });
    expect(cluster.node(2).cutOff.partition.losingSide(1)).toBeUndefined();
  });

  it("is taken again once the partition is over", () => {
    const cluster = ready();
    oneLeader(cluster);
    const [node = 0] = cutOff(cluster, 1);
    cluster.run(SUSPICION_MS + 500);
    expect(cluster.node(node).cutOff.partition.losingSide(1)).toMatchObject({ nodes: [node], voters: 3, viewEpoch: 0 });
    cluster.heal();
    cluster.runUntil(() => cluster.node(node).cutOff.partition.losingSide(1) === undefined, 2_000);
    expect(cluster.execute(node, [mint("m", 1, cluster.regionIn(1), "ada", "gold", 1)]).get("m")).toMatchObject({ outcome: Outcome.ACCEPTED });
  });
});

describe("a node on the losing side", () => {
  it("that was only held up itself does not take the others for lost", () => {
    const cluster = ready();
    oneLeader(cluster);
    cluster.hold(3);
    cluster.run(10_000);
    cluster.release(3);
    expect(cluster.node(3).cutOff.partition.losingSide(1)).toBeUndefined();
    cluster.run(TICK_MS);
    expect(cluster.node(3).cutOff.partition.losingSide(1)).toBeUndefined();
  });

  it("goes on with eventual updates and with stale reads, and refuses linearizable ones and the directory", () => {
    const cluster = ready();
    oneLeader(cluster);
    const region = cluster.regionIn(1);
    cluster.execute(1, [mint("before", 1, region, "ada", "gold", 7)]);
    cluster.converge();
    const [id = 0] = cutOff(cluster, 1);
    cluster.run(SUSPICION_MS + 500);
    const node = cluster.node(id);

    const update: EventualUpdate = { type: "creature_position", region, key: "wolf", value: Uint8Array.of(1), deleted: false, timestampMs: 0 };
    node.eventual.admit([update], 1, cluster.nowMs, node.options.policy);
    expect(node.eventual.publish([update], 1, cluster.nowMs, node.clock, node.options.policy)).toMatchObject({ updates: 1 });
    expect([...node.eventual.valuesOf(region, 10)].map(({ key }) => key)).toEqual(["wolf"]);

    const readAt = (level: ReadLevel): { response: ReadResponse | undefined; error: MeshError | undefined } => {
      const answer: { response: ReadResponse | undefined; error: MeshError | undefined } = { response: undefined, error: undefined };
      const reader = {
        state: (groupId: number) => node.group(groupId).state,
        barrier: (groupId: number, untilMs: number, done: (error: MeshError | undefined) => void) => node.barrier(groupId, untilMs, done),
        whenApplied: (groupId: number, index: number, untilMs: number, done: (error: MeshError | undefined) => void) => node.group(groupId).whenApplied(index, untilMs, done),
        stalenessMs: (groupId: number) => node.stalenessMs(groupId),
        eventualValues: (place: typeof region) => node.eventual.valuesOf(place),
      };
      read(reader, 1, region, ReadRequest.fromPartial({ region, level, accounts: ["ada"] }), cluster.nowMs + 5_000, (response, error) => Object.assign(answer, { response, error }));
      cluster.runUntil(() => answer.response !== undefined || answer.error !== undefined, 3 * TICK_MS);
      return answer;
    };
    expect(readAt(ReadLevel.EVENTUAL).response?.balances).toMatchObject([{ quantity: 7 }]);
    expect(readAt(ReadLevel.LINEARIZABLE).error?.reason).toBe("MINORITY_PARTITION");

    let refused: MeshError | undefined;
    const renew = commandOf({ $case: "directory", value: { command: { $case: "renew", value: { serverId: 1, leases: [], durationMs: 3_000, ttlMs: 10_000, load: undefined } }, nowMs: 0 } });
    node.relay.command(0, renew, cluster.nowMs + 5_000, (_, error) => {
      refused = error;
    });
    cluster.runUntil(() => refused !== undefined, 2 * TICK_MS);
    expect(refused?.reason).toBe("MINORITY_PARTITION");
  });
});
