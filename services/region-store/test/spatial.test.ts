import type { Entity, Position, QueryEntitiesRequest, QueryRegionsRequest, Region, SpatialQuery } from "@statemesh/contract";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { RegionStore } from "../src/index.ts";
import { batch, bounds, entity, refusal, region, storing, TestWorld } from "./world.ts";

let world: TestWorld;
let store: RegionStore;
const regions: Region[] = [];
const entities: Entity[] = [];

/** A small world round the origin, with every kind of box: none, flat, on borders, across them, very wide. */
beforeAll(async () => {
  world = await TestWorld.start();
  store = await world.store(await world.database());
  const random = fc.sample(fc.record({ x: fc.integer({ min: -3, max: 2 }), y: fc.integer({ min: -2, max: 1 }), z: fc.integer({ min: -1, max: 1 }) }), { numRuns: 60, seed: 7 });
  const seen = new Set<string>();
  for (const each of random) {
    const text = `${each.x},${each.y},${each.z}`;
    if (!seen.has(text)) regions.push(each);
    seen.add(text);
  }
  await store.transactRegions({ writes: regions.map((each) => ({ write: { $case: "store", value: storing(each) } })), requestId: "" });
  const corner = fc.tuple(...[0, 1, 2].map(() => fc.oneof(fc.integer({ min: -5_000, max: 5_000 }), fc.constantFrom(-4_000, -2_000, 0, 2_000, 4_000))));
  const size = fc.tuple(...[0, 1, 2].map(() => fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 500 }), fc.integer({ min: 1, max: 9_000 }))));
  const made = fc.sample(fc.record({ home: fc.nat(), corner, size, boxed: fc.boolean(), kind: fc.constantFrom("structure", "item", "creature") }), { numRuns: 400, seed: 8 });
  made.forEach(({ home, corner: [x = 0, y = 0, z = 0], size: [dx = 0, dy = 0, dz = 0], boxed, kind }, at) => {
    const where = boxed ? { x: Math.floor(x / 2_000), y: Math.floor(y / 2_000), z: Math.floor(z / 2_000) } : regions[home % regions.length];
    // Some boxes lie away from their home region, as types of an operator's own may.
    const homed = boxed && at % 7 === 0 ? regions[home % regions.length] : where;
    entities.push(entity(`e${at}`, at + 1, { kind, region: homed, ...(boxed ? { bounds: bounds(x, y, z, x + dx, y + dy, z + dz) } : {}) }));
  });
  await store.materialize(batch(0, 400, { entities }));
});

afterAll(async () => {
  await world.stop();
});

type Interval = readonly [number, number];
type Box = readonly [Interval, Interval, Interval];
const AXES = ["x", "y", "z"] as const;

/** Brute force, in metres and by the words of the contract: half-open boxes, what is flat belongs to the higher side. */
function sharesInterval([a0, a1]: Interval, [b0, b1]: Interval): boolean {
  if (a0 === a1 && b0 === b1) return a0 === b0;
  if (a0 === a1) return b0 <= a0 && a0 < b1;
  if (b0 === b1) return a0 <= b0 && b0 < a1;
  return a0 < b1 && b0 < a1;
}

const cubeOf = (r: Region): Box => [[r.x * 2_000, r.x * 2_000 + 2_000], [r.y * 2_000, r.y * 2_000 + 2_000], [r.z * 2_000, r.z * 2_000 + 2_000]];
const shares = (a: Box, b: Box): boolean => [0, 1, 2].every((axis) => sharesInterval(a[axis] ?? [0, 0], b[axis] ?? [0, 0]));
/** A flat side on the upper border belongs to what is above. */
const liesIn = ([a0, a1]: Interval, [b0, b1]: Interval): boolean => a0 >= b0 && (a0 === a1 ? a0 < b1 : a1 <= b1);
const isInside = (a: Box, b: Box): boolean => [0, 1, 2].every((axis) => liesIn(a[axis] ?? [0, 0], b[axis] ?? [0, 0]));

function boxOf(each: Entity): Box {
  const b = each.bounds;
  if (b === undefined) return cubeOf(each.region ?? region(0));
  return [[b.minX, b.maxX], [b.minY, b.maxY], [b.minZ, b.maxZ]];
}

function isNear(box: Box, center: Position, radius: number): boolean {
  let square = 0;
  AXES.forEach((axis, at) => {
    const [low, high] = box[at] ?? [0, 0];
    // A flat side counts as 1 cm.
    const gap = Math.max(low - center[axis], 0, center[axis] - Math.max(high, low + 0.01));
    square += gap * gap;
  });
  return square <= radius * radius;
}

