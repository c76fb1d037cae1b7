import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { RegionStore } from "../src/index.ts";
import { layer, loading, patching, refusal, region, storing, TestWorld } from "./world.ts";

let world: TestWorld;
let store: RegionStore;

beforeAll(async () => {
  world = await TestWorld.start();
  store = await world.store(await world.database());
});

afterAll(async () => {
  await world.stop();
});

async function recordOf(x: number, bypassCache = false) {
  return (await store.loadRegion(loading(region(x), { bypassCache }))).record;
}

describe("StoreRegion, LoadRegion, PatchRegion and DeleteRegion", () => {
  it("answers what was stored, from SQL first and from memory then", async () => {
    const stored = await store.storeRegion(storing(region(-1, 0, 3), { layers: [layer("terrain", "hills"), layer("nav", "")] }));
    expect(stored.version).toBe(1);
    const first = await store.loadRegion(loading(region(0), { region: undefined, regionText: "region_-1_0_3" }));
    expect(first.tier).toBe("sql");
    expect(first.record).toMatchObject({ region: region(-1, 0, 3), regionText: "region_-1_0_3", version: 1, epoch: 0 });
    expect(first.record?.attributes).toEqual(new Map([["biome", "ash"]]));
    expect(first.record?.layers.map((each) => [each.name, each.data.toString(), each.contentType])).toEqual([["nav", "", "text/plain"], ["terrain", "hills", "text/plain"]]);
    const second = await store.loadRegion(loading(region(-1, 0, 3)));
    expect(second).toEqual({ ...first, tier: "memory" });
  });

  it("leaves out layer data on request, and the cache keeps it", async () => {
    await store.storeRegion(storing(region(2), { layers: [layer("terrain", "hills")] }));
    for (const bypassCache of [true, false]) {
      const light = await store.loadRegion(loading(region(2), { withoutLayerData: true, bypassCache }));
      expect(light.record?.layers).toEqual([{ name: "terrain", data: Buffer.alloc(0), contentType: "text/plain" }]);
    }
    expect((await recordOf(2))?.layers[0]?.data.toString()).toBe("hills");
  });

  it("says that a region was never stored", async () => {
    for (let time = 0; time < 2; time++) expect(await recordOf(3)).toBeUndefined();
    await store.storeRegion(storing(region(3)));
    expect((await recordOf(3))?.version).toBe(1);
  });

  it("changes only what a patch names", async () => {
    await store.storeRegion(storing(region(4), { attributes: new Map([["a", "1"], ["b", "2"]]), layers: [layer("x", "x"), layer("y", "y")] }));
    const patched = await store.patchRegion(patching(region(4), { setAttributes: new Map([["c", "3"]]), removeAttributes: ["a"], setLayers: [layer("z", "z")], removeLayers: ["x"] }));
    expect(patched.version).toBe(2);
    const record = await recordOf(4);
    expect(record?.attributes).toEqual(new Map([["b", "2"], ["c", "3"]]));
    expect(record?.layers.map((each) => each.name)).toEqual(["y", "z"]);
  });

  it("refuses to patch what was never stored", async () => {
    await refusal(store.patchRegion(patching(region(5))), "NOT_FOUND");
  });

  it("keeps attributes with names that objects of JavaScript treat specially", async () => {
    const attributes = new Map([["__proto__", "p"], ["constructor", "c"], ["1", "one"]]);
    await store.storeRegion(storing(region(6), { attributes }));
    expect((await recordOf(6, true))?.attributes).toEqual(new Map([["1", "one"], ["__proto__", "p"], ["constructor", "c"]]));
  });

  it("deletes once, and the version goes on growing when the region comes back", async () => {
    await store.storeRegion(storing(region(7), { layers: [layer("x", "x")] }));
    expect(await store.deleteRegion({ region: region(7), epoch: 0, requestId: "" })).toEqual({ deleted: true });
    expect(await store.deleteRegion({ region: region(7), epoch: 0, requestId: "" })).toEqual({ deleted: false });
    expect(await recordOf(7)).toBeUndefined();
    expect((await store.storeRegion(storing(region(7), { expectedVersion: 0 }))).version).toBe(3);
    expect((await recordOf(7))?.layers).toEqual([]);
  });
});

