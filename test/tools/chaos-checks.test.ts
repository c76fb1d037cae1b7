// A check that cannot fail is none: each is shown a history that it must refuse.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { checkHistory } from "../../tools/chaos/checks/history-checks.ts";
import { type History, type HistoryCall, type HistoryFinal, type HistoryGrant, type HistoryLostDisk, type HistoryOperation, type HistoryRead, type HistoryReport, type HistoryShown, readHistory, writeHistory } from "../../tools/chaos/checks/history.ts";
import { nodeProgram } from "../../tools/service-process.ts";

let folder = "";

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "statemesh-history-"));
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

function operation(id: string, action: string, subject: string, index: number, more: Partial<HistoryOperation> = {}): HistoryOperation {
  return { operationId: id, type: "chaos_register", serverId: 1, epoch: 0, region: "region_0_0_0", subject, action, value: id, accepted: true, index, version: index, mayBeKept: false, ...more };
}

function call(from: number, to: number | null, ...operations: HistoryOperation[]): HistoryCall {
  return { kind: "call", transactionId: operations.length > 1 ? `t-${operations[0]?.operationId ?? ""}` : "", group: 1, invokedMs: from, returnedMs: to, end: to === null ? "open" : "decided", keptBy: [], operations };
}

function kept(from: number, nodeId: number, it: HistoryOperation): HistoryCall {
  return { ...call(from, null, { ...it, mayBeKept: true }), keptBy: [nodeId] };
}

function listed(operationId: string, nodeId: number, outcome: "accepted" | "merged" | "rejected", index: number): HistoryReport["operations"][number] {
  return { operationId, nodeId, outcome, reason: outcome === "rejected" ? "CONFLICT" : "", rule: "timestamp", decidedBefore: false, index };
}

function read(from: number, to: number, index: number, seen: Readonly<Record<string, readonly [string, number]>>): HistoryRead {
  const values = Object.fromEntries(Object.entries(seen).map(([key, [value]]) => [key, value]));
  const versions = Object.fromEntries(Object.entries(seen).map(([key, [, version]]) => [key, version]));
  return { kind: "read", group: 1, invokedMs: from, returnedMs: to, values, versions, index };
}

function grant(epoch: number, serverId: number, from: number, to: number): HistoryGrant {
  return { kind: "grant", region: "region_8_0_0", serverId, epoch, invokedMs: from, returnedMs: to };
}

function shown(register: string, by: "snapshot" | "change", value: string, version: number): HistoryShown {
  return { kind: "shown", follower: 1, register, by, value, version };
}

/** Two registers, a transaction, an open write that took effect, a claim, an item, a lease. */
function good(): { calls: HistoryCall[]; reads: HistoryRead[]; grants: HistoryGrant[]; shown: HistoryShown[]; reports: HistoryReport[]; finals: HistoryFinal[]; lostDisks: HistoryLostDisk[] } {
  return {
    calls: [
      call(0, 10, operation("w1", "write", "a", 1)),
      call(20, 40, operation("w2", "write", "a", 3), operation("w3", "write", "b", 3)),
      call(21, null, operation("w4", "write", "b", 4)),
      call(50, 60, operation("c1", "claim", "vein", 5, { value: "server-1" })),
      call(70, 80, operation("c2", "claim", "vein", 6, { value: "server-2", accepted: false, version: 0 })),
      call(90, 100, operation("c3", "release", "vein", 7, { value: "server-1" })),
      call(110, 120, operation("s1", "spawn", "sword", 8)),
      call(130, 140, operation("p1", "pickup", "sword", 9)),
      call(131, 141, operation("p2", "pickup", "sword", 9, { accepted: false, version: 0 })),
      call(210, 220, operation("l1", "write", "owned", 10, { region: "region_8_0_0", epoch: 1 })),
      kept(300, 3, operation("k1", "edit", "k1", 11)),
      kept(301, 3, operation("k2", "edit", "k2", 11, { accepted: false, version: 0 })),
      kept(302, 5, operation("k3", "edit", "k3", 31)),
      call(410, 420, operation("l2", "write", "owned", 30, { region: "region_8_0_0", epoch: 2, serverId: 2 })),
    ],
    reads: [read(12, 15, 1, { a: ["w1", 1], b: ["", 0] }), read(45, 48, 4, { a: ["w2", 3], b: ["w4", 4] })],
    grants: [grant(1, 1, 200, 205), grant(2, 2, 400, 405)],
    shown: [shown("a", "snapshot", "w1", 1), shown("a", "change", "w2", 3), shown("b", "change", "w3", 3), shown("b", "change", "w4", 4)],
    reports: [{ kind: "report", reportId: "heal-1-1-1", group: 1, accepted: 0, merged: 1, rejected: 1, decidedBefore: 0, operations: [listed("k1", 3, "merged", 11), listed("k2", 3, "rejected", 11)] }],
    finals: [{ kind: "final", operationId: "k1", nodeId: 3, outcome: "merged", reason: "", index: 11 }],
    lostDisks: [{ kind: "lost-disk", nodeId: 5 }],
  };
}

/** Names of the checks that fail. */
function failures(history: History): string[] {
  return checkHistory(history).filter((check) => check.anomalies.length > 0).map((check) => check.name);
}

const LINEARIZABLE = "registers, claims and items are linearizable, by what callers saw";
const SERIALIZABLE = "writes, transactions and reads of several registers are strictly serializable";
const ORDER = "the log's order is the order in which callers were answered";
const READS = "every read finds what the log holds at its position";
const HOLDER = "a claim has one holder at a time";
const ITEM = "an item goes to one player";
const SHOWN = "subscribers are shown every write in order, none twice";
const EPOCHS = "epochs only grow, and no write of an old one is taken";

