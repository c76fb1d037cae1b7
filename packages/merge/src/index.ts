// Merge functions for state that several write at once: what a studio's policy file may name. Pure.
export { addRemoveSet, type SetState, setMembers } from "./add-remove-set.ts";
export { counter, type CounterState, counterValue } from "./counter.ts";
export { canonicalText, type Json, MergeLimitError, parseJson, StateProblem } from "./json.ts";
export { lastWrite, type LastWriteState } from "./last-write.ts";
export type { MergeFunction } from "./merge-function.ts";
export { MERGE_KINDS, type MergeKind, mergeFunctionOf, type MergeSpec, StateMerge } from "./merge-spec.ts";
export type { Origin } from "./origin.ts";
export { terrain, terrainAt, type TerrainLayer, type TerrainState } from "./terrain.ts";
export { type Move, tree, treeParents, type TreeState } from "./tree.ts";
export { compareUtf8 } from "./utf8-order.ts";
