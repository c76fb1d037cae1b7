import { RaftMessageType } from "@statemesh/contract";
import type { LogEntry, RaftMessage } from "@statemesh/contract";
import { decodeConfiguration, EntryKind, isJoint, leaveJoint, sameConfiguration } from "@statemesh/raft";
import type { Configuration, RaftCore } from "@statemesh/raft";

/** Sees everything that happens in a cluster and holds it against the rules of Raft. */
export class RaftChecker {
  readonly #seed: number;
  readonly #leaders = new Map<number, number>();
  readonly #votes = new Map<string, number>();
  /** By index: what some node applied, and so all must. */
  readonly applied: { term: number; data: string }[] = [];
  readonly #commitIndex = new Map<number, number>();
  /** By leader: what it knows of its peers, in which term. */
  readonly #matches = new Map<number, { term: number; of: Map<number, number> }>();
  /** The highest index that a client was told is committed. */
  acknowledged = 0;
  elections = 0;
  /** The latest that some node applied. */
  configuration: Configuration;
  /** Changes that some node applied to their end. */
  changes = 0;

  constructor(seed: number, bootstrap: readonly number[]) {
    this.#seed = seed;
    this.configuration = { voters: bootstrap, outgoing: [], learners: [] };
  }

  fail(rule: string): never {
    throw new Error(`seed ${this.#seed}: ${rule}`);
  }

  sent(message: RaftMessage): void {
    const { type, from, to, term } = message;
    if (type === RaftMessageType.VOTE) this.#voted(from, term, from);
    else if (type === RaftMessageType.VOTE_RESPONSE && !message.reject) this.#voted(from, term, to);
  }

  /** After every step of a node. */
  observe(core: RaftCore): void {
    const before = this.#commitIndex.get(core.nodeId) ?? 0;
    if (core.commitIndex < before) this.fail(`the commit index of ${core.nodeId} goes back from ${before} to ${core.commitIndex}`);
    this.#commitIndex.set(core.nodeId, core.commitIndex);
    if (core.role !== "leader") return;
    this.#matchesGrow(core);
    const other = this.#leaders.get(core.term);
    if (other === core.nodeId) return;
    if (other !== undefined) this.fail(`election safety: ${other} and ${core.nodeId} lead term ${core.term}`);
    this.#leaders.set(core.term, core.nodeId);
    this.elections++;
    this.#complete(core);
  }

  /** A life of the node ended; what it had not stored is forgotten. */
  restarted(nodeId: number): void {
    this.#commitIndex.delete(nodeId);
  }

  appliedEntry(nodeId: number, entry: LogEntry, lastApplied: number): void {
    if (entry.index !== lastApplied + 1) this.fail(`${nodeId} applies ${entry.index} after ${lastApplied}`);
    const data = Buffer.from(entry.data).toString("latin1");
    const known = this.applied[entry.index];
    if (known === undefined) {
      this.applied[entry.index] = { term: entry.term, data };
      if (entry.kind === EntryKind.CONFIGURATION) this.#configured(entry);
    } else if (known.term !== entry.term || known.data !== data) {
      this.fail(`state-machine safety: ${nodeId} applies ${entry.index} as ${entry.term}/${data}, another applied ${known.term}/${known.data}`);
    }
  }

  logsMatch(cores: readonly RaftCore[]): void {
    for (const a of cores) {
      for (const b of cores) {
        if (a.nodeId >= b.nodeId) continue;
        let agree = false;
        for (let index = Math.min(a.lastIndex, b.lastIndex); index >= Math.max(a.firstIndex, b.firstIndex); index--) {
          const same = a.termOf(index) === b.termOf(index);
          if (agree && !same) this.fail(`log matching: ${a.nodeId} and ${b.nodeId} agree behind ${index}, not there`);
          agree ||= same;
        }
      }
    }
  }

  #matchesGrow(leader: RaftCore): void {
    let known = this.#matches.get(leader.nodeId);
    if (known?.term !== leader.term) {
      known = { term: leader.term, of: new Map() };
      this.#matches.set(leader.nodeId, known);
    }
    const { progress } = leader.status();
    for (const peer of known.of.keys()) if (!progress.has(peer)) known.of.delete(peer);
    for (const [peer, { match }] of progress) {
      const before = known.of.get(peer) ?? 0;
      if (match < before) this.fail(`${leader.nodeId} takes back that ${peer} holds ${before}, to ${match}`);
      known.of.set(peer, match);
    }
  }

  /** One change at a time: voters only by way of a joint configuration, which is left for what it led to. */
  #configured(entry: LogEntry): void {
    const before = this.configuration;
    const after = decodeConfiguration(entry.data);
    if (after === undefined) this.fail(`entry ${entry.index} is no configuration`);
    const step = isJoint(before)
      ? sameConfiguration(after, leaveJoint(before))
      : isJoint(after)
        ? after.outgoing.join() === before.voters.join()
        : after.voters.join() === before.voters.join();
    if (!step) this.fail(`entry ${entry.index} leads from ${JSON.stringify(before)} to ${JSON.stringify(after)}`);
    this.configuration = after;
    if (!isJoint(after)) this.changes++;
  }

  #voted(voter: number, term: number, candidate: number): void {
    const key = `${voter} in ${term}`;
    const before = this.#votes.get(key);
    if (before !== undefined && before !== candidate) this.fail(`${key} votes for ${before} and ${candidate}`);
    this.#votes.set(key, candidate);
  }

  #complete(leader: RaftCore): void {
    for (let index = leader.firstIndex; index < this.applied.length; index++) {
      const known = this.applied[index];
      if (known !== undefined && known.term < leader.term && leader.termOf(index) !== known.term) {
        this.fail(`leader completeness: ${leader.nodeId} leads term ${leader.term} without ${index} of term ${known.term}`);
      }
    }
  }
}
