// Who goes on when the nodes do not all reach one another: never two, and afterwards all agree again.
import { expect, test } from "vitest";
import { at, scenario } from "./scenario.ts";

const five = { nodes: 5, paceMs: 100, safetyMs: 14_000 } as const;

test("of three parts none decides, where none is more than half; the largest gets no more than a part", async () => {
  const [outcome] = await scenario(five, [at(3_000, "three-way partition", { sides: [0, 0, 1, 1, 2], ms: 6_000 })], ["three-way partition", "answer MINORITY_PARTITION", "side of a split changed"]);
  // Nobody could agree on who is there, so nobody was left out.
  expect(outcome?.sometimes["view without a member"]).toBeUndefined();
});

test("a cluster that falls apart piece by piece goes on as long as there is a majority, which leaves the others out", async () => {
  const [outcome] = await scenario(five, [at(3_000, "isolate", { node: 5, ms: 11_000 }), at(6_000, "isolate", { node: 4, ms: 8_000 }), at(9_000, "isolate", { node: 3, ms: 3_000 })], ["answer MINORITY_PARTITION", "view without a member"]);
  expect(outcome?.sometimes["view without a member"]).toBeGreaterThan(1);
});

test("a bridge between two halves, a way that works one way only, and one that flaps: one view after the other, each by a quorum", async () => {
  await scenario(
    five,
    [at(2_500, "bridge", { node: 1, side: [2, 3], ms: 3_500 }), at(7_000, "one-way cut", { from: 2, to: 4, ms: 3_000 }), at(10_500, "flapping", { from: 3, to: 5, times: 6, everyMs: 250 })],
    ["view without a member", "bridge", "one-way cut", "flapping"],
  );
});

test("what the losing side keeps for its callers is decided after the split, and listed in a heal report", async () => {
  await scenario(
    { ...five, tentative: 1 },
    [at(3_000, "partition", { side: [1, 2], ms: 5_000 }), at(9_500, "isolate", { node: 5, ms: 3_500 }), at(11_500, "kill", { node: 5 })],
    ["operation kept while its node was cut off", "kept operation listed in a heal report"],
  );
});
