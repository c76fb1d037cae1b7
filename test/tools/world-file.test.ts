import { readFileSync } from "node:fs";
import { join } from "node:path";
import { groupOf, regionOf, sameRegion } from "@statemesh/world";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseWorld } from "../../tools/world-file.ts";
import { pathLength, pointAt } from "../../tools/world-path.ts";
import { YamlFileError } from "../../tools/yaml-problems.ts";

const SMALL = `version: 1
name: small
duration_seconds: 5
shards:
  - { id: 1, name: one }
  - { id: 2, name: two }
regions:
  - { region: region_0_0_0, shard: one, name: A }
  - { region: region_1_0_0, shard: two, name: B }
paths:
  - name: road
    bots: 3
    speed: 10
    points: [[1900, 10, 10], [2100, 10, 10]]
structures:
  - { id: gate, kind: gate, at: [100, 0, 100], size: [4, 4, 4] }
items:
  - { kind: ore, along: road, piles: 2, quantity: 5 }
`;

/** What a broken file is told, line by line. */
function told(text: string): string[] {
  try {
    parseWorld(text, "w.yaml");
  } catch (error) {
    if (error instanceof YamlFileError) return error.message.split("\n");
    throw error;
  }
  return [];
}

describe("a world file", () => {
  it("is read as it is written", () => {
    const world = parseWorld(SMALL, "w.yaml");
    expect(world).toMatchObject({ name: "small", durationSeconds: 5, seed: 1, shards: [{ id: 1, name: "one" }, { id: 2, name: "two" }] });
    expect(world.structures[0]).toMatchObject({ region: { x: 0, y: 0, z: 0 }, bounds: { minX: 100, maxX: 104, minY: 0, maxY: 4 } });
    expect(world.resources).toEqual([]);
  });

  it.each([
    ["an unknown shard", SMALL.replace("shard: two", "shard: tow"), 'w.yaml:9:36: regions[1].shard: no shard is named "tow"'],
    ["a region that is not canonical", SMALL.replace("region_1_0_0", "region_01_0_0"), "w.yaml:9:15: regions[1].region: must be canonical region text, such as region_-1_0_3"],
    ["a region twice", SMALL.replace("region_1_0_0", "region_0_0_0"), 'w.yaml:9:15: regions[1].region: "region_0_0_0" is used before, in regions[0]'],
    ["a path through a region that nobody owns", SMALL.replace("[2100, 10, 10]", "[2100, 10, -10]"), "w.yaml:14:14: paths[0].points[0]: the way from points[0] on crosses region_1_0_-1, which is not among the regions"],
    ["a path that stands still", SMALL.replace("[2100, 10, 10]", "[1900, 10, 10]"), "w.yaml:14:13: paths[0].points: must not stand still"],
    ["items along no path", SMALL.replace("along: road", "along: raod"), 'w.yaml:18:25: items[0].along: no path is named "raod"'],
    ["a quantity of zero", SMALL.replace("quantity: 5", "quantity: 0"), "w.yaml:18:51: items[0].quantity: Too small: expected number to be >=1"],
    ["a field that there is not", SMALL.replace("speed: 10", "sped: 10"), "w.yaml:13:11: paths[0].sped: is not a field of a world file"],
    ["a missing field", SMALL.replace("    speed: 10\n", ""), "w.yaml:11:5: paths[0].speed: is required"],
    ["a structure too large", SMALL.replace("size: [4, 4, 4]", "size: [4, 600, 4]"), "w.yaml:16:58: structures[0].size[1]: Too big: expected number to be <=512"],
    ["a structure where nobody is", SMALL.replace("at: [100, 0, 100]", "at: [100, -1, 100]"), "w.yaml:16:33: structures[0].at: lies in region_0_-1_0, which is not among the regions"],
    ["a coordinate that is not finite", SMALL.replace("[100, 0, 100]", "[.inf, 0, 100]"), "w.yaml:16:34: structures[0].at[0]: must be a number inside the world: finite, within ±2,097,152,000 m"],
    ["a version of the future", SMALL.replace("version: 1", "version: 2"), "w.yaml:1:10: version: Invalid input: expected 1"],
    ["two shards of one id", SMALL.replace("id: 2,", "id: 1,"), "w.yaml:6:11: shards[1].id: 1 is used before, in shards[0]"],
    ["a key twice", SMALL.replace("name: small", "name: small\nname: other"), "w.yaml:3:1: Map keys must be unique"],
  ])("names line, column, field and rule of %s", (_, text, expected) => {
    expect(told(text)).toContain(expected);
  });

  it("names what is no YAML at all", () => {
    expect(told("shards: [1, 2")[0]).toMatch(/^w\.yaml:1:\d+: /);
    expect(told("")[0]).toMatch(/^w\.yaml:1:1: /);
    expect(told("just a text")[0]).toMatch(/^w\.yaml:1:1: /);
    expect(told(`version: 1\n${"#".repeat(1_048_576)}`)[0]).toContain("at most 1048576 characters");
  });

  it("names everything that is wrong, in the order of the file", () => {
    const lines = told(SMALL.replace("shard: one", "shard: x").replace("along: road", "along: y"));
    expect(lines.map((line) => Number(line.split(":")[1]))).toEqual([8, 18]);
  });

  it("never keeps a bot from one Raft group on its path", () => {
    const across = SMALL.replace("region_1_0_0", "region_8_0_0").replace("- { region: region_8", "- { region: region_7_0_0, shard: one, name: C }\n  - { region: region_8")
      .replace("points: [[1900, 10, 10], [2100, 10, 10]]", "points: [[15900, 10, 10], [16100, 10, 10]]");
    expect(told(across)).toEqual([
      "w.yaml:15:14: paths[0].points[0]: the way from points[0] on crosses region_8_0_0, which is in another sector (8x8x8 regions) than points[0]: operations can't span sectors",
    ]);
  });

  it("that the documentation shows is right", () => {
    const page = readFileSync(join(import.meta.dirname, "../../docs/world-file.md"), "utf8");
    const example = /```yaml\n([^]*?)```/.exec(page)?.[1] ?? "";
    expect(parseWorld(example, "docs/world-file.md")).toMatchObject({ name: "Two Meadows", paths: [{ bots: 10 }] });
  });

  it("of the project is right, spans four Raft groups of four, and crosses borders between shards", () => {
    const world = parseWorld(readFileSync(join(import.meta.dirname, "../../worlds/demo.yaml"), "utf8"), "worlds/demo.yaml");
    expect(world.paths.reduce((sum, path) => sum + path.bots, 0)).toBe(50);
    expect(world.shards).toHaveLength(4);
    expect(new Set(world.regions.map((it) => groupOf(it.region, 4))).size).toBe(4);
    for (const path of world.paths) {
      const owners = new Set<string>();
      for (let metres = 0; metres < pathLength(path.points); metres += 5) {
        const region = regionOf(pointAt(path.points, metres).position);
        const known = world.regions.find((it) => sameRegion(it.region, region));
        expect(known).toBeDefined();
        if (known?.shard !== undefined) owners.add(known.shard);
      }
      expect(owners.size).toBeGreaterThanOrEqual(2);
    }
  });
});

describe("a closed path", () => {
  it("is walked round after round without a jump", () => {
    const point = fc.record({ x: fc.integer({ min: -500, max: 500 }), y: fc.integer({ min: 0, max: 9 }), z: fc.integer({ min: -500, max: 500 }) });
    fc.assert(
      fc.property(fc.array(point, { minLength: 2, maxLength: 8 }), fc.double({ min: 0, max: 5_000, noNaN: true }), (points, metres) => {
        fc.pre(pathLength(points) > 1);
        const here = pointAt(points, metres).position;
        const soon = pointAt(points, metres + 0.5).position;
        expect(Math.hypot(soon.x - here.x, soon.y - here.y, soon.z - here.z)).toBeLessThanOrEqual(0.5 + 1e-6);
        const again = pointAt(points, metres + pathLength(points)).position;
        expect(Math.hypot(again.x - here.x, again.y - here.y, again.z - here.z)).toBeLessThan(1e-6);
      }),
    );
  });
});
