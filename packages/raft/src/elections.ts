import { RaftMessageType } from "@statemesh/contract";
import type { RaftMessage } from "@statemesh/contract";
import type { Ballot } from "./ballot.ts";
import { Campaign } from "./campaign.ts";
import type { Members } from "./members.ts";
import { makeMessage } from "./message.ts";
import type { Outbox } from "./outbox.ts";
import type { Patience } from "./patience.ts";
import type { VoteResult } from "./quorum/quorum.ts";
import type { RaftLog } from "./raft-log.ts";

/** Where a replica votes. */
export interface PollingPlace {
  readonly groupId: number;
  readonly nodeId: number;
  readonly log: RaftLog;
  readonly members: Members;
  readonly outbox: Outbox;
  readonly ballot: Ballot;
  readonly patience: Patience;
}

/** How a replica campaigns and votes: who may, what is asked, what is answered, and how votes count. Changes no role and no term. */
export class Elections {
  readonly #at: PollingPlace;
  readonly #campaign: Campaign;
  /** A candidate that counts on this replica was refused for its older log, and no leader has been heard since: it may be that nobody wins without this one. */
  #isNeeded = false;

  constructor(at: PollingPlace) {
    this.#at = at;
    this.#campaign = new Campaign(at.nodeId);
  }

  /** The role changes. */
  reset(): void {
    this.#campaign.reset();
    this.#isNeeded = false;
  }

  /** There is a leader. */
  leaderHeard(): void {
    this.#isNeeded = false;
  }

  /** Whether this replica may campaign, as far as its log says. */
  get mayCampaign(): boolean {
    const { nodeId, log, members } = this.#at;
    if (log.installing) return false;
    if (members.votes(nodeId)) return true;
    // Whoever asked holds this replica for a voter, rightly or not, and cannot win against its log; it must not matter what its own log says.
    if (this.#isNeeded && members.voters.length > 0) return true;
    // Until the change that removes it is committed, it may be that only this node's log can win (dissertation, §4.2.2).
    const before = members.configurationIndex > log.committed ? members.previousConfiguration : undefined;
    return before !== undefined && (before.voters.includes(nodeId) || before.outgoing.includes(nodeId));
  }

  /** Asks every other voter for its vote in `term`, or whether it would give it. */
  ask(type: RaftMessageType, term: number, forced: boolean): void {
    const { groupId, nodeId, log, members, outbox } = this.#at;
    for (const peer of members.peers) {
      if (!members.votes(peer.id)) continue;
      const request = makeMessage(groupId, type, nodeId, peer.id, term);
      request.logIndex = log.last;
      request.logTerm = log.lastTerm;
      request.forced = forced;
      outbox.send(request);
    }
  }

  /** Answers who asks for a vote, or whether there would be one. `leader`: the term's, as far as known; 0: none. */
  answer(message: RaftMessage, leader: number): void {
    const { log, outbox, ballot, patience } = this.#at;
    const pre = message.type === RaftMessageType.PRE_VOTE;
    const free = ballot.vote === message.from || (ballot.vote === 0 && leader === 0) || (pre && message.term > ballot.term);
    const upToDate = log.isUpToDate(message.logIndex, message.logTerm);
    const granted = free && upToDate;
    const response = outbox.message(pre ? RaftMessageType.PRE_VOTE_RESPONSE : RaftMessageType.VOTE_RESPONSE, message.from);
    if (granted) {
      response.term = message.term;
      if (!pre) {
        patience.restart();
        ballot.cast(message.from);
      }
    } else {
      response.reject = true;
      this.#isNeeded ||= !upToDate;
    }
    outbox.send(response);
  }

  /** Tells who is behind of the newer term, where it waits to hear of it. */
  answerOldTerm({ type, from }: RaftMessage): void {
    let answer: RaftMessageType;
    switch (type) {
      case RaftMessageType.APPEND:
      case RaftMessageType.HEARTBEAT:
      case RaftMessageType.SNAPSHOT:
        // The old leader steps down on the newer term; else it and this node could hold each other up for ever.
        answer = RaftMessageType.APPEND_RESPONSE;
        break;
      case RaftMessageType.PRE_VOTE:
        answer = RaftMessageType.PRE_VOTE_RESPONSE;
        break;
      default:
        return;
    }
    const response = this.#at.outbox.message(answer, from);
    response.reject = true;
    this.#at.outbox.send(response);
  }

  /** An answer came: how the campaign stands. */
  count(from: number, granted: boolean): VoteResult {
    return this.#campaign.count(from, granted, this.#at.members.quorum);
  }

  /** Ready `sequence` carries the candidate's vote to storage, unless an earlier one does. */
  handedOut(sequence: number): void {
    this.#campaign.handedOut(sequence);
  }

  /** Whether the candidate's vote for itself became durable just now. True once. */
  takeOwnVote(durableSequence: number): boolean {
    return this.#campaign.takeOwnVote(durableSequence);
  }
}
