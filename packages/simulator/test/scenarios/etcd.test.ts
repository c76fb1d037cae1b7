// What was found in etcd by others.
import { describe, test } from "vitest";
import { at, scenario } from "./scenario.ts";

describe("etcd", () => {
  test("a lock is not granted on a lease that ran out meanwhile", async () => {
    await scenario(
      { leasing: true, shards: 3 },
      [at(2_000, "pause of the leader", { ms: 2_500 }), at(5_000, "pause of the leader", { ms: 2_000 })],
      ["lease granted", "answer FENCED"],
    );
  });

  test("a leader that was paused answers no stale read, with leases too", async () => {
    const pauses = [2_000, 3_500, 5_000, 6_500].map((atMs) => at(atMs, "pause of the leader", { ms: 1_200 }));
    await scenario({ leaseReads: true, paceMs: 30 }, pauses, ["read at level 1", "pause of the leader"]);
    await scenario({ leaseReads: false, paceMs: 30 }, pauses, ["read at level 1"], [3]);
  });

  test("a watch never goes back in time after a partition", async () => {
    await scenario(
      { subscribers: 3 },
      [at(2_000, "isolate", { node: 1, ms: 1_500 }), at(3_000, "readers move"), at(4_000, "isolate", { node: 2, ms: 1_500 }), at(5_000, "readers move"), at(6_500, "readers move")],
      ["subscription resumed"],
    );
  });

  test("an acknowledged write outlives a crash of every node", async () => {
    await scenario({ maxSyncMs: 15 }, [at(2_000, "power cut for all"), at(4_000, "power cut for all"), at(6_000, "power cut for all")], ["power cut for all"]);
  });
});
