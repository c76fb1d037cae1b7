// Bugs of what cut-off nodes keep, and of how it is decided afterwards.
import type { PlantedBug } from "./planted-bug.ts";
import { SMALL_MESH as SMALL } from "./small-mesh.ts";

const KEEPER = "packages/mesh/src/healing/tentative-keeper.ts";
/** Nodes are cut off for long enough to know it, and everything may be kept. */
const CUT_OFF = { ...SMALL, tentative: 1, mischief: 0, leasing: false, electionTicks: 10, heartbeatTicks: 2, faultEveryMs: 700, safetyMs: 12_000 } as const;

export const HEALING_BUGS: readonly PlantedBug[] = [
  {
    number: 84, name: "kept-operation-lost-at-restart", tier: "mesh",
    breaks: "a node that restarts does not go on with what it keeps: its callers were told TENTATIVE, and never hear more",
    hints: { ...CUT_OFF, faults: "isolate,isolate,kill" },
    edits: [{ file: KEEPER, find: "    for (const record of restored) this.#add(record, true);\n", replace: "" }],
  },
  {
    number: 85, name: "kept-before-it-is-on-disk", tier: "mesh",
    breaks: "a caller hears TENTATIVE before the operation is on the disk of the node that keeps it",
    hints: { ...CUT_OFF, maxSyncMs: 300, paceMs: 10, faults: "isolate,isolate,power cut" },
    edits: [{ file: KEEPER, find: "    const own = this.#add(record, false);\n", replace: "    const own = this.#add(record, true);\n" }],
  },
];
