import { Outcome } from "@statemesh/contract";
import { DecidedOperation } from "@statemesh/contract/log";
import { expect, test } from "vitest";
import { MergeBook } from "../src/mesh/merge-book.ts";
import { policyOfRun } from "../src/mesh/studio-policy.ts";

const POLICY = policyOfRun("version: 1\ntypes:\n  bank: {consistency: strong, chain: [timestamp], merge: counter}\n  flag: {consistency: strong, chain: [timestamp], merge: last_write_wins}\n");

/** The complaints about writes of one entity: type, update, time, and the state that the log has. */
function complaints(type: string, ...writes: readonly { readonly update: object | undefined; readonly ms: number; readonly state: object | undefined }[]): string[] {
  const said: string[] = [];
  const sent = new Map(writes.map(({ update }, at) => [`op-${at}`, { type, entityId: "e", state: update === undefined ? new Uint8Array(0) : new TextEncoder().encode(JSON.stringify(update)) }]));
  const book = new MergeBook(POLICY, (operationId) => sent.get(operationId), (kind, message) => said.push(`${kind}: ${message}`));
  for (const [at, { ms, state }] of writes.entries()) {
    const effect = state === undefined ? { $case: "remove" as const, value: { kind: type, entityId: "e" } } : { $case: "put" as const, value: { kind: type, entityId: "e", state: new TextEncoder().encode(JSON.stringify(state)) } };
    book.decided(1, at + 1, DecidedOperation.fromPartial({ operationId: `op-${at}`, outcome: Outcome.ACCEPTED, serverId: 7, region: { x: 0, y: 0, z: 0 }, stamp: { physicalMs: ms, logical: 0 }, effects: [{ effect }] }));
  }
  book.checkFinal();
  return said;
}

test("what all updates make is right, and what is written after a removal begins anew", () => {
  expect(complaints("bank", { update: { add: 5 }, ms: 1, state: { down: {}, up: { 7: 5 } } }, { update: { add: -2 }, ms: 2, state: { down: { 7: 2 }, up: { 7: 5 } } })).toEqual([]);
  expect(complaints("bank", { update: { add: 5 }, ms: 1, state: { down: {}, up: { 7: 5 } } }, { update: undefined, ms: 2, state: undefined }, { update: { add: 1 }, ms: 3, state: { down: {}, up: { 7: 1 } } })).toEqual([]);
});

test("an update that is lost is told", () => {
  expect(complaints("bank", { update: { add: 5 }, ms: 1, state: { down: {}, up: { 7: 5 } } }, { update: { add: 1 }, ms: 2, state: { down: {}, up: { 7: 1 } } })[0]).toMatch(/^merged states: 1 bank\/e stands at .*"up":{"7":1}.* after 2; its 2 updates make .*"up":{"7":6}/);
});

test("a value of an earlier stamp that stands because it came last is told", () => {
  const at = (ms: number, id: string): unknown[] => [ms, 0, 7, id];
  const [first] = complaints("flag", { update: { value: "red" }, ms: 9, state: { at: at(9, "op-0"), value: "red" } }, { update: { value: "blue" }, ms: 3, state: { at: at(3, "op-1"), value: "blue" } });
  expect(first).toMatch(/"blue".*make .*"red"/);
});
