import { RaftMessageType } from "@statemesh/contract";
import type { LogEntry, RaftMessage } from "@statemesh/contract";
import { invariant } from "./invariant.ts";
import type { Members } from "./members.ts";
import type { RaftOptions } from "./options.ts";
import type { Outbox } from "./outbox.ts";
import type { Progress } from "./progress.ts";
import { UNKNOWN_TERM } from "./raft-log.ts";
import type { RaftLog } from "./raft-log.ts";
import type { ReadQueue } from "./read-queue.ts";

const NO_ENTRIES: LogEntry[] = [];

/** How a leader brings its log to the others: appends, snapshots and heartbeats, and what their answers say about each peer. */
export class Replication {
  readonly #log: RaftLog;
  readonly #members: Members;
  readonly #outbox: Outbox;
  readonly #reads: ReadQueue;
  readonly #maxMessageBytes: number;
  /** The leader has something new for its peers. */
  isDue = false;

  constructor(log: RaftLog, members: Members, outbox: Outbox, reads: ReadQueue, options: RaftOptions) {
    this.#log = log;
    this.#members = members;
    this.#outbox = outbox;
    this.#reads = reads;
    this.#maxMessageBytes = options.maxMessageBytes;
  }

  /** Sends each peer what it lacks, as far as its window allows. */
  sendAppends(): void {
    for (const peer of this.#members.peers) {
      while (this.#sendAppend(peer, false));
      // Nothing new to append, but the peer cannot know yet what is committed.
      if (peer.state === "replicate" && peer.sentCommit < Math.min(this.#log.committed, peer.next - 1)) this.#sendAppend(peer, true);
    }
  }

  /** `quiesce`: nothing is outstanding, and peers may sleep. */
  sendHeartbeats(quiesce: boolean): void {
    for (const peer of this.#members.peers) {
      const message = this.#outbox.message(RaftMessageType.HEARTBEAT, peer.id);
      // Never beyond what the peer is known to hold: its log may differ behind that.
      message.commit = Math.min(peer.match, this.#log.committed);
      message.context = this.#reads.counter;
      message.quiesce = quiesce;
      this.#outbox.send(message);
    }
  }

  /** An answer to an append. True where the peer is known to hold more than before, or to take entries again. */
  takeAppendResponse(peer: Progress, message: RaftMessage): boolean {
    peer.recentActive = true;
    if (message.reject) {
      this.#takeRefusal(peer, message);
      return false;
    }
    const advanced = peer.acknowledge(message.logIndex);
    if (!advanced && !(peer.match === message.logIndex && peer.state === "probe")) return false;
    if (peer.state === "replicate") peer.inflights.freeThrough(message.logIndex);
    else if (peer.state === "probe" || peer.match + 1 >= this.#log.first) peer.becomeReplicate();
    this.isDue = true;
    return true;
  }

  #takeRefusal(peer: Progress, message: RaftMessage): void {
    // Skip every index of ours with a term above the hint's: none of them can agree.
    const hint = this.#log.findConflict(message.rejectHint, message.logTerm);
    if (!peer.refuse(message.logIndex, hint)) return;
    if (peer.state === "replicate") peer.becomeProbe();
    this.isDue = true;
  }

  /** An answer to a heartbeat: the peer lives. */
  takeHeartbeatResponse(peer: Progress): void {
    peer.recentActive = true;
    // Something may be lost: an append without new entries brings it to light. Once a heartbeat of the clock, not once a round of reads.
    if (!peer.checkDue) return;
    peer.checkDue = false;
    peer.probeSent = false;
    if (peer.match < this.#log.last || peer.state === "probe") this.#sendAppend(peer, true);
  }

  /** The transport could not reach a peer: what is in flight may be lost. */
  unreachable(peer: Progress): void {
    if (peer.state !== "replicate") return;
    peer.becomeProbe();
    this.isDue = true;
  }

  /** The peer's log is gone: it is brought up from the beginning. */
  lostData(peer: Progress): void {
    peer.reset(this.#log.last + 1);
    this.isDue = true;
  }

  /** The transport of a snapshot ended. The next message waits for word from the peer: its acknowledgement, or a heartbeat's echo. */
  snapshotEnded(peer: Progress, ok: boolean): void {
    if (peer.state !== "snapshot") return;
    if (ok) peer.becomeProbe();
    else peer.failSnapshot();
    peer.probeSent = true;
  }

  /** Sends the next entries; with `evenEmpty` also where there are none, or the window is full. True where something was sent. */
  #sendAppend(peer: Progress, evenEmpty: boolean): boolean {
    if (peer.paused && !(evenEmpty && peer.state === "replicate")) return false;
    const log = this.#log;
    const previous = peer.next - 1;
    const previousTerm = log.term(previous);
    if (previousTerm === UNKNOWN_TERM) return this.#sendSnapshot(peer);
    const entries: LogEntry[] = peer.paused ? NO_ENTRIES : log.slice(peer.next, log.last, this.#maxMessageBytes);
    if (entries.length === 0 && !evenEmpty) return false;
    const message = this.#outbox.message(RaftMessageType.APPEND, peer.id);
    const last = previous + entries.length;
    message.logIndex = previous;
    message.logTerm = previousTerm;
    message.entries = entries;
    message.commit = log.committed;
    peer.sentCommit = Math.max(peer.sentCommit, Math.min(log.committed, last));
    peer.sent(last, entries.length === 0 ? 0 : log.bytes(peer.next, last));
    this.#outbox.send(message);
    return true;
  }

  /** The entries that the peer needs are compacted away. Nothing goes to a peer that is silent. */
  #sendSnapshot(peer: Progress): boolean {
    if (!peer.recentActive) return false;
    const snapshot = this.#log.snapshot;
    invariant(snapshot !== undefined, "a compacted log has a snapshot");
    const message = this.#outbox.message(RaftMessageType.SNAPSHOT, peer.id);
    message.logIndex = snapshot.index;
    message.logTerm = snapshot.term;
    message.commit = this.#log.committed;
    peer.becomeSnapshot(snapshot.index);
    this.#outbox.send(message);
    return true;
  }
}
