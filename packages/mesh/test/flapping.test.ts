// Links that come and go: leases, failover and views over real groups on a virtual network. A region may go to its backup once, and stays there.
import { formatRegion } from "@statemesh/world";
import type { Region } from "@statemesh/contract";
import { describe, expect, it } from "vitest";
import { VirtualCluster } from "./virtual-cluster.ts";

const LEASE_MS = 3_000;
const RENEWAL_MS = 300;
/** How long a server waits for one node before it asks the next, as the SDK does. */
const ATTEMPT_MS = 1_000;

/** Two game servers of which the first owns a region of each group and the second is the backup; both renew as the SDK does. */
function world(nodes: number, seed: number) {
  const cluster = new VirtualCluster({ nodes, seed });
  cluster.settle();
  cluster.runUntil(() => cluster.node(1).membership.version >= 3);
  const regions = [cluster.regionIn(1), cluster.regionIn(2)];
  for (const serverId of [1, 2]) {
    cluster.directory(1, { $case: "register", value: { server: { serverId, name: `s${serverId}`, address: "", priority: 0, incarnation: 1, maxRegions: 100 }, ttlMs: 10_000 } });
  }
  for (const region of regions) cluster.directory(1, { $case: "acquire", value: { serverId: 1, region, durationMs: LEASE_MS } });

  /** The way of each server's words to the mesh. */
  const isCut = new Set<number>();
  /** Every owner that the directory named, by region: of whichever node knew first. */
  const owners = new Map<string, string[]>(regions.map((region) => [formatRegion(region), []]));
  const rowOf = (region: Region) => cluster.members.map((id) => cluster.node(id).directory.directory.lease(region)).reduce((newest, row) => ((row?.epoch ?? 0) > (newest?.epoch ?? 0) ? row : newest));
  const follow = (): void => {
    for (const region of regions) {
      const row = rowOf(region);
      const seen = owners.get(formatRegion(region));
      const owner = `server ${row?.serverId ?? 0} at epoch ${row?.epoch ?? 0}`;
      if (seen?.at(-1) !== owner) seen?.push(owner);
    }
    cluster.at(100, follow);
  };
  /** Asks one node, and where that one does not answer the next. */
  const renew = (serverId: number, asked: number): void => {
    const again = (nodeId: number): void => cluster.at(RENEWAL_MS, () => renew(serverId, nodeId));
    if (isCut.has(serverId)) return again(asked);
    const leases = regions.flatMap((region) => {
      const row = rowOf(region);
      return row?.serverId === serverId ? [{ region, epoch: row.epoch, players: 0 }] : [];
    });
    const command = { $case: "directory", value: { command: { $case: "renew", value: { serverId, leases, durationMs: LEASE_MS, ttlMs: 10_000, load: undefined } }, nowMs: 0 } } as const;
    const node = cluster.node(asked);
    node.relay.command(0, { command, format: 0 }, cluster.nowMs + ATTEMPT_MS, (_, error) => again(error === undefined ? asked : (asked % nodes) + 1));
    node.dirty();
  };
  expect(cluster.runUntil(() => regions.every((region) => rowOf(region)?.backups.includes(2) === true), 20_000), "a backup is chosen").toBe(true);
  follow();
  return { cluster, owners, isCut, renewFrom: (nodeId: number) => [1, 2].forEach((serverId) => renew(serverId, nodeId)) };
}

describe("a link that flaps", () => {
  it.each([1, 2, 3])("between a game server and the mesh: its regions go to the backup once, and not back; seed %i", (seed) => {
    const { cluster, owners, isCut, renewFrom } = world(3, seed);
    renewFrom(1);
    for (let flap = 0; flap < 8; flap++) {
      isCut.add(1);
      cluster.run(LEASE_MS + 1_000);
      isCut.delete(1);
      cluster.run(2_500);
    }
    for (const seen of owners.values()) expect(seen).toEqual(["server 1 at epoch 1", "server 2 at epoch 2"]);
    cluster.converge();
  });

  it.each([1, 2, 3])("between the directory's leader and all other nodes: no region changes its owner, whichever node its server asks; seed %i", (seed) => {
    const { cluster, owners, renewFrom } = world(3, seed);
    const leader = cluster.leaderOf(0);
    renewFrom(leader);
    const others = cluster.members.filter((id) => id !== leader);
    for (let flap = 0; flap < 10; flap++) {
      cluster.cut([leader], others);
      cluster.run(2_000);
      cluster.heal();
      cluster.run(1_500);
    }
    for (const seen of owners.values()) expect(seen).toEqual(["server 1 at epoch 1"]);
    // The first breaks take the node out of the view; a link that breaks again and again is counted on later each time.
    cluster.run(20_000);
    const { view } = cluster.node(others[0] ?? 0).views;
    expect(view.epoch).toBeLessThan(8);
    expect(view.alive).toEqual(cluster.members);
    for (const seen of owners.values()) expect(seen).toEqual(["server 1 at epoch 1"]);
    cluster.converge();
  });
});
