// Types of an operator's own whose states merge: whoever writes at once, and however the leader batches it, one state comes of it.
import { type Decision, type Operation, Operation as Operations, type OperationError, Outcome, type Region } from "@statemesh/contract";
import { parsePolicy } from "@statemesh/world";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { VirtualCluster } from "./virtual-cluster.ts";

const POLICY = parsePolicy(
  `version: 1
types:
  vault: {consistency: strong, chain: [timestamp], merge: counter}
  hero: {consistency: strong, chain: [priority, timestamp], merge: {fields: {hp: counter, bag: set, title: last_write_wins}}}
  note: {consistency: strong, chain: [timestamp]}
`,
  "test.yaml",
);

function write(type: string, id: string, serverId: number, region: Region, entityId: string, update: unknown, timestampMs = 0): Operation {
  const state = update === undefined ? new Uint8Array(0) : new TextEncoder().encode(JSON.stringify(update));
  return { ...Operations.fromPartial({ operationId: id, serverId, homeRegion: region, type, timestampMs }), body: { $case: "custom", value: { entityId, state, toRegion: undefined, expectation: 0, observedVersion: 0 } } };
}

function ready(seed = 1): { cluster: VirtualCluster; region: Region } {
  const cluster = new VirtualCluster({ seed, groups: 1, node: { policy: POLICY }, arbiter: () => undefined });
  cluster.settle();
  cluster.register(1, 2, 3);
  return { cluster, region: cluster.regionIn(1) };
}

function stateOf(cluster: VirtualCluster, type: string, entityId: string): unknown {
  const state = cluster.node(cluster.leaderOf(1)).group(1).state.entities.get(type, entityId)?.state;
  return state === undefined ? undefined : JSON.parse(new TextDecoder().decode(state));
}

function outcomes(answers: ReadonlyMap<string, Decision | OperationError>): [string, unknown][] {
  return [...answers].map(([id, it]): [string, unknown] => [id, "outcome" in it ? it.outcome : it.reason]).sort(([a], [b]) => (a < b ? -1 : 1));
}

describe("concurrent updates of one entity", () => {
  it("are both in force, merged, and the state holds both", () => {
    const { cluster, region } = ready();
    const answers = cluster.execute(1, [write("vault", "a", 1, region, "gold", { add: 5 }), write("vault", "b", 2, region, "gold", { add: -2 }), write("vault", "c", 2, region, "gold", { add: 1 })]);
    expect(outcomes(answers)).toEqual([["a", Outcome.MERGED], ["b", Outcome.MERGED], ["c", Outcome.MERGED]]);
    expect(answers.get("b")).toMatchObject({ rule: "merge", winnerOperationId: "b" });
    expect(stateOf(cluster, "vault", "gold")).toEqual({ up: { 1: 5, 2: 1 }, down: { 2: 2 } });
    cluster.converge();
    expect(outcomes(cluster.execute(2, [write("vault", "d", 3, region, "gold", { add: 1 })]))).toEqual([["d", Outcome.MERGED]]);
    expect(stateOf(cluster, "vault", "gold")).toEqual({ up: { 1: 5, 2: 1, 3: 1 }, down: { 2: 2 } });
  });

  it("come to the same state, in whatever order and batches they come, and each once where it is sent twice", { timeout: 120_000 }, () => {
    const update = fc.oneof(
      fc.record({ hp: fc.record({ add: fc.integer({ min: -5, max: 5 }) }) }),
      fc.record({ bag: fc.record({ add: fc.array(fc.constantFrom("bow", "sword"), { minLength: 1, maxLength: 2 }) }) }),
      fc.record({ bag: fc.record({ remove: fc.record({ bow: fc.constant(["op-0", "op-2"]) }) }) }),
      fc.record({ title: fc.record({ value: fc.constantFrom("knight", "squire") }) }),
    );
    const list = fc.array(fc.tuple(update, fc.integer({ min: 1, max: 3 })), { minLength: 2, maxLength: 8 });
    fc.assert(fc.property(list, fc.integer({ min: 1, max: 8 }), fc.infiniteStream(fc.nat()), fc.nat(), (writes, batch, dice, seed) => {
      const runs = [0, 1].map((run) => {
        const { cluster, region } = ready(seed + 1);
        // One claimed time for all, so that both runs stamp alike.
        const atMs = 1_010_000;
        cluster.run(atMs - cluster.nowMs);
        const operations = writes.map(([it, serverId], n) => write("hero", `op-${n}`, serverId, region, "ada", it, atMs));
        const order = run === 0 ? operations : operations.map((it) => ({ it, at: dice.next().value })).sort((a, b) => a.at - b.at).map(({ it }) => it);
        const size = run === 0 ? operations.length : batch;
        for (let at = 0; at < order.length; at += size) {
          const part = order.slice(at, at + size);
          const answers = cluster.submit(run === 0 ? 1 : 2, part);
          if (run === 1) cluster.submit(3, part);
          expect(cluster.runUntil(() => answers.size === part.length, 1_000)).toBe(true);
        }
        cluster.converge();
        return stateOf(cluster, "hero", "ada");
      });
      expect(runs[1]).toEqual(runs[0]);
    }), { numRuns: 25 });
  });

  it("do not merge with a removal: one of the two wins by the chain, and what comes after it begins anew", () => {
    const { cluster, region } = ready();
    cluster.execute(1, [write("vault", "a", 1, region, "gold", { add: 5 })]);
    const early = Math.floor(cluster.nowMs) - 100;
    const answers = cluster.execute(1, [write("vault", "gone", 2, region, "gold", undefined, early), write("vault", "late", 1, region, "gold", { add: 1 }, early + 50)]);
    expect(answers.get("gone")).toMatchObject({ outcome: Outcome.ACCEPTED, rule: "timestamp" });
    expect(answers.get("late")).toMatchObject({ outcome: Outcome.REJECTED, reason: "CONFLICT", winnerOperationId: "gone" });
    expect(stateOf(cluster, "vault", "gold")).toBeUndefined();
    expect(outcomes(cluster.execute(1, [write("vault", "b", 1, region, "gold", { add: 1 })]))).toEqual([["b", Outcome.ACCEPTED]]);
    expect(stateOf(cluster, "vault", "gold")).toEqual({ up: { 1: 1 }, down: {} });
  });

  it("of opaque types still overwrite one another in order", () => {
    const { cluster, region } = ready();
    cluster.execute(1, [write("note", "a", 1, region, "n", { x: 1 }), write("note", "b", 1, region, "n", { x: 2 })]);
    expect(stateOf(cluster, "note", "n")).toEqual({ x: 2 });
  });
});

