// What cannot be done takes nobody down who can.
import { type Operation, Outcome } from "@statemesh/contract";
import { resolve } from "@statemesh/conflict";
import { Command, type DecidedOperation } from "@statemesh/contract/log";
import { commandOf, decideSet, GroupState, type PendingOperation } from "@statemesh/replica";
import { DEFAULT_POLICY, fingerprintOf, footprintOf, validateOperation } from "@statemesh/world";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { DecisionBatch, QueuedUnit } from "../src/strong/decision-queue.ts";
import { candidateSet, Question } from "../src/strong/question.ts";
import { give, mint, pickup, removeStructure, place, spawn } from "./operations.ts";
import { VirtualCluster } from "./virtual-cluster.ts";

const HERE = { x: 0, y: 0, z: 0 };
const THERE = { x: 1, y: 0, z: 0 };

function pend(operation: Operation, atMs: number): PendingOperation {
  const type = validateOperation(operation, DEFAULT_POLICY);
  return { operation, type, touched: footprintOf(operation, type), stamp: { physicalMs: atMs, logical: 0 }, fingerprint: fingerprintOf(operation), priority: 0 };
}

function unit(pending: PendingOperation): QueuedUnit {
  return { operations: [pending], transactionId: "", waiters: [], sizeBytes: 1, cameMs: 0, deadlineMs: 1_000, proposed: false, reserves: false };
}

function decide(state: GroupState, operations: readonly PendingOperation[]): DecidedOperation[] {
  const batch: DecisionBatch = { singles: operations.map(unit), transactions: [], heals: [] };
  const decided: DecidedOperation[] = [];
  const arbitrateAgain = (rest: readonly PendingOperation[]) => resolve(candidateSet(rest, state, DEFAULT_POLICY, 1), DEFAULT_POLICY);
  new Question(batch, state, DEFAULT_POLICY, 1).decide(undefined, (units, verdicts) => decided.push(...decideSet({ state, place: { groupId: 1, groups: 1 }, mintedInFlight: new Map(), arbitrateAgain }, units, verdicts)));
  return decided;
}

function apply(state: GroupState, decided: readonly DecidedOperation[]): void {
  const data = Command.encode(commandOf({ $case: "operations", value: { operations: [...decided] } })).finish();
  state.apply({ index: state.appliedIndex + 1, term: 1, kind: 0, data });
}

/** Items 0..2 lie here, item 3 lies there, item 4 was taken; ada has 5 gold. */
function world(): GroupState {
  const state = new GroupState({ groupId: 1, decisionWindow: 4_096, touchCapacity: 64 });
  const first = [0, 1, 2, 4].map((n) => spawn(`lay-${n}`, 1, HERE, `item-${n}`, "gold", 1)).concat(spawn("lay-3", 1, THERE, "item-3", "gold", 1), mint("purse", 1, HERE, "ada", "gold", 5), place("hut", 1, HERE, [10, 10, 10]));
  apply(state, decide(state, first.map((operation) => pend(operation, 1))));
  apply(state, decide(state, [pend(pickup("taken", 1, HERE, "item-4", "bob"), 2)]));
  return state;
}

const door = { footprint: { keys: ["door"], regions: [], bounds: undefined } };

