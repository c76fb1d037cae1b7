// A set of kept operations goes into the log in several entries, and a leader may die between two of them.
import { type Operation, Operation as Operations } from "@statemesh/contract";
import { Command, type KeptDecision } from "@statemesh/contract/log";
import { commandOf, GroupState } from "@statemesh/replica";
import { fingerprintOf, parsePolicy } from "@statemesh/world";
import { expect, it } from "vitest";
import { decideKept } from "../src/healing/decide-kept.ts";
import { HealUnit } from "../src/healing/heal-unit.ts";
import { keptOf } from "../src/healing/kept-operation.ts";
import { claim } from "./operations.ts";

const POLICY = parsePolicy(
  `version: 1
types:
  vault: {consistency: strong, chain: [timestamp], merge: counter, tentative: true}
  bag: {consistency: strong, chain: [timestamp], merge: set, tentative: true}
`,
  "test.yaml",
);
const REGION = { x: 0, y: 0, z: 0 };
const HEADING = { reportId: "r", healedMs: 2, sides: [] };

function write(type: string, operationId: string, serverId: number, timestampMs: number, entityId: string, update: unknown): Operation {
  const state = new TextEncoder().encode(JSON.stringify(update));
  return { ...Operations.fromPartial({ operationId, serverId, homeRegion: REGION, type, timestampMs, allowTentative: true }), body: { $case: "custom", value: { entityId, state, toRegion: undefined, expectation: 0, observedVersion: 0 } } };
}

function entriesOf(state: GroupState, operations: readonly Operation[]): (readonly KeptDecision[])[] {
  const kept = operations.map((operation) =>
    keptOf({ operation, stamp: { physicalMs: operation.timestampMs, logical: 0 }, fingerprint: fingerprintOf(operation), groupId: 1, nodeId: 1, side: undefined }, POLICY));
  return [...new HealUnit(kept, HEADING, () => undefined).entries(decideKept(state, POLICY, 1, kept))];
}

function log(): { readonly state: GroupState; readonly heal: (entry: readonly KeptDecision[] | undefined) => void } {
  const state = new GroupState({ groupId: 1, decisionWindow: 4_096, touchCapacity: 64 });
  let index = 0;
  const heal = (entry: readonly KeptDecision[] | undefined): void => {
    const data = Command.encode(commandOf({ $case: "heal", value: { ...HEADING, operations: [...(entry ?? [])] } })).finish();
    state.apply({ index: ++index, term: 1, kind: 0, data });
  };
  return { state, heal };
}

function stateOf(state: GroupState, kind: string, entityId: string): unknown {
  const entity = state.entities.get(kind, entityId);
  return entity === undefined ? undefined : JSON.parse(new TextDecoder().decode(entity.state));
}

it("a merge whose decision is in the log is in force, whether or not a later merge of its entity gets there", () => {
  const { state, heal } = log();
  const operations = [
    write("vault", "first", 1, 1_000, "v", { add: 5 }),
    ...Array.from({ length: 600 }, (_, i) => ({ ...claim(`c${i}`, 3, REGION, `vein-${i}`, "ann"), timestampMs: 2_000 + i, allowTentative: true })),
    write("vault", "last", 2, 9_000, "v", { add: 5 }),
  ];
  const entries = entriesOf(state, operations);
  expect(entries.length).toBeGreaterThan(1);
  heal(entries[0]);
  expect(state.decisions.get("first")).toBeDefined();
  expect(state.decisions.get("last")).toBeUndefined();
  expect(stateOf(state, "vault", "v")).toEqual({ up: { 1: 5 }, down: {} });
  // The next leader decides what is left.
  for (const entry of entriesOf(state, operations)) heal(entry);
  expect(stateOf(state, "vault", "v")).toEqual({ up: { 1: 5, 2: 5 }, down: {} });
});

it("an entry counts the states that its merges write down, not the updates that brought them about", () => {
  const { state, heal } = log();
  heal(entriesOf(state, [write("bag", "much", 1, 1_000, "b", { add: ["x".repeat(60_000)] })])[0]);
  const entries = entriesOf(state, Array.from({ length: 40 }, (_, i) => write("bag", `w${i}`, 2, 2_000 + i, "b", { add: [`${i}`] })));
  for (const entry of entries) {
    const bytes = Command.encode(commandOf({ $case: "heal", value: { ...HEADING, operations: [...entry] } })).finish().length;
    expect(bytes).toBeLessThan(600_000);
    heal(entry);
  }
  expect(state.decisions.get("w39")).toMatchObject({ reason: "" });
});
