import { WeightedQuorum } from "@statemesh/raft";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { LinkGraph, type LinkReport, sideOf, verdictOf } from "../src/index.ts";

const nodes = (n: number): number[] => Array.from({ length: n }, (_, at) => at + 1);

/** Reports of nodes of which those in one part hear one another. */
function parted(...parts: readonly number[][]): LinkReport[] {
  return parts.flatMap((part) => part.map((nodeId) => ({ nodeId, hears: part.filter((other) => other !== nodeId) })));
}

/** Everybody hears everybody, but for the pairs named: the first does not hear the second. */
function without(n: number, ...deaf: readonly (readonly [number, number])[]): LinkReport[] {
  return nodes(n).map((nodeId) => ({ nodeId, hears: nodes(n).filter((other) => !deaf.some(([ear, mouth]) => ear === nodeId && mouth === other)) }));
}

const quorum = (n: number): WeightedQuorum => new WeightedQuorum(nodes(n));
const aliveOf = (n: number, reports: readonly LinkReport[]): readonly number[] => verdictOf(new LinkGraph(nodes(n), reports), quorum(n)).alive;

describe("who goes on", () => {
  test("the larger part", () => expect(aliveOf(5, parted([1, 2], [3, 4, 5]))).toEqual([3, 4, 5]));
  test("of two halves the one with the lowest id", () => expect(aliveOf(4, parted([1, 4], [2, 3]))).toEqual([1, 4]));
  test("of two nodes the one with the lower id, alone", () => expect(aliveOf(2, parted([1], [2]))).toEqual([1]));
  test("a plurality does not: 4-3-3", () => {
    const { alive, parts } = verdictOf(new LinkGraph(nodes(10), parted([1, 2, 3, 4], [5, 6, 7], [8, 9, 10])), quorum(10));
    expect(alive).toEqual([]);
    expect(parts.map(({ wins }) => wins)).toEqual([false, false, false]);
  });
  test("of three parts the one with more than half: 1-1-3", () => expect(aliveOf(5, parted([1], [2], [3, 4, 5]))).toEqual([3, 4, 5]));
  test("of three parts one with half and the lowest id: 3-2-1", () => {
    expect(aliveOf(6, parted([1, 2, 3], [4, 5], [6]))).toEqual([1, 2, 3]);
    expect(aliveOf(6, parted([4, 5, 6], [2, 3], [1]))).toEqual([]);
  });
  test("nobody who does not report", () => expect(aliveOf(3, without(3).slice(0, 2))).toEqual([1, 2]));
});

describe("a link that goes one way", () => {
  test("is none: who hears but is not heard is out", () => {
    expect(aliveOf(3, without(3, [1, 3], [2, 3]))).toEqual([1, 2]);
    expect(aliveOf(3, without(3, [3, 1], [3, 2]))).toEqual([1, 2]);
  });
  test("the node that is not heard learns from the others' reports that it lost", () => {
    const graph = new LinkGraph(nodes(3), without(3, [1, 3], [2, 3]));
    expect([1, 2, 3].map((nodeId) => sideOf(graph, quorum(3), nodeId))).toEqual(["winning", "winning", "losing"]);
  });
});