describe("an update", () => {
  it("that the functions don't understand is refused with the field and the rule, before anything is done", () => {
    const { cluster, region } = ready();
    const answers = cluster.execute(1, [write("hero", "a", 1, region, "ada", { hp: { add: "much" } }), write("hero", "b", 1, region, "ada", { mana: {} })]);
    expect(answers.get("a")).toMatchObject({ reason: "INVALID_FIELD", message: "operation.body.custom.state: hp.add: must be a whole number in -9007199254740991..9007199254740991" });
    expect(answers.get("b")).toMatchObject({ reason: "INVALID_FIELD", message: "operation.body.custom.state: mana: is no field here; there is hp, bag, title" });
  });

  it("for which there is no room is refused by name, and what is there stays", () => {
    const { cluster, region } = ready();
    const long = "x".repeat(30_000);
    cluster.execute(1, [write("hero", "a", 1, region, "ada", { bag: { add: [`${long}1`] } })]);
    const answers = cluster.execute(1, [write("hero", "b", 2, region, "ada", { bag: { add: [`${long}2`] } }), write("hero", "c", 3, region, "ada", { bag: { add: [`${long}3`] } }), write("hero", "d", 1, region, "ada", { hp: { add: 1 } })]);
    expect(outcomes(answers)).toEqual([["b", Outcome.MERGED], ["c", Outcome.REJECTED], ["d", Outcome.MERGED]]);
    expect(answers.get("c")).toMatchObject({ rule: "merge", reason: "MERGE_LIMIT" });
    expect(stateOf(cluster, "hero", "ada")).toMatchObject({ hp: { up: { 1: 1 } } });
  });

  it("writes the merged state into the log once a batch", () => {
    const { cluster, region } = ready();
    cluster.execute(1, [write("hero", "a", 1, region, "ada", { bag: { add: ["x".repeat(20_000)] } })]);
    const group = cluster.node(cluster.leaderOf(1)).group(1);
    const answers = cluster.execute(cluster.leaderOf(1), Array.from({ length: 20 }, (_, n) => write("hero", `b${n}`, 1 + (n % 3), region, "ada", { hp: { add: 1 } })));
    expect(answers.size).toBe(20);
    const entries = group.core.lastIndex;
    expect(entries).toBeGreaterThan(0);
    expect(stateOf(cluster, "hero", "ada")).toMatchObject({ hp: { up: { 1: 7, 2: 7, 3: 6 } } });
  });
});
