import type { PlantedBug } from "./planted-bug.ts";
import { SMALL_MESH } from "./small-mesh.ts";

const CONDITIONS = "packages/replica/src/conditions.ts";
const EFFECTS = "packages/replica/src/effects.ts";

/** A small mesh whose shards send little else than creatures and carts from region to region. */
const TRAVELLED = { ...SMALL_MESH, groups: 2, regionsPerGroup: 2, travellers: 0.8, containers: 0, mischief: 0, faults: "leadership transfer" } as const;

/** Mistakes about entities that go from region to region. */
export const MOVE_BUGS: readonly PlantedBug[] = [
  {
    number: 89, name: "moved-and-left-behind", tier: "mesh",
    breaks: "an entity that goes to another group stays where it was as well",
    hints: TRAVELLED,
    edits: [{
      file: EFFECTS, find: `  if (found === undefined) return { rule: "existence", reason: "NOT_FOUND" };\n  return { effects: [{`,
      replace: `  if (found === undefined) return { rule: "existence", reason: "NOT_FOUND" };\n  if (kind !== "") return { effects: [] };\n  return { effects: [{`,
    }],
  },
  {
    number: 90, name: "moved-from-where-it-is-not", tier: "mesh",
    breaks: "an entity is moved by whoever has the authority over some region of its group",
    hints: TRAVELLED,
    edits: [{ file: EFFECTS, find: "if (found?.region === undefined || homeRegion === undefined || !sameRegion(found.region, homeRegion)) return", replace: "if (found?.region === undefined || homeRegion === undefined) return" }],
  },
  {
    number: 91, name: "ended-where-it-is-not", tier: "mesh",
    breaks: "what is in one region is removed by whoever has the authority over another of its group",
    hints: TRAVELLED,
    edits: [{ file: EFFECTS, find: "if (found === undefined || home === undefined || found.region === undefined || !sameRegion(found.region, home)) {", replace: "if (found === undefined || home === undefined || found.region === undefined) {" }],
  },
  {
    number: 92, name: "left-unseen", tier: "mesh",
    breaks: "who reads a region hears nothing of what leaves it for another region of the same group",
    hints: { ...TRAVELLED, subscribers: 3 },
    edits: [{ file: "packages/replica/src/group-state.ts", find: "        if (left) changes.push({ entity: before, removed: true, position });\n", replace: "        if (left && position.index < 0) changes.push({ entity: before, removed: true, position });\n" }],
  },
  {
    number: 93, name: "left-region-still-remembered", tier: "mesh",
    breaks: "a region store that wrote down that something left a region for another goes on answering from before it",
    hints: { ...TRAVELLED, hasStore: true, hasRedis: true, faults: "redis flushed" },
    edits: [{ file: "packages/store/src/materializer.ts", find: "  note(touched, await rows.writeEntities(groupId, copyId, request.entities));\n", replace: "  await rows.writeEntities(groupId, copyId, request.entities);\n" }],
  },
  {
    number: 94, name: "entities-of-any-age", tier: "mesh",
    breaks: "a cache cannot tell older entities of a region from newer ones: Redis that did not hear of a change answers those from before, after the newer were shown",
    hints: { ...TRAVELLED, hasStore: true, hasRedis: true, faults: "redis answers old values,redis messages lost,redis down" },
    edits: [{ file: "packages/store/src/tiered-cache.ts", find: "  return value.record?.version ?? 0;\n", replace: "  return value.record?.region === undefined ? 0 : value.record.version;\n" }],
  },
];

/** Mistakes about what an operation expects of an entity. */
export const SAVE_BUGS: readonly PlantedBug[] = [
  {
    number: 105, name: "saved-where-it-left", tier: "mesh",
    breaks: "a save that says that its entity is there creates it where it is not: what moved to another group is in both",
    hints: TRAVELLED,
    edits: [{ file: CONDITIONS, find: "  if (found === undefined) return { rule: \"existence\", reason: \"NOT_FOUND\" };\n", replace: "  if (found === undefined) return undefined;\n" }],
  },
  {
    number: 106, name: "saved-over-what-was-not-read", tier: "mesh",
    breaks: "a save with the version that was read replaces what somebody else wrote since",
    hints: TRAVELLED,
    edits: [{ file: CONDITIONS, find: "if (observedVersion === 0 || found.version === observedVersion)", replace: "if (observedVersion === 0 || found.version >= observedVersion)" }],
  },
];
