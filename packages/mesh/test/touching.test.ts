// Boxes that only touch do not meet, and everything that looks at boxes agrees on that: Detect, Resolve, what is in force, what is in
// flight, and the indexes.
import type { Bounds, Operation } from "@statemesh/contract";
import { detect, resolve } from "@statemesh/conflict";
import { collectIncumbents, GroupState, Occupancy, type PendingOperation, SpatialIndex } from "@statemesh/replica";
import { candidateOf, DEFAULT_POLICY, fingerprintOf, footprintOf, overlaps, quantizeBounds, validateOperation } from "@statemesh/world";
import { Entity, Outcome } from "@statemesh/contract";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { place } from "./operations.ts";

const HOME = { x: 0, y: 0, z: 0 };
const HELD: Bounds = { minX: 100, minY: 100, minZ: 100, maxX: 110, maxY: 110, maxZ: 110 };

function pend(id: string, serverId: number, bounds: Bounds): PendingOperation {
  const placed = place(id, serverId, HOME, [0, 0, 0]);
  const operation: Operation = { ...placed, body: { $case: "structurePlacement", value: { structureId: id, kind: "wall", bounds, playerId: "", attributes: new Map() } } };
  const type = validateOperation(operation, DEFAULT_POLICY);
  return { operation, type, touched: footprintOf(operation, type), stamp: { physicalMs: serverId, logical: 0 }, fingerprint: fingerprintOf(operation), priority: 0 };
}

/** What each of them says of two boxes. */
function opinions(a: Bounds, b: Bounds): Record<string, boolean> {
  const [first, second] = [pend("first", 1, a), pend("second", 2, b)];
  const candidates = [first, second].map((it) => candidateOf(it.operation, it.touched, it.stamp, 0));
  const [one, two] = candidates;
  if (one === undefined || two === undefined) throw new Error("two candidates");
  const state = new GroupState({ groupId: 1, decisionWindow: 8, touchCapacity: 8 });
  state.entities.put({ ...Entity.fromPartial({ kind: "structure", entityId: "first", operationId: "first", region: HOME, version: 1 }), bounds: a });
  const incumbents = new Map<string, typeof one>();
  collectIncumbents(state, second, DEFAULT_POLICY, incumbents);
  const inFlight = new Occupancy();
  inFlight.add(first);
  const index = new SpatialIndex<string>();
  index.insert(quantizeBounds(a), "first");
  return {
    overlaps: overlaps(quantizeBounds(a), quantizeBounds(b)),
    detect: detect({ incumbents: [], candidates }, DEFAULT_POLICY).length > 0,
    resolve: resolve({ incumbents: [], candidates }, DEFAULT_POLICY).some((it) => it.outcome === Outcome.REJECTED),
    incumbent: resolve({ incumbents: [one], candidates: [two] }, DEFAULT_POLICY)[0]?.outcome === Outcome.REJECTED,
    inForce: incumbents.size > 0,
    inFlight: inFlight.meets(second),
    index: index.visitOverlapping(quantizeBounds(b), () => true),
  };
}

const all = (value: boolean) => ({ overlaps: value, detect: value, resolve: value, incumbent: value, inForce: value, inFlight: value, index: value });
const beside = (changes: Partial<Bounds>): Bounds => ({ ...HELD, ...changes });

describe("boxes", () => {
  it.each<[string, Bounds, boolean]>([
    ["that share a face", beside({ minX: 110, maxX: 120 }), false],
    ["that share the lower face", beside({ minY: 90, maxY: 100 }), false],
    ["that share an edge", beside({ minX: 110, maxX: 120, minY: 110, maxY: 120 }), false],
    ["that share a corner", beside({ minX: 110, maxX: 120, minY: 110, maxY: 120, minZ: 110, maxZ: 120 }), false],
    ["that reach one another by a centimetre", beside({ minX: 109.99, maxX: 120 }), true],
    ["that would by less than half a centimetre", beside({ minX: 109.996, maxX: 120 }), false],
    ["that are the same", HELD, true],
    ["of which one lies in the other", beside({ minX: 104, maxX: 105, minY: 104, maxY: 105, minZ: 104, maxZ: 105 }), true],
    ["of which one is a plane through the other", beside({ minX: 105, maxX: 105 }), true],
    ["of which one is a plane on the other's face", beside({ minX: 110, maxX: 110 }), false],
    ["of which one is a point in the other", { minX: 105, minY: 105, minZ: 105, maxX: 105, maxY: 105, maxZ: 105 }, true],
  ])("%s: all say the same", (_, other, meets) => {
    expect(opinions(HELD, other)).toEqual(all(meets));
    expect(opinions(other, HELD)).toEqual(all(meets));
  });

  it("that are flat in one plane only touch", () => {
    const flat = beside({ minY: 100, maxY: 100 });
    expect(opinions(flat, flat)).toEqual(all(false));
  });

  it("of any kind, near borders of cells and regions: all say the same", () => {
    const grid = fc.constantFrom(0, 0.01, 0.015, 2.56, 63.99, 64, 64.01, 100, 128, 511.99, 512, -0.01, -64);
    const side = fc.constantFrom(0, 0.01, 0.005, 1, 64, 512);
    const box = fc.tuple(grid, grid, grid, side, side, side).map(([x, y, z, dx, dy, dz]): Bounds => ({ minX: x, minY: y, minZ: z, maxX: x + dx, maxY: y + dy, maxZ: z + dz }));
    fc.assert(fc.property(box, box, (a, b) => {
      const reaches = (it: Bounds): boolean => it.maxX > 0 && it.maxY > 0 && it.maxZ > 0 && it.maxX - it.minX <= 512 && it.maxY - it.minY <= 512 && it.maxZ - it.minZ <= 512;
      fc.pre(reaches(a) && reaches(b) && quantizeBounds(a).maxX > 0 && quantizeBounds(b).maxX > 0 && quantizeBounds(a).maxY > 0 && quantizeBounds(b).maxY > 0 && quantizeBounds(a).maxZ > 0 && quantizeBounds(b).maxZ > 0);
      const said = opinions(a, b);
      expect(said).toEqual(all(said["overlaps"] === true));
    }), { numRuns: 500 });
  });
});
