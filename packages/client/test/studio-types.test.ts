import { CustomAction_Expectation, type DeliveredEvent, type Entity, type EventualValue, type Operation, type Region } from "@statemesh/contract";
import { type Origin, StateMerge } from "@statemesh/merge";
import { DEFAULT_POLICY, parsePolicy, validateOperation } from "@statemesh/world";
import { describe, expect, it } from "vitest";
import {
  bytesCodec, causalType, type Codec, cosmeticEffects, counterMerging, creaturePositions, eventSequences, eventualType, fieldsMerging, jsonCodec, lastWriteMerging, mergingType,
  OperationBuilder, setMerging, strongType, terrainMerging, treeMerging,
} from "../src/index.ts";

interface Cart {
  readonly goods: Readonly<Record<string, number>>;
}

const region: Region = { x: 0, y: 0, z: 0 };
const place = { region, epoch: 3 };
const build = new OperationBuilder(7);

function stateOf({ body }: Operation): Uint8Array {
  if (body?.$case !== "custom") throw new Error("not of a type of one's own");
  return body.value.state;
}

function entity(kind: string, state: Uint8Array): Entity {
  return { entityId: "e", kind, state } as Entity;
}

describe("a studio's own strong type", () => {
  const carts = strongType<Cart>("cart", { footprint: (id) => ({ keys: [`cart/${id}`] }) });

  it("writes values and reads them back, with the footprint that the type says", () => {
    const operation = build.put(carts, place, { entityId: "cart-3", state: { goods: { ore: 4 } } });
    expect(operation).toMatchObject({ type: "cart", homeRegion: region, authorityEpoch: 3, footprint: { keys: ["cart/cart-3"] } });
    expect(carts.read(entity("cart", stateOf(operation)))).toEqual({ goods: { ore: 4 } });
    const policy = parsePolicy("version: 1\ntypes:\n  cart:\n    consistency: strong\n    chain: [timestamp]\n", "test");
    expect(() => validateOperation(operation, policy)).not.toThrow();
  });

  it("moves over a border, and is removed by an empty state", () => {
    const toRegion = { x: 1, y: 0, z: 0 };
    expect(build.move(carts, place, { entityId: "cart-3", state: { goods: {} }, toRegion }).body).toMatchObject({ value: { entityId: "cart-3", toRegion } });
    expect(stateOf(build.remove(carts, place, { entityId: "cart-3" }))).toHaveLength(0);
  });

  it("says what it expects: of what is created that it is new, of what is saved that it is there, and which version was read", () => {
    const it = { entityId: "cart-3", state: { goods: {} } };
    const expected = (operation: Operation): unknown => (operation.body?.$case === "custom" ? [operation.body.value.expectation, operation.body.value.observedVersion] : undefined);
    expect(expected(build.put(carts, place, it))).toEqual([CustomAction_Expectation.UNSPECIFIED, 0]);
    expect(expected(build.create(carts, place, it))).toEqual([CustomAction_Expectation.ABSENT, 0]);
    expect(expected(build.save(carts, place, it))).toEqual([CustomAction_Expectation.EXISTS, 0]);
    expect(expected(build.save(carts, place, { ...it, observedVersion: 12 }))).toEqual([CustomAction_Expectation.EXISTS, 12]);
    expect(expected(build.put(carts, place, { ...it, expect: "exists", observedVersion: 12 }))).toEqual([CustomAction_Expectation.EXISTS, 12]);
    expect(expected(build.move(carts, place, { ...it, toRegion: { x: 1, y: 0, z: 0 }, observedVersion: 12 }))).toEqual([CustomAction_Expectation.UNSPECIFIED, 12]);
    expect(expected(build.remove(carts, place, { entityId: "cart-3", observedVersion: 12 }))).toEqual([CustomAction_Expectation.UNSPECIFIED, 12]);
    expect(() => build.put(carts, place, { ...it, expect: "there" as "exists" })).toThrow('expect: must be "exists", "absent" or left out');
  });

  it("is not read from entities of other types, and says so where its state is none", () => {
    expect(carts.read(entity("ship", new Uint8Array(1)))).toBeUndefined();
    expect(() => carts.read(entity("cart", new TextEncoder().encode("{")))).toThrow("is not what the type cart writes");
    const strict = strongType("cart", { codec: jsonCodec((value) => {
      if (typeof value !== "object" || value === null || !("goods" in value)) throw new Error("no goods");
      return value as Cart;
    }) });
    expect(() => strict.read(entity("cart", new TextEncoder().encode("{}")))).toThrow("is not what the type cart writes");
  });
});

