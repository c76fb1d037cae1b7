import { HandoffPhase, Outcome, type Entity } from "@statemesh/contract";
import { Command, type DecidedOperation, type DirectoryCommand, type Effect } from "@statemesh/contract/log";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { commandOf, encodeSnapshot, GroupState, SnapshotLoader } from "@statemesh/replica";

const OPTIONS = { groupId: 1, decisionWindow: 8, touchCapacity: 64 };
const REGION = { x: 0, y: 0, z: 0 };

function entity(kind: string, entityId: string, quantity = 0): Entity {
  return {
    entityId,
    kind,
    region: REGION,
    version: 0,
    operationId: "",
    serverId: 0,
    playerId: "",
    bounds: { minX: 0, minY: 0, minZ: 0, maxX: 4, maxY: 4, maxZ: 4 },
    label: kind,
    quantity,
    attributes: new Map([["colour", "red"]]),
    state: new Uint8Array([1, 2, 3]),
    stamp: undefined,
    epoch: 0,
  };
}

function decided(operationId: string, effects: Effect[], fields: Partial<DecidedOperation> = {}): DecidedOperation {
  return {
    operationId,
    fingerprint: 7,
    outcome: Outcome.ACCEPTED,
    rule: "uncontested",
    winnerOperationId: operationId,
    conflict: 0,
    reason: "",
    stamp: { physicalMs: 1_000, logical: 0 },
    serverId: 1,
    region: REGION,
    epoch: 0,
    effects,
    transactionId: "",
    claimedMs: 0,
    clears: [],
    currentVersion: 0,
    ...fields,
  };
}

function apply(state: GroupState, operations: DecidedOperation[]) {
  const data = Command.encode(commandOf({ $case: "operations", value: { operations } })).finish();
  return state.apply({ term: 1, index: state.appliedIndex + 1, kind: 0, data });
}

const post = (from: string, to: string, quantity: number): Effect => ({ effect: { $case: "post", value: { from, to, itemKind: "gold", quantity } } });