const KEPT = "what was answered TENTATIVE was merged or refused with a reason, and a heal report lists it";

test("a good history passes, also from its file", () => {
  expect(failures(good())).toEqual([]);
  const file = join(folder, "history.jsonl");
  writeHistory(file, good());
  expect(readHistory(file)).toEqual(good());
});

describe("what must not be is found", () => {
  test.each<[string, (history: ReturnType<typeof good>) => void, string[]]>([
    ["a stale read", ({ reads }) => reads.push(read(45, 48, 2, { a: ["w1", 1] })), [LINEARIZABLE, SERIALIZABLE, ORDER]],
    ["a read of a value that is not the log's", ({ reads }) => reads.push(read(45, 48, 4, { a: ["w1", 3] })), [LINEARIZABLE, READS]],
    ["half of a transaction", ({ reads }) => reads.push(read(25, 30, 3, { a: ["w2", 3], b: ["", 0] })), [SERIALIZABLE, READS]],
    ["a write that was acknowledged and is gone", ({ calls, reads }) => {
      calls.push(call(300, 310, operation("w5", "write", "a", 20)));
      reads.push(read(320, 330, 20, { a: ["w2", 3] }));
    }, [LINEARIZABLE, SERIALIZABLE, READS, SHOWN]],
    ["a read that goes back behind an earlier one", ({ calls, reads }) => {
      calls.push(call(300, null, operation("w5", "write", "a", 20)));
      reads.push(read(310, 320, 20, { a: ["w5", 20] }), read(330, 340, 19, { a: ["w2", 3] }));
    }, [LINEARIZABLE, SERIALIZABLE, ORDER, SHOWN]],
    ["a later call that stands earlier in the log", ({ calls }) => calls.push(call(500, 510, operation("w6", "write", "other", 2))), [ORDER]],
    ["two holders of a claim", ({ calls }) => calls.push(call(65, 75, operation("c9", "claim", "vein", 6, { value: "server-3" }))), [LINEARIZABLE, HOLDER]],
    ["an item that two players got", ({ calls }) => calls.push(call(131, 141, operation("p9", "pickup", "sword", 9))), [LINEARIZABLE, ITEM]],
    ["an item that was not there", ({ calls }) => calls.push(call(131, 141, operation("p9", "pickup", "shield", 9))), [LINEARIZABLE, ITEM]],
    ["a write that a subscriber missed", ({ shown: all }) => all.splice(2, 1), [SHOWN]],
    ["a write that a subscriber was shown twice", ({ shown: all }) => all.push(shown("b", "change", "w4", 4)), [SHOWN]],
    ["a subscriber that is shown an older write after a newer one", ({ shown: all }) => all.reverse(), [SHOWN]],
    ["a subscriber that never sees the end", ({ shown: all }) => all.pop(), [SHOWN]],
    ["a subscriber that is shown what nobody wrote", ({ shown: all }) => all.push(shown("b", "change", "w9", 9)), [SHOWN]],
    ["one epoch of two servers", ({ grants }) => grants.push(grant(2, 3, 401, 406)), [EPOCHS]],
    ["an epoch that goes back", ({ grants }) => grants.push(grant(1, 3, 500, 505)), [EPOCHS]],
    ["a write of an old epoch behind one of a new one", ({ calls }) => calls.push(call(430, 440, operation("l3", "write", "owned", 31, { region: "region_8_0_0", epoch: 1 }))), [EPOCHS]],
    ["a kept operation that no report lists", ({ calls }) => calls.push(kept(303, 3, operation("k9", "edit", "k9", 12))), [KEPT]],
    ["a kept operation that two reports list", ({ reports }) => reports.push({ kind: "report", reportId: "heal-1-1-2", group: 1, accepted: 0, merged: 1, rejected: 0, decidedBefore: 0, operations: [listed("k1", 3, "merged", 11)] }), [KEPT]],
    ["a kept operation that is refused without a reason", ({ reports: [report] }) => report?.operations.splice(1, 1, { ...listed("k2", 3, "rejected", 11), reason: "" }), [KEPT]],
    ["a kept operation that ends in one way for its caller and in another in the report", ({ reports: [report] }) => report?.operations.splice(1, 1, listed("k2", 3, "merged", 11)), [KEPT]],
    ["a kept operation whose server hears of another end", ({ finals }) => finals.push({ kind: "final", operationId: "k2", nodeId: 3, outcome: "merged", reason: "", index: 11 }), [KEPT]],
    ["a kept operation whose caller did not allow it", ({ reports: [report] }) => report?.operations.push(listed("w1", 3, "merged", 1)), [KEPT]],
    ["a report that counts other than it lists", ({ reports: [report] }) => report?.operations.push(listed("k3", 5, "merged", 31)), [KEPT]],
  ])("%s", (_, spoil, expected) => {
    const history = good();
    spoil(history);
    expect(failures(history)).toEqual(expected);
  });
});

test("./dev chaos --check ends with status 1 and names the anomaly, with status 0 where there is none", () => {
  const file = join(folder, "history.jsonl");
  const chaos = (): { status: number | null; stdout: string; stderr: string } => spawnSync(nodeProgram(), [join(import.meta.dirname, "../../tools/chaos.ts"), "--check", file], { encoding: "utf8" });
  writeHistory(file, good());
  expect(chaos()).toMatchObject({ status: 0, stderr: "" });
  const bad = good();
  bad.reads.push(read(45, 48, 2, { a: ["w1", 1] }));
  writeHistory(file, bad);
  const { status, stdout } = chaos();
  expect(status).toBe(1);
  expect(stdout).toContain(`FAILED ${ORDER}`);
  writeFileSync(file, '{"kind":"read"}\n');
  expect(chaos()).toMatchObject({ status: 1, stdout: expect.stringContaining("history.jsonl:1: ") as string });
});