describe("a studio's own type that merges", () => {
  const heroes = mergingType("hero", fieldsMerging({ hp: counterMerging, bag: setMerging, title: lastWriteMerging<{ en: string }>(), ground: terrainMerging, within: treeMerging }));
  const merge = new StateMerge(new Map(Object.entries({ hp: "counter", bag: "set", title: "last_write_wins", ground: "terrain", within: "tree" } as const)));
  const originOf = ({ operationId }: Operation, physicalMs: number): Origin => ({ physicalMs, logical: 0, serverId: 7, operationId });

  it("makes updates that the mesh's own function takes, and reads what they make together", () => {
    const first = build.update(heroes, place, {
      entityId: "ada",
      update: {
        hp: { add: 10 }, bag: { add: ["bow", "__proto__"] }, title: { value: { en: "Countess" } },
        ground: { edits: [{ mode: "fill", material: "stone", min: [0, 0, 0], max: [2, 2, 2] }] }, within: { moves: [{ child: "sword", parent: "chest" }] },
      },
    });
    const second = build.update(heroes, place, { entityId: "ada", update: { hp: { add: -3 } } });
    let state: Uint8Array | undefined;
    for (const [at, operation] of [first, second].entries()) {
      expect(() => merge.check(stateOf(operation))).not.toThrow();
      state = merge.apply(state, stateOf(operation), originOf(operation, at), 65_536);
    }
    const value = heroes.read(entity("hero", state ?? new Uint8Array(0)));
    expect(value).toMatchObject({ hp: 7n, title: { en: "Countess" }, ground: [{ material: "stone" }] });
    expect(value?.within?.get("sword")).toBe("chest");
    expect(value?.bag?.members).toEqual(["__proto__", "bow"]);
    const removal = build.update(heroes, place, { entityId: "ada", update: { bag: value?.bag?.removal("bow", "__proto__", "axe") ?? {} } });
    merge.check(stateOf(removal));
    const after = heroes.read(entity("hero", merge.apply(state, stateOf(removal), originOf(removal, 9), 65_536)));
    expect(after?.bag?.members).toEqual([]);
  });

  it("says so where another function wrote the state", () => {
    const vaults = mergingType("vault", counterMerging);
    expect(() => vaults.read(entity("vault", new TextEncoder().encode('{"in":{}}')))).toThrow("is not what the type vault writes");
    expect(vaults.read(entity("hero", new Uint8Array(0)))).toBeUndefined();
  });
});

describe("eventual and causal types", () => {
  it("write values under a name of the policy table, and read what comes", () => {
    const pose: Codec<{ x: number }> = { encode: ({ x }) => Uint8Array.of(x), decode: ([x = 0]) => ({ x }) };
    const positions = creaturePositions(pose);
    const update = positions.write(region, "wolf-7", { x: 9 });
    expect(DEFAULT_POLICY.typeOf(update.type)?.consistency).toBe("eventual");
    expect(update).toMatchObject({ type: "creature_position", key: "wolf-7", deleted: false });
    expect(update.timestampMs).toBeGreaterThan(0);
    expect(positions.read({ ...update, serverId: 1, stamp: undefined } as EventualValue)).toEqual({ x: 9 });
    expect(positions.read({ ...positions.remove(region, "wolf-7"), serverId: 1, stamp: undefined } as EventualValue)).toBeUndefined();
    expect(cosmeticEffects(bytesCodec).read({ ...update, serverId: 1, stamp: undefined } as EventualValue)).toBeUndefined();
    const quests = eventSequences<{ step: number }>();
    const event = quests.event(region, "dragon", { step: 2 });
    expect(DEFAULT_POLICY.typeOf(event.type)?.consistency).toBe("causal");
    expect(quests.read({ event } as DeliveredEvent)).toEqual({ step: 2 });
    expect(causalType("rumour").read({ event } as DeliveredEvent)).toBeUndefined();
    expect(() => eventualType("creature_position").read({ ...update, serverId: 1, stamp: undefined } as EventualValue)).toThrow("creature_position");
  });
});
