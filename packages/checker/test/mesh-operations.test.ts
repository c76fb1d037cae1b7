import { type Decision, Operation, Outcome, PlayerInventory_Action, type Region } from "@statemesh/contract";
import { groupOf } from "@statemesh/world";
import { describe, expect, it } from "vitest";
import { accountKey, checkLinearizability, entityKey, History, itemsOf, keyCallsOf } from "../src/index.ts";

function inventory(action: PlayerInventory_Action, quantity: number, more: Partial<{ counterpartyId: string; itemId: string }> = {}): Operation {
  return Operation.fromPartial({ operationId: `op-${quantity}`, body: { $case: "playerInventory", value: { action, playerId: "ann", itemKind: "ore", quantity, ...more } } });
}

function decisionOf(outcome: Outcome, rule: string, index: number): Decision {
  return { operationId: "", outcome, rule, winnerOperationId: "", version: outcome === Outcome.REJECTED ? 0 : index, position: { groupId: 1, term: 1, index }, conflict: 0, reason: "", stamp: undefined, repeated: false };
}

const pickup = Operation.fromPartial({ operationId: "pick", body: { $case: "itemPickup", value: { itemId: "sword-1", playerId: "bob" } } });

describe("operations of the mesh as calls on keys", () => {
  const spawn = inventory(PlayerInventory_Action.SPAWN, 3, { itemId: "sword-1" });
  const items = itemsOf([spawn, pickup]);
  const calls = (operation: Operation, outcome: Outcome, rule: string, inTransaction = false) => keyCallsOf(1, { operation, decision: decisionOf(outcome, rule, 7), inTransaction }, items).map((each) => each.operation);

  it("a transfer takes from one account and gives to the other; too little is the giver's reason alone", () => {
    const transfer = inventory(PlayerInventory_Action.TRANSFER, 5, { counterpartyId: "bob" });
    expect(calls(transfer, Outcome.REJECTED, "balance")).toEqual([
      { model: "balance", key: accountKey(1, "ann", "ore"), action: "post", delta: -5, when: "enough" },
      { model: "balance", key: accountKey(1, "bob", "ore"), action: "post", delta: 5, when: "ruled" },
    ]);
    expect(calls(transfer, Outcome.REJECTED, "balance", true).every((each) => "when" in each && each.when === "ruled")).toBe(true);
  });

  it("a pickup takes the item away and gives what lay there", () => {
    expect(calls(pickup, Outcome.ACCEPTED, "")).toEqual([
      { model: "entity", key: entityKey(1, "item", "sword-1"), action: "remove", when: "present" },
      { model: "balance", key: accountKey(1, "bob", "ore"), action: "post", delta: 3, when: "ruled" },
    ]);
    expect(calls(pickup, Outcome.REJECTED, "timestamp")[0]).toMatchObject({ when: "ruled" });
  });

  it("a trade is the difference on each account", () => {
    const value = { firstPlayerId: "ann", secondPlayerId: "bob", firstGives: [{ itemKind: "ore", quantity: 5 }, { itemKind: "wood", quantity: 1 }], secondGives: [{ itemKind: "ore", quantity: 2 }, { itemKind: "wood", quantity: 1 }] };
    expect(calls(Operation.fromPartial({ body: { $case: "trade", value } }), Outcome.ACCEPTED, "")).toMatchObject([{ key: accountKey(1, "ann", "ore"), delta: -3 }, { key: accountKey(1, "bob", "ore"), delta: 3 }]);
  });

  it("a creature that goes to another group leaves one key and comes to the other; within a group it keeps its key", () => {
    const home = { x: 0, y: 0, z: 0 };
    const regions = Array.from({ length: 8 }, (_, at) => ({ x: at * 8, y: 0, z: 0 }));
    const far = regions.find((region) => groupOf(region, 2) !== groupOf(home, 2));
    const move = (toRegion: Region | undefined): Operation => Operation.fromPartial({ operationId: "go", homeRegion: home, body: { $case: "creatureOwnership", value: { creatureId: "wolf", ownerServerId: 2, toRegion } } });
    const callsOf = (operation: Operation, outcome: Outcome) => keyCallsOf(groupOf(home, 2), { operation, decision: decisionOf(outcome, outcome === Outcome.REJECTED ? "existence" : "", 7), inTransaction: false }, items, 2);
    const [here, there] = [groupOf(home, 2), 3 - groupOf(home, 2)];
    expect(callsOf(move(far), Outcome.ACCEPTED)).toEqual([
      { operation: { model: "entity", key: entityKey(here, "creature", "wolf"), action: "remove", when: "present" }, result: { decision: "accepted", version: 7 } },
      { operation: { model: "entity", key: entityKey(there, "creature", "wolf"), action: "put", value: "go", when: "absent" }, result: { decision: "accepted" } },
    ]);
    expect(callsOf(move(far), Outcome.REJECTED).map(({ operation }) => "when" in operation && operation.when)).toEqual(["ruled", "ruled"]);
    expect(callsOf(move({ ...home, x: 1 }), Outcome.ACCEPTED)).toMatchObject([{ operation: { key: entityKey(here, "creature", "wolf"), action: "put" } }]);
  });

  it("an item that two pick up is found", () => {
    const history = new History();
    const all = [spawn, pickup, pickup].map((operation, at) => ({ operation, decision: decisionOf(Outcome.ACCEPTED, "", at + 1), inTransaction: false }));
    all.forEach((each, at) => {
      for (const { operation, result } of keyCallsOf(1, each, items)) {
        const call = history.invoke("p", at, operation);
        if (result !== undefined) history.ok(call, at, result, at + 1);
      }
    });
    expect(checkLinearizability(history).violations.map(({ name }) => name)).toEqual([`entity ${entityKey(1, "item", "sword-1")}`]);
  });
});
