import { WeightedQuorum } from "@statemesh/raft";
import { expect, test } from "vitest";
import { LinkGraph, type NodeReport, sideOf, type Verdict, verdictOf, votersFor } from "../src/index.ts";

/** Every way for up to five nodes to hear or not hear one another, each direction by itself: 2^20 graphs of five. */
const NODES = 5;

interface Counts {
  graphs: number;
  /** Somebody goes on, by one who knows all reports. */
  decided: number;
  /** A view gets the votes although each node knows only the reports of those that it hears. */
  agreed: number;
  /** Nobody was chosen, but a node in the middle of a star could lead. */
  starOnly: number;
}

/** The graphs of n nodes. A graph is a number: n - 1 bits a node, whom it hears of the others. */
class Graphs {
  readonly nodeIds: readonly number[];
  readonly quorum: WeightedQuorum;
  readonly #verdicts: (Verdict | undefined)[] = [];
  /** By node and its bits: whom it hears. */
  readonly #hears: readonly (readonly number[])[][];

  constructor(n: number) {
    this.nodeIds = Array.from({ length: n }, (_, at) => at + 1);
    this.quorum = new WeightedQuorum(this.nodeIds);
    this.#hears = this.nodeIds.map((nodeId) =>
      Array.from({ length: 2 ** (n - 1) }, (_, bits) => this.nodeIds.filter((other) => other !== nodeId && ((bits >> (other < nodeId ? other - 1 : other - 2)) & 1) === 1)),
    );
  }

  get count(): number {
    return 2 ** (this.nodeIds.length * (this.nodeIds.length - 1));
  }

  heardBy(graph: number, nodeId: number): readonly number[] {
    const bits = this.nodeIds.length - 1;
    return this.#hears[nodeId - 1]?.[(graph >> ((nodeId - 1) * bits)) & (2 ** bits - 1)] ?? [];
  }

  links(graph: number): LinkGraph {
    return new LinkGraph(this.nodeIds, this.nodeIds.map((nodeId) => ({ nodeId, hears: this.heardBy(graph, nodeId) })));
  }

  verdict(graph: number): Verdict {
    return (this.#verdicts[graph] ??= verdictOf(this.links(graph), this.quorum));
  }

  /** What a node makes of a graph of which it knows only the reports of those that it hears. Who does not report hears nobody. */
  verdictOf(graph: number, nodeId: number): Verdict {
    const bits = this.nodeIds.length - 1;
    let known = 0;
    for (const other of [nodeId, ...this.heardBy(graph, nodeId)]) known |= (2 ** bits - 1) << ((other - 1) * bits);
    return this.verdict(graph & known);
  }
}

function go(graphs: Graphs): Counts {
  const { nodeIds, quorum } = graphs;
  const counts: Counts = { graphs: 0, decided: 0, agreed: 0, starOnly: 0 };
  for (let graph = 0; graph < graphs.count; graph++) {
    counts.graphs++;
    const { alive, parts } = graphs.verdict(graph);
    const winners = parts.filter(({ wins }) => wins).length;
    if (winners > 1 || (winners === 1) !== (alive.length > 0)) expect.fail(`graph ${graph}: ${winners} winners`);
    const links = graphs.links(graph);
    if (alive.length > 0) {
      counts.decided++;
      if (!quorum.decides((voter) => alive.includes(voter))) expect.fail(`graph ${graph}: ${alive.join()} cannot decide`);
      for (const one of alive) for (const other of alive) if (one < other && !links.linked(one, other)) expect.fail(`graph ${graph}: ${one} and ${other} are alive and not linked`);
      for (const one of alive) if (sideOf(links, quorum, one) === "losing") expect.fail(`graph ${graph}: ${one} is alive and lost`);
    } else if (nodeIds.some((nodeId) => sideOf(links, quorum, nodeId) !== "losing")) counts.starOnly++;
    // Each node counts by what it was told itself, and has one vote.
    const votes = nodeIds.map((nodeId): NodeReport => {
      const hears = graphs.heardBy(graph, nodeId);
      return { nodeId, hears, steady: hears, incarnation: 1, sequence: 1, epoch: 0, vote: graphs.verdictOf(graph, nodeId).alive };
    });
    const won = new Set<string>();
    for (const { vote } of votes) {
      const votedBy = votersFor(vote, 0, votes);
      if (vote.length > 0 && quorum.decides((voter) => votedBy.includes(voter))) won.add(vote.join());
    }
    if (won.size > 1) expect.fail(`graph ${graph}: ${won.size} views got the votes of one epoch`);
    if (won.size === 1) counts.agreed++;
  }
  return counts;
}

test("of all link graphs of up to five nodes, in each direction, never two parts win, and never two views get the votes of an epoch", { timeout: 240_000 }, () => {
  const table: string[] = [];
  for (let n = 1; n <= NODES; n++) {
    const counts = go(new Graphs(n));
    expect(counts.graphs).toBe(2 ** (n * (n - 1)));
    expect(counts.agreed, "who is alive hears all others who are, so what it does not know does not matter").toBe(counts.decided);
    table.push(
      `${n} nodes: ${counts.graphs} link graphs, ${counts.decided} with a winner and a view agreed on, ${counts.graphs - counts.decided} without (${counts.starOnly} of them with a leader in the middle of a star)`,
    );
  }
  process.stdout.write(`${table.join("\n")}\n`);
});
