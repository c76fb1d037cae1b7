import { describe, expect, test } from "vitest";
import { NO_VIEW, type NodeReport, PartitionWatch, type Roll } from "../src/index.ts";

const TIMES = { heartbeatMs: 300, suspicionMs: 1_500, removalMs: 10_000 };
const ROLL: Roll = { members: [1, 2, 3], voters: [1, 2, 3], outgoing: [], learners: [], index: 10 };

class Bench {
  readonly watch: PartitionWatch = new PartitionWatch(TIMES);
  nowMs = 0;
  #sequence = 0;

  report(nodeId: number, hears: number[]): NodeReport {
    return { nodeId, hears, steady: hears, epoch: 0, vote: [], incarnation: 1, sequence: ++this.#sequence };
  }

  /** Each node named reports whom it hears, every 300 ms. */
  run(forMs: number, hears: Readonly<Record<number, number[]>>, roll: Roll = ROLL): void {
    for (const endMs = this.nowMs + forMs; this.nowMs < endMs; ) {
      this.nowMs += 300;
      this.watch.beat(this.nowMs);
      for (const [nodeId, heard] of Object.entries(hears)) this.watch.take([this.report(Number(nodeId), heard)], roll, NO_VIEW, TIMES);
    }
  }
}

const ALL = { 1: [2, 3], 2: [1, 3], 3: [1, 2] };

describe("an arbiter", () => {
  test("knows nothing before a node speaks, and again once all are silent", () => {
    const bench = new Bench();
    expect(bench.watch.verdict().state).toBe("unknown");
    bench.run(600, ALL);
    expect(bench.watch.verdict()).toMatchObject({ state: "whole", alive: [1, 2, 3], unheard: [] });
    bench.run(1_800, {});
    expect(bench.watch.verdict()).toMatchObject({ state: "unknown", unheard: [1, 2, 3] });
  });

  test("sees a split from both sides, and who wins", () => {
    const bench = new Bench();
    bench.run(600, { 1: [2], 2: [1], 3: [] });
    expect(bench.watch.verdict()).toMatchObject({ state: "split", alive: [1, 2], unheard: [], parts: [{ members: [1, 2], wins: true }, { members: [3], wins: false }] });
  });

  test("tells a node that is silent from one that is only cut off", () => {
    const bench = new Bench();
    bench.run(600, ALL);
    bench.run(2_100, { 1: [2], 2: [1] });
    expect(bench.watch.verdict()).toMatchObject({ state: "split", alive: [1, 2], unheard: [3] });
  });

  test("says that nobody wins where nobody can", () => {
    const bench = new Bench();
    bench.run(600, { 1: [], 2: [], 3: [] });
    expect(bench.watch.verdict()).toMatchObject({ state: "no-winner", alive: [] });
  });

  test("that was held up blames nobody for it", () => {
    const bench = new Bench();
    bench.run(600, ALL);
    bench.nowMs += 20_000;
    bench.watch.beat(bench.nowMs);
    expect(bench.watch.verdict().state).toBe("whole");
  });

  test("goes by the members of the node that has applied most, and passes on what others said", () => {
    const bench = new Bench();
    bench.run(600, ALL);
    const later: Roll = { ...ROLL, members: [1, 2], voters: [1, 2], index: 20 };
    bench.watch.take([bench.report(1, [2])], later, NO_VIEW, TIMES);
    bench.watch.take([bench.report(3, [1, 2])], ROLL, NO_VIEW, TIMES);
    expect(bench.watch.members).toEqual([1, 2]);
    expect(bench.watch.verdict()).toMatchObject({ state: "whole", alive: [1, 2] });
    expect(bench.watch.passedOn(1).map(({ nodeId }) => nodeId)).toEqual([2]);
  });
});