function matches(query: SpatialQuery, box: Box): boolean {
  const { shape } = query;
  if (shape === undefined) return false;
  switch (shape.$case) {
    case "box":
      return shares(box, [[shape.value.minX, shape.value.maxX], [shape.value.minY, shape.value.maxY], [shape.value.minZ, shape.value.maxZ]]);
    case "sphere":
      return isNear(box, shape.value.center ?? { x: 0, y: 0, z: 0 }, shape.value.radius);
    case "position":
      return shares(box, [[shape.value.x, shape.value.x], [shape.value.y, shape.value.y], [shape.value.z, shape.value.z]]);
    case "neighbours": {
      const { region: center = region(0), rings, includeCenter } = shape.value;
      const axis = (at: "x" | "y" | "z"): Interval => [(center[at] - rings) * 2_000, (center[at] + rings + 1) * 2_000];
      return shares(box, [axis("x"), axis("y"), axis("z")]) && (includeCenter || !isInside(box, cubeOf(center)));
    }
  }
}

const whole = fc.oneof(fc.integer({ min: -7_000, max: 7_000 }), fc.constantFrom(-4_000, -2_000, 0, 2_000, 4_000));
const position = fc.record({ x: whole, y: whole, z: whole });
const side = fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 3_000 }), fc.integer({ min: 0, max: 20_000 }));
const anyQuery: fc.Arbitrary<SpatialQuery> = fc.oneof(
  fc.tuple(position, side, side, side).map(([p, dx, dy, dz]): SpatialQuery => ({ shape: { $case: "box", value: bounds(p.x, p.y, p.z, p.x + dx, p.y + dy, p.z + dz) } })),
  // Halves, so that no distance is the radius to the last bit.
  fc.tuple(position, fc.integer({ min: 1, max: 9_000 })).map(([center, radius]): SpatialQuery => ({ shape: { $case: "sphere", value: { center, radius: radius + 0.377 } } })),
  position.map((value): SpatialQuery => ({ shape: { $case: "position", value } })),
  fc.tuple(fc.constantFrom(-3, -1, 0, 2), fc.integer({ min: 1, max: 3 }), fc.boolean()).map(([x, rings, includeCenter]): SpatialQuery => ({ shape: { $case: "neighbours", value: { region: region(x), rings, includeCenter } } })),
);

async function allRegions(request: Omit<QueryRegionsRequest, "pageToken">): Promise<string[]> {
  const found: string[] = [];
  for (let pageToken = ""; ; ) {
    const page = await store.queryRegions({ ...request, pageToken });
    found.push(...page.records.map((record) => record.regionText));
    expect(page.records.length).toBeLessThanOrEqual(request.pageSize);
    pageToken = page.nextPageToken;
    if (pageToken === "") return found;
  }
}

async function allEntities(request: Omit<QueryEntitiesRequest, "pageToken">): Promise<string[]> {
  const found: string[] = [];
  for (let pageToken = ""; ; ) {
    const page = await store.queryEntities({ ...request, pageToken });
    found.push(...page.entities.map((each) => each.entityId));
    expect(page.entities.length).toBeLessThanOrEqual(request.pageSize);
    pageToken = page.nextPageToken;
    if (pageToken === "") return found;
  }
}