describe("versions and epochs", () => {
  it("refuses another version than the expected one, and names the current one", async () => {
    await store.storeRegion(storing(region(20)));
    const error = await refusal(store.storeRegion(storing(region(20), { expectedVersion: 7 })), "VERSION_MISMATCH");
    expect(error.metadata["current_version"]).toBe("1");
    await refusal(store.patchRegion(patching(region(20), { expectedVersion: 0 })), "VERSION_MISMATCH");
    await refusal(store.deleteRegion({ region: region(20), epoch: 0, expectedVersion: 2, requestId: "" }), "VERSION_MISMATCH");
    expect((await recordOf(20))?.version).toBe(1);
  });

  it("refuses every write that carries a lower epoch than one that has written", async () => {
    await store.storeRegion(storing(region(21), { epoch: 5 }));
    const writes = [
      () => store.storeRegion(storing(region(21), { epoch: 4 })),
      () => store.patchRegion(patching(region(21))),
      () => store.deleteRegion({ region: region(21), epoch: 0, requestId: "" }),
    ];
    for (const write of writes) {
      expect((await refusal(write(), "FENCED")).metadata["current_epoch"]).toBe("5");
    }
    expect(await recordOf(21)).toMatchObject({ version: 1, epoch: 5 });
  });

  it("lets exactly one of many writers replace a version", async () => {
    await store.storeRegion(storing(region(22)));
    const outcomes = await Promise.allSettled(Array.from({ length: 20 }, (_, at) => store.storeRegion(storing(region(22), { expectedVersion: 1, attributes: new Map([["writer", String(at)]]) }))));
    const winners = outcomes.flatMap((outcome, at) => (outcome.status === "fulfilled" ? [at] : []));
    expect(winners).toHaveLength(1);
    expect(await recordOf(22)).toMatchObject({ version: 2, attributes: new Map([["writer", String(winners[0])]]) });
  });

  it("counts every one of many writers that expect no version", async () => {
    await Promise.all(Array.from({ length: 20 }, () => store.storeRegion(storing(region(23)))));
    expect((await recordOf(23))?.version).toBe(20);
  });
});

describe("request ids", () => {
  it("answers a repeat with the first answer and writes once", async () => {
    const request = storing(region(30), { requestId: "r-30", attributes: new Map([["a", "1"], ["b", "2"]]) });
    const sameInOtherOrder = { ...request, attributes: new Map([["b", "2"], ["a", "1"]]) };
    const answers = await Promise.all([request, sameInOtherOrder, request].map((each) => store.storeRegion(each)));
    expect(answers).toEqual([{ version: 1 }, { version: 1 }, { version: 1 }]);
    await store.storeRegion(storing(region(30)));
    expect(await store.storeRegion(request)).toEqual({ version: 1 });
    expect((await recordOf(30))?.version).toBe(2);
  });

  it("refuses the same id with other content, or in another call", async () => {
    await store.storeRegion(storing(region(31), { requestId: "r-31" }));
    await refusal(store.storeRegion(storing(region(31), { requestId: "r-31", epoch: 1 })), "REQUEST_ID_REUSED");
    await refusal(store.deleteRegion({ region: region(31), epoch: 0, requestId: "r-31" }), "REQUEST_ID_REUSED");
  });

  it("keeps no answer of a refused request", async () => {
    await refusal(store.storeRegion(storing(region(32), { requestId: "r-32", expectedVersion: 1 })), "VERSION_MISMATCH");
    await store.storeRegion(storing(region(32)));
    expect(await store.storeRegion(storing(region(32), { requestId: "r-32", expectedVersion: 1 }))).toEqual({ version: 2 });
  });

  it("repeats the answer of a delete", async () => {
    await store.storeRegion(storing(region(33)));
    const request = { region: region(33), epoch: 0, requestId: "r-33" };
    expect(await store.deleteRegion(request)).toEqual({ deleted: true });
    expect(await store.deleteRegion(request)).toEqual({ deleted: true });
  });
});

describe("TransactRegions", () => {
  it("writes all regions, and answers their versions in order", async () => {
    await store.storeRegion(storing(region(41)));
    const request = {
      writes: [
        { write: { $case: "store" as const, value: storing(region(42)) } },
        { write: { $case: "patch" as const, value: patching(region(41), { setAttributes: new Map([["a", "1"]]) }) } },
        { write: { $case: "patch" as const, value: patching(region(42), { setAttributes: new Map([["b", "2"]]) }) } },
        { write: { $case: "delete" as const, value: { region: region(41), epoch: 0, requestId: "" } } },
      ],
      requestId: "t-1",
    };
    expect(await store.transactRegions(request)).toEqual({ versions: [1, 2, 2, 0] });
    expect(await store.transactRegions(request)).toEqual({ versions: [1, 2, 2, 0] });
    expect(await recordOf(41)).toBeUndefined();
    expect((await recordOf(42))?.attributes).toEqual(new Map([["biome", "ash"], ["b", "2"]]));
  });

  it("writes nothing where one write is refused", async () => {
    await store.storeRegion(storing(region(44), { epoch: 3 }));
    const writes = [storing(region(43)), storing(region(44), { epoch: 2 })].map((value) => ({ write: { $case: "store" as const, value } }));
    await refusal(store.transactRegions({ writes, requestId: "" }), "FENCED");
    expect(await recordOf(43, true)).toBeUndefined();
  });

  it("never stands still when transactions touch the same regions in opposite orders", async () => {
    const transact = (xs: readonly number[]) => store.transactRegions({ writes: xs.map((x) => ({ write: { $case: "store" as const, value: storing(region(x)) } })), requestId: "" });
    await Promise.all(Array.from({ length: 20 }, (_, at) => transact(at % 2 === 0 ? [50, 51, 52] : [52, 51, 50])));
    for (const x of [50, 51, 52]) expect((await recordOf(x))?.version).toBe(20);
  });
});

