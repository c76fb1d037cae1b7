import { ContainerAction_Action, type ContainerContents, type Operation, Operation as Operations, Outcome, PlayerInventory_Action } from "@statemesh/contract";
import { Command } from "@statemesh/contract/log";
import { resolve } from "@statemesh/conflict";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { commandOf, contentsOf, decideSet, encodeSnapshot, GroupState, type PendingOperation, SnapshotLoader } from "@statemesh/replica";
import { candidateOf, DEFAULT_POLICY, fingerprintOf, footprintOf, groupOf, validateOperation } from "@statemesh/world";

const GROUPS = 2;
const REGIONS = [1, 2].map((groupId) => {
  for (let x = 0; ; x += 8) if (groupOf({ x, y: 0, z: 0 }, GROUPS) === groupId) return { x, y: 0, z: 0 };
});
const KINDS = ["ore", "gem"];
const NAMES = ["a", "b", "c", "d", "e", "f", "g"];

/** Where each container is, and what it holds. `inside`: empty for one that a player holds. */
type Model = Map<string, { group: number; inside: string; holds: Map<string, number> }>;

const command = fc.record({
  do: fc.constantFrom("create", "create", "create", "mint", "mint", "mint", "take", "move", "move", "move", "cross", "cross", "cross", "destroy", "burn" as const), of: fc.constantFrom(...NAMES), to: fc.constantFrom("", "", "", ...NAMES), kind: fc.constantFrom(...KINDS), quantity: fc.integer({ min: 1, max: 4 }), isKnown: fc.integer({ min: 0, max: 3 }).map((dice) => dice > 0),
});

class World {
  readonly states = REGIONS.map((_, i) => new GroupState({ groupId: i + 1, decisionWindow: 1_024, touchCapacity: 64 }));
  #serial = 0;

  contents(group: number, id: string): ContainerContents[] {
    const { entities, ledger } = this.states[group]!;
    const found = entities.get("container", id);
    return found === undefined ? [] : contentsOf(entities, found, (inner) => [...ledger.rowsOf(`container:${inner}`).values()].map(({ itemKind, quantity }) => [itemKind, quantity] as const));
  }

