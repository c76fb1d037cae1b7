import { ConsistencyServiceService, MeshError, ReadSnapshotRequest } from "@statemesh/contract";
import { call } from "@statemesh/service";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { OperationMix } from "../../tools/bench-load.ts";
import { openLoop } from "../../tools/open-loop.ts";
import { type Cluster, regionsOfGroup, startCluster } from "./cluster.ts";

const GREEDY = 1;
const POLITE = 2;

const SNAPSHOTS = 400;

describe("a crowd that reads snapshots", () => {
  let cluster: Cluster;

  beforeAll(async () => {
    cluster = await startCluster({ groups: 1 });
  });

  afterAll(async () => cluster.close());

  test("shares places of its own: the rest is refused with a delay, and operations are decided meanwhile", async () => {
    const polite = await cluster.server(POLITE);
    const [region] = regionsOfGroup(1, 1, 1);
    const leader = await cluster.leaderOf(1);
    const { consistency } = cluster.stubs(leader.clientAddress);
    const read = async (): Promise<string> =>
      await call(consistency, ConsistencyServiceService.readSnapshot, ReadSnapshotRequest.fromPartial({ parts: [{ region }] }), { timeoutMs: 20_000, writes: false }).then(
        () => "answered",
        (error: unknown) => {
          const { reason, retryDelayMs } = MeshError.from(error);
          return (retryDelayMs ?? 0) > 0 ? `${reason} with a delay` : reason;
        },
      );
    const crowd = Promise.all(Array.from({ length: SNAPSHOTS }, read));
    await polite.execute(new OperationMix(POLITE).next(regionsOfGroup(1, 1, 4)));
    const counts = Map.groupBy(await crowd, (outcome) => outcome);
    expect([...counts.keys()].toSorted()).toEqual(["OVERLOADED with a delay", "answered"]);
    // At work and waiting: those are answered, and who came when they were.
    expect(counts.get("answered")?.length).toBeGreaterThanOrEqual(72);
    expect(await read()).toBe("answered");
  });
});

describe("a game server that offers far more than a group can decide", () => {
  let cluster: Cluster;

  beforeAll(async () => {
    cluster = await startCluster({ groups: 1 });
  });

  afterAll(async () => cluster.close());

  test("is held back, and a polite one beside it is served all the time, and sooner", async () => {
    await cluster.server(GREEDY);
    const polite = await cluster.server(POLITE);
    const regions = regionsOfGroup(1, 1, 4);
    const leader = await cluster.leaderOf(1);
    const offered = openLoop({ targets: [{ address: leader.clientAddress, regions }], serverId: GREEDY, perSecond: 60_000, streams: 4, warmUpSeconds: 2, seconds: 5 });
    let isOver = false;
    void offered.finally(() => {
      isOver = true;
    });
    const mix = new OperationMix(POLITE);
    const waits: number[] = [];
    while (!isOver) {
      const sentMs = performance.now();
      await polite.execute(mix.next(regions));
      waits.push(performance.now() - sentMs);
    }
    const greedy = await offered;
    const refused = Object.values(greedy.refused).reduce((sum, count) => sum + count, 0);
    expect(greedy.decidedPerSecond).toBeGreaterThan(0);
    expect(greedy.heldBackPerSecond + refused).toBeGreaterThan(greedy.offeredPerSecond / 10);
    for (const reason of Object.keys(greedy.refused)) expect(["OVERLOADED", "QUOTA_EXCEEDED", "OUTCOME_UNKNOWN", "DEADLINE_EXCEEDED"]).toContain(reason);
    const median = waits.toSorted((a, b) => a - b)[Math.floor(waits.length / 2)] ?? Infinity;
    expect(waits.length).toBeGreaterThan(5);
    expect(median).toBeLessThan(greedy.p50Ms);
  });
});
