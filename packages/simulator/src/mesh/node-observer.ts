// Sees every step of every node and holds it against the rules of Raft and the committed log. Costs a few comparisons a
// group and step: only what is new is looked at.
import { type RaftMessage, RaftMessageType, type StreamRequest } from "@statemesh/contract";
import type { GroupReplica } from "@statemesh/mesh";
import type { NodeRuntime } from "@statemesh/node";
import { EntryKind } from "@statemesh/raft";
import { DIRECTORY_GROUP } from "@statemesh/world";
import { crc32c } from "@node-rs/crc32";
import type { Recorder } from "../recorder.ts";
import type { MemberBook } from "./member-book.ts";
import type { ReferenceGroup } from "./reference-group.ts";
import { ViewBook } from "./view-book.ts";

/** Entries looked at in one step, bytes; more comes with the next step. */
const ENTRY_BYTES = 64 * 1024 * 1024;
/** Entries looked at again where a log was cut. */
const LOOK_BACK = 64;
/** What the protocol's own limits are; a queue beyond its limit is a defect. */
const LINK_FRAMES_MAX = 2_049;
const OUTSTANDING_MAX = 65_536;

/** What was last seen of one group on one node, in this life of it. */
interface Seen {
  term: number;
  role: string;
  commit: number;
  applied: number;
  lastIndex: number;
  lastTerm: number;
}

const NOTHING: Seen = { term: 0, role: "follower", commit: 0, applied: -1, lastIndex: 0, lastTerm: 0 };

export class NodeObserver {
  readonly #recorder: Recorder;
  readonly #references: readonly ReferenceGroup[];
  readonly #members: MemberBook;
  readonly #views: ViewBook;
  readonly #seen = new Map<number, Seen[]>();
  /** By group and term: who led. */
  readonly #leaders: Map<number, number>[];
  /** By group, voter and term: whom it voted for. */
  readonly #votes = new Map<string, number>();
  /** By group: index * 2^20 + term to the entry's checksum. */
  readonly #entries: Map<number, number>[];
  /** Virtual time of the last commit of something new, by group. */
  readonly committedAtMs: number[];
  readonly #nowMs: () => number;

  constructor(recorder: Recorder, references: readonly ReferenceGroup[], members: MemberBook, nowMs: () => number) {
    this.#recorder = recorder;
    this.#references = references;
    this.#members = members;
    this.#views = new ViewBook(recorder);
    this.#leaders = references.map(() => new Map());
    this.#entries = references.map(() => new Map());
    this.committedAtMs = references.map(() => 0);
    this.#nowMs = nowMs;
  }

