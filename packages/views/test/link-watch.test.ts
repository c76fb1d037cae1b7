import { WeightedQuorum } from "@statemesh/raft";
import { describe, expect, test } from "vitest";
import { LinkWatch, NO_VIEW, refuseView, type View } from "../src/index.ts";

const TIMES = { heartbeatMs: 300, suspicionMs: 1_500, removalMs: 10_000 };
const TICK_MS = 50;

/** Nodes that beat, report and vote, and a log that takes one view an epoch. Frames take no time; a link is open or not, each way. */
class Cluster {
  nowMs = 0;
  view: View = NO_VIEW;
  readonly views: { atMs: number; view: View }[] = [];
  readonly watches = new Map<number, LinkWatch>();
  /** By node: until when it is held up. */
  readonly pausedUntilMs = new Map<number, number>();
  /** Who belongs to it. Those of the beginning decide. */
  members: readonly number[];
  readonly quorum: WeightedQuorum;
  #cut: (from: number, to: number) => boolean = () => false;

  constructor(n: number) {
    this.members = Array.from({ length: n }, (_, at) => at + 1);
    this.quorum = new WeightedQuorum(this.members);
    for (const nodeId of this.members) this.watches.set(nodeId, new LinkWatch({ ...TIMES, nodeId, incarnation: 1 }, this.members, this.quorum));
  }

  watch(nodeId: number): LinkWatch {
    const watch = this.watches.get(nodeId);
    if (watch === undefined) throw new Error(`node ${nodeId}`);
    return watch;
  }

  /** What is said is lost where `cut` holds. */
  cut(cut: (from: number, to: number) => boolean): void {
    this.#cut = cut;
  }

  part(...parts: readonly (readonly number[])[]): void {
    this.cut((from, to) => parts.find((part) => part.includes(from)) !== parts.find((part) => part.includes(to)));
  }

  run(forMs: number, onTick: (nowMs: number) => void = () => undefined): void {
    for (const endMs = this.nowMs + forMs; this.nowMs < endMs; ) {
      this.nowMs += TICK_MS;
      onTick(this.nowMs);
      for (const [nodeId, watch] of this.watches) if ((this.pausedUntilMs.get(nodeId) ?? 0) <= this.nowMs) this.#tick(nodeId, watch);
    }
  }

  #tick(nodeId: number, watch: LinkWatch): void {
    watch.beat(this.nowMs);
    if ((this.nowMs / TICK_MS + nodeId) % (TIMES.heartbeatMs / TICK_MS) === 0) {
      const said = [watch.report(this.view), ...watch.passedOn()];
      for (const [peer, other] of this.watches) {
        if (peer === nodeId || this.#cut(nodeId, peer)) continue;
        other.heard(nodeId);
        for (const report of said) other.take(report);
      }
    }
    // Whoever can commit leads: it is linked with enough others.
    const next = this.#canCommit(nodeId) ? watch.proposal(this.view) : undefined;
    if (next === undefined) return;
    expect(refuseView(next, this.view, [this.quorum], this.members)).toBe(undefined);
    this.view = next;
    this.views.push({ atMs: this.nowMs, view: next });
  }

