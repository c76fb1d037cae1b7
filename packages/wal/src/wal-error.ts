/**
 * What an append or a compaction can fail with.
 * - `NO_SPACE`: the disk is full. Nothing of the batch is in the log; batches that were queued behind it are refused with it. The same batches can be
 *   appended again, in the same order.
 * - `QUEUE_FULL`: too many bytes wait for the disk. Nothing of the batch is in the log.
 * - `OUT_OF_ORDER`: entries would leave a gap in their group's log. Nothing of the batch is in the log.
 * - `NO_SNAPSHOT`: entries are to be released that no snapshot in the log covers.
 * - `POISONED`: a write or sync failed, so what is durable is unknown. Every later call fails with the first cause; the node must stop.
 * - `CLOSED`: the log was closed.
 */
export type WalErrorCode = "NO_SPACE" | "QUEUE_FULL" | "OUT_OF_ORDER" | "NO_SNAPSHOT" | "POISONED" | "CLOSED";

export class WalError extends Error {
  override readonly name = "WalError";
  readonly code: WalErrorCode;

  constructor(code: WalErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}

/**
 * How damage shows.
 * - `header`, `frame`: bytes of a segment that are not what was written.
 * - `unreadable`: the disk fails when it is asked for them.
 * - `record`: a frame is whole, but holds what this code cannot read.
 * - `missing_segment`, `missing_records`: something is not there that what follows speaks of.
 * - `snapshot`: a snapshot file is damaged, or not there.
 */
export type DamageKind = "header" | "frame" | "unreadable" | "record" | "missing_segment" | "missing_records" | "snapshot";

/** A part of a stored file that is not what was written. */
export interface Damage {
  readonly kind: DamageKind;
  readonly file: string;
  /** Bytes from the start of the file. */
  readonly offset: number;
  /** 0 where nothing is there at all. */
  readonly bytes: number;
  readonly reason: string;
}

/** A stored file is damaged where a crash cannot have damaged it. Nothing was changed. */
export class CorruptionError extends Error {
  override readonly name = "CorruptionError";
  readonly file: string;
  /** Bytes from the start of the file. */
  readonly offset: number;
  readonly reason: string;

  constructor(file: string, offset: number, reason: string) {
    super(`${file} is damaged at byte ${offset}: ${reason}`);
    this.file = file;
    this.offset = offset;
    this.reason = reason;
  }
}
