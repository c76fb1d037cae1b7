/**
 * One folder of a disk. Names are flat (no separators). Every method may fail with a DiskError, and a
 * failed `sync` says nothing about what is durable: the caller must stop.
 */
export interface Disk {
  /** Names of the files, sorted bytewise. */
  list(): Promise<string[]>;
  /** The whole content. Fails with code `ENOENT` where there is no such file. */
  read(name: string): Promise<Uint8Array>;
  /** At most `length` bytes from `offset`; fewer only at the end of the file. Fails with code `ENOENT` where there is no such file. */
  readRange(name: string, offset: number, length: number): Promise<Uint8Array>;
  /** Size of a file in bytes. Fails with code `ENOENT` where there is no such file. */
  sizeOf(name: string): Promise<number>;
  /** Opens a file for appending; makes it where it is not there. */
  openAppend(name: string): Promise<DiskFile>;
  /** Replaces `to`, atomically once `syncDirectory` has returned. */
  rename(from: string, to: string): Promise<void>;
  /** Removes a file; one that is not there is no error. */
  remove(name: string): Promise<void>;
  /** Makes creations, renames and removals durable. */
  syncDirectory(): Promise<void>;
}

/** A file open for appending. One call at a time a file. */
export interface DiskFile {
  /** Size in bytes, appended bytes included. */
  readonly size: number;
  /**
   * Writes the pieces one after another at the end. Not durable before `sync`. Where it fails, `size` is as before,
   * and what stands behind it is undefined until `truncate(size)`.
   */
  append(pieces: readonly Uint8Array[]): Promise<void>;
  /**
   * Writes once more what stands at `at`: `bytes` are what was read from there. After a sync that failed, in this process or one before, the system may
   * count as written what no disk has; the next sync writes what was rewritten. Fails with code `EINVAL` beyond the end of the file.
   */
  rewrite(at: number, bytes: Uint8Array): Promise<void>;
  /** Makes everything appended and rewritten durable (fdatasync). */
  sync(): Promise<void>;
  /** Cuts the file. */
  truncate(size: number): Promise<void>;
  close(): Promise<void>;
}

/** What a disk can fail with: the operating system's code. */
export class DiskError extends Error {
  override readonly name = "DiskError";
  /** `ENOENT`, `ENOSPC`, `EIO`, ... */
  readonly code: string;

  constructor(code: string, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }

  /** The disk is full: it may be tried again when there is space. */
  get isNoSpace(): boolean {
    return this.code === "ENOSPC" || this.code === "EDQUOT";
  }
}
