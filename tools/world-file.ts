/** Reads a world file: what the demo of `./dev up` plays. The format is described in docs/world-file.md. */
import type { Bounds, Position, Region } from "@statemesh/contract";
import { formatRegion, isPositionCoordinate, nameProblem, parseRegion, regionOf, sameRegion, sectorOf } from "@statemesh/world";
import { z } from "zod";
import { pointAt, pathLength } from "./world-path.ts";
import { readYaml, type YamlProblems } from "./yaml-problems.ts";

/** A game server of the demo. */
export interface WorldShard {
  readonly id: number;
  readonly name: string;
}

/** A region and the shard that owns it. */
export interface WorldRegion {
  readonly region: Region;
  readonly name: string;
  /** Name of the shard; undefined: common ground, where every shard may write. */
  readonly shard: string | undefined;
  readonly attributes: ReadonlyMap<string, string>;
  /** Size of the baked terrain that its shard stores, KiB. */
  readonly terrainKib: number;
}

/** A closed walk and how many bots walk it. */
export interface WorldPath {
  readonly name: string;
  readonly bots: number;
  /** Metres a second. */
  readonly speed: number;
  readonly points: readonly Position[];
}

export interface WorldStructure {
  readonly id: string;
  readonly kind: string;
  readonly region: Region;
  readonly bounds: Bounds;
}

export interface WorldItems {
  readonly kind: string;
  readonly piles: number;
  readonly quantity: number;
  /** Name of the path that they lie along. */
  readonly along: string;
}

export interface WorldPlace {
  readonly id: string;
  readonly position: Position;
  readonly region: Region;
}

export interface WorldCreature extends WorldPlace {
  readonly kind: string;
}

/** A world as its file describes it. */
export interface World {
  readonly name: string;
  readonly durationSeconds: number;
  readonly seed: number;
  readonly shards: readonly WorldShard[];
  readonly regions: readonly WorldRegion[];
  readonly paths: readonly WorldPath[];
  readonly structures: readonly WorldStructure[];
  readonly items: readonly WorldItems[];
  readonly resources: readonly WorldPlace[];
  readonly creatures: readonly WorldCreature[];
}

/** Longest file, characters. */
export const WORLD_TEXT_MAX = 1_048_576;
/** Most bots of all paths together. */
export const BOTS_MAX = 1_000;
/** Most piles of items of all kinds together. */
export const PILES_MAX = 20_000;
/** Longest id: runs put a prefix in front of it, and the mesh takes 64 bytes. */
export const ID_BYTES_MAX = 40;
/** Most regions: one Subscribe call takes as many. */
export const REGIONS_MAX = 343;
const SIDE_MAX_M = 512;
/** Steps in which a path is followed to find the regions it crosses, metres. */
const PATH_STEP_M = 10;

function name(max: number): z.ZodType<string> {
  return z.string().refine((text) => text.length > 0 && nameProblem(text, max) === undefined, `must be text of 1..${max} bytes without control characters`);
}

const COORDINATE_RULE = "must be a number inside the world: finite, within ±2,097,152,000 m";
const Coordinate = z.number(COORDINATE_RULE).refine(isPositionCoordinate, COORDINATE_RULE);
const Point = z.tuple([Coordinate, Coordinate, Coordinate]);
const Side = z.number().gt(0).max(SIDE_MAX_M);
const Id = name(ID_BYTES_MAX);
const Name = name(64);

const FileSchema = z.strictObject({
  version: z.literal(1),
  name: Name,
  duration_seconds: z.number().min(1).max(3_600),
  seed: z.int().min(0).max(4_294_967_295).optional(),
  shards: z.array(z.strictObject({ id: z.int().min(1).max(4_294_967_295), name: name(32) })).min(1).max(16),
  regions: z.array(z.strictObject({
    region: z.string(),
    shard: z.string().optional(),
    name: Name,
    terrain_kib: z.int().min(0).max(1_024).optional(),
    attributes: z.record(Name, z.string().max(256)).refine((it) => Object.keys(it).length <= 32, "must have at most 32 entries").optional(),
  })).min(1).max(REGIONS_MAX),
  paths: z.array(z.strictObject({
    name: Name, bots: z.int().min(0).max(BOTS_MAX), speed: z.number().gt(0).max(1_000), points: z.array(Point).min(2).max(256),
  })).min(1).max(64),
  structures: z.array(z.strictObject({ id: Id, kind: Name, at: Point, size: z.tuple([Side, Side, Side]) })).max(10_000).optional(),
  items: z.array(z.strictObject({ kind: Name, along: z.string(), piles: z.int().min(1).max(PILES_MAX), quantity: z.int().min(1).max(1_000_000_000) })).max(256).optional(),
  resources: z.array(z.strictObject({ id: Id, at: Point })).max(1_000).optional(),
  creatures: z.array(z.strictObject({ id: Id, kind: Name, at: Point })).max(1_000).optional(),
});

type File = z.infer<typeof FileSchema>;

function positionOf([x, y, z]: readonly [number, number, number]): Position {
  return { x, y, z };
}

/** Refuses a second entry with the same value of a field. */
function checkUnique(list: string, field: string, values: readonly (string | number)[], problems: YamlProblems): void {
  const seen = new Map<string | number, number>();
  values.forEach((value, at) => {
    const first = seen.get(value);
    if (first === undefined) seen.set(value, at);
    else problems.add([list, at, field], `${JSON.stringify(value)} is used before, in ${list}[${first}]`);
  });
}

/** Reads one file; problems are collected and told together. */
class WorldReader {
  readonly #file: File;
  readonly #problems: YamlProblems;
  readonly #known = new Map<string, WorldRegion>();

  constructor(file: File, problems: YamlProblems) {
    this.#file = file;
    this.#problems = problems;
  }

