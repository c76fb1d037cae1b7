import { WeightedQuorum } from "@statemesh/raft";
import { describe, expect, test } from "vitest";
import { type NodeReport, refuseView, ReportTable, REPORTS_MAX, type View, votersFor } from "../src/index.ts";

const BEFORE: View = { epoch: 4, alive: [1, 2, 3], removed: [], votedBy: [1, 2, 3] };
const NEXT: View = { epoch: 5, alive: [1, 2], removed: [3], votedBy: [1, 2] };
const QUORUM = new WeightedQuorum([1, 2, 3]);

const refusal = (change: Partial<View>): string | undefined => refuseView({ ...NEXT, ...change }, BEFORE, [QUORUM], [1, 2, 3]);

const report = (nodeId: number, epoch: number, vote: number[]): NodeReport => ({ nodeId, epoch, vote, hears: [], steady: [], incarnation: 1, sequence: 1 });

describe("a view follows another", () => {
  test("one epoch on, with votes that decide", () => expect(refusal({})).toBe(undefined));
  test.each([
    [{ epoch: 4 }, "epoch 4 does not follow 4"],
    [{ epoch: 6 }, "epoch 6 does not follow 4"],
    [{ alive: [] }, "nobody is alive"],
    [{ alive: [2, 1] }, "ids are not ascending"],
    [{ votedBy: [1, 1] }, "ids are not ascending"],
    [{ alive: [1, 2, 9] }, "node 9 is not a member"],
    [{ removed: [2] }, "node 2 is alive and removed"],
    [{ votedBy: [1, 2, 3] }, "node 3 votes for a view that it is not in"],
    [{ votedBy: [1] }, "nodes 1 cannot decide"],
  ] satisfies [Partial<View>, string][])("not with %j", (change, why) => expect(refusal(change)).toBe(why));
  test("while members change, by the voters before or after", () => {
    const after = new WeightedQuorum([1, 2, 4, 5, 6]);
    expect(refuseView(NEXT, BEFORE, [after, QUORUM], [1, 2, 3, 4, 5, 6])).toBe(undefined);
    expect(refuseView(NEXT, BEFORE, [after], [1, 2, 3, 4, 5, 6])).toBe("nodes 1, 2 cannot decide");
  });
});

test("a vote counts once, for the epoch that it was given in, from one who is in the view", () => {
  const votes = [report(1, 4, [1, 2]), report(1, 4, [1, 2]), report(2, 3, [1, 2]), report(3, 4, [1, 2]), report(2, 4, [2, 3])];
  expect(votersFor([1, 2], 4, votes)).toEqual([1]);
});

test("reports of more nodes than there can be are not kept", () => {
  const table = new ReportTable();
  for (let nodeId = 1; nodeId <= REPORTS_MAX; nodeId++) expect(table.take(report(nodeId, 0, []), 0)).toBe(true);
  expect(table.take(report(99, 0, []), 0)).toBe(false);
  table.forget(1);
  expect(table.take(report(99, 0, []), 0)).toBe(true);
  expect([table.of(99)?.nodeId, table.of(1), table.ageMs(99, 7), table.fresh(10, 10)]).toEqual([99, undefined, 7, []]);
});
