import type { PlantedBug } from "./planted-bug.ts";
import { SMALL_MESH as SMALL } from "./small-mesh.ts";

const STATE = "packages/replica/src/group-state.ts";
const DECIDER = "packages/mesh/src/strong/decider.ts";
const FENCES_AHEAD = "packages/mesh/src/strong/fences-ahead.ts";
const HUB = "packages/mesh/src/subscriptions/subscription-hub.ts";
const DELIVERY = "packages/mesh/src/causal/delivery.ts";
const MATERIALIZER = "packages/store/src/materializer.ts";

/** Mistakes above Raft. */
export const MESH_BUGS: readonly PlantedBug[] = [
  {
    number: 47, name: "retry-executes-twice", tier: "mesh",
    breaks: "an operation that is tried again is decided and applied again",
    hints: { ...SMALL, faults: "leadership transfer" },
    edits: [
      { file: STATE, find: "      if (known !== undefined) {\n        if (report)", replace: "      if (known !== undefined && known.index === entry.index) {\n        if (report)" },
      { file: DECIDER, find: "      if (row === undefined) continue;\n      if (row.fingerprint", replace: "      if (row === undefined || row.index > 0) continue;\n      if (row.fingerprint" },
    ],
  },
  {
    number: 48, name: "epoch-not-raised-in-sql", tier: "mesh",
    breaks: "the epoch of a region does not reach SQL, so that nothing there refuses the holder before. The check in the write itself is a statement of the real adapter; this is what it compares with",
    hints: { ...SMALL, hasStore: true, leasing: true, faults: "leadership transfer" },
    edits: [{ file: MATERIALIZER, find: "  await rows.raiseEpochs(request.epochs);\n", replace: "" }],
  },
  {
    number: 49, name: "materialised-out-of-turn", tier: "mesh",
    breaks: "a batch is written though the store does not stand where the batch begins: after a change of leaders a late one goes back",
    hints: { ...SMALL, hasStore: true, faults: "leadership transfer,step down,store slow,store aborts,store unheard,store commits unheard", faultEveryMs: 300 },
    edits: [{
      file: MATERIALIZER, find: "    return { applied: stands.logIndex === throughIndex && stands.afterIndex === afterIndex, watermark: stands.logIndex };\n  }\n  await writeRows(rows, request, 0, touched);",
      replace: "    if (stands.logIndex === throughIndex && stands.afterIndex === afterIndex) return { applied: true, watermark: stands.logIndex };\n  }\n  await writeRows(rows, request, 0, touched);",
    }],
  },
  {
    number: 50, name: "verdict-of-an-earlier-leadership", tier: "mesh",
    breaks: "what an arbiter answered to an earlier leadership is proposed by whoever leads now",
    hints: { ...SMALL, arbiters: 1, arbiterTimeoutMs: 500, tickMs: 20, heartbeatTicks: 1, electionTicks: 6, shards: 4, names: 6, regionsPerGroup: 1, paceMs: 10, faults: "leadership transfer,leadership transfer,leadership transfer,arbiter slow", faultEveryMs: 50 },
    edits: [{ file: DECIDER, find: '      if (this.#group.core.term !== term || this.#group.core.role !== "leader") return;\n', replace: '      if (term < 0 || this.#group.core.role !== "leader") return;\n' }],
  },
  {
    number: 51, name: "rest-of-a-batch-keeps-its-verdicts", tier: "mesh",
    breaks: "where part of a batch was fenced, the verdicts on the rest stay, though they were found beside what is gone. Partitions decide nothing here that is merged later; this is the nearest to merging winners instead of sets",
    hints: { ...SMALL, arbiters: 1, arbiterTimeoutMs: 500, regionsPerGroup: 3, names: 3, plots: 1, shards: 4, paceMs: 10, leasing: true, faults: "arbiter slow" },
    edits: [{ file: DECIDER, find: "      if (rest === undefined) question.decide(answer, decide);\n      else new Question(rest, this.#group.state, this.#policy, this.#groups).decide(undefined, decide);", replace: "      const kept = new Set([...batch.singles, ...batch.transactions]);\n      question.decide(answer, (units, verdicts) => {\n        const left = units.filter((unit) => kept.has(unit));\n        const ids = new Set(left.flatMap((unit) => unit.operations.map(({ operation }) => operation.operationId)));\n        if (left.length > 0) decide(left, verdicts.filter((verdict) => ids.has(verdict.operationId)));\n      });" }],
  },
  {
    number: 52, name: "change-missed-at-the-snapshot", tier: "mesh",
    breaks: "the change that follows a subscriber's snapshot is taken for part of it",
    hints: { ...SMALL, subscribers: 3, faults: "readers move" },
    edits: [{ file: HUB, find: "      subscriber.cursors.set(groupId, { groupId, ...reader.positionOf(groupId), partial: 0 });", replace: "      const { index, term } = reader.positionOf(groupId);\n      subscriber.cursors.set(groupId, { groupId, index: index + 1, term, partial: 0 });" }],
  },
  {
    number: 53, name: "locks-lost-with-the-leader", tier: "mesh",
    breaks: "who comes to lead decides before it has applied what it inherited, so that what its predecessor had in the log holds no lock. What transactions across groups hold is another bug, 68",
    hints: { ...SMALL, names: 3, regionsPerGroup: 1, maxDelayMs: 20, maxSyncMs: 15, paceMs: 10, faults: "leadership transfer,kill of the leader", faultEveryMs: 300 },
    edits: [{
      file: "packages/mesh/src/strong/group-replica.ts", find: 'return this.core.role === "leader" && this.core.isReadyToServe && this.#state.appliedTerm === this.core.term;',
      replace: 'return this.core.role === "leader";',
    }],
  },
  {
    number: 54, name: "tombstone-collected-early", tier: "mesh",
    breaks: "a deletion is forgotten while a replica may still come with what was deleted",
    hints: { ...SMALL, names: 3, regionsPerGroup: 2, faults: "straggling" },
    edits: [{ file: "packages/mesh/src/eventual/eventual-store.ts", find: "this.#table.collect(nowMs - this.limits.tombstoneHorizonMs, 4_096,", replace: "this.#table.collect(nowMs - 100, 4_096," }],
  },
  {
    number: 55, name: "cache-fill-overwrites-an-invalidation", tier: "cache",
    breaks: "a value that was read before an invalidation fills the cache after it",
    edits: [{ file: "packages/store/src/memory-cache.ts", find: "    if (valid) this.#entries.set(lease.key, value);", replace: "    if (valid || value !== undefined) this.#entries.set(lease.key, value);" }],
  },
  {
    number: 56, name: "fence-not-checked-at-apply", tier: "mesh",
    breaks: "an operation of an old epoch that is in the log already is applied behind the fence",
    hints: { ...SMALL, leasing: true, mischief: 0.2, faults: "leadership transfer" },
    edits: [
      { file: STATE, find: "    if (admits(fence, operation.epoch, operation.serverId)) return undefined;", replace: "    if (operation.serverId > 0) return undefined;" },
      { file: DECIDER, find: "      if (!state.admits(region, operation.authorityEpoch, operation.serverId)) {", replace: "      if (operation.serverId < 0) {" },
      { file: FENCES_AHEAD, find: "    return admits(this.of(region), operation.authorityEpoch, operation.serverId);", replace: "    return true;" },
    ],
  },
  {
    number: 57, name: "snapshot-without-decisions", tier: "mesh",
    breaks: "a snapshot leaves out the decisions, so that who is restored from it decides again",
    hints: { ...SMALL, snapshotLogBytes: 8_192, trailingEntries: 0, faults: "kill,kill of the leader,leadership transfer" },
    edits: [{ file: STATE, find: "      decisions: [...this.decisions.entries()],", replace: "      decisions: []," }],
  },
  {
    number: 58, name: "dependency-ignored", tier: "mesh",
    breaks: "an event is delivered before what it depends on",
    hints: { ...SMALL, faults: "straggling,slow peer,one-way cut" },
    edits: [{ file: DELIVERY, find: "      if (log.delivered < sequence) return log;\n", replace: "" }],
  },
  {
    number: 59, name: "resumed-without-what-was-missed", tier: "mesh",
    breaks: "who resumes a subscription does not hear of what happened meanwhile",
    hints: { ...SMALL, subscribers: 3, faults: "readers move" },
    edits: [{ file: HUB, find: "    for (const change of missed) subscriber.changes.push(change);\n", replace: "" }],
  },
  {
    number: 60, name: "new-leader-ends-leases-early", tier: "mesh",
    breaks: "who comes to lead the directory ends leases that their holders may still trust",
    hints: { ...SMALL, leasing: true, faults: "leadership transfer,step down" },
    edits: [{ file: "packages/mesh/src/authority/lease-clock.ts", find: "if (row.serverId !== 0) this.#leases.set(formatRegion(row.region), nowMs + row.durationMs);", replace: "if (row.serverId !== 0) this.#leases.set(formatRegion(row.region), nowMs);" }],
  },
  {
    number: 61, name: "last-write-by-milliseconds", tier: "mesh",
    breaks: "of two writes in one millisecond the one that comes first stays",
    hints: { ...SMALL, names: 3, faults: "clock skew" },
    edits: [{ file: "packages/mesh/src/eventual/last-write-wins.ts", find: "  if (left.logical !== right.logical) return left.logical - right.logical;\n", replace: "  if (left.logical !== right.logical) return 0;\n" }],
  },
  {
    number: 62, name: "read-by-name-without-the-last-entry", tier: "mesh",
    breaks: "a read by name leaves out what the last entry wrote, and says that it stands behind it. No node is wrong, and no replica differs: only what callers saw tells",
    hints: { ...SMALL, names: 3 },
    edits: [{
      file: "packages/mesh/src/reads.ts", find: "    const entity = state.entities.get(kind, entityId);\n    if (entity !== undefined)",
      replace: "    const entity = state.entities.get(kind, entityId);\n    if (entity !== undefined && entity.version < state.appliedIndex)",
    }],
  },
];
