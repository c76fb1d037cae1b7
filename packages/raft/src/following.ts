import { RaftMessageType } from "@statemesh/contract";
import type { RaftMessage } from "@statemesh/contract";
import { areReadableConfigurations } from "./configuration-history.ts";
import type { Members } from "./members.ts";
import { isContiguous } from "./message.ts";
import type { Outbox } from "./outbox.ts";
import type { RaftLog } from "./raft-log.ts";

/** How a follower takes what its leader sends. The methods that take messages return false for one that no correct leader sends. */
export class Following {
  readonly #log: RaftLog;
  readonly #members: Members;
  readonly #outbox: Outbox;

  constructor(log: RaftLog, members: Members, outbox: Outbox) {
    this.#log = log;
    this.#members = members;
    this.#outbox = outbox;
  }

  takeAppend(message: RaftMessage): boolean {
    const log = this.#log;
    const { from, logIndex, logTerm, entries } = message;
    if (!isContiguous(message) || !areReadableConfigurations(entries)) return false;
    if (logIndex < log.committed) {
      this.accept(from, log.committed);
    } else if (log.matches(logIndex, logTerm)) {
      const firstNew = log.merge(entries);
      if (firstNew > 0) this.#members.logReplaced(firstNew, entries);
      const lastVerified = logIndex + entries.length;
      log.commitTo(Math.min(message.commit, lastVerified));
      this.accept(from, lastVerified);
    } else {
      this.#refuse(message);
    }
    return true;
  }

  /** Says that this replica holds everything up to `lastVerified`, as the leader has it. */
  accept(leader: number, lastVerified: number): void {
    const response = this.#outbox.message(RaftMessageType.APPEND_RESPONSE, leader);
    response.logIndex = lastVerified;
    this.#outbox.send(response);
  }

  /** Says where the logs may agree: at most at the leader's index, in a term not above the leader's there. */
  #refuse({ from, logIndex, logTerm }: RaftMessage): void {
    const hint = this.#log.findConflict(logIndex, logTerm);
    const response = this.#outbox.message(RaftMessageType.APPEND_RESPONSE, from);
    response.reject = true;
    response.logIndex = logIndex;
    response.rejectHint = hint;
    response.logTerm = Math.max(0, this.#log.term(hint));
    this.#outbox.send(response);
  }

  /** A commit index behind the log's end means that this replica lost what it acknowledged: it must not guess. */
  takeHeartbeat(message: RaftMessage): boolean {
    const wellFormed = message.commit <= this.#log.last;
    if (wellFormed) this.#log.commitTo(message.commit);
    return wellFormed;
  }

  /** Answers a heartbeat. `quiesces`: this replica sleeps from now on. */
  answerHeartbeat(leader: number, context: number, quiesces: boolean): void {
    const response = this.#outbox.message(RaftMessageType.HEARTBEAT_RESPONSE, leader);
    response.context = context;
    response.quiesce = quiesces;
    this.#outbox.send(response);
  }
}
