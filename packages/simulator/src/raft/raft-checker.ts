import { RaftMessageType } from "@statemesh/contract";
import type { LogEntry, RaftMessage } from "@statemesh/contract";
import { decodeConfiguration, EntryKind, isJoint, leaveJoint, sameConfiguration } from "@statemesh/raft";
import type { Configuration, RaftCore } from "@statemesh/raft";
import type { GroupUpdate } from "@statemesh/wal";
import type { Recorder } from "../recorder.ts";
import { mayDecide } from "./quorum-oracle.ts";
import type { ShadowLog } from "./shadow-log.ts";

/** Terms and indexes in one key; both stay far below. */
const TERMS = 0x100_0000;
/** A leader's view of its peers is looked at once in so many steps. */
const STATUS_EVERY = 4;

/** A replica as the checker sees it. */
export interface Observed {
  readonly id: number;
  /** Everything that was handed to the log, durable or not. */
  readonly handed: ShadowLog;
  /** Everything that the log said is durable. */
  readonly stable: ShadowLog;
}

interface Seen {
  commit: number;
  leads: boolean;
  term: number;
  configurationIndex: number;
  /** By which it goes, and the latest in its log. */
  configuration: Configuration | undefined;
  logged: Configuration | undefined;
}

/** Sees everything that happens in a group and holds it against the rules of Raft, at every step. Knows what no replica can know. */
export class RaftChecker {
  readonly #recorder: Recorder;
  readonly #replicas = new Map<number, Observed>();
  readonly #seen = new Map<number, Seen>();
  readonly #leaders = new Map<number, number>();
  /** By term: who asked for votes, and whom each voter voted for, as far as it is durable. */
  readonly #candidates = new Map<number, Set<number>>();
  readonly #votes = new Map<number, Map<number, number>>();
  /** By replica: up to where it told the leader of a term that it holds that one's log. */
  readonly #accepted = new Map<number, { term: number; index: number }>();
  /** Every entry that was ever in a log: its data and the term before it. */
  readonly #entries = new Map<number, { data: Uint8Array; kind: number; before: number | undefined }>();
  /** By index: the term of what a leader committed. */
  readonly #committed: number[] = [0];
  /** By index: the term in which it was committed, by whichever leader was first. */
  readonly #committedIn: number[] = [0];
  readonly #termsWithCommit = new Set<number>();
  /** By leader: configurations of its own that it put into its log since it was last looked at. */
  readonly #proposed = new Map<number, { entry: LogEntry; before: number }[]>();
  /** By leader: what it knows of its peers, in which term. */
  readonly #matches = new Map<number, { term: number; configurationIndex: number; of: Map<number, number> }>();
  #steps = 0;
  /** By index: what some node applied, and so all must. */
  readonly applied: LogEntry[] = [];
  /** The latest that some node applied. */
  configuration: Configuration;

  constructor(recorder: Recorder, bootstrap: Configuration) {
    this.#recorder = recorder;
    this.configuration = bootstrap;
  }

  /** The highest index that a leader committed. */
  get committed(): number {
    return this.#committed.length - 1;
  }

  watch(replica: Observed): void {
    this.#replicas.set(replica.id, replica);
  }

  fail(rule: string, message: string): void {
    this.#recorder.violation(rule, message);
  }

  // --- What leaves a replica ---

  sent(replica: Observed, message: RaftMessage): void {
    const { type, from, to, term } = message;
    const { stable } = replica;
    if (type === RaftMessageType.VOTE) {
      let candidates = this.#candidates.get(term);
      if (candidates === undefined) this.#candidates.set(term, (candidates = new Set()));
      candidates.add(from);
      this.#promised(stable.term > term || (stable.term === term && stable.vote === from), `${from} asks for votes in term ${term} before that is durable`);
    } else if (type === RaftMessageType.VOTE_RESPONSE && !message.reject) {
      this.#promised(stable.term > term || (stable.term === term && stable.vote === to), `${from} tells ${to} of its vote in term ${term} before it is durable`);
    } else if (type === RaftMessageType.APPEND_RESPONSE) {
      this.#answeredAppend(message);
      if (message.reject) return;
      this.#promised(stable.term > term || (stable.term === term && stable.last >= message.logIndex), `${from} accepts ${message.logIndex} of term ${term}, but only ${stable.last} of term ${stable.term} is durable`);
    }
  }

