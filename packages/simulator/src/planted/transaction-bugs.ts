import type { PlantedBug } from "./planted-bug.ts";

const STEPS = "packages/replica/src/transaction-steps.ts";
const COORDINATOR = "packages/mesh/src/strong/coordinator.ts";

/** A small mesh of three groups, whose shards fight for a few names. */
const SMALL = {
  nodes: 3, groups: 3, regionsPerGroup: 1, safetyMs: 6_000, paceMs: 15, shards: 3, arbiters: 0, spares: 0, oldNodes: 0, hasStore: false, subscribers: 0, leasing: false, tickMs: 50, balanceTicks: 0,
  maxDelayMs: 1, maxSyncMs: 1, names: 4, borders: 0, travellers: 0, hasRedis: false, facing: false, mischief: 0, decisionWindow: 65_536, queueCapacity: 16_384, snapshotLogBytes: 67_108_864, segmentBytes: 4_194_304, restartMs: 200, faultEveryMs: 400,
} as const;

/** Mistakes of transactions across groups. */
export const TRANSACTION_BUGS: readonly PlantedBug[] = [
  {
    number: 68, name: "prepare-lock-lost-on-leader-change", tier: "mesh",
    breaks: "a leader keeps what a transaction holds only where it prepared it itself: under the next one anybody takes it",
    hints: { ...SMALL, faults: "leadership transfer,step down,kill of the leader" },
    edits: [
      { file: "packages/mesh/src/strong/decider.ts", find: "const batch = this.#queue.takeBatch(this.#group.groupId, locks, reserving);", replace: "const isOwn = this.transactions.leadsSince(this.#group.core.term);\n      const batch = this.#queue.takeBatch(this.#group.groupId, isOwn ? locks : new Occupancy(), isOwn ? reserving : new Occupancy());" },
      { file: "packages/mesh/src/strong/decider.ts", find: "type GroupState, isClearing, onlyPosts, type PendingOperation, transactionKey }", replace: "type GroupState, isClearing, Occupancy, onlyPosts, type PendingOperation, transactionKey }" },
      { file: "packages/mesh/src/strong/group-transactions.ts", find: "  /** Somebody waits to hear", replace: "  leadsSince(term: number): boolean {\n    return [...this.#group.state.transactions.preparedRows()].every(({ index }) => this.#group.core.termOf(index) === term);\n  }\n\n  /** Somebody waits to hear" },
    ],
  },
  {
    number: 69, name: "decision-forgotten-by-the-coordinator", tier: "mesh",
    breaks: "the coordinating group forgets a transaction once it is decided, before the others have heard of it",
    hints: { ...SMALL, safetyMs: 12_000, faults: "leadership transfer" },
    edits: [{ file: STEPS, find: "  transactions.coordinate({ ...row, state: now, clears });\n", replace: "  transactions.uncoordinate(row);\n" }],
  },
  {
    number: 70, name: "aborted-after-the-commit", tier: "mesh",
    breaks: "who goes on with a transaction that took long lets go of it, though it was committed",
    hints: { ...SMALL, maxDelayMs: 20, maxSyncMs: 15, faults: "leadership transfer,kill of the leader" },
    edits: [{ file: COORDINATOR, find: "    const commit = row.state === TransactionState.COMMITTED;\n", replace: "    const commit = row.state === TransactionState.COMMITTED && this.#node.host.clock.wallMs() < row.deadlineMs - 4_800;\n" }],
  },
  {
    number: 71, name: "released-before-the-decision", tier: "mesh",
    breaks: "the other groups are told to release once all have promised, before the decision is in the log",
    hints: { ...SMALL, faults: "leadership transfer" },
    edits: [{
      file: COORDINATOR, find: "    if (next === undefined) return this.#decide(group, row, drive, true, homeLast([...drive.votes.values()].flat()));",
      replace: "    if (next === undefined) this.#releaseAll(group, { ...row, state: TransactionState.COMMITTED }, drive);\n    if (next === undefined) return this.#decide(group, row, drive, true, homeLast([...drive.votes.values()].flat()));",
    }],
  },
];

/** Mistakes of what is set apart of accounts. */
export const RESERVATION_BUGS: readonly PlantedBug[] = [
  {
    number: 103, name: "set-apart-for-nobody", tier: "mesh",
    breaks: "what is prepared and set apart of an account counts as there: it is promised once more",
    hints: { ...SMALL, containers: 0, faults: "leadership transfer" },
    edits: [{ file: "packages/replica/src/ledger-overlay.ts", find: "    return this.#ledger.reserved[side](account, itemKind) + (this", replace: "    return (this" }],
  },
  {
    number: 104, name: "refused-on-a-guess", tier: "mesh",
    breaks: "who finds too little beside what others have set apart is refused, though that may come back",
    hints: { ...SMALL, containers: 0, faults: "leadership transfer,step down" },
    edits: [{ file: "packages/mesh/src/strong/unsure.ts", find: "    if (this.#names.size === 0 && !set.some(isShort)) return set;\n", replace: "    if (set.length >= 0) return set;\n" }],
  },
];
