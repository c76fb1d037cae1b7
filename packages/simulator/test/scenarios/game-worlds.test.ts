// What game worlds lost elsewhere, as far as the consensus nodes answer for it.
import { describe, test } from "vitest";
import { at, scenario } from "./scenario.ts";

describe("game worlds", () => {
  test("a chest and a quick change of server double no item", async () => {
    await scenario(
      { leasing: true, shards: 3, names: 3, paceMs: 30 },
      [at(2_000, "kill of the leader"), at(3_000, "shards cut off", { node: 1, ms: 1_000 }), at(5_000, "pause of the leader", { ms: 1_200 })],
      ["lease granted", "operation tried again"],
    );
  });

  test("a holder whose lease ran out is fenced, whatever it believes", async () => {
    await scenario({ leasing: true, shards: 3, mischief: 0.3 }, [at(2_000, "pause of the leader", { ms: 2_500 }), at(5_000, "isolate", { node: 2, ms: 2_000 })], ["answer FENCED"]);
  });

  test("what is oversized, forged or out of time is refused by name, and nothing of it happens", async () => {
    await scenario({ mischief: 0.5 }, [at(3_000, "kill of the leader")], ["answer PRIORITY_FORGED", "answer TIMESTAMP_IN_FUTURE", "answer INVALID_FIELD"]);
  });

  test("a directory entry that was not synced when the log rotated loses nothing", async () => {
    await scenario({ segmentBytes: 16_384, paceMs: 25, subscribers: 0 }, [2_000, 3_500, 5_000, 6_500].map((atMs) => at(atMs, "power cut for all")), ["power cut for all"]);
  });

  test("a late copy never overwrites a newer one in the store", async () => {
    await scenario(
      { hasStore: true, touchCapacity: 64, paceMs: 30 },
      [at(2_000, "store commits unheard", { ms: 2_000 }), at(3_000, "kill of the leader"), at(4_000, "store cut off", { ms: 1_500 }), at(5_000, "leadership transfer", { node: 2, group: 1 }), at(6_000, "store aborts", { ms: 1_500 })],
      ["store compared"],
    );
  });
});

describe("networks", () => {
  test("a way on which large messages vanish while small ones pass makes no leader of one that nobody can follow, and heals", async () => {
    await scenario(
      { paceMs: 20, subscribers: 2, snapshotLogBytes: 8_192, trailingEntries: 0 },
      [at(2_000, "large frames stuck", { bytes: 300, ms: 2_500 }), at(2_500, "kill", { node: 2 }), at(5_500, "large frames stuck", { bytes: 1_000, ms: 1_000 })],
      ["large frames stuck", "snapshot installed"],
      [1, 2, 3],
    );
  });

  test("ten thousand streams that nobody reads keep nobody else from anything", async () => {
    await scenario(
      { paceMs: 40, subscribers: 2 },
      [at(2_000, "idle streams", { node: 1, count: 10_000, ms: 3_000 }), at(2_200, "idle streams", { node: 2, count: 10_000, ms: 20_000 }), at(3_500, "kill of the leader")],
      ["idle streams all taken", "subscription snapshot", "kill of the leader"],
    );
  });
});

describe("leases in event loops", () => {
  test("an acquisition that is answered late makes no second holder, nor does a release while one is under way", async () => {
    await scenario(
      { leasing: true, shards: 3, regionsPerGroup: 1, maxDelayMs: 20 },
      [at(2_000, "slow peer", { node: 1, delayMs: 400, ms: 2_000 }), at(4_500, "pause", { node: 2, ms: 1_500 }), at(5_000, "pause of the leader", { ms: 1_800 })],
      ["lease granted"],
    );
  });
});
