import { MeshError } from "@statemesh/contract";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { QuotaKeeper } from "../src/flow/server-quotas.ts";
import { TokenBucket } from "../src/flow/token-bucket.ts";
import { claim, mint } from "./operations.ts";
import { ready } from "./transacting.ts";

function refusal(run: () => void): MeshError | undefined {
  try {
    run();
    return undefined;
  } catch (error) {
    return MeshError.from(error);
  }
}

describe("the quota of a server", () => {
  it("holds what is unanswered to its number, for each server by itself, and gives it back", () => {
    const keeper = new QuotaKeeper({ inFlight: 10 });
    keeper.take(1, 10, 0);
    expect(refusal(() => keeper.take(1, 1, 0))).toMatchObject({ reason: "QUOTA_EXCEEDED", retryDelayMs: 50, metadata: { server_id: "1", quota: "10" } });
    expect(refusal(() => keeper.take(2, 10, 0))).toBeUndefined();
    keeper.answered(1, 4);
    expect([refusal(() => keeper.take(1, 4, 0)), keeper.refused]).toEqual([undefined, 1]);
  });

  it("says when there is room again, and then there is", () => {
    const bucket = { rate: fc.integer({ min: 1, max: 10_000 }), takes: fc.array(fc.integer({ min: 1, max: 500 }), { minLength: 1, maxLength: 60 }) };
    fc.assert(
      fc.property(bucket.rate, bucket.takes, (rate, takes) => {
        const tokens = new TokenBucket(rate, 0);
        let nowMs = 0;
        let taken = 0;
        for (const count of takes) {
          const waitMs = tokens.take(count, nowMs);
          if (waitMs > 0) {
            nowMs += waitMs;
            expect(tokens.take(count, nowMs)).toBe(0);
          }
          taken += count;
          // A second's worth is saved up; one take may go beyond.
          expect(taken).toBeLessThanOrEqual(rate + (nowMs * rate) / 1_000 + 500);
        }
      }),
    );
  });

  it("is kept at the node that takes the operations, which says so to the caller", () => {
    const cluster = ready({ node: { quotas: { inFlight: 3, operationsPerSecond: 5 } } });
    const region = cluster.regionIn(1);
    const ids = ["a", "b", "c", "d"];
    const answers = cluster.execute(1, ids.map((id) => mint(id, 1, region, "ada", "gold", 1)));
    expect(answers.get("d")).toMatchObject({ reason: "QUOTA_EXCEEDED" });
    expect(ids.slice(0, 3).map((id) => answers.get(id))).toEqual(ids.slice(0, 3).map((operationId) => expect.objectContaining({ operationId, outcome: 1 })));
    const more = cluster.execute(1, ["e", "f", "g"].map((id) => mint(id, 1, region, "ada", "gold", 1)));
    expect([...more.values()].filter((answer) => "reason" in answer && answer.reason === "QUOTA_EXCEEDED").length).toBeGreaterThan(0);
    cluster.run(2_000);
    expect(cluster.execute(1, [claim("h", 1, region, "vein", "ada")]).get("h")).toMatchObject({ operationId: "h" });
  });
});

describe("a deadline", () => {
  it("goes with the operation to the leader, which does not decide it afterwards; and it can be asked for again", () => {
    const cluster = ready();
    const region = cluster.regionIn(1);
    const leader = cluster.leaderOf(1);
    const edge = cluster.members.find((id) => id !== leader) ?? 0;
    // The name is held by operations of the same server that are decided one after the other.
    const before = Array.from({ length: 40 }, (_, n) => claim(`before-${n}`, 1, region, "vein", "ada"));
    cluster.submit(edge, before);
    const late = cluster.submit(edge, [claim("late", 1, region, "vein", "ada")], 5);
    cluster.run(2_000);
    expect(cluster.node(leader).group(1).counts.expired).toBe(1);
    expect(cluster.node(leader).group(1).state.decisions.get("late")).toBeUndefined();
    expect(["OUTCOME_UNKNOWN", "DEADLINE_EXCEEDED"]).toContain((late.get("late") as { reason?: string } | undefined)?.reason);
    expect(cluster.execute(edge, [claim("late", 1, region, "vein", "ada")]).get("late")).toMatchObject({ operationId: "late" });
  });
});
