// Bugs of what nodes promise of escrows.
import type { PlantedBug } from "./planted-bug.ts";
import { SMALL_MESH as SMALL } from "./small-mesh.ts";

const DESK = "packages/mesh/src/escrow/escrow-desk.ts";
const KEEPER = "packages/mesh/src/escrow/escrow-keeper.ts";
const STEPS = "packages/replica/src/escrow-steps.ts";
const WORK = { ...SMALL, escrows: 0.7, mischief: 0, electionTicks: 10, heartbeatTicks: 2, paceMs: 12, faultEveryMs: 600, safetyMs: 9_000 } as const;

export const ESCROW_BUGS: readonly PlantedBug[] = [
  {
    number: 99, name: "spending-promised-before-it-is-on-disk", tier: "mesh",
    breaks: "a caller hears that a spending counts before it is on the disk of its node",
    hints: { ...WORK, maxSyncMs: 100, faults: "isolate,power cut" },
    edits: [{ file: DESK, find: "      this.#writing = writing;\n", replace: "      for (const run of writing.then.splice(0)) run();\n      this.#writing = writing;\n" }],
  },
  {
    number: 100, name: "spent-again-after-a-restart", tier: "mesh",
    breaks: "a node that restarts forgets under which ids it has spent what is not in the log yet, and spends again",
    hints: { ...WORK, faults: "isolate,kill,kill" },
    edits: [{ file: DESK, find: "    for (const each of held.values()) for (const kept of each.kept) this.#byOperation.set(kept.spending.operationId, { held: each, kept });\n", replace: "" }],
  },
  {
    number: 101, name: "number-of-a-spending-not-looked-at", tier: "mesh",
    breaks: "a spending that is in the log twice counts twice",
    hints: { ...WORK, faults: "leadership transfer,kill of the leader" },
    edits: [
      { file: STEPS, find: "    else if (spending.number <= row.lastNumber) continue;\n", replace: "" },
      { file: STEPS, find: "  if (number !== row.lastNumber + 1) return \"ESCROW_GAP\";\n", replace: "" },
    ],
  },
  {
    number: 102, name: "escrow-closed-over-what-was-promised", tier: "mesh",
    breaks: "an escrow is closed while spendings of it are not in the log: what was promised goes back to the player",
    hints: { ...WORK, faults: "isolate" },
    edits: [
      { file: KEEPER, find: "const ends = held.isClosing && held.kept.length === 0 && ", replace: "const ends = held.isClosing && " },
      { file: KEEPER, find: "    const next = held.kept.filter(({ durable, spending }) => durable && spending.number > held.offeredThrough).slice(0, STEP_SPENDINGS);\n", replace: "    const next = held.isClosing ? [] : held.kept.filter(({ durable, spending }) => durable && spending.number > held.offeredThrough).slice(0, STEP_SPENDINGS);\n" },
    ],
  },
];
