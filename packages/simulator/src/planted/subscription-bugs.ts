import type { PlantedBug } from "./planted-bug.ts";
import { SMALL_MESH } from "./small-mesh.ts";

const PARTS = "packages/mesh/src/subscriptions/message-parts.ts";
const HUB = "packages/mesh/src/subscriptions/subscription-hub.ts";

/** A small mesh with readers that walk along borders. */
const WALKED = { ...SMALL_MESH, groups: 2, regionsPerGroup: 2, subscribers: 3, walking: 1, slowReaderMs: 50, faults: "readers move" } as const;

/** Mistakes of subscriptions whose area moves. */
export const SUBSCRIPTION_BUGS: readonly PlantedBug[] = [
  {
    number: 77, name: "entered-without-what-stands-there", tier: "mesh",
    breaks: "who enters a region while it leaves another hears only of what changes there from now on",
    hints: WALKED,
    edits: [{ file: HUB, find: "if (!this.#takeState(subscriber, entered)) return", replace: "if (!this.#takeState(subscriber, left.length > 0 ? [] : entered)) return" }],
  },
  {
    number: 78, name: "half-a-move-taken-for-all", tier: "mesh",
    breaks: "who breaks off in the middle of a move is taken for one that has all of it",
    hints: WALKED,
    edits: [
      { file: HUB, find: "    subscriber.told = without(before, left);\n", replace: "    subscriber.told = before.length > 0 ? subscriber.regions : [];\n" },
      { file: HUB, find: "    subscriber.partial = entered;\n", replace: "" },
    ],
  },
];

/** A small mesh with readers of the same regions, not all as fast. */
const CROWDED = { ...SMALL_MESH, groups: 2, regionsPerGroup: 1, subscribers: 6, walking: 0, slowReaderMs: 50 } as const;

/** Mistakes of subscriptions that share what they get. */
export const CROWD_BUGS: readonly PlantedBug[] = [
  {
    number: 98, name: "what-a-neighbour-lacked", tier: "mesh",
    breaks: "a reader gets what one that wants the same has just got, though it stood further back",
    hints: CROWDED,
    edits: [{ file: PARTS, find: "shared.from === readThrough && ", replace: "shared.from >= readThrough && " }],
  },
];
