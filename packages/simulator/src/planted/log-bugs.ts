import type { PlantedBug } from "./planted-bug.ts";

const CORE = "packages/raft/src/raft-core.ts";
const SEGMENT_WRITER = "packages/wal/src/segment-writer.ts";
const WAL = "packages/wal/src/write-ahead-log.ts";

/** A group that is asleep for most of the time, with short bursts of requests. */
const SLEEPING = { quiescence: true, nodes: 3, bootstrap: [1, 2, 3], requestEveryMs: 10 } as const;

/** Mistakes in the log, in snapshots and in what Raft keeps time by. */
export const LOG_BUGS: readonly PlantedBug[] = [
  {
    number: 36, name: "acknowledged-before-sync", tier: "raft",
    breaks: "the log acknowledges what it has written and not synced",
    edits: [{ file: SEGMENT_WRITER, find: "      await segment.file.sync();\n    } catch (error) {\n      return poisoned(`sync of", replace: "      if (writer.length < 0) await segment.file.sync();\n    } catch (error) {\n      return poisoned(`sync of" }],
  },
  {
    number: 37, name: "torn-tail-kept", tier: "raft",
    breaks: "what a crash left of an unfinished write stays in front of the next one",
    hints: { nodes: 3, bootstrap: [1, 2, 3], maxSyncMs: 80, requestEveryMs: 10, readShare: 0.1, valueBytes: 60, faults: "crash", faultEveryMs: 800 },
    edits: [{ file: SEGMENT_WRITER, find: "await file.truncate(last.bytes);", replace: "if (file.size < last.bytes) await file.truncate(last.bytes);" }],
  },
  {
    number: 38, name: "segment-deleted-early", tier: "raft",
    breaks: "a segment goes though entries in it are behind the snapshot",
    hints: { segmentBytes: 600, snapshotEvery: 10, faults: "crash,crash of all" },
    edits: [{ file: WAL, find: "index > releasable(group)) return count;", replace: "index > releasable(group) + 20) return count;" }],
  },
  {
    number: 39, name: "new-segment-without-directory-sync", tier: "raft",
    breaks: "the name of a new segment is not durable when what is in it is acknowledged",
    hints: { segmentBytes: 600, faults: "crash,crash of all" },
    edits: [{ file: SEGMENT_WRITER, find: "  await file.sync();\n  await disk.syncDirectory();\n  segment.bytes = SEGMENT_HEADER_BYTES", replace: "  await file.sync();\n  segment.bytes = SEGMENT_HEADER_BYTES" }],
  },
  {
    number: 40, name: "marks-forget-the-vote", tier: "raft",
    breaks: "a new segment begins with the term and not with the vote",
    hints: { segmentBytes: 600, faults: "crash,crash of all,isolate,heal" },
    edits: [{ file: WAL, find: "    writeMark(writer.out, { groupId, hardState, snapshot, loss, number, end });", replace: "    writeMark(writer.out, { groupId, hardState: hardState && { ...hardState, vote: 0 }, snapshot, loss, number, end });" }],
  },
  {
    number: 41, name: "snapshot-without-its-configuration", tier: "raft",
    breaks: "who installs a snapshot goes on with the configuration that it had",
    hints: { snapshotEvery: 10, trailing: 0, nodes: 5, bootstrap: [1, 2, 3], faults: "reconfigure,isolate,crash,heal" },
    edits: [{ file: "packages/raft/src/members.ts", find: "this.#history.reset(meta.index, this.#said(meta));", replace: "this.#history.reset(meta.index, this.configuration.voters.length === 0 ? this.#said(meta) : this.configuration);" }],
  },
  {
    number: 42, name: "snapshot-renamed-before-sync", tier: "raft",
    breaks: "a snapshot gets its name before its content is durable",
    hints: { snapshotEvery: 10, faults: "crash,crash of all" },
    edits: [{ file: "packages/wal/src/snapshot-store.ts", find: "    await this.#file.sync();\n    this.#isOver = true;\n", replace: "    this.#isOver = true;\n" }],
  },
  {
    number: 43, name: "own-vote-before-durable", tier: "raft",
    breaks: "a candidate counts its own vote before its disk has it",
    edits: [{ file: CORE, find: "    this.#becomeCandidate();\n", replace: "    this.#becomeCandidate();\n    this.#countVote(this.nodeId, true);\n    if (this.#role !== \"candidate\") return;\n" }],
  },
  {
    number: 44, name: "missed-time-does-not-count", tier: "raft",
    breaks: "a leader that was paused trusts its lease as if no time had gone by",
    hints: { leaseReads: true, checkQuorum: true, nodes: 3, bootstrap: [1, 2, 3], maxDelayMs: 1, straggling: 0, maxSyncMs: 1, requestEveryMs: 10, readShare: 0.4, faults: "pause,isolate,late,heal", faultEveryMs: 250 },
    edits: [{ file: "packages/raft/src/patience.ts", find: "    this.#now += ticks;\n", replace: "    this.#now += 0 * ticks;\n" }],
  },
  {
    number: 45, name: "lease-goes-on-asleep", tier: "raft",
    breaks: "a leader that sleeps keeps its lease, though asleep it does not see it end",
    hints: {
      ...SLEEPING, leaseReads: true, checkQuorum: true, restMs: 500, maxDelayMs: 1, maxSyncMs: 1, loss: 0, duplication: 0, straggling: 0, driftPercent: 0, quorum: "majority",
      snapshotEvery: 1_000, troubleMs: 10_000, faultEveryMs: 800, faults: "isolate,heal",
    },
    edits: [{ file: CORE, find: "    if (this.#quiescence.sleep()) this.#lease?.reset();", replace: "    this.#quiescence.sleep();" }],
  },
  {
    number: 46, name: "silence-wakes-nobody", tier: "raft",
    breaks: "a replica that sleeps goes on sleeping when its leader's node falls silent",
    hints: { ...SLEEPING, restMs: 3_000, coreOnly: true, troubleMs: 3_000, faults: "heal" },
    edits: [{ file: CORE, find: "    if (node === this.#leader) this.#patience.silent(ticks);\n    this.#wake(node);\n", replace: "    if (node === this.#leader) this.#patience.silent(ticks);\n" }],
  },
];
