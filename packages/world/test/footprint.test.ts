import { describe, expect, it } from "vitest";
import { candidateOf, DEFAULT_POLICY, footprintOf, parsePolicy, validateOperation } from "../src/index.ts";
import type { Operation } from "@statemesh/contract";
import * as sample from "./operations.ts";

const CUSTOM = parsePolicy(sample.CUSTOM_POLICY, "policy.yaml");
const touched = (op: Operation) => footprintOf(op, validateOperation(op, CUSTOM));
const HOME = { x: 0, y: 0, z: 0 };
const BOX_CM = { minX: 1000, minY: 0, minZ: 1000, maxX: 2000, maxY: 850, maxZ: 1225 };

describe("footprintOf", () => {
  it("gives a structure its key, its box in the layer of structures, and no merge class", () => {
    expect(touched(sample.placement())).toEqual({ keys: ["structure:s-1"], shared: [], bounds: BOX_CM, layer: "structure", mergeClass: "", regions: [HOME] });
    expect(touched(sample.removal())).toMatchObject({ keys: ["structure:s-1"], layer: "", bounds: undefined });
  });

  it("gives claims, items and creatures their keys, and orders by the accounts", () => {
    expect(touched(sample.claim())).toMatchObject({ keys: ["claim:vein-1"], shared: [] });
    expect(touched(sample.pickup())).toMatchObject({ keys: ["item:item-1"], shared: ["account:ada"] });
    expect(touched(sample.creature())).toMatchObject({ keys: ["creature:wolf-1"], shared: [] });
    expect(touched(sample.transfer())).toMatchObject({ keys: [], shared: ["account:ada", "account:bob"] });
    expect(touched(sample.drop())).toMatchObject({ keys: ["item:item-2"], shared: ["account:ada"] });
    expect(touched(sample.spawn())).toMatchObject({ keys: ["item:item-2"], shared: [] });
    expect(touched(sample.trade())).toMatchObject({ keys: [], shared: ["account:ada", "account:bob"] });
  });

  it("gives terrain edits their merge class", () => {
    expect(touched(sample.dig())).toMatchObject({ layer: "terrain", bounds: BOX_CM, mergeClass: "dig", keys: [] });
    expect(touched(sample.fill())).toMatchObject({ mergeClass: "fill:stone" });
  });

  it("adds the keys and regions of the operation's own footprint", () => {
    const op = sample.placement({ footprint: { keys: ["gate"], regions: [{ x: 4, y: 0, z: 0 }, HOME, { x: 4, y: 0, z: 0 }], bounds: undefined } });
    expect(touched(op)).toMatchObject({ keys: ["structure:s-1", "key:gate"], regions: [HOME, { x: 4, y: 0, z: 0 }] });
  });

  it("takes the whole footprint of the operator's own types from the operation", () => {
    const footprint = { keys: ["altar"], regions: [{ x: 1, y: 1, z: 1 }], bounds: { ...sample.BOX, maxX: 2010 } };
    expect(touched(sample.custom({ footprint }))).toEqual({
      keys: ["key:altar"], shared: ["entity:spell:spell-1"], bounds: { ...BOX_CM, maxX: 201_000 }, layer: "spell", mergeClass: "",
      regions: [HOME, { x: 1, y: 0, z: 0 }, { x: 1, y: 1, z: 1 }],
    });
    expect(touched(sample.custom({ type: "growth" }))).toMatchObject({ mergeClass: "growth", layer: "", regions: [HOME] });
  });

  it("names every region that a box reaches", () => {
    const op = sample.placement();
    if (op.body?.$case === "structurePlacement") op.body.value.bounds = { ...sample.BOX, minX: -10, minZ: -1 };
    expect(touched(op).regions).toEqual([HOME, { x: -1, y: 0, z: -1 }, { x: -1, y: 0, z: 0 }, { x: 0, y: 0, z: -1 }]);
  });
});

describe("candidateOf", () => {
  it("says what the rules need to know", () => {
    const op = sample.dig();
    const stamp = { physicalMs: 5, logical: 1 };
    expect(candidateOf(op, footprintOf(op, validateOperation(op, DEFAULT_POLICY)), stamp, 9)).toEqual({
      operationId: "op-1", type: "terrain_modification", serverId: 7, priority: 9, stamp, keys: [], bounds: sample.BOX, mergeClass: "dig", region: HOME,
    });
  });
});
