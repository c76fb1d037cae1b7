import type { PlantedBug } from "./planted-bug.ts";
import { SMALL_MESH } from "./small-mesh.ts";

/** Shards on both sides of a border between two groups, who fight for few places on it. */
const BORDER = { ...SMALL_MESH, groups: 2, regionsPerGroup: 1, paceMs: 25, names: 3, borders: 0.8, facing: true, mischief: 0, faults: "leadership transfer,kill of the leader" } as const;

/** Mistakes of what reaches over the borders of groups. */
export const FOOTPRINT_BUGS: readonly PlantedBug[] = [
  {
    number: 79, name: "footprint-not-left", tier: "mesh",
    breaks: "the other group is asked whether there is room, and remembers nothing of it: the next one builds into what reaches over the border",
    hints: BORDER,
    edits: [{ file: "packages/replica/src/effects.ts", find: "  return [{ effect: { $case: \"footprint\", value: { ...names,", replace: "  if (body.$case === \"structurePlacement\") return [];\n  return [{ effect: { $case: \"footprint\", value: { ...names," }],
  },
  {
    number: 80, name: "footprint-outlives-its-structure", tier: "mesh",
    breaks: "a removal says nothing of the other groups that keep a footprint of what goes",
    hints: BORDER,
    edits: [{ file: "packages/replica/src/effects.ts", find: "  return clearing === undefined ? result : { ...result, clears: [clearing] };", replace: "  return clearing === undefined ? result : { ...result, clears: [] };" }],
  },
  {
    number: 81, name: "footprint-forgotten-by-the-rules", tier: "mesh",
    breaks: "what reaches over the border is not among the incumbents of those who build there",
    hints: BORDER,
    edits: [{ file: "packages/replica/src/incumbents.ts", find: "  state.footprints.visitOverlapping(touched.layer, touched.bounds, (row) => take(row, candidateOfFootprint));\n", replace: "" }],
  },
];