describe("bad input", () => {
  it("is refused by field and rule, and changes nothing", async () => {
    const big = Buffer.alloc(1_048_577);
    const mebibyte = Buffer.alloc(1_048_576);
    const many = new Map(Array.from({ length: 65 }, (_, at) => [`k${at}`, ""]));
    const cases: [() => Promise<unknown>, string][] = [
      [() => store.storeRegion(storing(region(60), { region: undefined })), "region"],
      [() => store.storeRegion(storing(region(1_048_576))), "region.x"],
      [() => store.storeRegion(storing(region(60), { attributes: many })), "attributes"],
      [() => store.storeRegion(storing(region(60), { attributes: new Map([["", "x"]]) })), "attributes key"],
      [() => store.storeRegion(storing(region(60), { attributes: new Map([["k", "x".repeat(1_025)]]) })), 'attributes["k"]'],
      [() => store.storeRegion(storing(region(60), { attributes: new Map([["k", "a\0b"]]) })), 'attributes["k"]'],
      [() => store.storeRegion(storing(region(60), { layers: [{ ...layer("a", ""), data: big }] })), "layers[0].data"],
      [() => store.storeRegion(storing(region(60), { layers: [layer("a", ""), layer("a", "")] })), "layers[1].name"],
      [() => store.storeRegion(storing(region(60), { layers: [layer("", "")] })), "layers[0].name"],
      [() => store.storeRegion(storing(region(60), { layers: ["a", "b", "c", "d"].map((name) => ({ ...layer(name, ""), data: mebibyte })) })), "layers"],
      [() => store.storeRegion(storing(region(60), { layers: Array.from({ length: 33 }, (_, at) => layer(`l${at}`, "")) })), "layers"],
      [() => store.storeRegion(storing(region(60), { requestId: "x".repeat(65) })), "request_id"],
      [() => store.patchRegion(patching(region(60), { removeLayers: ["a"], setLayers: [layer("a", "")] })), "remove_layers"],
      [() => store.transactRegions({ writes: [], requestId: "" }), "writes"],
      [() => store.transactRegions({ writes: [{ write: undefined }], requestId: "" }), "writes[0].write"],
      [() => store.transactRegions({ writes: [{ write: { $case: "store", value: storing(region(60), { requestId: "x" }) } }], requestId: "" }), "writes[0].store.request_id"],
      [() => store.loadRegion(loading(region(0), { region: undefined })), "region"],
      [() => store.loadRegion(loading(region(0), { regionText: "region_0_0_0" })), "region_text"],
      [() => store.loadRegion(loading(region(0), { region: undefined, regionText: "region_00_0_0" })), "region_text"],
      [() => store.listRegions({ pageSize: 1_001, pageToken: "" }), "page_size"],
    ];
    for (const [call, field] of cases) await refusal(call(), "INVALID_FIELD", field);
    expect(await recordOf(60, true)).toBeUndefined();
  });

  it("refuses a patch that would take the region beyond its limits", async () => {
    const layers = Array.from({ length: 32 }, (_, at) => layer(`l${at}`, ""));
    const attributes = new Map(Array.from({ length: 64 }, (_, at) => [`k${at}`, ""]));
    await store.storeRegion(storing(region(61), { layers, attributes }));
    await refusal(store.patchRegion(patching(region(61), { setLayers: [layer("more", "")] })), "INVALID_FIELD", "set_layers");
    await refusal(store.patchRegion(patching(region(61), { setAttributes: new Map([["more", ""]]) })), "INVALID_FIELD", "set_attributes");
    expect((await store.patchRegion(patching(region(61), { setLayers: [layer("more", "")], removeLayers: ["l0"] }))).version).toBe(2);
  });

  it("begins nothing for a caller that has gone", async () => {
    await refusal(store.storeRegion(storing(region(62)), { cancelled: true, remainingMs: 1_000 }), "CANCELLED");
    await refusal(store.storeRegion(storing(region(62)), { cancelled: true, remainingMs: -1 }), "DEADLINE_EXCEEDED");
    expect(await recordOf(62, true)).toBeUndefined();
  });
});
