import type { PlantedBug } from "./planted-bug.ts";
import { SMALL_MESH } from "./small-mesh.ts";

/** Shards that write few entities of types that merge. */
const MERGING = { ...SMALL_MESH, names: 3, mischief: 0, ownTypes: 1, faults: "leadership transfer,kill of the leader,clock skew" } as const;

/** Mistakes of states that merge. All replicas share them: only who knows what was sent can tell. */
export const MERGE_BUGS: readonly PlantedBug[] = [
  {
    number: 87, name: "merge-keeps-only-the-last", tier: "mesh",
    breaks: "an update is merged into nothing instead of into what stands: of several the last is left",
    hints: MERGING,
    edits: [{ file: "packages/replica/src/effects.ts", find: "merge.apply(before?.state, update,", replace: "merge.apply(undefined, update," }],
  },
  {
    number: 88, name: "last-write-by-arrival", tier: "mesh",
    breaks: "of two values the one that came last is kept, and not the one with the later stamp",
    hints: MERGING,
    edits: [{ file: "packages/merge/src/last-write.ts", find: "return order >= 0 ? a : b;", replace: "return order >= 0 ? b : b;" }],
  },
];