  read(): World {
    const file = this.#file;
    checkUnique("shards", "id", file.shards.map((it) => it.id), this.#problems);
    checkUnique("shards", "name", file.shards.map((it) => it.name), this.#problems);
    checkUnique("regions", "region", file.regions.map((it) => it.region), this.#problems);
    checkUnique("paths", "name", file.paths.map((it) => it.name), this.#problems);
    for (const list of ["structures", "resources", "creatures"] as const) {
      checkUnique(list, "id", (file[list] ?? []).map((it) => it.id), this.#problems);
    }
    const regions = file.regions.flatMap((it, at) => this.#region(it, at));
    const paths = file.paths.map((it, at) => this.#path(it, at));
    if (paths.reduce((sum, path) => sum + path.bots, 0) > BOTS_MAX) this.#problems.add(["paths"], `at most ${BOTS_MAX} bots on all paths together`);
    const items = file.items ?? [];
    items.forEach((it, at) => {
      if (!file.paths.some((path) => path.name === it.along)) this.#problems.add(["items", at, "along"], `no path is named ${JSON.stringify(it.along)}`);
    });
    if (items.reduce((sum, it) => sum + it.piles, 0) > PILES_MAX) this.#problems.add(["items"], `at most ${PILES_MAX} piles together`);
    return {
      name: file.name,
      durationSeconds: file.duration_seconds,
      seed: file.seed ?? 1,
      shards: file.shards,
      regions,
      paths,
      structures: (file.structures ?? []).map((it, at) => this.#structure(it, at)),
      items,
      resources: (file.resources ?? []).map((it, at) => this.#place("resources", it, at)),
      creatures: (file.creatures ?? []).map((it, at) => ({ ...this.#place("creatures", it, at), kind: it.kind })),
    };
  }

  #region(it: File["regions"][number], at: number): WorldRegion[] {
    if (it.shard !== undefined && !this.#file.shards.some((shard) => shard.name === it.shard)) this.#problems.add(["regions", at, "shard"], `no shard is named ${JSON.stringify(it.shard)}`);
    const region = parseRegion(it.region);
    if (region === undefined) {
      this.#problems.add(["regions", at, "region"], "must be canonical region text, such as region_-1_0_3");
      return [];
    }
    const known = { region, name: it.name, shard: it.shard, terrainKib: it.terrain_kib ?? 0, attributes: new Map(Object.entries(it.attributes ?? {})) };
    this.#known.set(it.region, known);
    return [known];
  }

  #path(it: File["paths"][number], at: number): WorldPath {
    const path = { name: it.name, bots: it.bots, speed: it.speed, points: it.points.map(positionOf) };
    const length = pathLength(path.points);
    if (length === 0) {
      this.#problems.add(["paths", at, "points"], "must not stand still");
      return path;
    }
    if (length > 1_000_000) {
      this.#problems.add(["paths", at, "points"], "must be at most 1,000,000 m long");
      return path;
    }
    const first = path.points[0];
    const home = first === undefined ? undefined : sectorOf(regionOf(first));
    for (let walked = 0; walked < length; walked += PATH_STEP_M) {
      const { position, leg } = pointAt(path.points, walked);
      const region = regionOf(position);
      const where = `the way from points[${leg}] on crosses ${formatRegion(region)}`;
      if (!this.#known.has(formatRegion(region))) {
        this.#problems.add(["paths", at, "points", leg], `${where}, which is not among the regions`);
        return path;
      }
      if (home !== undefined && !sameRegion(sectorOf(region), home)) {
        this.#problems.add(["paths", at, "points", leg], `${where}, which is in another sector (8x8x8 regions) than points[0]: operations can't span sectors`);
        return path;
      }
    }
    return path;
  }

  #structure(it: NonNullable<File["structures"]>[number], at: number): WorldStructure {
    const min = positionOf(it.at);
    const [width, height, depth] = it.size;
    const bounds = { minX: min.x, minY: min.y, minZ: min.z, maxX: min.x + width, maxY: min.y + height, maxZ: min.z + depth };
    return { id: it.id, kind: it.kind, region: this.#knownRegion(min, ["structures", at, "at"]), bounds };
  }

  #place(list: "resources" | "creatures", it: { id: string; at: [number, number, number] }, at: number): WorldPlace {
    const position = positionOf(it.at);
    return { id: it.id, position, region: this.#knownRegion(position, [list, at, "at"]) };
  }

  #knownRegion(position: Position, path: PropertyKey[]): Region {
    const region = regionOf(position);
    if (!this.#known.has(formatRegion(region))) this.#problems.add(path, `lies in ${formatRegion(region)}, which is not among the regions`);
    return region;
  }
}

/**
 * Reads a world.
 *
 * @param text YAML, at most 1,048,576 characters
 * @param fileName for errors only
 * @throws YamlFileError with line, column, field and rule of everything that is wrong
 */
export function parseWorld(text: string, fileName: string): World {
  const { content, problems } = readYaml(text, fileName, WORLD_TEXT_MAX);
  const read = FileSchema.safeParse(content);
  for (const issue of read.error?.issues ?? []) {
    if (issue.code === "unrecognized_keys") {
      for (const key of issue.keys) problems.add([...issue.path, key], "is not a field of a world file");
    } else {
      problems.add(issue.path, ruleOf(issue.message));
    }
  }
  problems.throwIfAny();
  if (read.data === undefined) throw new Error("neither a world nor a problem");
  const world = new WorldReader(read.data, problems).read();
  problems.throwIfAny();
  return world;
}

/** What zod says of a field that is missing reads as if something were there. */
function ruleOf(message: string): string {
  return message.endsWith("received undefined") ? "is required" : message;
}
