// Groups with nothing to do sleep; nodes beat for them.
import { describe, expect, it } from "vitest";
import { mint } from "./operations.ts";
import { VirtualCluster, isDecision } from "./virtual-cluster.ts";

const TICK_MS = 50;
const ELECTION_MS = 10 * TICK_MS;
/** Long enough for every group to fall asleep. */
const REST_MS = 4 * ELECTION_MS;

function allSleep(cluster: VirtualCluster): boolean {
  return cluster.members.every((id) => !cluster.isUp(id) || cluster.node(id).groups.every(({ core }) => core.isQuiescent));
}

function asleep(options: ConstructorParameters<typeof VirtualCluster>[0] = {}): VirtualCluster {
  const cluster = new VirtualCluster(options);
  cluster.settle();
  cluster.run(REST_MS);
  expect(allSleep(cluster)).toBe(true);
  return cluster;
}

/** An operation through the node, and the time until it was decided. */
function give(cluster: VirtualCluster, through: number, id: string): number {
  const startMs = cluster.nowMs;
  const answers = cluster.submit(through, [mint(id, 1, cluster.regionIn(1), "ada", "ore", 1)]);
  cluster.runUntil(() => answers.size === 1);
  const answer = answers.get(id);
  if (!isDecision(answer)) throw new Error(`${id}: ${answer?.reason}`);
  return cluster.nowMs - startMs;
}

/** How often a disk is asked for nothing from now on, with nothing under way that it could be waited for. */
function countNeedless(cluster: VirtualCluster): () => number {
  let needless = 0;
  for (const id of cluster.members) {
    const { host } = cluster.node(id);
    const persist = host.persist.bind(host);
    let underWay = 0;
    host.persist = (writes, done) => {
      if (writes.length === 0 && underWay === 0) needless++;
      underWay++;
      persist(writes, (error) => {
        underWay--;
        done(error);
      });
    };
  }
  return () => needless;
}

describe("a cluster with nothing to do", () => {
  it("sends one small frame a pair and heartbeat, however many groups it has", () => {
    for (const groups of [2, 200]) {
      const cluster = asleep({ groups });
      const { frames, frameBytes } = cluster;
      cluster.run(10_000);
      // Three nodes with two peers each, every two ticks; now and then a digest of what is eventual, and three times a second whom nodes hear.
      expect(cluster.frames - frames).toBeLessThanOrEqual(6 * (10_000 / (2 * TICK_MS) + 1));
      expect(cluster.frameBytes - frameBytes).toBeLessThan(30_000);
      expect(allSleep(cluster)).toBe(true);
    }
  });

  it("asks its disks for nothing, also while its groups are awake: heartbeats promise nothing", () => {
    const cluster = new VirtualCluster();
    cluster.settle();
    const needless = countNeedless(cluster);
    cluster.register(1);
    cluster.run(ELECTION_MS);
    expect(allSleep(cluster)).toBe(false);
    for (let n = 0; n < 5; n++) {
      give(cluster, 1 + (n % 3), `m-${n}`);
      cluster.run(ELECTION_MS / 2);
    }
    cluster.run(REST_MS);
    expect(needless()).toBe(0);
  });

  it("decides the next operation at once, through any node", () => {
    const cluster = asleep();
    cluster.register(1);
    for (const nodeId of [1, 2, 3]) {
      cluster.run(REST_MS);
      expect(cluster.node(nodeId).group(1).core.isQuiescent).toBe(true);
      expect(give(cluster, nodeId, `m-${nodeId}`)).toBeLessThan(TICK_MS);
    }
    cluster.converge();
  });
});

describe("a caller that waits for what a sleeping group does not have", () => {
  it("is answered at its deadline, on every node", () => {
    const cluster = asleep();
    const answers: (string | undefined)[] = [];
    for (const id of cluster.members) {
      const group = cluster.node(id).group(1);
      group.whenApplied(group.state.appliedIndex + 1_000, cluster.node(id).host.clock.monotonicMs() + 500, (error) => answers.push(error?.reason));
    }
    cluster.run(1_000);
    expect(answers).toEqual(["NO_QUORUM", "NO_QUORUM", "NO_QUORUM"]);
    cluster.run(REST_MS);
    expect(allSleep(cluster)).toBe(true);
  });
});