describe("a bridge", () => {
  test("1-2 and 2-3 but not 1-3: the lower pair, and the third node has not lost, because it reaches one who can decide", () => {
    const graph = new LinkGraph(nodes(3), without(3, [1, 3], [3, 1]));
    expect(verdictOf(graph, quorum(3)).alive).toEqual([1, 2]);
    expect(sideOf(graph, quorum(3), 3)).toBe("winning");
  });
  test("two halves with one node between: each half with it has a majority, and the lower goes on", () => {
    const cut = [1, 2].flatMap((low) => [4, 5].flatMap((high): [number, number][] => [[low, high], [high, low]]));
    const graph = new LinkGraph(nodes(5), without(5, ...cut));
    expect(verdictOf(graph, quorum(5)).alive).toEqual([1, 2, 3]);
    expect(nodes(5).map((nodeId) => sideOf(graph, quorum(5), nodeId))).toEqual(["winning", "winning", "whole", "winning", "winning"]);
  });
  test("whoever is in the view stays, where two sets are as good", () => {
    const graph = new LinkGraph(nodes(5), without(5, [2, 5], [5, 2]));
    expect(verdictOf(graph, quorum(5)).alive).toEqual([1, 2, 3, 4]);
    expect(verdictOf(graph, quorum(5), new Set([1, 3, 4, 5])).alive).toEqual([1, 3, 4, 5]);
  });
  test("a ring of five has no three that all hear one another: nobody is chosen, though each could lead", () => {
    const ring = nodes(5).map((nodeId) => ({ nodeId, hears: [(nodeId % 5) + 1, ((nodeId + 3) % 5) + 1] }));
    const graph = new LinkGraph(nodes(5), ring);
    expect(verdictOf(graph, quorum(5)).alive).toEqual([]);
    expect(sideOf(graph, quorum(5), 4)).toBe("winning");
  });
});

test("cascading, 7 to 4 to 3 to 2 to 1: each view is counted against the one before it", () => {
  const steps: [number[], number[]][] = [[[1, 2, 3, 4], [5, 6, 7]], [[2, 3, 4], [1]], [[2, 3], [4]], [[2], [3]]];
  let view = nodes(7);
  for (const [stay, go] of steps) {
    const { alive } = verdictOf(new LinkGraph(nodes(7), parted(stay, go)), new WeightedQuorum(view));
    expect(alive).toEqual(stay);
    view = [...alive];
  }
  // Those who went earlier come together, and are more than the rest: they have no say in the view that follows.
  expect(verdictOf(new LinkGraph(nodes(7), parted([2], [1, 3, 4, 5, 6, 7])), new WeightedQuorum(view)).alive).toEqual([2]);
});

test("who comes or goes during a split changes nothing for the others: learners are alive but do not decide, and who leaves is not missed", () => {
  const voters = new WeightedQuorum([1, 2, 3]);
  const withLearners = verdictOf(new LinkGraph([1, 2, 3, 4, 5], parted([1, 2], [3, 4, 5])), voters);
  expect(withLearners.alive).toEqual([1, 2]);
  expect(verdictOf(new LinkGraph([1, 2, 3, 4], parted([1, 2, 4], [3])), voters).alive).toEqual([1, 2, 4]);
  expect(verdictOf(new LinkGraph([1, 2], parted([1, 2])), new WeightedQuorum([1, 2])).parts).toEqual([{ members: [1, 2], wins: true }]);
});

test("the verdict does not hang on the order of reports, of what they say, or of who is named twice", () => {
  const hears = fc.array(fc.subarray(nodes(7)), { minLength: 7, maxLength: 7 });
  fc.assert(
    fc.property(hears, fc.infiniteStream(fc.nat()), (heard, random) => {
      const reports = heard.map((each, at) => ({ nodeId: at + 1, hears: each }));
      const draw = (): number => random.next().value ?? 0;
      const shuffled = <T>(list: readonly T[]): T[] => list.map((each) => [draw(), each] as const).sort(([a], [b]) => a - b).map(([, each]) => each);
      const other = shuffled(reports).map(({ nodeId, hears: each }) => ({ nodeId, hears: [...shuffled(each), ...each, nodeId, 99] }));
      expect(verdictOf(new LinkGraph(shuffled(nodes(7)), other), quorum(7))).toEqual(verdictOf(new LinkGraph(nodes(7), reports), quorum(7)));
    }),
  );
});

test("a graph has a limit", () => {
  expect(() => new LinkGraph(nodes(31), [])).toThrow("at most 30");
  expect(new LinkGraph(nodes(30), parted(nodes(30))).isWhole).toBe(true);
});