  /** As two groups decide and apply it: both or none. */
  execute(group: number, type: string, body: NonNullable<Operation["body"]>): boolean {
    const operation: Operation = { ...Operations.fromPartial({ operationId: `o-${++this.#serial}`, type, serverId: 1, homeRegion: REGIONS[group]! }), body };
    const known = validateOperation(operation, DEFAULT_POLICY, "operation");
    const stamp = { physicalMs: this.#serial, logical: 0 };
    const pending: PendingOperation = { operation, type: known, touched: footprintOf(operation, known), stamp, fingerprint: fingerprintOf(operation), priority: 0 };
    const taking = [...new Set(pending.touched.regions.map((region) => groupOf(region, GROUPS) - 1))];
    const verdicts = resolve({ candidates: [candidateOf(operation, pending.touched, stamp, 0)], incumbents: [] }, DEFAULT_POLICY);
    const decided = taking.map((at) => {
      const basis = { state: this.states[at]!, place: { groupId: at + 1, groups: GROUPS }, mintedInFlight: new Map(), arbitrateAgain: () => verdicts };
      return decideSet(basis, [{ operations: [pending], transactionId: "" }], verdicts);
    });
    if (decided.flat().some(({ outcome }) => outcome !== Outcome.ACCEPTED)) return false;
    for (const [i, at] of taking.entries()) {
      const state = this.states[at]!;
      state.apply({ term: 1, index: state.appliedIndex + 1, kind: 0, data: Command.encode(commandOf({ $case: "operations", value: { operations: decided[i]! } })).finish() });
    }
    return true;
  }
}

function around(model: Model, id: string): string[] {
  const way = [id];
  for (let inside = model.get(id)?.inside ?? ""; inside !== ""; inside = model.get(inside)?.inside ?? "") way.push(inside);
  return way;
}

function within(model: Model, id: string): string[] {
  return [...model.keys()].filter((other) => around(model, other).includes(id));
}

describe("containers in containers", () => {
  it("are what a plain model of them says, after any operations, over two groups, and come back from a snapshot", () => {
    const done = new Map<string, number>();
    const did = (what: string): unknown => done.set(what, (done.get(what) ?? 0) + 1);
    fc.assert(
      fc.property(fc.array(command, { minLength: 40, maxLength: 80 }), (commands) => {
        const world = new World();
        const model: Model = new Map();
        const used = new Set<string>();
        for (const { do: what, of, to, kind, quantity, isKnown } of commands) {
          const row = model.get(of);
          const group = row?.group ?? 0;
          const target = model.get(to);
          const place = to === "" || to === of ? { place: { $case: "playerId", value: "ada" } as const } : { place: { $case: "containerId", value: to } as const };
          const inside = place.place.$case === "containerId" ? to : "";
          const from = { place: row === undefined || row.inside === "" ? ({ $case: "playerId", value: "ada" } as const) : ({ $case: "containerId", value: row.inside } as const) };
          const act = { containerId: of, kind: "", from: undefined, to: undefined, toRegion: undefined, contents: [] as ContainerContents[] };
          const items = { playerId: "", containerId: of, itemKind: kind, quantity, counterpartyId: "", counterpartyContainerId: "", counterpartyRegion: undefined, itemId: "", position: undefined };
          const container = (value: object): boolean => world.execute(group, "container", { $case: "container", value: { ...act, action: ContainerAction_Action.CREATE, ...value } });
          const inventory = (value: object): boolean => world.execute(group, "player_inventory", { $case: "playerInventory", value: { ...items, action: PlayerInventory_Action.MINT, ...value } });
          switch (what) {
            case "create": {
              const may = row === undefined && !used.has(of) && (inside === "" || target?.group === 0);
              expect(container({ kind: "chest", to: place })).toBe(may);
              if (may) model.set(of, { group: 0, inside, holds: new Map() });
              if (may) used.add(of);
              break;
            }
            case "mint":
              expect(inventory({})).toBe(row !== undefined);
              row?.holds.set(kind, (row.holds.get(kind) ?? 0) + quantity);
              break;
            case "burn":
            case "take": {
              const may = (row?.holds.get(kind) ?? 0) >= quantity;
              expect(inventory(what === "burn" ? { action: PlayerInventory_Action.BURN } : { action: PlayerInventory_Action.TRANSFER, counterpartyId: "ada" })).toBe(may);
              if (may) row?.holds.set(kind, (row.holds.get(kind) ?? 0) - quantity);
              break;
            }
            case "move": {
              const may = row !== undefined && (inside === "" || (target?.group === group && !around(model, to).includes(of)));
              expect(container({ action: ContainerAction_Action.MOVE, from, to: place })).toBe(may);
              if (may) row.inside = inside;
              if (may && inside !== "") did("moved into another");
              break;
            }
            case "cross": {
              const contents = world.contents(group, of);
              if (contents.length === 0 || contents.some(({ containerId }) => containerId === to)) break;
              const other = 1 - group;
              const may = row !== undefined && isKnown && (inside === "" || target?.group === other);
              const stated = isKnown ? contents : contents.map((each, i) => (i === 0 ? { ...each, items: [...each.items.filter(({ itemKind }) => itemKind !== "ore"), { itemKind: "ore", quantity: 1_000 }] } : each));
              expect(container({ action: ContainerAction_Action.MOVE, from, to: place, toRegion: REGIONS[other], contents: stated })).toBe(may);
              if (!may) break;
              for (const id of within(model, of)) model.get(id)!.group = other;
              row.inside = inside;
              did(contents.length > 1 ? "taken along with what is in it" : "taken along");
              break;
            }
            case "destroy": {
              const contents = isKnown ? world.contents(group, of) : [];
              const isEmpty = within(model, of).every((id) => id === of && [...(row?.holds.values() ?? [])].every((held) => held === 0));
              const may = row !== undefined && (isEmpty || contents.length > 0);
              expect(container({ action: ContainerAction_Action.DESTROY, from, contents })).toBe(may);
              if (may && !isEmpty) did("destroyed with its contents");
              if (may) for (const id of within(model, of)) model.delete(id);

            }
          }
        }
        for (const [at, state] of world.states.entries()) {
          const loader = new SnapshotLoader({ groupId: state.groupId, decisionWindow: 1_024, touchCapacity: 64 });
          for (const chunk of encodeSnapshot(state.capture())) loader.push(chunk);
          const restored = loader.finish();
          expect(restored.digest).toBe(state.digest);
          const expected = [...model].filter(([, { group }]) => group === at);
          for (const [id, { inside, holds }] of expected) {
            expect(restored.entities.get("container", id)?.attributes.get("container") ?? "").toBe(inside);
            expect([...restored.entities.containedIn(id)].map(({ entityId }) => entityId).sort()).toEqual(expected.filter(([, each]) => each.inside === id).map(([inner]) => inner).sort());
            for (const kind of KINDS) expect(restored.ledger.balance(`container:${id}`, kind)).toBe(holds.get(kind) ?? 0);
          }
          expect([...restored.entities.values()].filter(({ kind }) => kind === "container")).toHaveLength(expected.length);
        }
      }),
      { numRuns: 120 },
    );
    // Else nothing was shown.
    for (const what of ["moved into another", "taken along", "taken along with what is in it", "destroyed with its contents"]) expect(done.get(what) ?? 0, what).toBeGreaterThan(5);
  });
});
