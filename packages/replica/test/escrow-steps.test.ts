// What a group's log does with what nodes promised of escrows.
import { Outcome } from "@statemesh/contract";
import { Command, type CommandResult, DecidedOperation, type Effect } from "@statemesh/contract/log";
import { expect, it } from "vitest";
import { commandOf, GroupState } from "@statemesh/replica";

const OPTIONS = { groupId: 2, decisionWindow: 8, touchCapacity: 64 };
const REGION = { x: 0, y: 0, z: 0 };
const STAMP = { physicalMs: 1_000, logical: 0 };
const MAX = Number.MAX_SAFE_INTEGER;

function apply(state: GroupState, command: Parameters<typeof commandOf>[0]): CommandResult | undefined {
  return state.apply({ term: 1, index: state.appliedIndex + 1, kind: 0, data: Command.encode(commandOf(command)).finish() }).commandResult;
}

function accepted(operationId: string, effects: Effect[]): DecidedOperation {
  return DecidedOperation.fromPartial({ operationId, outcome: Outcome.ACCEPTED, rule: "uncontested", winnerOperationId: operationId, stamp: STAMP, serverId: 1, region: REGION, effects });
}

function post(from: string, to: string, quantity: number): Effect {
  return { effect: { $case: "post", value: { from, to, itemKind: "gold", quantity } } };
}

/** 50 of ann's in escrow `e`; bob has as many as said, and is given 10 by a transaction that is prepared and not decided. */
function prepared(bobHas: number): GroupState {
  const state = new GroupState(OPTIONS);
  const escrow = { escrowId: "e", region: undefined, playerId: "ann", itemKind: "gold", quantity: 50, spenderServerId: 1, nodeId: 3, expiresMs: 9_000, openedIndex: 0, lastNumber: 0, spent: 0, closedIndex: 0, returned: 0, nodeRemoved: false };
  const opening: Effect[] = [post("group:1", "player:ann", 50), post("player:ann", "escrow:e", 50), { effect: { $case: "escrow", value: escrow } }];
  apply(state, { $case: "operations", value: { operations: [accepted("open", opening), accepted("mint", [post("", "player:bob", bobHas)])] } });
  const locks = [{ keys: [], shared: ["account:bob"], layer: "", bounds: [] }];
  const transaction = { key: "t:x", coordinatorGroup: 1, beginIndex: 5 };
  apply(state, { $case: "transaction", value: { nowMs: 1_000, step: { $case: "prepare", value: { transaction, stamp: STAMP, deadlineMs: 9_000, groups: [1, 2], decided: [accepted("give", [post("group:1", "player:bob", 10)])], locks, index: 0 } } } });
  return state;
}

function spend(state: GroupState, number: number, quantity: number): string | undefined {
  const spending = { number, operationId: `s${number}`, fingerprint: 1, quantity, toPlayerId: "bob", claimedMs: 1, escrowId: "e", groupId: 2, openedIndex: 1, stamp: STAMP, side: undefined };
  return apply(state, { $case: "escrow", value: { escrowId: "e", openedIndex: 1, spendings: [spending], end: undefined, nowMs: 1_000 } })?.reason;
}

function release(state: GroupState): void {
  apply(state, { $case: "transaction", value: { nowMs: 1_000, step: { $case: "release", value: { transaction: { key: "t:x", coordinatorGroup: 1, beginIndex: 5 }, commit: true, forget: false } } } });
}

it("a spending waits for no transaction of its receiver: a popular account is never quite free", () => {
  const state = prepared(5);
  expect(spend(state, 1, 20)).toBe("");
  expect(state.ledger.balance("player:bob", "gold")).toBe(25);
  release(state);
  expect(state.ledger.balance("player:bob", "gold")).toBe(35);
});

it("a spending leaves the room of what is prepared and may come", () => {
  const state = prepared(MAX - 15);
  expect(spend(state, 1, 6)).toBe("BALANCE_OVERFLOW");
  expect(spend(state, 1, 5)).toBe("");
  release(state);
  expect(state.ledger.balance("player:bob", "gold")).toBe(MAX);
});
