import type { LogEntry, RaftMessage, SnapshotMeta } from "@statemesh/contract";
import type { HardState } from "./options.ts";
import type { ReadState } from "./read-queue.ts";

/**
 * What the core wants done. The caller hands `hardState`, `snapshot` and `entries` to storage as one
 * atomic write, in the order of `sequence`, and may take further Readys before that is durable.
 * Entries are shared with the core: never change them.
 */
export interface Ready {
  /** Numbers Readys from 1 without gaps. */
  sequence: number;
  /** To store, where it changed. */
  hardState: HardState | undefined;
  /** To append. A first index at or below an earlier entry's means: that entry and all behind it are gone. */
  entries: readonly LogEntry[];
  /**
   * A snapshot that replaces the whole log. The application loads the state that it received (stepSnapshot) and calls
   * `applied(snapshot.index)`; no committed entries are handed out before that.
   */
  snapshot: SnapshotMeta | undefined;
  /** To send at once. */
  messages: RaftMessage[];
  /** To send once this Ready and all earlier ones are durable. */
  messagesAfterPersist: RaftMessage[];
  /** To apply in order. Bounded in bytes; more may follow in the next Ready. */
  committed: readonly LogEntry[];
  /** Reads that may be served once their index is applied. */
  readStates: readonly ReadState[];
  /** Contexts of reads that no quorum confirmed before this node stopped leading: ask again elsewhere. */
  abortedReads: readonly number[];
  /** Whether there is something to store; where false, the Ready is durable as soon as all earlier ones are. */
  mustSync: boolean;
}

/** Why a proposal was refused; where `ok`, the position it will have if it is ever committed. */
export type ProposeResult =
  | { ok: true; index: number; term: number }
  | { ok: false; reason: "not_leader" | "uncommitted_limit" | "transferring" };

/**
 * Why a change of the configuration was refused; where `ok`, the position of its first entry.
 * - `not_leader`: ask the leader.
 * - `not_ready`: the leader has committed nothing of its own term yet; ask again.
 * - `transferring`: leadership is on its way to another node; ask there.
 * - `change_pending`: an earlier change is not done; ask again.
 * - `no_change`: the group is configured like that already.
 * - `invalid`: `rule` says what is wrong with the target.
 */
export type ConfigurationResult =
  | { ok: true; index: number; term: number }
  | { ok: false; reason: "not_leader" | "not_ready" | "transferring" | "change_pending" | "no_change" }
  | { ok: false; reason: "invalid"; rule: string };
