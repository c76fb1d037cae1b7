// How long a leader waits for an arbiter: no longer than somebody waits for the leader.
import { describe, expect, it } from "vitest";
import { mint } from "./operations.ts";
import { isDecision, VirtualCluster } from "./virtual-cluster.ts";

describe("what a leader asks an arbiter", () => {
  it.each([1, 2, 3])("is asked until its caller gives up, by whatever node it came; node %i", (through) => {
    const until: number[] = [];
    const cluster = new VirtualCluster({
      arbiter: (_, deadlineMs) => {
        until.push(deadlineMs - cluster.nowMs);
        return undefined;
      },
    });
    cluster.settle();
    cluster.register(1);
    for (const [id, deadlineMs] of [["short", 700], ["long", 60_000]] as const) {
      until.length = 0;
      const region = cluster.regionIn(1);
      // Two together: about one alone nobody is asked.
      const answers = cluster.execute(through, [mint(id, 1, region, "ada", "ore", 1), mint(`${id}-too`, 1, region, "bob", "ore", 1)], deadlineMs);
      expect(isDecision(answers.get(id))).toBe(true);
      const [leftMs = 0] = until;
      // What the way to the leader took is gone.
      expect(leftMs).toBeLessThanOrEqual(deadlineMs);
      expect(leftMs).toBeGreaterThan(deadlineMs - 200);
    }
  });
});