  #canCommit(nodeId: number): boolean {
    return this.quorum.decides((voter) => voter === nodeId || (!this.#cut(nodeId, voter) && !this.#cut(voter, nodeId)));
  }

  sides(): string[] {
    return [...this.watches.values()].map((watch) => watch.side());
  }
}

/** A cluster that has agreed on its first view. */
function settled(n: number): Cluster {
  const cluster = new Cluster(n);
  cluster.run(5_000);
  expect(cluster.views.map(({ view }) => view.alive.length)).toEqual([n]);
  return cluster;
}

describe("a split", () => {
  test("is seen by both sides within three seconds, the view follows, and after ten the others are removed", () => {
    const cluster = settled(5);
    cluster.part([1, 2], [3, 4, 5]);
    const cutMs = cluster.nowMs;
    cluster.run(3_000);
    expect(cluster.sides()).toEqual(["losing", "losing", "winning", "winning", "winning"]);
    expect(cluster.view).toEqual({ epoch: 2, alive: [3, 4, 5], removed: [], votedBy: expect.any(Array) as number[] });
    expect((cluster.views.at(-1)?.atMs ?? 0) - cutMs).toBeLessThanOrEqual(3_000);
    cluster.run(10_000);
    expect(cluster.view).toMatchObject({ alive: [3, 4, 5], removed: [1, 2] });
    cluster.cut(() => false);
    cluster.run(1_000);
    expect(cluster.sides()).toEqual(["whole", "whole", "whole", "whole", "whole"]);
    cluster.run(5_000);
    expect(cluster.view).toMatchObject({ alive: [1, 2, 3, 4, 5], removed: [] });
  });

  test("into two halves keeps the one with the lowest id", () => {
    const cluster = settled(4);
    cluster.part([1, 3], [2, 4]);
    cluster.run(4_000);
    expect(cluster.view.alive).toEqual([1, 3]);
    expect(cluster.sides()).toEqual(["winning", "losing", "winning", "losing"]);
  });

  test("of which no part has a majority leaves the view as it is, and everybody has lost", () => {
    const cluster = settled(5);
    cluster.part([1, 2], [3, 4], [5]);
    cluster.run(20_000);
    expect(cluster.views).toHaveLength(1);
    expect(cluster.sides()).toEqual(["losing", "losing", "losing", "losing", "losing"]);
  });

  test("in one direction: who is not heard is out and knows it", () => {
    const cluster = settled(3);
    cluster.cut((from) => from === 3);
    cluster.run(4_000);
    expect(cluster.view.alive).toEqual([1, 2]);
    expect(cluster.sides()).toEqual(["winning", "winning", "losing"]);
  });

  test("between two nodes that a third one reaches both: one view, and nobody has lost", () => {
    const cluster = settled(3);
    cluster.cut((from, to) => from + to === 5);
    cluster.run(15_000);
    expect(cluster.views.map(({ view }) => view.alive)).toEqual([[1, 2, 3], [1, 2]]);
    // It is out of the view and not silent: the one between passes its word on.
    expect(cluster.view.removed).toEqual([]);
    expect(cluster.sides()).not.toContain("losing");
  });
});

describe("one slow node", () => {
  test("that stops for two seconds of every five never has others suspected by itself, and the healthy ones stay in every view", () => {
    const cluster = settled(5);
    for (let round = 0; round < 24; round++) {
      cluster.pausedUntilMs.set(1, cluster.nowMs + 2_000);
      cluster.run(5_000);
      expect(cluster.watch(1).suspicion.suspected()).toEqual([]);
    }
    for (const { view } of cluster.views) expect(view.alive).toEqual(expect.arrayContaining([2, 3, 4, 5]));
    expect(cluster.sides().slice(1)).toEqual(["whole", "whole", "whole", "whole"]);
  });

  test("that is merely irregular stays in the view", () => {
    const cluster = settled(3);
    for (let round = 0; round < 60; round++) {
      cluster.pausedUntilMs.set(3, cluster.nowMs + 150 * (round % 7));
      cluster.run(1_500);
    }
    expect(cluster.views).toHaveLength(1);
  });
});

test("a link that flaps for ten minutes moves each region at most once, always the same node is out, and views become rare", () => {
  const cluster = settled(5);
  // Regions by owner: a region moves only where its owner is out, to the next one alive.
  const owners = [1, 2, 3, 4, 5].map((nodeId) => ({ nodeId, moved: 0 }));
  let seen = 0;
  const follow = (): void => {
    for (; seen < cluster.views.length; seen++) {
      const { alive } = cluster.views[seen]?.view ?? NO_VIEW;
      for (const owner of owners) {
        if (alive.includes(owner.nodeId)) continue;
        owner.nodeId = alive.find((nodeId) => nodeId > owner.nodeId) ?? alive[0] ?? 0;
        owner.moved++;
      }
    }
  };
  let isCut = false;
  cluster.cut((from, to) => isCut && from * to === 10 && from + to === 7);
  cluster.run(600_000, (nowMs) => {
    isCut = nowMs % 7_000 < 4_000;
    follow();
  });
  follow();
  expect(owners.map(({ moved }) => moved)).toEqual([0, 0, 0, 0, 1]);
  for (const { view } of cluster.views) expect(view.alive).toEqual(expect.arrayContaining([1, 2, 3, 4]));
  // 86 breaks; the link is counted on again after 1.5, 3 and 6 s, and it never holds so long.
  expect(cluster.views.length).toBeLessThan(8);
});

test("who joins or leaves during a split: the new member is in the view once it is linked, without a say, and who left is forgotten", () => {
  const cluster = settled(3);
  const take = (members: number[], quorum: WeightedQuorum): void => {
    cluster.members = members;
    for (const each of cluster.watches.values()) each.setMembers(members, quorum);
  };
  cluster.part([1, 2, 4], [3]);
  cluster.run(3_000);
  const watch = new LinkWatch({ ...TIMES, nodeId: 4, incarnation: 1 }, [1, 2, 3, 4], cluster.quorum);
  cluster.watches.set(4, watch);
  take([1, 2, 3, 4], cluster.quorum);
  cluster.run(5_000);
  expect(watch.side()).toBe("winning");
  expect(cluster.view.alive).toEqual([1, 2, 4]);
  // The operator gives node 3 up.
  cluster.watches.delete(3);
  take([1, 2, 4], new WeightedQuorum([1, 2]));
  cluster.run(1_000);
  expect(cluster.sides()).toEqual(["whole", "whole", "whole"]);
  expect(cluster.view).toMatchObject({ alive: [1, 2, 4], removed: [] });
});

test("news over an arbiter tells of links, and does not keep a member that is silent to all from being removed", () => {
  const watch = new LinkWatch({ ...TIMES, nodeId: 1, incarnation: 1 }, [1, 2, 3], new WeightedQuorum([1, 2, 3]));
  const view: View = { epoch: 1, alive: [1, 2, 3], removed: [], votedBy: [1, 2] };
  for (let nowMs = 0; nowMs <= 12_000; nowMs += 300) {
    watch.beat(nowMs);
    watch.heard(2);
    watch.take({ nodeId: 2, hears: [1], steady: [1], epoch: 1, vote: [1, 2], incarnation: 1, sequence: nowMs + 1 });
    watch.take({ nodeId: 3, hears: [], steady: [], epoch: 1, vote: [], incarnation: 1, sequence: nowMs + 1 }, false);
  }
  expect(watch.proposal(view)?.removed).toEqual([3]);
  expect(watch.passedOn().map(({ nodeId }) => nodeId), "a member that passed it on would make it news over members").toEqual([2]);
  expect(watch.graph().linked(1, 3)).toBe(false);
});

test("a node that starts anew is believed again, and what it said before is not", () => {
  const watch = new LinkWatch({ ...TIMES, nodeId: 1, incarnation: 1 }, [1, 2], new WeightedQuorum([1, 2]));
  const said = { nodeId: 2, hears: [1], steady: [1], epoch: 0, vote: [] };
  expect(watch.take({ ...said, incarnation: 1, sequence: 90 })).toBe(true);
  expect(watch.take({ ...said, incarnation: 2, sequence: 1, hears: [] })).toBe(true);
  expect(watch.take({ ...said, incarnation: 1, sequence: 91 })).toBe(false);
  expect(watch.take({ ...said, nodeId: 7, incarnation: 1, sequence: 1 }), "no member").toBe(false);
  expect(watch.take({ ...said, nodeId: 1, incarnation: 1, sequence: 1 }), "itself").toBe(false);
});