  /** What a replica told its leader that it holds, it holds for as long as that one leads: nothing that comes late takes it away. */
  #answeredAppend({ from, term, logIndex, reject }: RaftMessage): void {
    const known = this.#accepted.get(from);
    const accepted = known?.term === term ? known.index : 0;
    if (!reject) this.#accepted.set(from, { term, index: Math.max(accepted, logIndex) });
    // A refusal of an old term names no index.
    else if (logIndex > 0 && logIndex <= accepted) this.fail("accepted is held", `${from} refuses what follows ${logIndex} in term ${term}, after it accepted everything up to ${accepted}`);
  }

  #promised(holds: boolean, message: string): void {
    if (!holds) this.fail("promise before durable", message);
  }

  // --- What a replica stores ---

  /** Before an update is handed to the log. */
  handed(replica: Observed, core: RaftCore, { hardState, entries }: GroupUpdate): void {
    const { id, handed } = replica;
    if (hardState !== undefined) {
      if (hardState.term < handed.term) this.fail("terms grow", `${id} stores term ${hardState.term} after ${handed.term}`);
      const given = hardState.vote === 0 || hardState.vote === id || this.#candidates.get(hardState.term)?.has(hardState.vote) === true;
      if (!given) this.fail("votes are asked for", `${id} votes for ${hardState.vote} in term ${hardState.term}, which never asked`);
    }
    const first = entries?.[0];
    if (first === undefined || entries === undefined) return;
    if (first.index <= handed.last) this.#recorder.sometimes("conflicting entries were cut off");
    let before = handed.termOf(first.index - 1);
    let configurationIndex = handed.configurationIndex;
    for (const entry of entries) {
      this.#match(id, entry, before);
      before = entry.term;
      if (entry.kind !== EntryKind.CONFIGURATION) continue;
      if (entry.term === core.term && core.role === "leader") {
        let proposed = this.#proposed.get(id);
        if (proposed === undefined) this.#proposed.set(id, (proposed = []));
        proposed.push({ entry, before: configurationIndex });
      }
      configurationIndex = entry.index;
    }
  }

  /** Two logs that hold an entry of one index and term hold the same, and the same before it. */
  #match(id: number, entry: LogEntry, before: number | undefined): void {
    const key = entry.term * TERMS + entry.index;
    const known = this.#entries.get(key);
    if (known === undefined) {
      this.#entries.set(key, { data: entry.data, kind: entry.kind, before });
      return;
    }
    known.before ??= before;
    if (known.kind !== entry.kind || (known.data !== entry.data && Buffer.compare(known.data, entry.data) !== 0)) this.fail("log matching", `${id} holds another entry ${entry.index} of term ${entry.term}`);
    if (before !== undefined && known.before !== before) this.fail("log matching", `${id} holds ${entry.index} of term ${entry.term} behind term ${before}, another behind term ${known.before}`);
  }

  /** After an update is durable: votes of a term never change. */
  stored({ id, stable }: Observed): void {
    const { term, vote } = stable;
    if (vote === 0) return;
    let votes = this.#votes.get(term);
    if (votes === undefined) this.#votes.set(term, (votes = new Map()));
    const before = votes.get(id);
    if (before !== undefined && before !== vote) this.fail("one vote a term", `${id} votes for ${before} and ${vote} in term ${term}`);
    votes.set(id, vote);
  }

  // --- What a replica does ---

  /** After every step of a node. */
  observe(replica: Observed, core: RaftCore): void {
    const { id } = replica;
    let seen = this.#seen.get(id);
    if (seen === undefined) this.#seen.set(id, (seen = { commit: 0, leads: false, term: 0, configurationIndex: 0, configuration: undefined, logged: undefined }));
    const leads = core.role === "leader";
    if (leads && !(seen.leads && seen.term === core.term)) this.#elected(replica, core);
    if (core.commitIndex !== seen.commit) this.#commitMoved(replica, core, seen, leads || (seen.leads && seen.term === core.term));
    if (seen.leads && !leads) this.#recorder.sometimes("a leader stepped down");
    this.#configurationsProposed(id);
    if (core.configuration !== seen.configuration || replica.handed.configuration !== seen.logged) this.#goesByItsLog(replica, core);
    if (leads && ++this.#steps % STATUS_EVERY === 0) this.#viewOfPeers(core);
    seen.commit = core.commitIndex;
    seen.leads = leads;
    seen.term = core.term;
    seen.configurationIndex = replica.handed.configurationIndex;
    seen.configuration = core.configuration;
    seen.logged = replica.handed.configuration;
  }

  /** A life of the node ended; what it had not stored is forgotten. */
  restarted(id: number): void {
    this.#seen.delete(id);
    this.#proposed.delete(id);
  }

  /** True where it is applied for the first time anywhere. */
  appliedEntry(id: number, entry: LogEntry, lastApplied: number): boolean {
    if (entry.index !== lastApplied + 1) this.fail("applied once and in order", `${id} applies ${entry.index} after ${lastApplied}`);
    const known = this.applied[entry.index];
    if (known === undefined) {
      this.applied[entry.index] = entry;
      if (entry.kind === EntryKind.CONFIGURATION) this.#configured(entry);
      return true;
    }
    if (known.term !== entry.term || (known.data !== entry.data && Buffer.compare(known.data, entry.data) !== 0)) {
      this.fail("state-machine safety", `${id} applies ${entry.index} of term ${entry.term}, another applied one of term ${known.term}`);
    }
    return false;
  }

  #elected(replica: Observed, core: RaftCore): void {
    const { id, handed } = replica;
    const { term } = core;
    const other = this.#leaders.get(term);
    if (other !== undefined && other !== id) this.fail("election safety", `${other} and ${id} lead term ${term}`);
    if (other === id) this.fail("election safety", `${id} leads term ${term} a second time`);
    this.#leaders.set(term, id);
    this.#recorder.note("elected", id, term);
    if (term > this.#committed.at(-1)! + 1) this.#recorder.sometimes("a term passed without a commit");
    const votes = this.#votes.get(term);
    // Its own first entry may be a configuration already: in force at the election was what it held before.
    const inForce = handed.configurationIndex > this.committed && handed.termOf(handed.configurationIndex) === term ? handed.previousConfiguration?.configuration : handed.configuration;
    if (inForce === undefined || !mayDecide(inForce, (voter) => votes?.get(voter) === id)) this.fail("elected by a quorum", `${id} leads term ${term} by the durable votes of ${[...(votes ?? [])].filter(([, vote]) => vote === id).map(([voter]) => voter).join()}`);
    for (let index = handed.snapshotIndex + 1; index < this.#committed.length; index++) {
      const committed = this.#committed[index]!;
      const committedIn = this.#committedIn[index]!;
      // Who was held up may come to lead, for a moment, with votes from before a later term's leader committed: that one's commits it need not have.
      if (committedIn < term && !handed.holds(index, committed)) {
        this.fail("leader completeness", `${id} leads term ${term} without ${index} of term ${committed}, committed in term ${committedIn}`);
        return;
      }
    }
  }

  #commitMoved(replica: Observed, core: RaftCore, seen: Seen, asLeader: boolean): void {
    const { id, handed } = replica;
    const { commitIndex } = core;
    if (commitIndex < seen.commit) this.fail("commit never goes back", `${id} goes back from ${seen.commit} to ${commitIndex}`);
    const term = handed.termOf(commitIndex);
    if (asLeader && commitIndex > this.committed) {
      if (term !== core.term) this.fail("commit of the own term", `${id} commits ${commitIndex} of term ${term} in term ${core.term}`);
      this.#onQuorum(replica, seen, commitIndex, term ?? 0);
      for (let index = this.committed + 1; index <= commitIndex; index++) {
        this.#committed[index] = handed.termOf(index) ?? 0;
        this.#committedIn[index] = core.term;
      }
      this.#termsWithCommit.add(core.term);
      return;
    }
    // A leader that was held up may learn late of a commit that its successors have built on.
    if (asLeader && term === core.term) this.#termsWithCommit.add(core.term);
    const known = this.#committed[commitIndex];
    // Behind its snapshot a log no longer knows; what is in there was committed.
    if (term !== undefined && known !== term) this.fail("commit is agreed", `${id} commits ${commitIndex} of term ${term}, the group ${known === undefined ? "committed nothing there" : `one of term ${known}`}`);
  }

  /** What is committed is durable on a quorum. */
  #onQuorum({ id, handed }: Observed, seen: Seen, index: number, term: number): void {
    const holds = (voter: number): boolean => this.#replicas.get(voter)?.stable.holds(index, term) === true;
    const { configuration } = handed;
    if (configuration !== undefined && mayDecide(configuration, holds)) {
      if (configuration.outgoing.length > 0) this.#recorder.sometimes("a joint configuration decided");
      else if (configuration.voters.filter(holds).length * 2 === configuration.voters.length) this.#recorder.sometimes("half of the voters decided");
      return;
    }
    // A configuration that the commit itself brought about came after it.
    const { previousConfiguration: previous } = handed;
    if (seen.configurationIndex !== handed.configurationIndex && previous !== undefined && mayDecide(previous.configuration, holds)) return;
    this.fail("committed on a quorum", `${id} commits ${index} of term ${term}, durable on ${[...this.#replicas.keys()].filter(holds).join()} of ${JSON.stringify(configuration)}`);
  }

  /** A replica goes by the latest configuration in its log, whatever was in there before. */
  #goesByItsLog({ id, handed }: Observed, { configuration }: RaftCore): void {
    const logged = handed.configuration;
    const agrees = logged === undefined ? configuration.voters.length === 0 : sameConfiguration(configuration, logged);
    if (!agrees) this.fail("configuration of the log", `${id} goes by ${JSON.stringify(configuration)}, its log says ${JSON.stringify(logged)}`);
  }

  /** A leader changes the configuration only behind a commit of its own term, and behind the commit of the change before. */
  #configurationsProposed(id: number): void {
    const proposed = this.#proposed.get(id);
    if (proposed === undefined) return;
    this.#proposed.delete(id);
    for (const { entry, before } of proposed) {
      if (before > this.committed) this.fail("one change at a time", `${id} proposes configuration ${entry.index} before ${before} is committed`);
      if (!this.#termsWithCommit.has(entry.term)) this.fail("change after the first commit", `${id} proposes configuration ${entry.index} in term ${entry.term} before it committed anything in it`);
    }
  }

  #viewOfPeers(leader: RaftCore): void {
    let known = this.#matches.get(leader.nodeId);
    // Who left and came back starts anew.
    const { term, nodeId, configurationIndex } = leader;
    if (known?.term !== term || known.configurationIndex !== configurationIndex) this.#matches.set(nodeId, (known = { term, configurationIndex, of: new Map() }));
    const { progress, snapshotIndex, appliedIndex, commitIndex, lastIndex } = leader.status();
    for (const [peer, { match, next }] of progress) {
      const before = known.of.get(peer) ?? 0;
      if (match < before) this.fail("match never goes back", `${leader.nodeId} takes back that ${peer} holds ${before}, to ${match}`);
      if (next <= match) this.fail("match never goes back", `${leader.nodeId} sends ${peer} from ${next} on what it holds up to ${match}`);
      known.of.set(peer, match);
    }
    if (!(snapshotIndex <= appliedIndex && appliedIndex <= commitIndex && commitIndex <= lastIndex)) {
      this.fail("order of indexes", `${leader.nodeId}: snapshot ${snapshotIndex}, applied ${appliedIndex}, committed ${commitIndex}, last ${lastIndex}`);
    }
  }

  /** Voters change only by way of a joint configuration, which is left for what it led to. */
  #configured(entry: LogEntry): void {
    const before = this.configuration;
    const after = decodeConfiguration(entry.data);
    if (after === undefined) {
      this.fail("configurations", `entry ${entry.index} is no configuration`);
      return;
    }
    const step = isJoint(before)
      ? sameConfiguration(after, leaveJoint(before))
      : isJoint(after)
        ? after.outgoing.join() === before.voters.join()
        : after.voters.join() === before.voters.join();
    if (!step) this.fail("configurations", `entry ${entry.index} leads from ${JSON.stringify(before)} to ${JSON.stringify(after)}`);
    this.configuration = after;
    this.#recorder.sometimes(isJoint(after) ? "a joint configuration was applied" : "a configuration was applied");
  }
}
