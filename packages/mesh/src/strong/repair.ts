// A group whose log was damaged on this node's disk, until it is whole again. The rule: the replica behaves towards elections as if
// it still had what it acknowledged. It may take and acknowledge what a leader sends, because that is true; but it never
// helps a log into leadership that lacks what it once held, never stands with a log that lacks it, and never votes in a term
// in which it may have voted.
import { type RaftMessage, RaftMessageType } from "@statemesh/contract";
import { isLater, type Loss, type RaftCore } from "@statemesh/raft";

export class Repair {
  readonly loss: Loss;
  /** Everything committed up to here before this node asked; undefined: not told yet. Needed where the lost log's end is unknown. */
  #confirmed: number | undefined;
  readonly #heard = new Map<number, number>();

  constructor(loss: Loss) {
    this.loss = loss;
  }

  /** A leader that knows of the damage said, confirmed by a quorum, what is committed; asked after this node had started. */
  confirm(index: number): void {
    this.#confirmed ??= index;
  }

  get needsConfirmation(): boolean {
    return !this.loss.isEndKnown && this.#confirmed === undefined;
  }

  /** A peer's term, as it says hello to this process. One that has this node's vote was in that term before. */
  heardTerm(peer: number, term: number): void {
    this.#heard.set(peer, Math.max(this.#heard.get(peer) ?? 0, term));
  }

  /** Whether the log, as far as it is durable, holds everything that this node may have acknowledged. */
  hasRegrown(core: RaftCore): boolean {
    const { durableIndex } = core.status();
    const { end, isEndKnown } = this.loss;
    if (!isEndKnown && (this.#confirmed === undefined || durableIndex < this.#confirmed)) return false;
    return !isLater(end, { index: durableIndex, term: core.termOf(durableIndex) ?? 0 });
  }

  /** The highest term that this node may have voted in; infinity while that is not known. */
  #votedThrough(core: RaftCore): number {
    if (this.loss.isVoteKnown) return 0;
    let highest = 0;
    // Whoever does not know its own group's members knows nothing of its votes.
    if (core.voters.length === 0) return Infinity;
    for (const voter of core.voters) {
      if (voter === core.nodeId) continue;
      const term = this.#heard.get(voter);
      if (term === undefined) return Infinity;
      highest = Math.max(highest, term);
    }
    return highest;
  }

  /** Whether a message may be taken. Those that are not are as good as lost. */
  admits(message: RaftMessage, core: RaftCore): boolean {
    switch (message.type) {
      case RaftMessageType.PRE_VOTE:
      case RaftMessageType.VOTE:
        if (message.term <= this.#votedThrough(core)) return false;
        if (this.hasRegrown(core)) return true;
        return this.loss.isEndKnown && !isLater(this.loss.end, { index: message.logIndex, term: message.logTerm });
      case RaftMessageType.TIMEOUT_NOW:
        return this.mayStand(core);
      default:
        return true;
    }
  }

  mayStand(core: RaftCore): boolean {
    return core.term >= this.#votedThrough(core) && this.hasRegrown(core);
  }

  /** Nothing is to be remembered any more. */
  isDone(core: RaftCore): boolean {
    return core.term > this.#votedThrough(core) && this.hasRegrown(core);
  }
}
