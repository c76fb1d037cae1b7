import type { PlantedBug } from "./planted-bug.ts";
import { SMALL_MESH as SMALL } from "./small-mesh.ts";

const SNAPSHOT = "packages/mesh/src/snapshot-read.ts";

/** Mistakes of reads of several groups. */
export const SNAPSHOT_BUGS: readonly PlantedBug[] = [
  {
    number: 82, name: "snapshot-of-single-reads", tier: "mesh",
    breaks: "a snapshot of several groups is what each of them says at its own moment: half of a transaction may be seen",
    hints: {
      ...SMALL, groups: 3, regionsPerGroup: 1, paceMs: 15, arbiters: 0, spares: 0, oldNodes: 0, maxDelayMs: 20, names: 4, mischief: 0, containers: 0, faults: "leadership transfer",
    },
    edits: [
      { file: SNAPSHOT, find: "    const held = this.#parts.find((part) => this.#isHeld(part));\n    if (held !== undefined) return this.#afterNextEntry(held);\n", replace: "" },
      { file: SNAPSHOT, find: "    if (this.#groups.size === 1) return", replace: "    if (this.#groups.size > 0) return" },
    ],
  },
];
