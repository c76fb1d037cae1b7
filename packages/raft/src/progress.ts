import { Inflights } from "./inflights.ts";
import { invariant } from "./invariant.ts";

/**
 * How the leader sends to a peer.
 * - `probe`: where its log agrees is not known; one message at a time, the next on an answer or a heartbeat's.
 * - `replicate`: messages are pipelined, `next` runs ahead of what is acknowledged.
 * - `snapshot`: a snapshot is under way; nothing is sent until it has arrived or failed.
 */
export type ProgressState = "probe" | "replicate" | "snapshot";

/** What the leader knows of one member's log. */
export class Progress {
  readonly id: number;
  /** Highest index known to be durable in that member's log. Never goes back in a term. */
  match = 0;
  /** Index of the next entry to send. */
  next = 1;
  state: ProgressState = "probe";
  /** In `probe`: the one message is sent and not answered. */
  probeSent = false;
  /** In `snapshot`: index of the snapshot under way. */
  pendingSnapshot = 0;
  /** Heard from since the last check for a quorum. */
  recentActive = false;
  /** The highest commit index that messages so far can have taught the peer. */
  sentCommit = 0;
  /** A heartbeat of the clock went out, and nothing since has asked whether something was lost. */
  checkDue = false;
  /** The latest read round that the peer acknowledged. */
  readAcknowledged = 0;
  readonly inflights: Inflights;

  constructor(id: number, maxInflightMessages: number, maxInflightBytes: number) {
    this.id = id;
    this.inflights = new Inflights(maxInflightMessages, maxInflightBytes);
  }

  /** Back to what a new leader knows: nothing. */
  reset(next: number): void {
    this.match = 0;
    this.next = next;
    this.recentActive = false;
    this.sentCommit = 0;
    this.readAcknowledged = 0;
    this.checkDue = false;
    this.#become("probe");
  }

  get paused(): boolean {
    if (this.state === "probe") return this.probeSent;
    if (this.state === "replicate") return this.inflights.full;
    return true;
  }

  becomeProbe(): void {
    // After a snapshot that arrived, the log continues behind it.
    const afterSnapshot = this.state === "snapshot" ? this.pendingSnapshot + 1 : 0;
    this.#become("probe");
    this.next = Math.max(this.match + 1, afterSnapshot);
    this.sentCommit = Math.min(this.sentCommit, this.next - 1);
  }

  becomeReplicate(): void {
    this.#become("replicate");
    this.next = this.match + 1;
    this.sentCommit = Math.min(this.sentCommit, this.match);
  }

  becomeSnapshot(index: number): void {
    this.#become("snapshot");
    this.pendingSnapshot = index;
  }

  /** The snapshot under way will not arrive. */
  failSnapshot(): void {
    this.pendingSnapshot = 0;
    this.becomeProbe();
  }

  /** Entries up to `lastIndex` were sent (none where it is below `next`). */
  sent(lastIndex: number, bytes: number): void {
    if (this.state === "replicate") {
      if (lastIndex >= this.next) {
        this.next = lastIndex + 1;
        this.inflights.add(lastIndex, bytes);
      }
      return;
    }
    invariant(this.state === "probe", "nothing is appended while a snapshot is under way");
    this.probeSent = true;
  }

  /** The peer holds everything up to `index`. False where that is old news. */
  acknowledge(index: number): boolean {
    if (index + 1 > this.next) this.next = index + 1;
    if (index <= this.match) return false;
    this.match = index;
    this.probeSent = false;
    return true;
  }

  /**
   * The peer refused entries behind `rejected` and may agree at `hint`. False where the refusal is stale;
   * else `next` goes back, never at or below `match`.
   */
  refuse(rejected: number, hint: number): boolean {
    if (this.state === "replicate") {
      if (rejected <= this.match) return false;
      this.next = this.match + 1;
      return true;
    }
    if (this.next - 1 !== rejected) return false;
    this.next = Math.max(Math.min(rejected, hint + 1), this.match + 1);
    this.probeSent = false;
    return true;
  }

  #become(state: ProgressState): void {
    this.state = state;
    this.probeSent = false;
    this.pendingSnapshot = 0;
    this.inflights.reset();
  }
}
