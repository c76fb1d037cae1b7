import type { PlantedBug } from "./planted-bug.ts";

const EFFECTS = "packages/replica/src/container-effects.ts";

/** A small mesh of two groups, whose shards do little but move containers. */
const SMALL = {
  nodes: 3, groups: 2, regionsPerGroup: 1, safetyMs: 6_000, paceMs: 12, shards: 3, arbiters: 0, spares: 0, oldNodes: 0, hasStore: false, subscribers: 0, leasing: false, tickMs: 50, balanceTicks: 0,
  maxDelayMs: 1, maxSyncMs: 1, names: 3, borders: 0, travellers: 0, hasRedis: false, plots: 0, mischief: 0, containers: 0.9, decisionWindow: 65_536, queueCapacity: 16_384, snapshotLogBytes: 67_108_864, segmentBytes: 4_194_304, restartMs: 200,
  faultEveryMs: 2_000, faults: "leadership transfer",
} as const;

/** Mistakes of the ledger and of the containers in it. */
export const LEDGER_BUGS: readonly PlantedBug[] = [
  {
    number: 75, name: "container-in-what-it-holds", tier: "mesh",
    breaks: "a container is put into one that it holds, where it does not hold it directly: only the one that it is put into is looked at, and none around it",
    hints: SMALL,
    edits: [{ file: EFFECTS, find: "way.some(({ entityId }) => entityId === root.entityId)", replace: "way.slice(0, 1).some(({ entityId }) => entityId === root.entityId)" }],
  },
  {
    number: 76, name: "contents-as-stated", tier: "mesh",
    breaks: "what a caller says of a container's contents is believed by the group that takes it, and not checked by the one that gives it",
    hints: SMALL,
    edits: [{ file: EFFECTS, find: "action.contents.length > 0 && !sameContents(action.contents, contents)", replace: "action.contents.length > 1_000 && !sameContents(action.contents, contents)" }],
  },
];

/** Mistakes of what is counted beside the balances. */
export const FLOW_BUGS: readonly PlantedBug[] = [
  {
    number: 83, name: "pile-counted-where-it-is-taken-to", tier: "mesh",
    breaks: "what is picked up stays counted on the ground of its region: only what is put there is",
    hints: { ...SMALL, containers: 0 },
    edits: [{ file: "packages/replica/src/ledger.ts", find: `if (this.#flowsSince !== 0 && account.startsWith("ground:")) this`, replace: `if (this.#flowsSince !== 0 && delta > 0 && account.startsWith("ground:")) this` }],
  },
];
