// One broken clock must not carry the others away.
import { describe, expect, test } from "vitest";
import { at, scenario } from "./scenario.ts";

describe("clocks", () => {
  test("a node whose clock runs ten minutes ahead makes nobody forget decisions, whether it leads or not", async () => {
    for (const node of [1, 2, 3]) {
      const [outcome] = await scenario({ decisionWindow: 64, subscribers: 0, paceMs: 40 }, [at(2_000, "clock jump", { node, ms: 600_000 })], ["clock jump"]);
      expect(outcome?.sometimes["answer DECISION_FORGOTTEN"]).toBeUndefined();
    }
  });

  test("a clock that strobes and one that drifts cost nothing that is acknowledged", async () => {
    await scenario(
      { leaseReads: true, leasing: true },
      [at(2_000, "clock strobe", { node: 1, ms: 300, times: 30, everyMs: 40 }), at(2_500, "clock drift", { node: 2, permille: 10 }), at(4_000, "kill of the leader")],
      ["clock strobe", "clock drift"],
    );
  });
});