describe("the state of a group", () => {
  it("comes back with its handoffs, backups and loads, for nodes that read them only", () => {
    const state = new GroupState({ ...OPTIONS, groupId: 0 });
    const run = (command: NonNullable<DirectoryCommand["command"]>): void => {
      state.apply({ term: 1, index: state.appliedIndex + 1, kind: 0, data: Command.encode(commandOf({ $case: "directory", value: { command, nowMs: 0 } })).finish() });
    };
    for (const serverId of [1, 2, 3]) run({ $case: "register", value: { server: { serverId, name: `s${serverId}`, address: "", priority: 0, incarnation: 1, maxRegions: serverId }, ttlMs: 1_000 } });
    for (const x of [0, 1]) run({ $case: "acquire", value: { serverId: 1, region: { x, y: 0, z: 0 }, durationMs: 3_000 } });
    run({ $case: "renew", value: { serverId: 1, leases: [{ region: REGION, epoch: 1, players: 7 }], durationMs: 3_000, ttlMs: 1_000, load: { players: 9, tickUs: 8, cpuPermille: 7 } } });
    run({ $case: "backups", value: { regions: [REGION] } });
    const handoff = { handoffId: "h", region: REGION, fromServerId: 1, toServerId: 2, epoch: 1, phase: HandoffPhase.PREPARED, reason: "", timeoutMs: 5_000 };
    run({ $case: "prepare", value: { handoff } });
    run({ $case: "finish", value: { handoffId: "h", serverId: 0, commit: false, reason: "test" } });
    run({ $case: "prepare", value: { handoff: { ...handoff, handoffId: "h2" } } });
    run({ $case: "ready", value: { handoffId: "h2", serverId: 2 } });

    const restored = (max: number): GroupState => {
      const loader = new SnapshotLoader({ ...OPTIONS, groupId: 0, versions: { min: 1, max } });
      for (const chunk of encodeSnapshot(state.capture())) loader.push(chunk);
      return loader.finish();
    };
    expect(restored(3).digest).toBe(state.digest);
    expect(restored(3).capture()).toEqual(state.capture());
    expect(restored(3).directory.lease(REGION)).toMatchObject({ backups: [2, 3], players: 7 });
    expect(() => restored(2)).toThrow(/needs version 3/);
  });

  it("comes back from a snapshot as it was, wherever the chunks are cut", () => {
    fc.assert(
      fc.property(fc.array(fc.record({ id: fc.integer({ min: 0, max: 9 }), remove: fc.boolean(), mint: fc.integer({ min: 1, max: 100 }) }), { maxLength: 40 }), fc.integer({ min: 1, max: 200 }), (steps, cut) => {
        const state = new GroupState(OPTIONS);
        for (const [i, { id, remove, mint }] of steps.entries()) {
          const there = state.entities.get("structure", `s${id}`) !== undefined;
          const effects: Effect[] = [post("", `player:p${id}`, mint)];
          if (remove && there) effects.push({ effect: { $case: "remove", value: { kind: "structure", entityId: `s${id}` } } });
          else effects.push({ effect: { $case: "put", value: entity("structure", `s${id}`) } });
          apply(state, [decided(`op-${i}`, effects)]);
        }
        const bytes = Buffer.concat([...encodeSnapshot(state.capture())]);
        const loader = new SnapshotLoader(OPTIONS);
        for (let at = 0; at < bytes.length; at += cut) loader.push(bytes.subarray(at, at + cut));
        const loaded = loader.finish();
        expect(loaded.digest).toBe(state.digest);
        expect(loaded.position()).toEqual(state.position());
        expect([...loaded.decisions.entries()]).toEqual([...state.decisions.entries()]);
        expect([...loaded.gone.entries()]).toEqual([...state.gone.entries()]);
        // From here on both go the same way, down to what they forget.
        for (let i = 0; i < 10; i++) {
          const next = decided(`later-${i}`, [post("", "player:z", 1)]);
          apply(state, [structuredClone(next)]);
          apply(loaded, [structuredClone(next)]);
        }
        expect(loaded.digest).toBe(state.digest);
        expect(loaded.forgottenThroughMs).toBe(state.forgottenThroughMs);
        expect([...loaded.decisions.entries()]).toEqual([...state.decisions.entries()]);
      }),
    );
  });

  it("refuses a snapshot whose content is not what its header says", () => {
    const state = new GroupState(OPTIONS);
    apply(state, [decided("a", [post("", "player:ada", 5)])]);
    const chunks = [...encodeSnapshot(state.capture())];
    const bytes = Buffer.concat(chunks);
    const loader = new SnapshotLoader(OPTIONS);
    loader.push(bytes.subarray(0, bytes.length - 3));
    expect(() => loader.finish()).toThrow(/ends inside a record/);
    const capture = state.capture();
    const forged = new SnapshotLoader(OPTIONS);
    for (const chunk of encodeSnapshot({ ...capture, balances: [] })) forged.push(chunk);
    expect(() => forged.finish()).toThrow(/its header says/);
  });

  it("remembers which version stood against an operation that had read another one, for nodes that know of versions only", () => {
    const state = new GroupState(OPTIONS);
    const refused = decided("late", [], { outcome: Outcome.REJECTED, rule: "version", reason: "VERSION_MISMATCH", winnerOperationId: "writer", currentVersion: 7 });
    expect([commandOf({ $case: "operations", value: { operations: [refused] } }).format, commandOf({ $case: "operations", value: { operations: [decided("a", [])] } }).format]).toEqual([5, 0]);
    apply(state, [refused]);
    const loader = new SnapshotLoader(OPTIONS);
    for (const chunk of encodeSnapshot(state.capture())) loader.push(chunk);
    const loaded = loader.finish();
    const again = apply(loaded, [refused]).operations[0]?.decision;
    expect(again).toMatchObject({ outcome: Outcome.REJECTED, reason: "VERSION_MISMATCH", winnerOperationId: "writer", version: 7, repeated: true });
    const older = new SnapshotLoader({ ...OPTIONS, versions: { min: 1, max: 4 } });
    expect(() => [...encodeSnapshot(state.capture())].forEach((chunk) => older.push(chunk))).toThrow("needs version 5");
  });

  it("applies an operation id once, whatever the log holds", () => {
    const state = new GroupState(OPTIONS);
    apply(state, [decided("a", [post("", "player:ada", 5)])]);
    const again = apply(state, [decided("a", [post("", "player:ada", 5)])]);
    expect(again.operations[0]?.decision?.repeated).toBe(true);
    expect(state.ledger.balance("player:ada", "gold")).toBe(5);
  });

  it("admits a write only under the region's current epoch and owner, also at apply", () => {
    const state = new GroupState(OPTIONS);
    const fence = (epoch: number, ownerServerId: number) => {
      const data = Command.encode(commandOf({ $case: "fence", value: { region: REGION, epoch, ownerServerId } })).finish();
      state.apply({ term: 1, index: state.appliedIndex + 1, kind: 0, data });
    };
    fence(1, 4);
    expect(apply(state, [decided("zero", [post("", "player:ada", 1)])]).operations[0]?.fence).toMatchObject({ epoch: 1, ownerServerId: 4 });
    expect(apply(state, [decided("own", [post("", "player:ada", 1)], { serverId: 4, epoch: 1 })]).operations[0]?.decision).toBeDefined();
    fence(2, 5);
    expect(apply(state, [decided("old", [post("", "player:ada", 1)], { serverId: 4, epoch: 1 })]).operations[0]?.decision).toBeUndefined();
    // A fence that arrives late changes nothing.
    fence(1, 4);
    expect(state.fence(REGION)).toMatchObject({ epoch: 2, ownerServerId: 5 });
    fence(2, 0);
    expect(state.admits(REGION, 2, 5)).toBe(false);
    expect(state.admits(REGION, 0, 9)).toBe(true);
    expect(state.ledger.balance("player:ada", "gold")).toBe(1);
  });

  it("fences a transaction whole", () => {
    const state = new GroupState(OPTIONS);
    const other = { x: 1, y: 0, z: 0 };
    const data = Command.encode(commandOf({ $case: "fence", value: { region: other, epoch: 1, ownerServerId: 9 } })).finish();
    state.apply({ term: 1, index: 1, kind: 0, data });
    const applied = apply(state, [
      decided("a", [post("", "player:ada", 1)], { transactionId: "t" }),
      decided("b", [post("", "player:ada", 1)], { transactionId: "t", region: other }),
    ]);
    expect(applied.operations.map(({ decision }) => decision)).toEqual([undefined, undefined]);
    expect(state.ledger.balance("player:ada", "gold")).toBe(0);
  });

  it("stops where an entry contradicts it: the replicas have diverged", () => {
    const state = new GroupState(OPTIONS);
    expect(() => apply(state, [decided("a", [post("player:ada", "player:bob", 1)])])).toThrow(/leaves player:ada at -1/);
    expect(() => state.apply({ term: 1, index: 9, kind: 1, data: new Uint8Array(0) })).toThrow(/applied after/);
  });

  it("has a digest that does not depend on the order in which a state was reached", () => {
    const build = (order: readonly string[]) => {
      const state = new GroupState(OPTIONS);
      for (const id of order) apply(state, [decided(`op-${id}`, [post("", `player:${id}`, 3)])]);
      return state.ledger;
    };
    expect([...build(["a", "b"]).rows()].length).toBe([...build(["b", "a"]).rows()].length);
    const first = new GroupState(OPTIONS);
    const second = new GroupState(OPTIONS);
    for (const id of ["a", "b"]) apply(first, [decided(`op-${id}`, [post("", `player:${id}`, 3)])]);
    for (const id of ["b", "a"]) apply(second, [decided(`op-${id}`, [post("", `player:${id}`, 3)])]);
    expect(first.digest).toBe(second.digest);
  });
});
