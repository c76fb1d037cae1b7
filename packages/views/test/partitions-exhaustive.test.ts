import { WeightedQuorum } from "@statemesh/raft";
import { expect, test } from "vitest";
import { LinkGraph, sideOf, verdictOf } from "../src/index.ts";

/** Every way to part up to seven nodes into any number of parts: no sample. */
const NODES = 7;

/** Every partition of the nodes 1..n, as the part of each. */
function* partitions(n: number): Generator<number[]> {
  const part = Array.from({ length: n }, () => 0);
  function* from(at: number, parts: number): Generator<number[]> {
    if (at === n) {
      yield part;
      return;
    }
    for (let each = 0; each <= parts; each++) {
      part[at] = each;
      yield* from(at + 1, Math.max(parts, each + 1));
    }
  }
  yield* from(0, 0);
}

test("of all partitions of up to seven nodes never two parts win; the larger half does, the lowest id breaks an even split, a plurality loses", () => {
  const table: string[] = [];
  let all = 0;
  for (let n = 1; n <= NODES; n++) {
    const nodeIds = Array.from({ length: n }, (_, at) => at + 1);
    const quorum = new WeightedQuorum(nodeIds);
    const counts = { partitions: 0, majority: 0, evenSplit: 0, none: 0 };
    for (const part of partitions(n)) {
      counts.partitions++;
      const reports = nodeIds.map((nodeId) => ({ nodeId, hears: nodeIds.filter((other) => part[other - 1] === part[nodeId - 1]) }));
      const graph = new LinkGraph(nodeIds, reports);
      const verdict = verdictOf(graph, quorum);
      const winners = verdict.parts.filter(({ wins }) => wins);
      // What should be, from the sizes alone.
      const sizes = new Map<number, number>();
      for (const each of part) sizes.set(each, (sizes.get(each) ?? 0) + 1);
      const should = [...sizes].find(([each, size]) => 2 * size > n || (2 * size === n && part[0] === each))?.[0];
      expect(winners.length).toBe(should === undefined ? 0 : 1);
      expect(verdict.alive).toEqual(nodeIds.filter((nodeId) => part[nodeId - 1] === should));
      expect(verdict.parts.length).toBe(sizes.size);
      for (const nodeId of nodeIds) {
        const side = sizes.size === 1 ? "whole" : part[nodeId - 1] === should ? "winning" : "losing";
        expect(sideOf(graph, quorum, nodeId)).toBe(side);
      }
      if (should === undefined) counts.none++;
      else if (2 * (sizes.get(should) ?? 0) === n) counts.evenSplit++;
      else counts.majority++;
    }
    all += counts.partitions;
    table.push(`${n} nodes: ${counts.partitions} partitions, ${counts.majority} won by more than half, ${counts.evenSplit} by half with the lowest id, ${counts.none} by nobody`);
  }
  process.stdout.write(`${table.join("\n")}\n`);
  // Bell numbers 1..7.
  expect(all).toBe(1 + 2 + 5 + 15 + 52 + 203 + 877);
});
