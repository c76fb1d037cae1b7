import type { PlantedBug } from "./planted-bug.ts";
import { SMALL_MESH as SMALL } from "./small-mesh.ts";

const HISTORY = "packages/store/src/causal-history.ts";
const BEHIND = "packages/mesh/src/causal/causal-behind.ts";
const STORED = { ...SMALL, hasStore: true, groups: 2, names: 4 };

/** Mistakes in the history of causal events. */
export const HISTORY_BUGS: readonly PlantedBug[] = [
  {
    number: 95, name: "history-takes-a-repeat", tier: "mesh",
    breaks: "events that a leader brings again, because it did not hear that the store has them, are stored again",
    hints: { ...STORED, faults: "leadership transfer,store unheard,store commits unheard" },
    edits: [{ file: HISTORY, find: "    if (sequence > (before.get(origin) ?? 0)) change.events.push(", replace: "    if (sequence > 0 || before.size > 0) change.events.push(" }],
  },
  {
    number: 96, name: "history-begins-with-the-leader", tier: "mesh",
    breaks: "who comes to lead writes what is delivered from then on, and not what its predecessor had left",
    hints: { ...STORED, faults: "leadership transfer,store cut off" },
    edits: [{ file: BEHIND, find: "    if (found.length > 0) this.#fill(found);", replace: "    if (found.length < 0) this.#fill(found);" }],
  },
  {
    number: 97, name: "history-by-origin", tier: "mesh",
    breaks: "a batch is stored origin by origin, each in its order: what one follows of another comes after it",
    hints: { ...STORED, faults: "store slow,store cut off" },
    edits: [{ file: HISTORY, find: "  for (const event of events) {\n    const { origin, sequence } = event.id", replace: "  for (const event of events.toSorted((a, b) => (a.id?.origin ?? 0) - (b.id?.origin ?? 0))) {\n    const { origin, sequence } = event.id" }],
  },
];
