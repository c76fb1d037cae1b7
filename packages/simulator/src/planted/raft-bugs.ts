import type { PlantedBug } from "./planted-bug.ts";

const CORE = "packages/raft/src/raft-core.ts";
const BALLOT = "packages/raft/src/ballot.ts";
const ELECTIONS = "packages/raft/src/elections.ts";
const LOG = "packages/raft/src/raft-log.ts";
const FOLLOWING = "packages/raft/src/following.ts";
const REPLICATION = "packages/raft/src/replication.ts";
const PROGRESS = "packages/raft/src/progress.ts";
const HISTORY = "packages/raft/src/configuration-history.ts";
const MEMBERS = "packages/raft/src/members.ts";
const DURABILITY = "packages/raft/src/durability.ts";
const READS = "packages/raft/src/read-queue.ts";
const LEASE = "packages/raft/src/lease.ts";
const RULE = "packages/raft/src/quorum/rule.ts";

/** Of three nodes that never change, one after the other leads alone while its followers go on without it. */
const CUT_OFF = { nodes: 3, bootstrap: [1, 2, 3], requestEveryMs: 10, readShare: 0.1, maxDelayMs: 1, faults: "isolate", faultEveryMs: 800 } as const;

/** Mistakes that were made in one Raft or another. */
export const RAFT_BUGS: readonly PlantedBug[] = [
  {
    number: 1, name: "commit-any-term", tier: "raft",
    breaks: "the leader commits by the count of copies, without looking whether the entry is of its own term",
    edits: [{ file: CORE, find: "if (reached <= before || log.term(reached) !== this.term) return;", replace: "if (reached <= before) return;" }],
  },
  {
    number: 2, name: "vote-before-durable", tier: "raft",
    breaks: "a vote is told before it is durable",
    edits: [{ file: DURABILITY, find: "    case RaftMessageType.VOTE_RESPONSE:\n    case RaftMessageType.APPEND_RESPONSE:", replace: "    case RaftMessageType.APPEND_RESPONSE:" }],
  },
  {
    number: 3, name: "append-before-durable", tier: "raft",
    breaks: "a follower accepts entries before they are durable",
    edits: [{ file: DURABILITY, find: "    case RaftMessageType.VOTE_RESPONSE:\n    case RaftMessageType.APPEND_RESPONSE:", replace: "    case RaftMessageType.VOTE_RESPONSE:" }],
  },
  {
    number: 4, name: "leader-counts-unsynced", tier: "raft",
    breaks: "the leader counts its own copy before its disk has it",
    edits: [{ file: CORE, find: "    if (this.#members.own.acknowledge(this.#log.durable)) this.#advanceCommit();", replace: "    if (this.#members.own.acknowledge(this.#log.last)) this.#advanceCommit();" }],
  },
  {
    number: 5, name: "vote-cleared-on-step-down", tier: "raft",
    breaks: "the vote is forgotten whenever the role changes, also within a term",
    edits: [{ file: BALLOT, find: "      this.#term = term;\n      this.#vote = 0;\n    }\n", replace: "      this.#term = term;\n    }\n    this.#vote = 0;\n" }],
  },
  {
    number: 6, name: "vote-kept-in-a-new-term", tier: "raft",
    breaks: "the vote of an old term counts in a new one",
    edits: [{ file: BALLOT, find: "      this.#term = term;\n      this.#vote = 0;\n    }\n", replace: "      this.#term = term;\n    }\n" }],
  },
  {
    number: 7, name: "term-and-vote-apart", tier: "raft",
    breaks: "a new term is stored first and its vote with the next write",
    edits: [{
      file: BALLOT,
      find: "    this.#storedTerm = this.#term;\n    this.#storedVote = this.#vote;\n    this.#storedCommit = commit;\n    return { term: this.#term, vote: this.#vote, commit };",
      replace: "    const isNew = this.#storedTerm !== this.#term;\n    this.#storedTerm = this.#term;\n    this.#storedVote = isNew ? 0 : this.#vote;\n    this.#storedCommit = commit;\n    return { term: this.#term, vote: this.#storedVote, commit };",
    }],
  },
  {
    number: 8, name: "entries-before-their-term", tier: "raft",
    breaks: "entries are stored first and the term that they are of with the next write",
    edits: [{
      file: CORE, find: "      if (changed || log.committed !== this.#ballot.storedCommit) hardState = this.#ballot.take(log.committed);",
      replace: "      if (entries.length === 0 && (changed || log.committed !== this.#ballot.storedCommit)) hardState = this.#ballot.take(log.committed);",
    }],
  },
  {
    number: 9, name: "up-to-date-by-index", tier: "raft",
    breaks: "a candidate's log is compared by its length alone",
    hints: CUT_OFF,
    edits: [{ file: LOG, find: "    return term > lastTerm || (term === lastTerm && index >= this.last);", replace: "    return index >= this.last && term + lastTerm >= 0;" }],
  },
  {
    number: 10, name: "up-to-date-only-if-longer", tier: "raft",
    breaks: "a candidate whose log is the same as the voter's gets no vote",
    edits: [{ file: LOG, find: "(term === lastTerm && index >= this.last)", replace: "(term === lastTerm && index > this.last)" }],
  },
  {
    number: 11, name: "follower-commits-unverified", tier: "raft",
    hints: { nodes: 3, bootstrap: [1, 2, 3], maxMessageBytes: 40, requestEveryMs: 10, readShare: 0.1, snapshotEvery: 1000, faults: "isolate,heal" },
    breaks: "a follower commits up to the leader's commit index, whatever its log holds there. The leader goes back too far as well, as others do: here its first append behind where the logs agree always cuts off what does not",
    edits: [
      { file: FOLLOWING, find: "log.commitTo(Math.min(message.commit, lastVerified));", replace: "log.commitTo(Math.min(message.commit, log.last));" },
      { file: REPLICATION, find: "this.#log.findConflict(message.rejectHint, message.logTerm);", replace: "Math.max(this.#log.purged, this.#log.findConflict(message.rejectHint, message.logTerm) - 10);" },
    ],
  },
  {
    number: 12, name: "heartbeat-carries-raw-commit", tier: "raft",
    breaks: "heartbeats carry the leader's commit index beyond what the follower is known to hold",
    edits: [{ file: REPLICATION, find: "message.commit = Math.min(peer.match, this.#log.committed);", replace: "message.commit = this.#log.committed;" }],
  },
  {
    number: 13, name: "truncate-on-any-append", tier: "raft",
    hints: { nodes: 3, bootstrap: [1, 2, 3], ordered: false, maxDelayMs: 40, straggling: 0.1, maxInflightMessages: 8, maxMessageBytes: 40, requestEveryMs: 10, readShare: 0.1 },
    breaks: "an append cuts off what follows it, also where it agrees with the log: one that comes late takes newer entries away",
    edits: [
      { file: LOG, find: "    if (at === entries.length) return 0;\n", replace: "    const end = entries.at(-1)?.index ?? this.last;\n    if (at === entries.length) {\n      if (end < this.last && end >= this.#committed) this.#truncateFrom(end + 1);\n      return 0;\n    }\n" },
    ],
  },
  {
    number: 14, name: "never-truncate", tier: "raft",
    breaks: "entries that conflict with the leader's stay",
    edits: [{ file: LOG, find: "this.term(entries[at]!.index) === entries[at]!.term) at++;", replace: "entries[at]!.index <= this.last) at++;" }],
  },
  {
    number: 15, name: "truncate-committed", tier: "raft",
    breaks: "a late append rewrites the log from its first entry on, committed entries too",
    edits: [
      { file: FOLLOWING, find: "if (logIndex < log.committed) {", replace: "if (logIndex + entries.length < log.committed) {" },
      { file: LOG, find: "    while (at < entries.length && this.term(entries[at]!.index) === entries[at]!.term) at++;\n", replace: "" },
      { file: LOG, find: '    invariant(index > this.#committed, "a committed entry is never cut off");\n', replace: "" },
      { file: LOG, find: '    invariant(this.#committed <= this.last, "committed <= last");\n', replace: "" },
    ],
  },
  {
    number: 16, name: "snapshot-without-term-check", tier: "raft",
    hints: { nodes: 3, bootstrap: [1, 2, 3], checkQuorum: false, leaseReads: false, requestEveryMs: 10, readShare: 0.1, snapshotEvery: 10, trailing: 0, faults: "isolate,heal", faultEveryMs: 800 },
    breaks: "a snapshot at an index that the log holds is taken for granted without comparing the term there",
    edits: [{ file: CORE, find: "if (meta.index <= log.committed || log.matches(meta.index, meta.term)) {", replace: "if (meta.index <= log.last) {" }],
  },
  {
    number: 17, name: "old-votes-count", tier: "raft",
    hints: { nodes: 3, bootstrap: [1, 2, 3], maxDelayMs: 300, loss: 0.15, straggling: 0.1, ordered: false, maxSyncMs: 1, faults: "crash of all,isolate,heal", faultEveryMs: 800 },
    breaks: "answers of older terms count, votes among them",
    edits: [{ file: CORE, find: "    if (message.term < this.term) {\n", replace: "    const isAnswer = type === RaftMessageType.VOTE_RESPONSE || type === RaftMessageType.APPEND_RESPONSE;\n    if (message.term < this.term && isAnswer) return true;\n    if (message.term < this.term) {\n" }],
  },
  {
    number: 18, name: "refusal-advances-match", tier: "raft",
    hints: CUT_OFF,
    breaks: "what a refusal says about where logs may agree counts as where they do",
    edits: [{ file: REPLICATION, find: "    if (!peer.refuse(message.logIndex, hint)) return;\n", replace: "    peer.acknowledge(hint);\n    if (!peer.refuse(message.logIndex, hint)) return;\n" }],
  },
  {
    number: 19, name: "match-goes-back", tier: "raft",
    breaks: "an old acknowledgement takes back a newer one",
    edits: [{ file: PROGRESS, find: "    if (index <= this.match) return false;\n    this.match = index;", replace: "    if (index === this.match) return false;\n    this.match = index;" }],
  },
  {
    number: 20, name: "quorum-of-half", tier: "raft",
    breaks: "half of the voters, rounded down, decide",
    edits: [
      { file: "packages/raft/src/quorum/majority.ts", find: "this.size = Math.floor(this.voters.length / 2) + 1;", replace: "this.size = Math.max(1, Math.floor(this.voters.length / 2));" },
      { file: "packages/raft/src/quorum/weighted.ts", find: "this.#size = Math.floor(this.voters.length / 2) + 1;", replace: "this.#size = Math.max(1, Math.floor(this.voters.length / 2));" },
      { file: "packages/raft/src/quorum/weighted.ts", find: "this.#even = this.voters.length % 2 === 0;", replace: "this.#even = false;" },
    ],
  },
  {
    number: 21, name: "joint-needs-only-the-new", tier: "raft",
    breaks: "in a joint configuration the new voters decide alone",
    edits: [{ file: RULE, find: "return outgoing.length === 0 ? one(voters) : new JointQuorum(one(voters), one(outgoing));", replace: "return outgoing.length === 0 ? one(voters) : new JointQuorum(one(voters), one(voters));" }],
  },
  {
    number: 22, name: "learners-count", tier: "raft",
    breaks: "learners count towards the quorum",
    edits: [
      { file: RULE, find: "quorumOf(rule: QuorumRule, { voters, outgoing }: Configuration)", replace: "quorumOf(rule: QuorumRule, { voters, outgoing, learners }: Configuration)" },
      { file: RULE, find: "return outgoing.length === 0 ? one(voters) :", replace: "return outgoing.length === 0 ? one([...voters, ...learners]) :" },
    ],
  },
  {
    number: 23, name: "learner-refuses-to-vote", tier: "raft",
    breaks: "who takes itself for a learner votes for nobody, though others may know that it was promoted",
    hints: { coreOnly: true, nodes: 4, bootstrap: [1, 2], faults: "isolate,crash,reconfigure,heal,weather", troubleMs: 6000 },
    edits: [{ file: ELECTIONS, find: "    const granted = free && ", replace: "    const granted = free && this.#at.members.votes(this.#at.nodeId) && " }],
  },
  {
    number: 24, name: "second-change-while-one-is-pending", tier: "raft",
    breaks: "the configuration changes again before the last change is committed",
    edits: [{ file: CORE, find: '    if (isJoint(current) || this.configurationIndex > this.#log.committed) return { ok: false, reason: "change_pending" };\n', replace: "" }],
  },
  {
    number: 25, name: "change-before-the-first-commit", tier: "raft",
    breaks: "the configuration changes before the leader committed anything of its term",
    edits: [{ file: CORE, find: '    if (!this.#ready) return { ok: false, reason: "not_ready" };\n    const current', replace: "    const current" }],
  },
  {
    number: 26, name: "campaign-by-an-old-configuration", tier: "raft",
    breaks: "a follower goes by its old configuration until it restarts. Configurations count here from when they are in the log; this is the nearest to campaigning with one that is committed and not applied",
    edits: [{ file: MEMBERS, find: "    if (this.#history.replaceFrom(first, entries)) this.#configure();", replace: "    this.#history.replaceFrom(first, entries);" }],
  },
  {
    number: 27, name: "truncation-keeps-a-configuration", tier: "raft",
    hints: { nodes: 5, bootstrap: [1, 2, 3], faults: "reconfigure,isolate,heal,crash", faultEveryMs: 250 },
    breaks: "a configuration goes on counting after its entry was cut off",
    edits: [
      { file: HISTORY, find: '      invariant(this.#placed.length > 1, "a configuration that is known is never cut off");\n      this.#placed.pop();\n', replace: "      break;\n" },
    ],
  },
  {
    number: 28, name: "leave-joint-early", tier: "raft",
    breaks: "a joint configuration is left before it is committed",
    edits: [{ file: CORE, find: "    if (this.configurationIndex > this.#log.committed) return;\n    if (isJoint(configuration))", replace: "    if (!isJoint(configuration) && this.configurationIndex > this.#log.committed) return;\n    if (isJoint(configuration))" }],
  },
  {
    number: 29, name: "read-before-the-first-commit", tier: "raft",
    breaks: "a leader answers reads before it committed anything of its term: it may not know what its predecessor committed",
    edits: [{ file: CORE, find: '    if (!this.#ready) return "not_ready";\n', replace: "" }],
  },
  {
    number: 30, name: "reads-keyed-by-context", tier: "raft",
    hints: { leaseReads: true, checkQuorum: true, quiescence: false, nodes: 3, bootstrap: [1, 2, 3], maxDelayMs: 1, straggling: 0, maxSyncMs: 1, requestEveryMs: 10, restMs: 0, readShare: 0.4, faults: "isolate,pause,heal", faultEveryMs: 800 },
    breaks: "the number of a client's read stands for the round of messages that confirms it; numbers come again",
    edits: [{ file: READS, find: "    this.#counter++;\n    this.#rounds.push(", replace: "    this.#counter = this.#gathering.at(-1)!;\n    this.#rounds.push(" }],
  },
  {
    number: 31, name: "read-without-a-round", tier: "raft",
    breaks: "a leader answers reads without asking anybody whether it still leads",
    hints: { ...CUT_OFF, readShare: 0.4, maxSyncMs: 1, keys: 1, faults: "isolate,heal" },
    edits: [{ file: CORE, find: "    if (this.#members.decides(this.#isSelf) || this.#leaseTicks() > 0) {", replace: "    if (context > 0) {" }],
  },
  {
    number: 32, name: "reads-kept-on-step-down", tier: "raft",
    breaks: "reads that wait are kept when the leader steps down, and answered when it leads again",
    edits: [{ file: CORE, find: '    if (this.#role === "leader") this.#reads.abort();\n', replace: "" }],
  },
  {
    number: 33, name: "lease-from-the-answer", tier: "raft",
    breaks: "a lease is counted from when its answer came, not from when its question left",
    hints: { leaseReads: true, checkQuorum: true, nodes: 3, bootstrap: [1, 2, 3], maxDelayMs: 1, straggling: 0, maxSyncMs: 1, requestEveryMs: 10, readShare: 0.4, faults: "late,mute,heal", faultEveryMs: 250 },
    edits: [
      { file: LEASE, find: "  void(): void {", replace: "  answered(round: number, now: number): void {\n    for (const sent of this.#sent) if (sent.round <= round) sent.tick = now;\n  }\n\n  void(): void {" },
      { file: CORE, find: "      peer.readAcknowledged = message.context;\n", replace: "      peer.readAcknowledged = message.context;\n      this.#lease?.answered(message.context, this.#patience.now);\n" },
    ],
  },
  {
    number: 34, name: "lease-without-check-quorum", tier: "raft",
    breaks: "a lease counts on voters' patience, and voters have none",
    hints: { leaseReads: true, checkQuorum: false, nodes: 3, bootstrap: [1, 2, 3], maxDelayMs: 1, straggling: 0, maxSyncMs: 1, requestEveryMs: 10, readShare: 0.4, faults: "late,campaign,heal", faultEveryMs: 250 },
    edits: [
      { file: "packages/raft/src/options.ts", find: '    if (options.checkQuorum === false) throw new RangeError("raft: leaseReads needs checkQuorum");\n', replace: "" },
      { file: CORE, find: '    return this.#lease !== undefined && this.#role !== "leader" && this.#patience.isPromised;', replace: "    return false;" },
    ],
  },
  {
    number: 35, name: "lease-read-during-a-transfer", tier: "raft",
    breaks: "a lease goes on while leadership is handed over, which needs no voter's patience",
    hints: { leaseReads: true, checkQuorum: true, nodes: 3, bootstrap: [1, 2, 3], maxDelayMs: 1, straggling: 0, maxSyncMs: 1, requestEveryMs: 10, readShare: 0.4, faults: "late,transfer,heal", faultEveryMs: 250 },
    edits: [
      { file: CORE, find: " || !this.#ready || this.#transferee !== 0) return 0;", replace: " || !this.#ready) return 0;" },
      { file: CORE, find: "    this.#lease?.void();\n", replace: "" },
    ],
  },
];