describe("a caller that looks again after each entry of a busy group", () => {
  it("is answered at its deadline", () => {
    const cluster = asleep();
    const id = cluster.leaderOf(1);
    const group = cluster.node(id).group(1);
    const endMs = cluster.node(id).host.clock.monotonicMs() + 500;
    let answer: string | undefined;
    const look = (error: { readonly reason: string } | undefined): void => {
      if (error === undefined) group.whenApplied(group.state.appliedIndex + 1, endMs, look);
      else answer = error.reason;
    };
    look(undefined);
    for (let n = 0; n < 200 && answer === undefined; n++) {
      cluster.submit(id, [mint(`busy-${n}`, 1, cluster.regionIn(1), "ada", "ore", 1)]);
      cluster.run(5);
    }
    expect(answer).toBe("NO_QUORUM");
  });
});

describe("a node whose groups sleep", () => {
  it("is missed by the others when it dies, and every group that it led has another leader within two election timeouts and a vote", () => {
    const cluster = asleep({ groups: 50 });
    const victim = cluster.leaderOf(1);
    cluster.kill(victim);
    const elected = (): boolean => Array.from({ length: 51 }, (_, id) => cluster.leaderOf(id)).every((id) => id !== 0 && id !== victim);
    expect(cluster.runUntil(elected, 2 * ELECTION_MS + 1_000)).toBe(true);
  });

  it("is missed too where nobody is told, and nothing comes of it any more", () => {
    const cluster = asleep({ groups: 20 });
    const victim = cluster.leaderOf(1);
    cluster.hold(victim);
    const others = cluster.members.filter((id) => id !== victim);
    const elected = (): boolean => others.every((id) => cluster.node(id).groups.every(({ leader }) => leader !== 0 && leader !== victim));
    expect(cluster.runUntil(elected, 4 * ELECTION_MS)).toBe(true);
    // It wakes up, and follows.
    cluster.release(victim);
    expect(cluster.runUntil(() => cluster.node(victim).groups.every(({ leader }) => leader !== 0 && leader !== victim), 2 * ELECTION_MS)).toBe(true);
  });

  it("is missed where only what it sends is lost", () => {
    const cluster = asleep();
    const victim = cluster.leaderOf(1);
    const others = cluster.members.filter((id) => id !== victim);
    for (const id of others) cluster.loseFrames(victim, id, true);
    expect(cluster.runUntil(() => others.some((id) => cluster.node(id).group(1).serves), 6 * ELECTION_MS)).toBe(true);
  });

  it("does not keep the others awake while it is down, and catches up when it is back", () => {
    const cluster = asleep();
    cluster.register(1);
    const down = cluster.leaderOf(1) === 3 ? 2 : 3;
    cluster.kill(down);
    give(cluster, 1, "m-1");
    cluster.run(REST_MS);
    expect(cluster.node(cluster.leaderOf(1)).group(1).core.isQuiescent).toBe(true);
    cluster.start(down);
    cluster.converge();
    cluster.run(REST_MS);
    expect(cluster.node(down).group(1).core.isQuiescent).toBe(true);
  });

  it("that was away unnoticed, and started again, is given its leader back", () => {
    const cluster = asleep();
    const follower = cluster.leaderOf(1) === 1 ? 2 : 1;
    cluster.kill(follower);
    cluster.start(follower);
    expect(cluster.runUntil(() => cluster.node(follower).groups.every(({ leader }) => leader !== 0), 2 * ELECTION_MS)).toBe(true);
    cluster.run(REST_MS);
    expect(allSleep(cluster)).toBe(true);
  });
});

it("a thousand groups have leaders within two seconds, spread over the nodes", () => {
  const cluster = new VirtualCluster({ groups: 1_000, node: { balanceTicks: 20 } });
  const elected = (): boolean => Array.from({ length: 1_001 }, (_, id) => cluster.leaderOf(id)).every((id) => id !== 0);
  expect(cluster.runUntil(elected, 2_500)).toBe(true);
  cluster.run(20_000);
  const led = cluster.members.map((id) => cluster.node(id).groups.filter(({ serves }) => serves).length);
  expect(Math.max(...led) - Math.min(...led)).toBeLessThan(2);
  expect(allSleep(cluster)).toBe(true);
}, 60_000);
