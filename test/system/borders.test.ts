import type { MeshClient } from "@statemesh/client";
import { type Decision, Outcome, type Region } from "@statemesh/contract";
import { groupOf } from "@statemesh/world";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Cluster, startCluster, until } from "./cluster.ts";

const GROUPS = 3;

/** Two regions side by side that different groups keep. They meet where x is a whole number of sectors. */
function border(): { left: Region; right: Region; here: number; there: number } {
  for (let x = 0; ; x += 8) {
    const [left, right] = [{ x: x - 1, y: 0, z: 0 }, { x, y: 0, z: 0 }];
    const [here, there] = [groupOf(left, GROUPS), groupOf(right, GROUPS)];
    if (here !== there) return { left, right, here, there };
  }
}

describe("a wall across the border of two groups", () => {
  const { left, right, here, there } = border();
  let cluster: Cluster;
  let builder: MeshClient;
  let rival: MeshClient;

  beforeAll(async () => {
    cluster = await startCluster({ groups: GROUPS });
    builder = await cluster.server(1, 0);
    rival = await cluster.server(2, 1);
    await until("the cluster works at version 4", async () => (await Promise.all(cluster.nodes.map((node) => cluster.status(node)))).every(({ clusterVersion }) => clusterVersion >= 4));
  });

  afterAll(async () => cluster.close());

  /** A box from `from` to `to` metres along x, relative to the border, and 4 m high. */
  async function wall(client: MeshClient, home: Region, structureId: string, from: number, to: number, height = 10): Promise<Decision> {
    const at = right.x * 2_000;
    const bounds = { minX: at + from, minY: height, minZ: 10, maxX: at + to, maxY: height + 4, maxZ: 14 };
    return await client.execute(client.operations.structurePlacement({ region: home, epoch: 0 }, { structureId, kind: "wall", playerId: "", bounds }));
  }

  test("is in the way of builders on both sides, whichever leader dies, and in nobody's once it is taken down", async () => {
    const stands = await wall(builder, left, "wall", -6, 6);
    expect(stands).toMatchObject({ outcome: Outcome.ACCEPTED, position: { groupId: here } });
    const lost = { outcome: Outcome.REJECTED, reason: "CONFLICT", winnerOperationId: stands.operationId };
    expect(await wall(rival, right, "there", 2, 8)).toMatchObject(lost);
    expect(await wall(rival, left, "here", -8, -2)).toMatchObject(lost);
    // Of two that begin at once, in two groups, one is built.
    const [west, east] = await Promise.all([wall(builder, left, "west", -6, 6, 50), wall(rival, right, "east", -2, 20, 51)]);
    const [built, loser] = west.outcome === Outcome.ACCEPTED ? [west, east] : [east, west];
    expect([built.outcome, loser]).toMatchObject([Outcome.ACCEPTED, { outcome: Outcome.REJECTED, reason: "CONFLICT", winnerOperationId: built.operationId }]);

    const leader = await cluster.leaderOf(there);
    await leader.kill();
    expect(await wall(rival, right, "again", 2, 8)).toMatchObject(lost);
    await leader.start();

    // The removal is on its way to the other group while that loses its leader.
    const next = await cluster.leaderOf(there);
    const [removed] = await Promise.all([builder.execute(builder.operations.structureRemoval({ region: left, epoch: 0 }, { structureId: "wall", playerId: "" })), next.kill()]);
    expect(removed).toMatchObject({ outcome: Outcome.ACCEPTED, position: { groupId: here } });
    expect(await wall(rival, right, "free", 2, 8)).toMatchObject({ outcome: Outcome.ACCEPTED });
    expect(await wall(builder, left, "free too", -8, -2)).toMatchObject({ outcome: Outcome.ACCEPTED });
    await next.start();
    await cluster.settled();
    // And who wants it all the next time loses to both.
    expect(await wall(builder, left, "whole", -8, 8)).toMatchObject({ outcome: Outcome.REJECTED, reason: "CONFLICT" });
  });
});
