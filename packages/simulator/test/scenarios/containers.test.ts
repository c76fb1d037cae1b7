// Containers in containers, which shards make, fill, move about and take along, by what they last saw of them.
import { describe, test } from "vitest";
import { at, scenario } from "./scenario.ts";

describe("containers", () => {
  test("are never in themselves, and hold what the postings say, whoever leads and whoever is cut off", async () => {
    await scenario(
      { containers: 0.9, groups: 2, shards: 3, regionsPerGroup: 1, paceMs: 12, names: 3, subscribers: 0, hasStore: true },
      [at(2_500, "kill of the leader"), at(4_000, "isolate", { node: 2, ms: 1_000 }), at(5_500, "leadership transfer", { node: 3, group: 1 })],
      ["container put into another", "container taken to another group", "container destroyed with its contents", "store compared"],
      [1, 2],
    );
  });
});
