// What was found in Redis-Raft by others.
import { describe, expect, test } from "vitest";
import { at, scenario } from "./scenario.ts";

describe("Redis-Raft", () => {
  test("a follower that forwards repeats no command for ever, and none twice in effect", async () => {
    await scenario({}, [2_000, 3_500, 5_000].map((atMs) => at(atMs, "kill of the leader")), ["operation tried again", "kill of the leader"]);
  });

  test("a failover loses nothing, and a restart gives no empty reads", async () => {
    await scenario({ restartMs: 1_500 }, [at(2_000, "kill of the leader"), at(4_000, "power cut", { node: 1 }), at(4_000, "power cut", { node: 2 }), at(6_000, "kill of the leader")], ["read at level 1", "read at level 4"]);
  });

  test("no leader is never the answer to a write that was committed", async () => {
    const cuts = [2_000, 3_500, 5_000, 6_500].map((atMs, round) => at(atMs, "isolate", { node: 1 + (round % 3), ms: 1_200 }));
    await scenario({ paceMs: 30 }, cuts, ["isolate"]);
  });

  test("a partition makes no two leaders that both commit, in even clusters neither", async () => {
    await scenario({ nodes: 4 }, [at(2_000, "partition", { side: [1, 2], ms: 2_500 }), at(5_000, "partition", { side: [1, 4], ms: 2_500 })], ["partition"]);
    await scenario({ nodes: 5 }, [at(2_000, "partition", { side: [1, 2], ms: 2_500 }), at(5_000, "bridge", { node: 3, side: [1, 2], ms: 2_500 })], ["partition", "bridge"], [3]);
  });

  test("a partition together with a change of the members loses no update", async () => {
    await scenario(
      { nodes: 3, spares: 1, paceMs: 30, safetyMs: 9_000 },
      [at(3_000, "node added", { named: true }), at(3_050, "partition", { side: [1], ms: 1_500 }), at(5_500, "leader removed", { group: 1, named: false }), at(5_520, "partition", { side: [2], ms: 1_500 })],
      ["partition", "node added", "leader removed", "member change done"],
      [1, 2],
    );
  });

  test("a node that joined takes part from its first start: that it has no log yet is no loss", async () => {
    const [outcome] = await scenario({ nodes: 3, spares: 1, paceMs: 30 }, [at(3_000, "node added", { named: false }), at(5_000, "kill of the leader")], ["member change done"]);
    expect(outcome?.sometimes["damaged group repaired"]).toBe(undefined);
  });

  test("there is no gap between a log and its snapshot", async () => {
    await scenario(
      { snapshotLogBytes: 8_192, trailingEntries: 0, segmentBytes: 16_384, paceMs: 25 },
      [at(2_000, "power cut", { node: 1 }), at(3_500, "isolate", { node: 2, ms: 2_000 }), at(4_000, "power cut", { node: 3 }), at(6_000, "power cut for all")],
      ["snapshot installed"],
    );
  });

  test("an append never conflicts with what is committed, however late it comes", async () => {
    await scenario(
      { paceMs: 30 },
      [at(2_000, "straggling", { meanMs: 150, ms: 5_000 }), at(2_500, "doubling", { duplication: 0.2, ms: 4_500 }), at(3_000, "kill of the leader"), at(5_000, "reset", { from: 1, to: 2, halfOpen: true })],
      ["frame doubled"],
    );
  });
});