describe("an operation that cannot be done", () => {
  it("does not compete: the rival that can be done wins, and the other hears why it cannot", () => {
    const decided = decide(world(), [pend(pickup("early", 1, HERE, "item-3", "ada"), 10), pend(pickup("late", 2, THERE, "item-3", "bob"), 20)]);
    expect(decided).toMatchObject([
      { operationId: "early", outcome: Outcome.REJECTED, reason: "NOT_FOUND", rule: "existence", winnerOperationId: "" },
      { operationId: "late", outcome: Outcome.ACCEPTED, rule: "uncontested" },
    ]);
  });

  it("does not compete where it is a balance that is missing", () => {
    const decided = decide(world(), [
      pend(give("poor", 1, HERE, "eve", "ada", "gold", 1, door), 10), pend(give("rich", 2, HERE, "ada", "eve", "gold", 1, door), 20), pend(give("late", 3, HERE, "ada", "bob", "gold", 1, door), 30),
    ]);
    expect(new Map(decided.map((it) => [it.operationId, [it.outcome, it.reason, it.winnerOperationId]]))).toEqual(new Map([
      ["poor", [Outcome.REJECTED, "INSUFFICIENT_ITEMS", ""]], ["rich", [Outcome.ACCEPTED, "", "rich"]], ["late", [Outcome.REJECTED, "CONFLICT", "rich"]],
    ]));
  });

  it("that others merged with or lost to does not count a second time in a crowd of its like", () => {
    const crowd = Array.from({ length: 1_000 }, (_, n) => pend(give(`poor-${n}`, n + 1, HERE, "eve", "ada", "gold", 1, door), 10 + n));
    const decided = decide(world(), [...crowd, pend(give("rich", 2_000, HERE, "ada", "eve", "gold", 1, door), 5_000)]);
    expect(decided.filter((it) => it.reason === "INSUFFICIENT_ITEMS")).toHaveLength(1_000);
    expect(decided.at(-1)).toMatchObject({ operationId: "rich", outcome: Outcome.ACCEPTED });
  });

  it("names the winner of before where there is one", () => {
    expect(decide(world(), [pend(pickup("late", 2, HERE, "item-4", "ada"), 20)])).toMatchObject([{ outcome: Outcome.REJECTED, reason: "CONFLICT", rule: "incumbent", winnerOperationId: "taken" }]);
    expect(decide(world(), [pend(removeStructure("gone", 2, HERE, "s-nothing"), 20)])).toMatchObject([{ outcome: Outcome.REJECTED, reason: "NOT_FOUND" }]);
  });

  it("never stands in the way of one that can: all losers lost to something in force, in whatever order they came", () => {
    const kinds = fc.record({ kind: fc.constantFrom("pickup", "spawn", "give", "take", "mint", "remove"), item: fc.integer({ min: 0, max: 6 }), there: fc.boolean(), door: fc.boolean(), atMs: fc.integer({ min: 10, max: 14 }) });
    fc.assert(fc.property(fc.array(kinds, { minLength: 1, maxLength: 16 }), fc.infiniteStream(fc.nat()), (list, dice) => {
      const operations = list.map(({ kind, item, there, door: locked, atMs }, n) => {
        const region = there ? THERE : HERE;
        const fields = locked ? door : {};
        const id = `op-${n}`;
        const made: Record<string, () => Operation> = {
          pickup: () => pickup(id, n + 1, region, `item-${item}`, "ada", fields),
          spawn: () => ({ ...spawn(id, n + 1, region, `item-${item}`, "gold", 1), ...fields }),
          give: () => give(id, n + 1, region, "ada", "eve", "gold", item + 1, fields),
          take: () => give(id, n + 1, region, "eve", "ada", "gold", item + 1, fields),
          mint: () => ({ ...mint(id, n + 1, region, "eve", "gold", 3), ...fields }),
          remove: () => ({ ...removeStructure(id, n + 1, region, "s-hut"), ...fields }),
        };
        return pend((made[kind] ?? made["mint"] ?? expect.fail)(), atMs);
      });
      const state = world();
      const decided = decide(state, operations);
      const byId = new Map(decided.map((it) => [it.operationId, it]));
      expect(byId.size).toBe(operations.length);
      for (const it of decided) {
        if (it.reason !== "CONFLICT") continue;
        const winner = byId.get(it.winnerOperationId);
        if (winner === undefined) expect(it.rule).toBe("incumbent");
        else expect(winner.outcome).not.toBe(Outcome.REJECTED);
      }
      const shuffled = operations.map((operation) => ({ operation, at: dice.next().value })).sort((a, b) => a.at - b.at).map(({ operation }) => operation);
      const again = decide(state, shuffled);
      for (const it of again) expect(it).toEqual(byId.get(it.operationId));
      apply(state, decided);
    }), { numRuns: 300 });
  });
});

describe("on a mesh", () => {
  it("a pickup at the wrong place does not take the right one down, whatever the arbiter thinks", () => {
    const cluster = new VirtualCluster();
    cluster.settle();
    cluster.register(1, 2);
    const region = cluster.regionIn(1);
    const beside = { ...region, y: region.y + 1 };
    cluster.execute(1, [spawn("lay", 1, region, "coin", "gold", 1)]);
    const results = cluster.execute(1, [pickup("wrong", 1, beside, "coin", "ada", { timestampMs: Math.floor(cluster.nowMs) - 50 }), pickup("right", 2, region, "coin", "bob", { timestampMs: Math.floor(cluster.nowMs) })]);
    expect(results.get("right")).toMatchObject({ outcome: Outcome.ACCEPTED });
    expect(results.get("wrong")).toMatchObject({ outcome: Outcome.REJECTED, reason: "NOT_FOUND" });
  });
});
