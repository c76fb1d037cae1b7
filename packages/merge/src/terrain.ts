/**
 * Edits of terrain, laid over one another. All of them are kept (their union), and at a point the one on the highest layer
 * shows; within a layer the latest. An edit that lies whole under another that comes above it can never show again, and is dropped.
 *
 * Update: `{"edits": [{"mode": "fill", "material": "stone", "min": [0, 0, 0], "max": [4, 4, 4], "layer": 1}]}`. Boxes are in whole
 * numbers of whatever unit the game likes, and end before `max`. `layer` is 0 where it is left out.
 */
import { canonicalText, type Json, listAt, objectAt, StateProblem, textAt, wholeAt, join as pathOf } from "./json.ts";
import type { MergeFunction } from "./merge-function.ts";
import { compareOrigins, type Origin, originAt, originJson } from "./origin.ts";
import { compareUtf8 } from "./utf8-order.ts";

type Point = readonly [number, number, number];

export interface TerrainLayer {
  /** `dig` takes material away; `fill` and `paint` bring `material`. */
  readonly mode: "dig" | "fill" | "paint";
  readonly material: string;
  readonly min: Point;
  readonly max: Point;
  readonly layer: number;
  readonly at: Origin;
  /** Place in its update. */
  readonly part: number;
}

/** None lies whole under another. */
export type TerrainState = readonly TerrainLayer[];

/** Edits in one update. */
export const EDITS_MAX = 64;
const LAYER_MAX = 1_000_000;
const MODES = ["dig", "fill", "paint"] as const;
const COORDINATE_MAX = 1_000_000_000;
const NAMES = ["mode", "material", "min", "max", "layer"];

function contentOf({ mode, material, min, max }: TerrainLayer): string {
  return canonicalText([mode, material, min, max]);
}

/** Negative where `a` comes below `b`; 0 for one edit. */
function compareLayers(a: TerrainLayer, b: TerrainLayer): number {
  // The rest only where one operation came with two contents: even then all sides choose the same.
  return a.layer - b.layer || compareOrigins(a.at, b.at) || a.part - b.part || compareUtf8(contentOf(a), contentOf(b));
}

function covers(a: TerrainLayer, b: TerrainLayer): boolean {
  return a.min[0] <= b.min[0] && a.min[1] <= b.min[1] && a.min[2] <= b.min[2] && a.max[0] >= b.max[0] && a.max[1] >= b.max[1] && a.max[2] >= b.max[2];
}

function pointAt(value: Json | undefined, path: string): Point {
  const list = listAt(value, path);
  if (list.length !== 3) throw new StateProblem(path, "must be x, y and z");
  const at = (axis: 0 | 1 | 2): number => wholeAt(list[axis], `${path}[${axis}]`, -COORDINATE_MAX, COORDINATE_MAX);
  return [at(0), at(1), at(2)];
}

function editAt(parts: ReadonlyMap<string, Json>, path: string): Omit<TerrainLayer, "at" | "part"> {
  const name = textAt(parts.get("mode"), pathOf(path, "mode"));
  const mode = MODES.find((known) => known === name);
  if (mode === undefined) throw new StateProblem(pathOf(path, "mode"), `must be one of ${MODES.join(", ")}`);
  const material = textAt(parts.get("material") ?? "", pathOf(path, "material"));
  if ((mode === "dig") !== (material === "")) throw new StateProblem(pathOf(path, "material"), mode === "dig" ? "must be left out for dig" : "is required");
  const min = pointAt(parts.get("min"), pathOf(path, "min"));
  const max = pointAt(parts.get("max"), pathOf(path, "max"));
  if (min[0] >= max[0] || min[1] >= max[1] || min[2] >= max[2]) throw new StateProblem(pathOf(path, "max"), "must be above min on every axis");
  return { mode, material, min, max, layer: wholeAt(parts.get("layer") ?? 0, pathOf(path, "layer"), -LAYER_MAX, LAYER_MAX) };
}

function editsOf(update: Json, path: string): Omit<TerrainLayer, "at" | "part">[] {
  const list = listAt(objectAt(update, path, ["edits"]).get("edits"), pathOf(path, "edits"));
  if (list.length < 1 || list.length > EDITS_MAX) throw new StateProblem(pathOf(path, "edits"), `must be 1..${EDITS_MAX} edits`);
  return list.map((edit, at) => editAt(objectAt(edit, `${pathOf(path, "edits")}[${at}]`, NAMES), `${pathOf(path, "edits")}[${at}]`));
}

/** What can still show, the highest first. */
function visible(edits: readonly TerrainLayer[]): TerrainState {
  const kept: TerrainLayer[] = [];
  for (const edit of [...edits].sort((a, b) => compareLayers(b, a))) if (!kept.some((above) => covers(above, edit))) kept.push(edit);
  return kept;
}

export const terrain: MergeFunction<TerrainState> = {
  empty: [],
  read(value, path) {
    const list = listAt(objectAt(value, path, ["edits"]).get("edits") ?? [], pathOf(path, "edits"));
    return visible(list.map((edit, i) => {
      const own = `${pathOf(path, "edits")}[${i}]`;
      const parts = objectAt(edit, own, [...NAMES, "at", "part"]);
      return { ...editAt(parts, own), at: originAt(parts.get("at"), pathOf(own, "at")), part: wholeAt(parts.get("part") ?? 0, pathOf(own, "part"), 0, EDITS_MAX) };
    }));
  },
  write: (state) => new Map([["edits", state.map(({ mode, material, min, max, layer, at, part }) => {
    const json = new Map<string, Json>([["mode", mode], ["min", min], ["max", max], ["at", originJson(at)]]);
    if (material !== "") json.set("material", material);
    if (layer !== 0) json.set("layer", layer);
    if (part !== 0) json.set("part", part);
    return json;
  })]]),
  check(update, path) {
    editsOf(update, path);
  },
  apply: (state, update, at) => visible([...state, ...editsOf(update, "").map((edit, part) => ({ ...edit, at, part }))]),
  join: (a, b) => visible([...a, ...b]),
};

/** The edit that shows at a point; undefined where none reaches it. */
export function terrainAt(state: TerrainState, [x, y, z]: Point): TerrainLayer | undefined {
  return state.find(({ min, max }) => min[0] <= x && x < max[0] && min[1] <= y && y < max[1] && min[2] <= z && z < max[2]);
}
