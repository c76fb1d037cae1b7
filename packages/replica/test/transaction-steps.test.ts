// The steps of transactions across groups as one group's log holds them: late, twice, and of several groups under one key.
import { Outcome } from "@statemesh/contract";
import { Command, type CommandResult, type DecidedOperation, type TransactionCommand, type TransactionRef } from "@statemesh/contract/log";
import { describe, expect, it } from "vitest";
import { commandOf, encodeSnapshot, GroupState, SnapshotLoader } from "@statemesh/replica";

const OPTIONS = { groupId: 2, decisionWindow: 8, touchCapacity: 64 };
const STAMP = { physicalMs: 1_000, logical: 0 };
const KEY = "t:same";
const BOB = { touched: { keys: [], shared: ["account:player:bob"], bounds: undefined, layer: "" } };

type Step = NonNullable<TransactionCommand["step"]>;

function step(state: GroupState, value: Step): CommandResult {
  const data = Command.encode(commandOf({ $case: "transaction", value: { step: value, nowMs: 1_000 } })).finish();
  const { commandResult } = state.apply({ term: 1, index: state.appliedIndex + 1, kind: 0, data });
  if (commandResult === undefined) throw new Error("a step is answered");
  return commandResult;
}

/** Brings gold from another group. */
function received(operationId: string): DecidedOperation {
  return {
    operationId, fingerprint: 7, outcome: Outcome.ACCEPTED, rule: "uncontested", winnerOperationId: operationId, conflict: 0, reason: "", stamp: STAMP, serverId: 1, region: undefined, epoch: 0,
    effects: [{ effect: { $case: "post", value: { from: "", to: "player:bob", itemKind: "gold", quantity: 10 } } }], transactionId: "same", claimedMs: 0, clears: [], currentVersion: 0,
  };
}

function prepare(state: GroupState, transaction: TransactionRef, operationId: string): CommandResult {
  const locks = [{ keys: [], shared: ["account:player:bob"], layer: "", bounds: [] }];
  return step(state, { $case: "prepare", value: { transaction, stamp: STAMP, deadlineMs: 9_000, groups: [1, 2], decided: [received(operationId)], locks, index: 0 } });
}

function begin(state: GroupState): CommandResult {
  return step(state, { $case: "begin", value: { key: KEY, stamp: STAMP, operations: [], homeGroups: [], groups: [2, 3], deadlineMs: 9_000, decided: [], locks: [], state: 0, beginIndex: 0, clears: [] } });
}

function release(state: GroupState, transaction: TransactionRef, commit = true): CommandResult {
  return step(state, { $case: "release", value: { transaction, commit, forget: false } });
}

describe("one key of two coordinating groups", () => {
  const ofOne = { key: KEY, coordinatorGroup: 1, beginIndex: 5 };

  it("begins nothing over what is prepared, which is committed as it was promised", () => {
    const state = new GroupState(OPTIONS);
    expect(prepare(state, ofOne, "a").transaction?.prepared).toBe(true);
    // It brings something, and keeps nobody from the account.
    expect([state.transactions.locks.meets(BOB), state.transactions.reserving.meets(BOB)]).toEqual([false, true]);
    expect([state.ledger.reserved.debits("player:bob", "gold"), state.ledger.reserved.credits("player:bob", "gold")]).toEqual([0, 10]);
    expect(begin(state).reason).toBe("OPERATION_ID_REUSED");
    expect(release(state, ofOne).reason).toBe("");
    expect(state.ledger.balance("player:bob", "gold")).toBe(10);
    expect(state.transactions.isQuiet).toBe(true);
    expect(state.transactions.reserving.meets(BOB)).toBe(false);
    expect(state.ledger.reserved.has("player:bob")).toBe(false);
  });

  it("prepares nothing over what is begun, also where both began at one index", () => {
    const state = new GroupState(OPTIONS);
    begin(state);
    expect(prepare(state, { ...ofOne, beginIndex: 1 }, "a")).toMatchObject({ reason: "OPERATION_ID_REUSED", transaction: { prepared: false } });
    expect(release(state, { ...ofOne, beginIndex: 1 }, false).reason).toBe("");
    expect(state.transactions.prepared(KEY)).toMatchObject({ coordinatorGroup: 2, beginIndex: 1 });
  });

  it("is remembered for each of them, also by who came by a snapshot", () => {
    const state = new GroupState(OPTIONS);
    const ofThree = { key: KEY, coordinatorGroup: 3, beginIndex: 5 };
    prepare(state, ofOne, "a");
    const first = release(state, ofOne).position;
    prepare(state, ofThree, "b");
    const second = release(state, ofThree).position;
    const loader = new SnapshotLoader(OPTIONS);
    for (const chunk of encodeSnapshot(state.capture())) loader.push(chunk);
    for (const one of [state, loader.finish()]) {
      expect(release(one, ofOne)).toMatchObject({ reason: "", position: first });
      expect(release(one, ofThree)).toMatchObject({ reason: "", position: second });
      expect(one.ledger.balance("player:bob", "gold")).toBe(20);
    }
  });
});

describe("a release", () => {
  it("to commit what was never prepared is no success; to abort it is", () => {
    const state = new GroupState(OPTIONS);
    expect(release(state, { key: KEY, coordinatorGroup: 1, beginIndex: 5 }).reason).toBe("INTERNAL");
    expect(release(state, { key: KEY, coordinatorGroup: 1, beginIndex: 6 }, false).reason).toBe("");
    expect(release(state, { key: KEY, coordinatorGroup: 1, beginIndex: 6 }).reason).toBe("INTERNAL");
  });

  it("that comes again after it was forgotten ends the transaction all the same", () => {
    const state = new GroupState(OPTIONS);
    const old = { key: "t:old", coordinatorGroup: 1, beginIndex: 5 };
    prepare(state, old, "a");
    release(state, old);
    for (let i = 0; i < 16; i++) release(state, { key: `t:${i}`, coordinatorGroup: 1, beginIndex: 10 + i }, false);
    expect(state.transactions.finishedOf(old)).toBeUndefined();
    expect(release(state, old).reason).toBe("");
  });
});
