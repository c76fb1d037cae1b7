import { describe, expect, it } from "vitest";
import { mint } from "./operations.ts";
import { VirtualCluster } from "./virtual-cluster.ts";

const SNAPSHOT_OFTEN = { snapshotLogBytes: 2_000, trailingEntries: 0 };

/** What a follower is sent is lost for a moment, shorter than anybody's patience, while its leader commits and takes snapshots. */
function afterAPause(trailingBytes: number, seed: number): VirtualCluster {
  const cluster = new VirtualCluster({ seed, groups: 1, node: { ...SNAPSHOT_OFTEN, trailingBytes } });
  cluster.settle();
  cluster.register(1);
  cluster.converge();
  const leader = cluster.leaderOf(1);
  const slow = cluster.members.find((id) => id !== leader && id !== cluster.leaderOf(0)) ?? 0;
  cluster.execute(leader, [mint("first", 1, cluster.regionIn(1), "ada", "gold", 1)]);
  cluster.loseFrames(leader, slow, true);
  for (let n = 0; n < 30; n++) cluster.execute(leader, [mint(`m-${n}`, 1, cluster.regionIn(1), "ada", "gold", 1)]);
  expect(cluster.node(leader).group(1).snapshotMeta?.index, `seed ${seed}: the leader took snapshots`).toBeGreaterThan(10);
  cluster.loseFrames(leader, slow, false);
  cluster.converge();
  for (const id of cluster.members) expect(cluster.node(id).group(1).state.ledger.balance("player:ada", "gold")).toBe(31);
  return cluster;
}

describe("a follower that is slow but alive", () => {
  it("finds in the leader's log what it lacks, as far as the bound goes", () => {
    for (let seed = 1; seed <= 5; seed++) expect(afterAPause(1 << 20, seed).snapshotsSent, `seed ${seed}`).toBe(0);
  });

  it("gets a snapshot beyond it", () => {
    let sent = 0;
    for (let seed = 1; seed <= 5; seed++) sent += afterAPause(500, seed).snapshotsSent;
    expect(sent).toBeGreaterThan(0);
  });

  it("holds up nobody's memory: a leader keeps no more than the bound", () => {
    const cluster = new VirtualCluster({ seed: 9, groups: 1, node: { ...SNAPSHOT_OFTEN, trailingBytes: 5_000 } });
    cluster.settle();
    cluster.register(1);
    const leader = cluster.leaderOf(1);
    const silent = cluster.members.find((id) => id !== leader) ?? 0;
    cluster.loseFrames(leader, silent, true);
    for (let n = 0; n < 60; n++) cluster.execute(leader, [mint(`m-${n}`, 1, cluster.regionIn(1), "ada", "gold", 1)]);
    const { core } = cluster.node(leader).group(1);
    const bytes = core.entries(core.firstIndex, core.lastIndex, Infinity).reduce((sum, entry) => sum + entry.data.length, 0);
    // At most what the bound keeps, and what came since the last snapshot.
    expect(bytes).toBeLessThanOrEqual(5_000 + 3 * 2_000);
  });
});

describe("a snapshot file that is damaged when a peer needs it", () => {
  it("is replaced by a new one, and the peer catches up", () => {
    const cluster = new VirtualCluster({ seed: 4, groups: 1, node: { ...SNAPSHOT_OFTEN, trailingBytes: 0 } });
    cluster.settle();
    cluster.register(1);
    const leader = cluster.leaderOf(1);
    const away = cluster.members.find((id) => id !== leader) ?? 0;
    cluster.kill(away);
    for (let n = 0; n < 30; n++) cluster.execute(leader, [mint(`m-${n}`, 1, cluster.regionIn(1), "ada", "gold", 1)]);
    cluster.run(1_000);
    cluster.loseSnapshot(leader, 1);
    cluster.start(away);
    cluster.converge();
    expect(cluster.snapshotsSent).toBeGreaterThan(0);
    expect(cluster.node(away).group(1).state.ledger.balance("player:ada", "gold")).toBe(30);
  });
});
