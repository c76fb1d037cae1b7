// Creatures and carts that go from region to region, and from group to group, while those who keep them die, stand still and are cut off.
import { describe, test } from "vitest";
import { at, scenario } from "./scenario.ts";

describe("what goes from region to region", () => {
  const settings = { travellers: 0.8, groups: 3, regionsPerGroup: 2, shards: 3, paceMs: 30, names: 4, hasStore: true } as const;

  test("is in one place, whoever dies or is cut off while it is on its way, alone and in transactions, in the log and in SQL", async () => {
    await scenario(
      { ...settings, subscribers: 1 },
      [at(1_800, "kill of the leader"), at(2_800, "isolate", { node: 2, ms: 900 }), at(4_000, "store commits unheard", { ms: 1_000 }), at(4_200, "leadership transfer", { node: 3, group: 2 }), at(5_200, "power cut for all")],
      ["entity moved to another group", "entity moved to another region", "move refused with NOT_FOUND", "transaction across groups committed", "transaction across groups aborted", "store compared"],
      [1, 2],
    );
  });

  test("is seen to leave and to come by readers on both sides, once each, also by those who walk along the border themselves", async () => {
    await scenario(
      { ...settings, subscribers: 3, walking: 0.5, slowReaderMs: 50, leasing: true, handoffs: true, maxRegions: 8 },
      [at(2_200, "readers move"), at(3_000, "kill of the leader"), at(3_800, "shard killed", { shard: 2, ms: 800 }), at(5_000, "readers move")],
      ["entity moved to another group", "entity moved to another region", "subscription resumed", "subscription snapshot", "region changed its owner"],
      [1, 2],
    );
  });
});