describe("QueryRegions and QueryEntities", () => {
  it("find the regions that a search of all of them finds, each once, whatever the page size", async () => {
    await fc.assert(
      fc.asyncProperty(anyQuery, fc.integer({ min: 1, max: 30 }), async (query, pageSize) => {
        const expected = regions.filter((each) => matches(query, cubeOf(each))).map((each) => `region_${each.x}_${each.y}_${each.z}`);
        expect((await allRegions({ query, pageSize })).sort()).toEqual(expected.sort());
      }),
      { numRuns: 120 },
    );
  });

  it("find the entities that a search of all of them finds, each once, whatever the page size", async () => {
    await fc.assert(
      fc.asyncProperty(anyQuery, fc.integer({ min: 5, max: 200 }), fc.subarray(["structure", "item", "creature"]), async (query, pageSize, kinds) => {
        const expected = entities.filter((each) => (kinds.length === 0 || kinds.includes(each.kind)) && matches(query, boxOf(each))).map((each) => each.entityId);
        expect((await allEntities({ query, pageSize, kinds })).sort()).toEqual(expected.sort());
      }),
      { numRuns: 120 },
    );
  });

  it("answer nothing beyond the end of the world, and everything inside of the whole of it", async () => {
    const end = 2_097_152_000;
    const outside: SpatialQuery = { shape: { $case: "box", value: bounds(end, end, end, end, end, end) } };
    const everything: SpatialQuery = { shape: { $case: "box", value: bounds(-end, -end, -end, end, end, end) } };
    expect(await allRegions({ query: outside, pageSize: 10 })).toEqual([]);
    expect(await allRegions({ query: everything, pageSize: 1_000 })).toHaveLength(regions.length);
    expect(await allEntities({ query: everything, pageSize: 1_000, kinds: [] })).toHaveLength(entities.length);
  });

  it("refuse broken shapes by field", async () => {
    const cases: [SpatialQuery | undefined, string][] = [
      [undefined, "query.shape"],
      [{ shape: undefined }, "query.shape"],
      [{ shape: { $case: "box", value: bounds(1, 0, 0, 0, 0, 0) } }, "query.box.min_x"],
      [{ shape: { $case: "sphere", value: { center: undefined, radius: 1 } } }, "query.sphere.center"],
      [{ shape: { $case: "sphere", value: { center: { x: 0, y: 0, z: 0 }, radius: 0 } } }, "query.sphere.radius"],
      [{ shape: { $case: "sphere", value: { center: { x: 0, y: 0, z: 0 }, radius: Number.NaN } } }, "query.sphere.radius"],
      [{ shape: { $case: "sphere", value: { center: { x: 0, y: 0, z: 0 }, radius: 100_001 } } }, "query.sphere.radius"],
      [{ shape: { $case: "neighbours", value: { region: region(0), rings: 9, includeCenter: true } } }, "query.neighbours.rings"],
      [{ shape: { $case: "neighbours", value: { region: undefined, rings: 1, includeCenter: true } } }, "query.neighbours.region"],
      [{ shape: { $case: "position", value: { x: Number.POSITIVE_INFINITY, y: 0, z: 0 } } }, "query.position.x"],
    ];
    for (const [query, field] of cases) {
      await refusal(store.queryRegions({ query, pageSize: 0, pageToken: "" }), "INVALID_FIELD", field);
      await refusal(store.queryEntities({ query, kinds: [], pageSize: 0, pageToken: "" }), "INVALID_FIELD", field);
    }
    const query: SpatialQuery = { shape: { $case: "position", value: { x: 0, y: 0, z: 0 } } };
    await refusal(store.queryEntities({ query, kinds: Array.from({ length: 17 }, (_, at) => `k${at}`), pageSize: 0, pageToken: "" }), "INVALID_FIELD", "kinds");
  });
});

describe("page tokens", () => {
  const everything: SpatialQuery = { shape: { $case: "sphere", value: { center: { x: 0, y: 0, z: 0 }, radius: 50_000 } } };

  it("go on where a list ended, also when regions come and go meanwhile", async () => {
    const first = await store.listRegions({ pageSize: 3, pageToken: "" });
    await store.storeRegion(storing(region(500)));
    const rest = await store.listRegions({ pageSize: 1_000, pageToken: first.nextPageToken });
    const texts = [...first.records, ...rest.records].map((record) => record.regionText);
    expect(new Set(texts).size).toBe(texts.length);
    expect(texts).toHaveLength(regions.length + 1);
    await store.deleteRegion({ region: region(500), epoch: 0, requestId: "" });
  });

  it("are refused by another call, with other arguments, cut, changed, or made up", async () => {
    const { nextPageToken: token } = await store.queryRegions({ query: everything, pageSize: 2, pageToken: "" });
    expect(token).not.toBe("");
    const other: SpatialQuery = { shape: { $case: "sphere", value: { center: { x: 0, y: 0, z: 0 }, radius: 50_001 } } };
    await refusal(store.queryRegions({ query: other, pageSize: 2, pageToken: token }), "INVALID_PAGE_TOKEN");
    await refusal(store.queryEntities({ query: everything, kinds: [], pageSize: 2, pageToken: token }), "INVALID_PAGE_TOKEN");
    for (const wrong of [token, token.slice(1), `${token}A`, `${token} `, "nonsense", "=".repeat(10), "x".repeat(100_000)]) {
      await refusal(store.listRegions({ pageSize: 2, pageToken: wrong }), "INVALID_PAGE_TOKEN");
      if (wrong !== token) await refusal(store.queryRegions({ query: everything, pageSize: 2, pageToken: wrong }), "INVALID_PAGE_TOKEN");
    }
    expect((await store.queryRegions({ query: everything, pageSize: 5, pageToken: token })).records).toHaveLength(5);
  });
});
