import type { PlantedBug } from "./planted-bug.ts";
import { SMALL_MESH as SMALL } from "./small-mesh.ts";

const KEEPER = "packages/mesh/src/membership/membership-keeper.ts";
const RECORD = "packages/replica/src/membership.ts";

/** A small mesh whose members change all the time. */
const CHANGING = { ...SMALL, groups: 2, spares: 2, safetyMs: 15_000, paceMs: 100, faults: "node added,node removed,leader removed,node replaced", faultEveryMs: 1_000 } as const;

/** Mistakes in who belongs to the cluster. */
export const MEMBER_BUGS: readonly PlantedBug[] = [
  {
    number: 72, name: "node-id-used-again", tier: "mesh",
    breaks: "the highest node id that was ever used is not kept, so that who comes gets the id of one who went",
    hints: { ...CHANGING, faultEveryMs: 500 },
    edits: [{ file: RECORD, find: "      this.#setHead(this.#version, Math.max(this.#lastNodeId, change.added.nodeId));\n", replace: "" }],
  },
  {
    number: 73, name: "second-change-of-the-members", tier: "mesh",
    breaks: "a change of the members begins while another one runs",
    hints: { ...CHANGING, faultEveryMs: 300 },
    edits: [{ file: RECORD, find: "    if (running !== undefined) return refusal(\"CHANGE_PENDING\"", replace: "    if (running !== undefined && nowMs < 0) return refusal(\"CHANGE_PENDING\"" }],
  },
  {
    number: 74, name: "directory-lets-go-first", tier: "mesh",
    breaks: "the directory lets go of a node that still leads another group: it never hears that it is out, and hands nothing over",
    hints: { ...CHANGING, faultEveryMs: 500, faults: "one-way cut,one-way cut,leader removed,node added" },
    edits: [{ file: KEEPER, find: "    if (this.#isNeeded(group, wanted)) return void", replace: "    if (group.groupId < 0) return void" }],
  },
];
