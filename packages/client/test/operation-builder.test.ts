import { DEFAULT_POLICY, validateOperation } from "@statemesh/world";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { connect, OperationBuilder, OperationIds } from "../src/index.ts";

const place = { region: { x: 0, y: 0, z: 0 }, epoch: 3 };
const bounds = { minX: 1, minY: 1, minZ: 1, maxX: 2, maxY: 2, maxZ: 2 };
const position = { x: 5, y: 5, z: 5 };

describe("operation builders", () => {
  it("make operations that the mesh takes, one a strong type", () => {
    const make = new OperationBuilder(7);
    const all = [
      make.structurePlacement(place, { structureId: "s", kind: "wall", bounds, attributes: new Map([["colour", "red"]]) }),
      make.structureRemoval(place, { structureId: "s" }),
      make.resourceClaim(place, { resourceId: "r", playerId: "p" }),
      make.resourceRelease(place, { resourceId: "r", playerId: "p" }),
      make.itemPickup(place, { itemId: "i", playerId: "p" }),
      make.mint(place, { playerId: "p", itemKind: "ore", quantity: 1 }),
      make.burn(place, { playerId: "p", itemKind: "ore", quantity: 1 }),
      make.transfer(place, { playerId: "p", counterpartyId: "q", itemKind: "ore", quantity: 1 }),
      make.drop(place, { playerId: "p", itemKind: "ore", quantity: 1, itemId: "i", position }),
      make.spawn(place, { itemKind: "ore", quantity: 1, itemId: "i", position }),
      make.trade(place, { firstPlayerId: "p", secondPlayerId: "q", firstGives: [{ itemKind: "ore", quantity: 1 }], secondGives: [] }),
      make.mint(place, { containerId: "x", itemKind: "ore", quantity: 1 }),
      make.transfer(place, { playerId: "p", counterpartyContainerId: "x", itemKind: "ore", quantity: 1 }),
      make.containerCreate(place, { containerId: "x", kind: "chest", to: { position } }),
      make.containerMove(place, { containerId: "x", from: { position }, to: { playerId: "p" } }),
      make.containerMove(place, { containerId: "x", from: { playerId: "p" }, to: { containerId: "y" }, toRegion: { x: 1, y: 0, z: 0 }, contents: [{ containerId: "x", inContainerId: "", kind: "chest", items: [{ itemKind: "ore", quantity: 1 }] }] }),
      make.containerDestroy(place, { containerId: "x", from: { playerId: "p" } }),
      make.dig(place, { bounds }),
      make.fill(place, { bounds, material: "stone" }),
      make.paint(place, { bounds, material: "moss" }),
      make.creatureOwnership(place, { creatureId: "c" }),
    ];
    for (const operation of all) expect(validateOperation(operation, DEFAULT_POLICY).name).toBe(operation.type);
    expect(all.at(-1)).toMatchObject({ serverId: 7, authorityEpoch: 3, body: { value: { ownerServerId: 7 } } });
  });

  it("stamp the time of the call where the caller gives none", () => {
    const make = new OperationBuilder(7, new OperationIds(), () => 12_345);
    expect(make.dig(place, { bounds }).timestampMs).toBe(12_345);
    expect(make.dig(place, { bounds }, { timestampMs: 0, operationId: "mine" })).toMatchObject({ timestampMs: 0, operationId: "mine" });
  });
});

describe("operation ids", () => {
  it("sort in the order in which they were made, also when the clock goes back", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 2 ** 45 }), { minLength: 2, maxLength: 200 }), (times) => {
        let at = 0;
        const ids = new OperationIds(() => times[at++] ?? 0);
        const made = times.map(() => ids.next());
        expect([...made].sort()).toEqual(made);
        expect(new Set(made).size).toBe(made.length);
      }),
    );
  });

  it("are unique within a millisecond, however many are made", () => {
    const ids = new OperationIds(() => 1_000);
    expect(new Set(Array.from({ length: 100_000 }, () => ids.next())).size).toBe(100_000);
  });

  it("of two generators never meet", () => {
    const first = new OperationIds(() => 1_000);
    const second = new OperationIds(() => 1_000);
    expect(first.next()).not.toBe(second.next());
  });

  it("say what is wrong with a place that JavaScript lets pass", () => {
    const operations = new OperationBuilder(7);
    const claim = { resourceId: "vein", playerId: "ann" };
    expect(() => operations.resourceClaim({ region: "region_0_0_0" as never, epoch: 0 }, claim)).toThrow("place.region: must be { x, y, z } of whole numbers; parseRegion reads a text");
    expect(() => operations.resourceClaim({ region: { x: 0.5, y: 0, z: 0 }, epoch: 0 }, claim)).toThrow("place.region");
    expect(() => operations.resourceClaim({ region: { x: 0, y: 0, z: 0 } } as never, claim)).toThrow("place.epoch: must be a number: a lease is a place");
  });

  it("connect only with options that there are, and addresses that are some", () => {
    const options = { endpoints: ["127.0.0.1:7401"], serverId: 7, name: "seven" };
    for (const [wrong, message] of [
      [{ deadLineMs: 5 }, "deadLineMs: is no option of connect"], [{ endpoints: "127.0.0.1:7401" }, "endpoints: must be a list"], [{ endpoints: ["http://127.0.0.1:7401"] }, "must be host:port without a scheme"],
      [{ name: undefined }, "name: is required"], [{ endpoints: undefined }, "endpoints: must name 1..64 nodes"], [{ serverId: "7" }, "serverId: must be a whole number"], [{ onError: 5 }, "onError: must be a function"],
    ] as const) {
      expect(() => connect({ ...options, ...wrong } as never)).toThrow(message);
    }
    expect(() => connect(undefined as never)).toThrow("options: must be an object");
  });
});
