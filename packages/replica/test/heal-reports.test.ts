import { type HealedOperation, Outcome } from "@statemesh/contract";
import type { HealBatch, HealedRecord } from "@statemesh/contract/log";
import { describe, expect, it } from "vitest";
import { ForgottenMarks } from "../src/forgotten-marks.ts";
import { HEAL_REPORTS_MAX, HEALED_OPERATIONS_MAX, HealReports } from "../src/heal-reports.ts";
import { StateHash } from "../src/state-hash.ts";

function record(operationId: string, outcome: Outcome = Outcome.ACCEPTED): HealedRecord {
  const position = { groupId: 1, term: 1, index: 5 };
  const operation: HealedOperation = {
    operationId, type: "resource_claim", serverId: 1, region: undefined, outcome, rule: "uncontested", winnerOperationId: operationId, conflict: 0, reason: "", stamp: undefined, nodeId: 4,
    decidedBefore: outcome === Outcome.MERGED, position,
  };
  return { operation, fingerprint: 7 };
}

function batch(reportId: string): HealBatch {
  const side = { nodeIds: [4], beganMs: 100, endedMs: 900, viewEpoch: 3, decided: false };
  return { reportId, healedMs: 1_000, sides: [side, { ...side, nodeIds: [5], beganMs: 50 }, { ...side, nodeIds: [1, 2, 3], beganMs: 0, endedMs: 0, decided: true }], operations: [] };
}

const at = (index: number) => ({ groupId: 1, term: 1, index });

describe("heal reports", () => {
  it("gather the batches of one report, count what became of its operations, and list none twice", () => {
    const reports = new HealReports(new StateHash());
    reports.add(batch("r"), 1, at(5), [record("a"), record("b", Outcome.REJECTED)]);
    reports.add(batch("r"), 1, at(6), [record("b"), record("c", Outcome.MERGED)]);
    reports.add(batch("later"), 1, at(7), [record("a")]);
    expect(reports.rows.map(({ head }) => head)).toMatchObject([{ reportId: "r", accepted: 1, rejected: 1, merged: 1, decidedBefore: 1, beganMs: 50, endedMs: 900, healedMs: 1_000, position: at(5) }]);
    expect(reports.row("r")?.operations.map(({ operation }) => operation?.operationId)).toEqual(["a", "b", "c"]);
    expect(reports.find("b")?.operation?.outcome).toBe(Outcome.REJECTED);
  });

  it("are bounded: the oldest go, and nothing of them is left in the digest", () => {
    const hash = new StateHash();
    const reports = new HealReports(hash);
    for (let i = 0; i < HEAL_REPORTS_MAX + 5; i++) reports.add(batch(`r${i}`), 1, at(i), [record(`op-${i}`)]);
    expect(reports.rows).toHaveLength(HEAL_REPORTS_MAX);
    expect([reports.find("op-4"), reports.find("op-5")?.operation?.operationId]).toEqual([undefined, "op-5"]);
    const fresh = new StateHash();
    const again = new HealReports(fresh);
    for (const { head, operations } of reports.rows) {
      again.restore(head);
      for (const each of operations) again.restoreOperation(each);
    }
    expect(fresh.toString()).toBe(hash.toString());
    expect(again.rows).toEqual(reports.rows);
    const many = Array.from({ length: HEALED_OPERATIONS_MAX + 1 }, (_, i) => record(`many-${i}`));
    reports.add(batch("large"), 1, at(99), many);
    expect(reports.rows.map(({ head }) => head.reportId)).toEqual(["large"]);
    expect(reports.row("large")?.operations).toHaveLength(many.length);
  });
});

describe("what is remembered of forgotten decisions", () => {
  it("is the latest time of each server, for which another server's does not count", () => {
    const marks = new ForgottenMarks();
    marks.note(1, 500);
    marks.note(1, 400);
    marks.note(2, 900);
    expect([1, 2, 3].map((serverId) => marks.throughMs(serverId))).toEqual([500, 900, 0]);
    const restored = new ForgottenMarks();
    restored.restore(marks.capture(), 900);
    expect([1, 2, 3].map((serverId) => restored.throughMs(serverId))).toEqual([500, 900, 0]);
  });

  it("holds for all servers where it is not known whose the decisions were, and where an earlier version said no more", () => {
    const marks = new ForgottenMarks();
    marks.note(0, 700);
    expect(marks.throughMs(9)).toBe(700);
    const restored = new ForgottenMarks();
    restored.restore({ forgotten: [], forgottenFloorMs: 0 }, 650);
    expect(restored.throughMs(9)).toBe(650);
  });

  it("is bounded: of many servers those with the earliest times share one, which never forgets", () => {
    const marks = new ForgottenMarks();
    for (let serverId = 1; serverId <= 10_000; serverId++) marks.note(serverId, serverId);
    expect(marks.capture().forgotten.length).toBeLessThanOrEqual(4_096);
    for (let serverId = 1; serverId <= 10_000; serverId++) expect(marks.throughMs(serverId)).toBeGreaterThanOrEqual(serverId);
    expect(marks.throughMs(10_000)).toBe(10_000);
  });
});
