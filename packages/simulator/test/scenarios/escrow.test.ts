// Escrows that shards open, spend from and end, while their nodes are cut off, die and come back.
import { describe, test } from "vitest";
import { at, scenario } from "./scenario.ts";

describe("escrow", () => {
  test("what a node promised while it was cut off counts, once, whoever dies meanwhile and whoever leads afterwards", async () => {
    await scenario(
      { escrows: 0.8, shards: 3, regionsPerGroup: 1, safetyMs: 11_000, paceMs: 20, subscribers: 0, names: 3, hasStore: true, snapshotLogBytes: 65_536 },
      [at(2_500, "isolate", { node: 2, ms: 4_000 }), at(5_800, "kill", { node: 2 }), at(7_500, "isolate", { node: 3, ms: 3_000 }), at(9_800, "power cut", { node: 3 }), at(10_500, "kill of the leader")],
      ["escrow spent from", "escrow spent from while its node was cut off", "escrow closed", "spending repeated", "store compared"],
    );
  });
});
