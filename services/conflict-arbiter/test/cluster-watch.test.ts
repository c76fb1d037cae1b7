import { type Heartbeat, MeshError, PartitionEvent, PartitionState, type ReportHeartbeatsRequest, type WatchPartitionsResponse } from "@statemesh/contract";
import { describe, expect, test } from "vitest";
import { ClusterWatch } from "../src/cluster-watch.ts";

class Bench {
  nowMs = 1_000;
  readonly clusters: ClusterWatch = new ClusterWatch({ monotonicMs: () => this.nowMs, wallMs: () => this.nowMs }, 2);
  #sequence = 0;

  heartbeat(nodeId: number, hearsNodes: number[]): Heartbeat {
    return { nodeId, serverId: 0, incarnation: 1, sequence: ++this.#sequence, hearsNodes, steadyNodes: hearsNodes, hearsServers: [], viewEpoch: 0, vote: [] };
  }

  request(nodeId: number, hears: number[], more: Partial<ReportHeartbeatsRequest> = {}): ReportHeartbeatsRequest {
    const members = [1, 2, 3];
    return {
      clusterId: "local", nodeId, heartbeats: [this.heartbeat(nodeId, hears)], members, voters: members, outgoing: [], directoryIndex: 5,
      view: { epoch: 2, alive: members, removed: [], votedBy: [1, 2], atMs: 9 }, beatMs: 300, suspicionMs: 1_500, removalMs: 10_000, ...more,
    };
  }

  run(forMs: number, hears: Readonly<Record<number, number[]>>): void {
    for (const endMs = this.nowMs + forMs; this.nowMs < endMs; ) {
      this.nowMs += 100;
      for (const [nodeId, heard] of Object.entries(hears)) this.clusters.report(this.request(Number(nodeId), heard));
      this.clusters.tick();
    }
  }

  /** What a watcher is told from now on. */
  watch(clusterId = ""): WatchPartitionsResponse[] {
    const told: WatchPartitionsResponse[] = [];
    this.clusters.watch({ clusterId }, { write: (message) => told.push(message) > 0, onWritable: () => undefined });
    return told;
  }
}

const ALL = { 1: [2, 3], 2: [1, 3], 3: [1, 2] };
const SPLIT = { 1: [2], 2: [1], 3: [] };

function refusal(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    return MeshError.from(error).reason;
  }
  return "";
}

describe("a watcher of partitions", () => {
  test("hears how things stand, that a partition starts and that it ends", () => {
    const bench = new Bench();
    bench.run(300, ALL);
    const told = bench.watch();
    bench.run(300, SPLIT);
    bench.run(300, ALL);
    expect(told.map(({ event, verdict }) => [event, verdict?.state])).toEqual([
      [PartitionEvent.STATE, PartitionState.WHOLE],
      [PartitionEvent.STARTED, PartitionState.SPLIT],
      [PartitionEvent.ENDED, PartitionState.WHOLE],
    ]);
    expect(told.find(({ event }) => event === PartitionEvent.STARTED)?.verdict).toMatchObject({ alive: [1, 2], parts: [{ nodeIds: [1, 2], wins: true }, { nodeIds: [3], wins: false }], view: { epoch: 2 } });
  });

  test("that reads slowly hears the latest once, and of another cluster nothing", () => {
    const bench = new Bench();
    bench.run(300, ALL);
    const told: WatchPartitionsResponse[] = [];
    let wake = (): void => undefined;
    bench.clusters.watch({ clusterId: "local" }, { write: (message) => told.push(message) > 1, onWritable: (run) => (wake = run) });
    const other = bench.watch("other");
    bench.run(300, SPLIT);
    bench.run(300, { 1: [], 2: [], 3: [] });
    expect(told).toHaveLength(1);
    wake();
    expect(told.map(({ event }) => event)).toEqual([PartitionEvent.STATE, PartitionEvent.STARTED]);
    expect(told[1]?.verdict).toMatchObject({ state: PartitionState.NO_WINNER, alive: [] });
    expect(other).toEqual([]);
    expect(refusal(() => bench.watch())).toBe("OVERLOADED");
  });
});

describe("the verdict", () => {
  test("is asked for by cluster, and has to be where there are several", () => {
    const bench = new Bench();
    expect(refusal(() => bench.clusters.verdictFor({ clusterId: "" }))).toBe("NOT_FOUND");
    bench.run(300, ALL);
    expect(bench.clusters.verdictFor({ clusterId: "" }).verdict).toMatchObject({ clusterId: "local", state: PartitionState.WHOLE, unheard: [] });
    bench.clusters.report(bench.request(1, [], { clusterId: "other" }));
    expect(refusal(() => bench.clusters.verdictFor({ clusterId: "" }))).toBe("INVALID_FIELD");
    expect(refusal(() => bench.clusters.verdictFor({ clusterId: "third" }))).toBe("NOT_FOUND");
  });

  test("is unknown once nobody speaks, and says since when", () => {
    const bench = new Bench();
    bench.run(300, ALL);
    bench.run(3_000, {});
    const { verdict } = bench.clusters.verdictFor({ clusterId: "local" });
    expect(verdict).toMatchObject({ state: PartitionState.UNKNOWN, unheard: [1, 2, 3] });
    expect(verdict?.sinceMs).toBeGreaterThan(1_300);
  });
});

describe("a report", () => {
  test("brings back what other nodes said", () => {
    const bench = new Bench();
    bench.run(300, SPLIT);
    expect(bench.clusters.report(bench.request(3, [])).heartbeats.map(({ nodeId, hearsNodes }) => [nodeId, hearsNodes])).toEqual([[1, [2]], [2, [1]]]);
  });

  test("of a ninth cluster is refused while the others live", () => {
    const bench = new Bench();
    for (let at = 0; at < 8; at++) bench.clusters.report(bench.request(1, [2], { clusterId: `c${at}` }));
    expect(refusal(() => bench.clusters.report(bench.request(1, [2], { clusterId: "c8" })))).toBe("OVERLOADED");
    bench.run(3_000, {});
    expect(refusal(() => bench.clusters.report(bench.request(1, [2], { clusterId: "c8" })))).toBe("");
  });

  test.each<[Partial<ReportHeartbeatsRequest>, string]>([
    [{ clusterId: "" }, "cluster_id"],
    [{ nodeId: 0 }, "node_id"],
    [{ members: Array.from({ length: 17 }, (_, at) => at + 1) }, "members"],
    [{ voters: [0] }, "voters"],
    [{ beatMs: 1 }, "beat_ms"],
    [{ suspicionMs: 1 }, "suspicion_ms"],
    [{ removalMs: 1 }, "removal_ms"],
  ])("with %j names %s", (more, field) => {
    const bench = new Bench();
    expect(() => bench.clusters.report(bench.request(1, [2], more))).toThrow(field);
  });
});