  #fail(kind: string, message: string): void {
    this.#recorder.violation(kind, message);
  }

  /** A life of the node begins. */
  started(nodeId: number, runtime: NodeRuntime): void {
    this.#seen.set(nodeId, runtime.mesh.groups.map(() => ({ ...NOTHING })));
    this.stepped(nodeId, runtime);
  }

  stepped(nodeId: number, runtime: NodeRuntime): void {
    const seen = this.#seen.get(nodeId);
    if (seen === undefined) return;
    for (const group of runtime.mesh.groups) {
      const was = seen[group.groupId];
      const reference = this.#references[group.groupId];
      if (was !== undefined && reference !== undefined) this.#look(nodeId, group, was, reference);
    }
  }

  #look(nodeId: number, group: GroupReplica, was: Seen, reference: ReferenceGroup): void {
    const { core, groupId } = group;
    const { term, role, commitIndex, lastIndex } = core;
    const lastTerm = core.termOf(lastIndex) ?? 0;
    if (lastIndex !== was.lastIndex || lastTerm !== was.lastTerm) {
      this.#matchLog(nodeId, group, was);
      was.lastIndex = lastIndex;
      was.lastTerm = lastTerm;
    }
    if (term !== was.term || role !== was.role) {
      if (term < was.term) this.#fail("terms only grow", `node ${nodeId} group ${groupId}: from term ${was.term} to ${term}`);
      if (was.role === "leader" && role !== "leader" && !core.configuration.voters.includes(nodeId)) this.#recorder.sometimes("leader removed itself");
      was.term = term;
      was.role = role;
      if (role === "leader") this.#elected(nodeId, group, reference);
    }
    if (commitIndex !== was.commit) {
      if (commitIndex < was.commit) this.#fail("commit never goes back", `node ${nodeId} group ${groupId}: from ${was.commit} to ${commitIndex}`);
      if (commitIndex > lastIndex) this.#fail("order of indexes", `node ${nodeId} group ${groupId}: committed ${commitIndex}, last ${lastIndex}`);
      this.#committed(nodeId, group, was.commit, reference);
      was.commit = commitIndex;
    }
    const applied = group.state.appliedIndex;
    if (applied !== was.applied) {
      this.#applied(nodeId, group, reference, was.applied);
      was.applied = applied;
    }
  }

  /** Entries of one index and term are the same everywhere. */
  #matchLog(nodeId: number, { core, groupId }: GroupReplica, was: Seen): void {
    const known = this.#entries[groupId];
    if (known === undefined) return;
    // Where the log only grew, what is new stands behind the last entry; else its end is looked at again.
    const grew = core.lastIndex > was.lastIndex && core.termOf(was.lastIndex) === was.lastTerm;
    const from = Math.max(core.firstIndex, grew ? was.lastIndex + 1 : core.lastIndex - LOOK_BACK);
    if (from > core.lastIndex) return;
    let configures = false;
    for (const entry of core.entries(from, core.lastIndex, ENTRY_BYTES)) {
      if (entry.kind === EntryKind.CONFIGURATION) configures = true;
      const key = keyOf(entry.index, entry.term);
      const checksum = crc32c(entry.data);
      const before = known.get(key);
      if (before === undefined) known.set(key, checksum);
      else if (before !== checksum) this.#fail("log matching", `node ${nodeId} group ${groupId}: entry ${entry.index} of term ${entry.term} differs from another node's`);
    }
    if (!configures || core.role !== "leader" || core.commitIndex >= core.lastIndex) return;
    const pending = core.entries(core.commitIndex + 1, core.lastIndex, ENTRY_BYTES).filter(({ kind }) => kind === EntryKind.CONFIGURATION).length;
    if (pending > 1) this.#fail("one configuration at a time", `node ${nodeId} leads group ${groupId} with ${pending} configurations that are not committed`);
  }

  #elected(nodeId: number, group: GroupReplica, reference: ReferenceGroup): void {
    const { core, groupId } = group;
    const leaders = this.#leaders[groupId];
    const other = leaders?.get(core.term);
    if (other !== undefined && other !== nodeId) this.#fail("election safety", `nodes ${other} and ${nodeId} lead group ${groupId} in term ${core.term}`);
    if (other === undefined) {
      leaders?.set(core.term, nodeId);
      this.#recorder.note("leader", nodeId, groupId, core.term);
      this.#recorder.sometimes("leader elected");
      if (core.lastIndex > core.commitIndex + 1) this.#recorder.sometimes("leader changed with entries in flight");
    }
    this.#checkVoters(nodeId, group, other === undefined);
    for (let index = reference.last; index >= core.firstIndex; index--) {
      const committedTerm = reference.terms[index] ?? 0;
      // With votes from before it, one that was held up may come to lead an older term for a moment: it need not have what a later one committed.
      if ((reference.committedIn[index] ?? 0) >= core.term) continue;
      if (core.termOf(index) !== committedTerm) this.#fail("leader completeness", `node ${nodeId} leads group ${groupId} in term ${core.term} without ${index} of term ${committedTerm}`);
      // By log matching, what stands before it is the same too.
      break;
    }
  }

  /** Once a change ended, nobody comes to lead who would still count the votes of who was removed. */
  #checkVoters(nodeId: number, { core, groupId }: GroupReplica, isNew: boolean): void {
    const { voters, outgoing } = core.configuration;
    const { removed, record } = this.#members;
    for (const voter of [...voters, ...outgoing]) {
      if (removed.has(voter)) this.#fail("members on record", `node ${nodeId} leads group ${groupId} in term ${core.term} with node ${voter}, which was removed, for a voter`);
    }
    if (isNew && record.running !== undefined && voters.join() !== record.voters().join()) this.#recorder.sometimes("change resumed by another leader");
  }

  #committed(nodeId: number, { core, groupId }: GroupReplica, before: number, reference: ReferenceGroup): void {
    const { commitIndex } = core;
    // Behind the last one of this node the log is the committed one already, as far as it is known.
    for (let index = Math.max(before + 1, core.firstIndex); index <= Math.min(commitIndex, reference.last); index++) {
      if (core.termOf(index) !== reference.terms[index]) {
        this.#fail("state machine safety", `node ${nodeId} group ${groupId}: commits ${index} of term ${core.termOf(index)}, another node committed it in term ${reference.terms[index]}`);
      }
    }
    while (reference.last < commitIndex && !this.#recorder.isOver) {
      const from = reference.last + 1;
      if (from < core.firstIndex) return this.#fail("state machine safety", `node ${nodeId} group ${groupId}: ${from} was compacted before anybody was seen to commit it`);
      for (const entry of core.entries(from, commitIndex, ENTRY_BYTES)) {
        if (entry.index !== reference.last + 1) break;
        reference.commit(entry, core.term);
        if (groupId !== DIRECTORY_GROUP) continue;
        this.#members.committed(entry.index);
        this.#views.committed(entry.index, reference.state.views.view, reference.state.membership);
      }
      this.committedAtMs[groupId] = this.#nowMs();
    }
  }

  #applied(nodeId: number, group: GroupReplica, reference: ReferenceGroup, before: number): void {
    const { core, state, groupId } = group;
    const { appliedIndex } = state;
    if (before >= 0 && appliedIndex < before) this.#fail("nothing is applied twice", `node ${nodeId} group ${groupId}: from ${before} back to ${appliedIndex}`);
    if (appliedIndex > core.commitIndex) this.#fail("order of indexes", `node ${nodeId} group ${groupId}: applied ${appliedIndex}, committed ${core.commitIndex}`);
    const snapshot = group.snapshotMeta?.index ?? 0;
    if (core.firstIndex - 1 > snapshot || snapshot > appliedIndex) {
      this.#fail("order of indexes", `node ${nodeId} group ${groupId}: purged ${core.firstIndex - 1}, snapshot ${snapshot}, applied ${appliedIndex}`);
    }
    const expected = reference.digests[appliedIndex];
    if (expected === undefined) this.#fail("state machine safety", `node ${nodeId} group ${groupId}: applied ${appliedIndex}, which nobody was seen to commit`);
    else if (expected !== state.digest) {
      this.#fail("state machine safety", `node ${nodeId} group ${groupId}: digest ${state.digest} at ${appliedIndex}, the committed log gives ${expected}`);
    }
  }

  /** Every frame on its way: nobody votes twice in a term, whatever happens between. */
  sent(from: number, frame: StreamRequest): void {
    this.#views.sent(from, frame);
    for (const message of frame.raft) {
      if (message.type === RaftMessageType.VOTE) this.#voted(message, message.from, message.from);
      else if (message.type === RaftMessageType.VOTE_RESPONSE && !message.reject) this.#voted(message, message.from, message.to);
    }
  }

  #voted({ groupId, term }: RaftMessage, voter: number, candidate: number): void {
    if (this.#members.lost.has(voter)) this.#fail("single vote", `node ${voter} lost its data and votes in term ${term} of group ${groupId}`);
    const key = `${groupId} ${voter} ${term}`;
    const before = this.#votes.get(key);
    if (before !== undefined && before !== candidate) this.#fail("single vote", `node ${voter} votes for ${before} and ${candidate} in term ${term} of group ${groupId}`);
    this.#votes.set(key, candidate);
  }

  /** What a node holds back for others, and its ledgers. */
  sample(nodeId: number, runtime: NodeRuntime): void {
    for (const [peer, link] of runtime.links) {
      if (link.waiting > LINK_FRAMES_MAX) this.#fail("bounded queues", `node ${nodeId}: ${link.waiting} frames wait for node ${peer}`);
    }
    if (runtime.mesh.edge.outstanding > OUTSTANDING_MAX) this.#fail("bounded queues", `node ${nodeId}: ${runtime.mesh.edge.outstanding} operations are not answered`);
    for (const group of runtime.mesh.groups) this.#references[group.groupId]?.checkLedger(group.state);
  }
}

function keyOf(index: number, term: number): number {
  return index * 0x10_0000 + term;
}
